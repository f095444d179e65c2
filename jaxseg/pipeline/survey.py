"""A look at data before anything is trained: what a sample of each split holds, and what is odd.

Windows are spread over the scenes of a split, so that a million files or one scene of 10^10 pixels
take seconds; every number is that of the sample, which is stated.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import MissingSplit
from jaxseg.pipeline.band_statistics import spread_windows
from jaxseg.scenes.scene import IGNORE, Doubted, OfFiles, Source, Window, gsd_of, in_files

WINDOWS = 64
"""Windows of a split that are looked at."""

SIDE = 512
"""Their maximum rows and columns."""

VALUES = 4000
"""Pixels of each window whose values are kept."""

NUMBERS = 20_000_000
"""Numbers of a split that are kept at most, which bounds the pixels of images of many bands."""


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
    """What a sample of a split holds.

    Attributes:
        split: The split.
        scenes: Number of scenes.
        files: Number of files that these are in, fewer if scenes are blocks of files.
        seen: Number of scenes that were looked at.
        sizes: Smallest and largest (rows, columns) of all scenes.
        gsds: Smallest and largest ground sample distance of the scenes looked at, in metres; None =
            not known.
        crs: Reference systems of the scenes looked at, as text.
        whole: Whether every pixel was looked at.
        dtype: Data type of the values.
        pixels: Number of pixels looked at.
        invalid: Share of them without data, 0..1.
        blank: Names of scenes without a pixel with data in what was looked at.
        ignored: Share of the others without a label.
        classes: Labelled pixels of each class, (K,).
        values: Values of valid pixels, (N, C).
        doubts: What the scenes themselves doubt: kind -> a sentence.
    """

    split: str
    scenes: int
    files: int
    seen: int
    sizes: tuple[tuple[int, int], tuple[int, int]]
    gsds: tuple[float, float] | None
    crs: tuple[str, ...]
    whole: bool
    dtype: str
    pixels: int
    invalid: float
    blank: tuple[str, ...]
    ignored: float
    classes: NDArray[np.int64]
    values: NDArray[np.generic]
    doubts: dict[str, str]

    @property
    def unit(self) -> str:
        """What the scenes are called: blocks if they are parts of files."""
        return "block(s)" if self.files < self.scenes else "scene(s)"


Place = tuple[int, Window]
"""A window of a scene."""


def survey(
    source: Source,
    split: str,
    tracked: Callable[[list[Place]], Iterable[Place]] = lambda places: places,
) -> Survey | None:
    """Looks at a split; None if the data have no such split.

    Args:
        source: The data.
        split: `train`, `validation` or `test`.
        tracked: Shows progress over the windows.

    Raises:
        UserError: Files are missing or cannot be read.
    """
    try:
        scenes = source.scenes(split)
    except MissingSplit:
        return None
    if not len(scenes):
        return None
    sizes = {scenes.size(index) for index in range(len(scenes))}
    crop = min(SIDE, max(map(max, sizes)))
    kept = min(VALUES, max(1, NUMBERS // (WINDOWS * len(source.sensor.bands))))
    parts: list[NDArray[np.generic]] = []
    seen: dict[int, int] = {}  # scene -> pixels with data
    counts = np.zeros(len(source.classes), np.int64)
    pixels = valid = labelled = 0
    looked: list[Place] = []
    for scene, window in tracked(list(spread_windows(scenes, crop, WINDOWS))):
        height, width = scenes.size(scene)
        rows, columns = min(crop, height - window.y), min(crop, width - window.x)
        inside = Window(window.y, window.x, rows, columns)
        looked.append((scene, inside))
        sample = scenes.read(scene, inside)
        known = sample["valid"].astype(bool)
        label = sample["label"][known]
        label = label[label != IGNORE].astype(np.int64)
        counts += np.bincount(label, minlength=len(counts))[: len(counts)]
        values = sample["image"][known]
        parts.append(values[:: max(1, len(values) // kept)])
        seen[scene] = seen.get(scene, 0) + len(values)
        pixels, valid, labelled = pixels + known.size, valid + len(values), labelled + len(label)
    values = np.concatenate(parts)
    every = [scenes.size(scene) for scene in seen]
    gsds = [gsd for scene in seen if (gsd := gsd_of(scenes, scene, source)) is not None]
    extents = (scenes.extent(scene) for scene in seen) if isinstance(scenes, OfFiles) else ()
    crs = {extent.ground.crs for extent in extents if extent.ground is not None}
    return Survey(
        split=split,
        scenes=len(scenes),
        files=in_files(scenes),
        seen=len(seen),
        sizes=(min(sizes), max(sizes)),
        gsds=(min(gsds), max(gsds)) if gsds else None,
        crs=tuple(sorted(crs)),
        whole=len(seen) == len(scenes) and pixels == sum(h * w for h, w in every),
        dtype=str(values.dtype),
        pixels=pixels,
        invalid=1 - valid / pixels,
        blank=tuple(scenes.name(scene) for scene, known in seen.items() if not known),
        ignored=1 - labelled / valid if valid else 0.0,
        classes=counts,
        values=values,
        doubts=scenes.doubts(looked) if isinstance(scenes, Doubted) else {},
    )


def findings(surveys: Sequence[Survey], source: Source, *, absent: bool = True) -> list[str]:
    """What a person should know before training, a sentence each; nothing if nothing is odd.

    Args:
        surveys: Of the splits.
        source: What they are surveys of.
        absent: Whether it is odd if the training shows a class nowhere.
    """
    classes, bands = source.classes, source.sensor.bands
    train = next((found for found in surveys if found.split == "train"), None)
    lines = [] if train is None or not absent else _absent(train, surveys, classes)
    lines += _fills(surveys, bands)
    named: set[str] = set()
    for found in surveys:
        if found.invalid > 0.5:
            lines.append(
                f"{_percent(found.invalid)} of the pixels of the {found.split} split that were "
                "looked at are without data."
            )
        elif found.files == found.scenes and not named.issuperset(found.blank):
            named.update(found.blank)  # strips of one scene are blank in every split
            where = "at all" if found.whole else "where they were looked at"
            lines.append(
                f"{len(found.blank)} of {found.seen} {found.split} scene(s) have no data {where}, "
                f"such as {found.blank[0]}."
            )
    doubts: dict[str, str] = {}
    for found in surveys:
        doubts = found.doubts | doubts  # one sentence of a kind, of the first split that has it
    return [*lines, *doubts.values()]


def _absent(train: Survey, surveys: Sequence[Survey], classes: Sequence[str]) -> list[str]:
    """Classes that the training does not show."""
    lines = []
    where = (
        "no training pixel" if train.whole else f"no pixel in {train.seen} training {train.unit}"
    )
    for number, name in enumerate(classes):
        if train.classes[number] or not train.classes.sum():
            continue
        others = [found.split for found in surveys if found.classes[number]]
        also = f" (but some in {' and '.join(others)})" if others else ""
        seen = "" if train.whole else f" looked at (of {train.scenes})"
        lines.append(f"Class {name!r} has {where}{seen}{also}: it cannot be learned.")
    return lines


FILLS = (-9999.0, -32768.0, -32767.0, -999.0, 65535.0, 1e20)
"""Values that commonly mean no data, as do the ends of the range of float32."""

LEVELS = 10
"""Other values that a band has at least; of a few levels, none is far from the rest."""


def _fills(surveys: Sequence[Survey], bands: Sequence[str]) -> list[str]:
    """Values that are far outside of all others and exact: no data without a tag."""
    found: dict[float, str] = {}
    for survey, (band, name) in itertools.product(surveys, enumerate(bands)):
        values = survey.values[:, band].astype(np.float64)
        if not len(values):
            continue
        for end in map(float, (values.min(), values.max())):
            rest = values[values != end]
            share = 1 - len(rest) / len(values)
            usual = any(math.isclose(end, fill, rel_tol=1e-6) for fill in FILLS) or abs(end) > 1e38
            if end in found or share < (0.001 if usual else 0.005) or not len(rest):
                continue
            nearest = float(rest.min() if end < rest[0] else rest.max())
            low, high = np.quantile(rest, (0.01, 0.99))
            if abs(nearest - end) <= (0.5 if usual else 3) * (high - low):
                continue
            if len(np.unique(rest)) >= LEVELS:
                found[end] = (
                    f"{end:.8g} in {_percent(share)} of the pixels of the {survey.split} split "
                    f"(band {name}) is far from all other values, of which the nearest is "
                    f"{nearest:.6g}. If it means no data, give --config.data.source.nodata "
                    f"{end:.8g}."
                )
    return list(found.values())


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
