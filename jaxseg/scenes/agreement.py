"""Checks that an input matches what a network was trained on, and says what to do if it does not.

A network trained on reflectance times 10 000 returns plausible logits for reflectance of 0..1
without any warning; here such an input is rejected.
"""

import re

import numpy as np

from jaxseg.errors import UserError
from jaxseg.scenes import sentinel2
from jaxseg.scenes.sensor import Sensor, canonical, listed
from jaxseg.scenes.source_flags import SourceFlags

SCALE_RANGE = 30.0
"""Ratio of value ranges that a change of scale explains and a change of scene does not."""


RADAR_RANGE = 1000.0
"""The same for power: calm water and a town differ by 30 dB."""


WAVELENGTH_TOLERANCE = 10.0
"""Nanometres by which two bands of the same name may differ."""


class SensorError(UserError):
    """The input is of another sensor than the run's, or its values mean something else."""


class MissingBandError(SensorError):
    """A band that the network was trained on is missing."""


class BandOrderError(SensorError):
    """All bands are present, but in another order or among others."""


class UnitError(SensorError):
    """The values are in another unit: decibel against power, coherency against decibel."""


class ScaleError(SensorError):
    """The values are of the same kind but on another scale: 0..1 against 0..10 000."""


class BaselineError(ScaleError):
    """Only one of the two includes the 1000 that Sentinel-2's baseline 04.00 added."""


class PixelSizeError(SensorError):
    """The pixels are larger or smaller than those of the training."""


def refuse_other(
    trained: Sensor, given: Sensor, where: str, flags: SourceFlags = SourceFlags()
) -> None:
    """Compares an input with what a network was trained on.

    Facts that are unknown on either side are not compared. Band names are compared regardless of
    case and leading zeros (B2 is B02); default names (band1, band2, ...) are not compared.

    Args:
        trained: The sensor of the run.
        given: The sensor of the input.
        where: What messages call the input.
        flags: How the input is read now, and the flags that change it.

    Raises:
        MissingBandError: A band of the run is missing.
        BandOrderError: The bands are in another order, or there are more of them.
        UnitError: The values are in another unit, as stated or judging by their signs.
        ScaleError: They have another scale or offset, as stated or judging by their range.
        BaselineError: Sentinel-2 bands, and only one of the two has values below 1000.
    """
    _compare_bands(trained, given, where, flags)
    _compare_units(trained, given, where, flags)
    _compare_scales(trained, given, where, flags)
    _compare_baselines(trained, given, where, flags)


def _compare_bands(trained: Sensor, given: Sensor, where: str, flags: SourceFlags) -> None:
    wanted, there = [canonical(n) for n in trained.bands], [canonical(n) for n in given.bands]
    if not (_named(wanted) and _named(there)):
        if len(wanted) != len(there):
            kind = MissingBandError if len(there) < len(wanted) else BandOrderError
            raise kind(
                f"{where} has {len(there)} band(s) ({listed(given.bands)}); the network was "
                f"trained on {len(wanted)} ({listed(trained.bands)}). "
                + flags.remedy(
                    f"Give these, in that order: {flags.prefix}.band-numbers chooses the bands of "
                    "files."
                )
            )
    elif wanted != there:
        missing = [n for n, c in zip(trained.bands, wanted, strict=True) if c not in there]
        if missing:
            raise MissingBandError(
                f"{where} has no band {listed(missing)}; it has {listed(given.bands)}, and the "
                f"network was trained on {listed(trained.bands)}. "
                + flags.remedy(
                    f"Give files with these bands, name them by {flags.prefix}.band-names if they "
                    "have other names there, or train without them."
                )
            )
        raise BandOrderError(
            f"{where} has the bands {listed(given.bands)}; the network was trained on "
            f"{listed(trained.bands)}. "
            + flags.remedy(
                "Read them in that order: " + flags.bands([there.index(name) for name in wanted])
            )
        )
    if trained.wavelengths and given.wavelengths:
        apart = np.abs(np.subtract(trained.wavelengths, given.wavelengths))
        if apart.max() > WAVELENGTH_TOLERANCE:
            band = int(apart.argmax())
            raise BandOrderError(
                f"{where}: band {given.bands[band]} is at {given.wavelengths[band]:g} nm, where "
                f"the network was trained on {trained.wavelengths[band]:g} nm. Choose or resample "
                "bands by their wavelengths."
            )


def _compare_units(trained: Sensor, given: Sensor, where: str, flags: SourceFlags) -> None:
    if trained.unit and given.unit and trained.unit != given.unit:
        raise UnitError(
            f"{where} is in {given.unit}; the network was trained on {trained.unit}. "
            f"{_conversion(given.unit, trained.unit, flags)}"
        )
    if not (trained.typical and given.typical):
        return
    before, now = np.array(trained.typical), np.array(given.typical)
    # Backscatter in decibel is negative; power and amplitude never are.
    if (before[:, 1] < 0).all() and (now[:, 0] >= 0).all():
        raise UnitError(
            f"{where}: no value is below 0 (the median of {given.bands[0]} is "
            f"{now[0, 1]:g}); the network was trained on {trained.unit or 'values'} below 0 "
            f"({before[0, 1]:g}), as decibel values are. "
            f"{_conversion(given.unit or 'power', 'decibel', flags)}"
        )
    if (before[:, 0] >= 0).all() and (now[:, 1] < 0).all():
        raise UnitError(
            f"{where}: most values are below 0 (the median of {given.bands[0]} is "
            f"{now[0, 1]:g}), as decibel values are; the network was trained on "
            f"{trained.unit or 'values'} that never are ({before[0, 1]:g}). "
            f"{_conversion('decibel', trained.unit or 'power', flags)}"
        )


