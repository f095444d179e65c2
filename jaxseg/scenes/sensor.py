"""`Sensor`: what the numbers of an image are.

Every source states its sensor, and every run stores it with the numbers typical of its training
pixels; `jaxseg.scenes.agreement` compares the two.
"""

import dataclasses
import re
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError

Unit = Literal[
    "", "digital number", "reflectance", "amplitude", "power", "decibel", "coherency", "radiance"
]
"""Of `scale` x number + `offset`; power is linear backscatter or intensity, "" is not known."""

Typical = tuple[tuple[float, ...], ...]
"""Quantiles of each band."""

QUANTILES = (0.01, 0.5, 0.99)
"""What `Sensor.typical` holds of each band."""


@dataclasses.dataclass(frozen=True)
class Sensor:
    """What the numbers of an image mean: physical quantity = `scale` x number + `offset`.

    Attributes:
        bands: Name of each band, in the order of the image's last axis.
        wavelengths: Centre of each band in nanometres, 0 where it has none; () = not known.
        polarisations: Of each band, such as VV; () = not a radar, or told by names of matrices.
        unit: Unit of the quantity.
        scale: What a number is multiplied by; None = not known.
        offset: What is added then.
        nodata: Number that means no data; None = there is none, or every file tells its own.
        gsd: Ground sample distance, metres a pixel; None = not known.
        typical: Quantiles `QUANTILES` of each band's valid training pixels; () = not measured.
    """

    bands: tuple[str, ...]
    wavelengths: tuple[float, ...] = ()
    polarisations: tuple[str, ...] = ()
    unit: Unit = ""
    scale: float | None = None
    offset: float = 0.0
    nodata: float | None = None
    gsd: float | None = None
    typical: Typical = ()

    def __post_init__(self) -> None:
        """Refuses what cannot be.

        Raises:
            UserError: A field has another length than the bands, or the unit is none.
        """
        for name in ("wavelengths", "polarisations", "typical"):
            values = getattr(self, name)
            if values and len(values) != len(self.bands):
                raise UserError(
                    f"{name} has {len(values)} entries for {len(self.bands)} band(s) "
                    f"({listed(self.bands)}): give one each, in their order, or none."
                )
        if self.unit not in get_args(Unit):
            known = ", ".join(repr(unit) for unit in get_args(Unit) if unit)
            raise UserError(f"Unit {self.unit!r}: choose one of {known}, or '' for not known.")
        if self.scale == 0:
            raise UserError("Scale 0 leaves nothing of the numbers: give another, or None.")


def stacked(first: Sensor, second: Sensor) -> Sensor:
    """The sensor of images that hold the bands of both; what differs is not known."""

    def both(name: str) -> tuple[float | str, ...]:
        one, other = getattr(first, name), getattr(second, name)
        return (*one, *other) if one and other else ()

    def agreed(name: str) -> object:
        one, other = getattr(first, name), getattr(second, name)
        return one if one == other else Sensor.__dataclass_fields__[name].default

    return dataclasses.replace(
        first,
        bands=first.bands + second.bands,
        typical=(),
        **{name: both(name) for name in ("wavelengths", "polarisations")},  # type: ignore[arg-type]
        **{name: agreed(name) for name in ("unit", "scale", "offset", "nodata")},  # type: ignore[arg-type]
    )


def of_bands(sensor: Sensor, bands: slice) -> Sensor:
    """The sensor of some of the bands."""
    cut = {
        name: getattr(sensor, name)[bands]
        for name in ("bands", "wavelengths", "polarisations", "typical")
    }
    return dataclasses.replace(sensor, **cut)


def typical_numbers(pixels: NDArray[np.generic]) -> Typical:
    """Quantiles of each band, (N, C) -> C times `QUANTILES`, to three digits; N must not be 0."""
    quantiles = np.quantile(pixels.astype(np.float64), QUANTILES, axis=0).T
    return tuple(tuple(float(f"{value:.3g}") for value in band) for band in quantiles)


def canonical(name: str) -> str:
    """A band's name as it is compared: R is red, B02 is b2, case and spaces do not count."""
    plain = re.sub(r"[\s_-]+", "", name).lower()
    plain = re.sub(r"^b0*(\d+)", r"b\1", plain)
    return {"r": "red", "g": "green", "b": "blue", "nearinfrared": "nir"}.get(plain, plain)


def listed(names: tuple[str, ...] | list[str]) -> str:
    """Names for a message; of more than twelve the first four, the last and their number."""
    if len(names) <= 12:
        return ", ".join(names)
    return f"{', '.join(names[:4])}, ... {names[-1]} ({len(names)})"
