"""Compares the typical values of images: what another scene explains, and what nothing explains.

Open sea, snow, clouds and night are honest scenes, whose values differ from those of the training
by factors of a hundred. What no scene does: change the sign of decibel values, bring the values of
all bands from thousands to fractions of 1, or move the dark ends of all bands by the same 1000.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxseg.scenes import sentinel2
from jaxseg.scenes.sensor import Sensor, Typical, canonical

Array = NDArray[np.float64]

SCALE_RANGE = 30.0
"""Ratio of values within which two scenes are alike."""

RADAR_RANGE = 1000.0
"""The same for power: calm water and a town differ by 30 dB."""

IMPOSSIBLE = 100.0
"""How far beyond this range no scene of the same sensor lies."""

DECIBELS = 15.0
"""Medians of two radar images of the same unit differ by less, our choice."""

DARK = 500.0
"""Sentinel-2: a band with lower values shows where the dark end lies."""

SHIFT = (700.0, 1300.0)
"""Sentinel-2: what `sentinel2.ADDED` moves the dark end of such a band by, seasons included."""


class Finding(NamedTuple):
    """How values differ from others.

    Attributes:
        kind: `linear` = not below 0 where the others are decibel; `decibel` = the other way round;
            `scale` = all bands are larger or smaller; `added` = the dark end is higher by
            Sentinel-2's offset; `not added` = the other way round; `constant` = a single value.
        ratio: Range of the values over that of the others; 1 where it does not matter.
        certain: Whether no scene explains it.
    """

    kind: Literal["linear", "decibel", "scale", "added", "not added", "constant"]
    ratio: float = 1.0
    certain: bool = True


def is_sentinel2(bands: tuple[str, ...]) -> bool:
    """Whether bands are named like those of Sentinel-2."""
    return all(re.fullmatch(r"b\d+a?", canonical(name)) for name in bands)


def difference(others: Sensor, given: Sensor) -> Finding | None:
    """Compares the typical values of `given` with those of `others`, which has the same bands.

    Args:
        others: What a network was trained on, or the other files of a source.
        given: The image in question.

    Returns:
        The first thing that differs; None = alike, or not measured on either side.
    """
    if not (others.typical and given.typical):
        return None
    before, now = (np.array(of.typical, np.float64) for of in (others, given))
    stated = given.scale is not None  # then nothing has to be guessed
    return (
        _sign(before, now, others, given)
        or _scale(before, now, {others.unit, given.unit})
        or (None if stated or not is_sentinel2(others.bands) else _offset(before, now))
    )


def unlike(files: Mapping[str, Typical], sensor: Sensor) -> dict[str, Finding]:
    """Files of one source whose values differ from those of its other files.

    A bright file (snow, clouds) is not reported for its brightness alone.

    Args:
        files: Name of a file -> its typical values.
        sensor: Of the source.
    """
    found: dict[str, Finding] = {}
    known = {name: np.array(typical, np.float64) for name, typical in files.items() if typical}

    def of(typical: Array) -> Sensor:
        return dataclasses.replace(sensor, typical=tuple(map(tuple, typical.tolist())))

    for name, typical in known.items():
        rest = [other for key, other in known.items() if key != name]
        if not rest:
            continue
        finding = difference(of(np.median(rest, axis=0)), of(typical))
        if finding and (finding.certain or finding.kind == "scale"):
            found[name] = finding
    # Two halves of a source find each other: the file that can be corrected is named.
    if any(finding.kind == "added" for finding in found.values()):
        found = {name: f for name, f in found.items() if f.kind != "not added"}
    if len(known) == 2 and len(found) == 2:
        del found[next(iter(found))]
    return found


def _sign(before: Array, now: Array, others: Sensor, given: Sensor) -> Finding | None:
    """Backscatter in decibel is negative; power and amplitude never are."""
    if (before[:, 1] < 0).all() and (now[:, 0] >= 0).all():
        kind, linear, decibel = "linear", now[:, 1], before[:, 1]
    elif (before[:, 0] >= 0).all() and (now[:, 1] < 0).all():
        kind, linear, decibel = "decibel", before[:, 1], now[:, 1]
    else:
        return None
    radar = any(
        sensor.polarisations
        or sensor.unit in ("decibel", "power", "amplitude", "coherency")
        or all(canonical(name) in ("vv", "vh", "hv", "hh") for name in sensor.bands)
        for sensor in (others, given)
    )
    # Temperatures and heights change their sign, too: without a name or a unit, the values decide.
    unnamed = all(re.fullmatch(r"band\d+", canonical(name)) for name in given.bands)
    apart = np.abs(10 * np.log10(np.maximum(linear, 1e-10)) - decibel).max()
    certain = radar or (unnamed and bool(apart <= DECIBELS))
    return Finding("linear" if kind == "linear" else "decibel", certain=certain)


def _scale(before: Array, now: Array, units: set[str]) -> Finding | None:
    """Another scale changes all bands, and both the level and the range of their values."""
    spans = [values[:, 2] - values[:, 0] for values in (before, now)]
    levels = [np.abs(values[:, ::2]).max(axis=1) for values in (before, now)]
    spread = (spans[0] > 0) & (spans[1] > 0)
    if not spread.any():
        return Finding("constant", certain=False) if (spans[0] > 0).any() else None
    of_spans, of_levels = (after[spread] / first[spread] for first, after in (spans, levels))
    least = float(np.minimum(of_spans, of_levels).min())
    most = float(np.maximum(of_spans, of_levels).max())
    allowed = RADAR_RANGE if units & {"power", "coherency"} else SCALE_RANGE
    if 1 / allowed <= most and least <= allowed:
        return None
    (small, typical), (large, _) = (
        ((levels[1], now), (levels[0], before))
        if most < 1 / allowed
        else ((levels[0], before), (levels[1], now))
    )
    # 0..1 against counts: open sea is as dark as that, but in whole numbers.
    medians = typical[:, 1]
    fractions = bool((2 * medians != np.rint(2 * medians)).mean() >= 0.5)
    of_one = fractions and small.max() <= 2 and large.max() >= 10
    beyond = most < 1 / (allowed * IMPOSSIBLE) or least > allowed * IMPOSSIBLE
    return Finding("scale", float(np.median(of_spans)), bool(of_one or beyond))


def dark_ends(before: Array, now: Array) -> tuple[Array, Array]:
    """The low quantiles of the bands where neither is 0, Sentinel-2's own nodata, often untagged.

    Args:
        before: (C, 3) typical values.
        now: The same of the other image.
    """
    known = (before[:, 0] > 0) & (now[:, 0] > 0)
    return before[known, 0], now[known, 0]


def _offset(before: Array, now: Array) -> Finding | None:
    """Whether the dark ends of all bands differ by what Sentinel-2's baseline 04.00 added."""
    before, now = dark_ends(before, now)
    if not len(before):
        return None
    for kind, low, high in (("added", before, now), ("not added", now, before)):
        if low.min() < sentinel2.ADDED / 2 and high.min() >= sentinel2.ADDED:
            dark = low < DARK
            shift = (high - low)[dark]
            alike = SHIFT[0] <= shift.min() and shift.max() <= SHIFT[1]
            certain = bool(alike and dark.sum() > 1)
            return Finding("added" if kind == "added" else "not added", certain=certain)
    return None