def _compare_scales(trained: Sensor, given: Sensor, where: str, flags: SourceFlags) -> None:
    if trained.scale is not None and given.scale is not None:
        if not np.isclose(trained.scale, given.scale):
            raise ScaleError(
                f"{where} has scale {given.scale:g}; the network was trained on values of scale "
                f"{trained.scale:g}. "
                + flags.remedy(f"Read them with {flags.times(given.scale / trained.scale)}")
            )
        if not np.isclose(trained.offset, given.offset):
            raise ScaleError(
                f"{where} has offset {given.offset:g}; the network was trained on values of "
                f"offset {trained.offset:g}. "
                + flags.remedy(
                    f"Add {(given.offset - trained.offset) / given.scale:g} to the values of the "
                    "files and correct their tags."
                )
            )
    if not (trained.typical and given.typical):
        return
    before, now = (np.array(s.typical)[:, 2] - np.array(s.typical)[:, 0] for s in (trained, given))
    spread = (before > 0) & (now > 0)
    if not spread.any():
        if flags.convert and (before > 0).any():
            raise UnitError(
                f"{where}: after {flags.convert} every value is {given.typical[0][1]:g}, so the "
                f"values are not {flags.convert.partition('-')[0]}. "
                f"{_conversion(given.unit, trained.unit, flags)}"
            )
        return
    ratio = float(np.median(now[spread] / before[spread]))
    linear = "power" in (trained.unit, given.unit) or "coherency" in (trained.unit, given.unit)
    allowed = RADAR_RANGE if linear else SCALE_RANGE
    if not 1 / allowed < ratio < allowed:
        factor = min((255.0, 65535.0, *10.0 ** np.arange(1, 9)), key=lambda f: abs(_log(f, ratio)))
        raise ScaleError(
            f"{where}: the values span {ratio:.2g} times the range that the network was "
            f"trained on (1 to 99 % of {given.bands[0]}: {given.typical[0][0]:g} to "
            f"{given.typical[0][2]:g}, in training {trained.typical[0][0]:g} to "
            f"{trained.typical[0][2]:g}). "
            + flags.remedy(
                "If they are the same quantity, read them with "
                + flags.times(factor if ratio < 1 else 1 / factor)
            )
        )


def _compare_baselines(trained: Sensor, given: Sensor, where: str, flags: SourceFlags) -> None:
    sentinel2s = all(re.fullmatch(r"b\d+a?", canonical(name)) for name in trained.bands)
    if not (sentinel2s and trained.typical and given.typical) or given.scale is not None:
        return  # another sensor, not measured, or the scale is stated: nothing to guess
    before, now = (min(band[0] for band in s.typical) for s in (trained, given))
    if before < sentinel2.ADDED / 2 and now >= sentinel2.ADDED:
        raise BaselineError(
            f"{where}: hardly any value is below {now:g}, in training {before:g}: these seem to be "
            f"Sentinel-2 products of processing baseline 04.00 or later, which add "
            f"{sentinel2.ADDED}, and no tag or name says so. "
            + flags.remedy(f"Read them with {flags.prefix}.added {sentinel2.ADDED}")
        )
    if now < sentinel2.ADDED / 2 and before >= sentinel2.ADDED:
        raise BaselineError(
            f"{where}: values begin at {now:g}, in training at {before:g}: the network seems to "
            "have been trained on Sentinel-2 products of processing baseline 04.00 or later "
            f"without correction. Train it with {flags.prefix}.added {sentinel2.ADDED}"
        )


def _named(names: list[str]) -> bool:
    """Whether these are unique band names that were given, not default ones (band1, ...)."""
    return len(set(names)) == len(names) and not any(re.fullmatch(r"band\d+", n) for n in names)


def _conversion(given: str, wanted: str, flags: SourceFlags) -> str:
    if flags.fixed:
        return flags.remedy("")
    if flags.convert:
        return f"Read it without {flags.prefix}.convert {flags.convert}."
    if wanted == "decibel" and given in ("power", "amplitude"):
        formula = "10 log10(power)" if given == "power" else "20 log10(amplitude)"
        return f"Read it with {flags.prefix}.convert {given}-to-decibel, which is {formula}."
    if given == "decibel" and wanted == "power":
        return f"Read it with {flags.prefix}.convert decibel-to-power, which is 10^(decibel/10)."
    return f"Convert the files to {wanted}, or give {flags.prefix}.unit {wanted!r} if they are."


def _log(factor: float, ratio: float) -> float:
    return abs(float(np.log(ratio))) - float(np.log(factor))
