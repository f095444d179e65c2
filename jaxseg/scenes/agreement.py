"""Checks that an input matches what a network was trained on, and says what to do if it does not.

A network trained on reflectance times 10 000 returns plausible logits for reflectance of 0..1
without any warning; here such an input is rejected.
"""

import re

import numpy as np

from jaxseg.errors import UserError
from jaxseg.scenes import values
from jaxseg.scenes.remedies import conversion, explained
from jaxseg.scenes.sensor import Sensor, canonical, listed
from jaxseg.scenes.source_flags import SourceFlags

WAVELENGTH_TOLERANCE = 10.0
"""Nanometres by which two bands of the same name may differ."""


PIXEL_SIZES = 0.1
"""Share by which pixels may be larger than those of the training."""


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


_ERRORS: dict[str, type[SensorError]] = {
    "linear": UnitError,
    "decibel": UnitError,
    "constant": UnitError,
    "scale": ScaleError,
    "added": BaselineError,
    "not added": BaselineError,
}


def refuse_other(
    trained: Sensor, given: Sensor, where: str, flags: SourceFlags = SourceFlags()
) -> tuple[str, ...]:
    """Compares an input with what a network was trained on.

    Facts that are unknown on either side are not compared. Band names are compared regardless of
    case and leading zeros (B2 is B02); default names (band1, band2, ...) are not compared. Values
    are rejected only where no scene explains them; see `jaxseg.scenes.values`.

    Args:
        trained: The sensor of the run.
        given: The sensor of the input.
        where: What messages call the input.
        flags: How the input is read now, and the flags that change it.

    Returns:
        What is unusual but may be the scene itself, as sentences.

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
    finding = values.difference(trained, given)
    if finding is None:
        return ()
    said = explained(finding, trained, given, where, flags)
    if finding.certain or (finding.kind == "constant" and flags.convert):
        raise _ERRORS[finding.kind](flags.or_same(said))
    return (said,)


def refuse_pixel_size(trained: Sensor, gsd: float | None, where: str, cure: str) -> None:
    """Compares the size of the pixels with that of the training, where both are known.

    Args:
        trained: The sensor of the run.
        gsd: Metres per pixel of the input; None = not known.
        where: What messages call the input.
        cure: What to do, as a sentence.

    Raises:
        PixelSizeError: They differ by more than `PIXEL_SIZES`.
    """
    if gsd is None or trained.gsd is None or same_pixel_size(gsd, trained.gsd):
        return
    raise PixelSizeError(
        f"{where} has pixels of {gsd:.4g} m, the images of the training {trained.gsd:.4g} m: "
        f"objects have another size in pixels. {cure}"
    )


def same_pixel_size(one: float, other: float) -> bool:
    """Whether two pixel sizes in metres differ by at most `PIXEL_SIZES`."""
    return 1 / (1 + PIXEL_SIZES) <= one / other <= 1 + PIXEL_SIZES


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
                    f"Give files with these bands, or, if they have other names there, "
                    f"{flags.prefix}.band-names {' '.join(trained.bands)}"
                )
            )
        order = flags.remedy(
            "Read them in that order: " + flags.bands([there.index(name) for name in wanted])
        )
        raise BandOrderError(
            f"{where} has the bands {listed(given.bands)}; the network was trained on "
            f"{listed(trained.bands)}. "
            + (order if len(wanted) < len(there) else flags.or_same(order))
        )
    if trained.wavelengths and given.wavelengths:
        apart = np.abs(np.subtract(trained.wavelengths, given.wavelengths))
        if apart.max() > WAVELENGTH_TOLERANCE:
            band = int(apart.argmax())
            told = (
                f"{where}: band {given.bands[band]} is at {given.wavelengths[band]:g} nm, where "
                f"the network was trained on {trained.wavelengths[band]:g} nm. Choose or resample "
                "bands by their wavelengths."
            )
            raise BandOrderError(flags.or_same(told))


def _compare_units(trained: Sensor, given: Sensor, where: str, flags: SourceFlags) -> None:
    if trained.unit and given.unit and trained.unit != given.unit:
        cure = conversion(given.unit, trained.unit, flags)
        raise UnitError(
            flags.or_same(
                f"{where} is in {given.unit}; the network was trained on {trained.unit}. {cure}"
            )
        )


def _compare_scales(trained: Sensor, given: Sensor, where: str, flags: SourceFlags) -> None:
    if trained.scale is None or given.scale is None:
        return
    if not np.isclose(trained.scale, given.scale):
        cure = flags.remedy(f"Read them with {flags.times(given.scale / trained.scale)}")
        raise ScaleError(
            flags.or_same(
                f"{where} has scale {given.scale:g}; the network was trained on values of scale "
                f"{trained.scale:g}. {cure}"
            )
        )
    if not np.isclose(trained.offset, given.offset):
        cure = flags.remedy(
            f"Add {(given.offset - trained.offset) / given.scale:g} to the values of the files and "
            "correct their tags."
        )
        raise ScaleError(
            flags.or_same(
                f"{where} has offset {given.offset:g}; the network was trained on values of offset "
                f"{trained.offset:g}. {cure}"
            )
        )


def _named(names: list[str]) -> bool:
    """Whether these are unique band names that were given, not default ones (band1, ...)."""
    return len(set(names)) == len(names) and not any(re.fullmatch(r"band\d+", n) for n in names)
