"""`Sensor`: what the values of an image mean.

Every source states its sensor, and every run stores it with the typical values of its training
pixels; `jaxseg.scenes.agreement` compares the two.
"""

import dataclasses
import re
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError

Unit = Literal[
    "", "digital number", "reflectance", "amplitude", "power", "decibel", "coherency", "radiance"
]
"""Unit of `scale` x value + `offset`; power is linear backscatter or intensity, "" is unknown."""

Typical = tuple[tuple[float, ...], ...]
"""Quantiles of each band."""

QUANTILES = (0.01, 0.5, 0.99)
"""The quantiles that `Sensor.typical` holds for each band."""


@dataclasses.dataclass(frozen=True)
class Sensor:
    """What the values of an image mean: physical quantity = `scale` x value + `offset`.

    Attributes:
        bands: Name of each band, in the order of the image's last axis.
        wavelengths: Centre of each band in nanometres, 0 if a band has none; () = not known.
        polarisations: Polarisation of each band, such as VV; () = not a radar, or given by the
            band names (matrix elements).
        unit: Unit of the quantity.
        scale: Factor that a value is multiplied by; None = not known.
        offset: Added after scaling.
        nodata: Value that means no data; None = no such value, or stated by each file.
        gsd: Ground sample distance in metres per pixel; None = not known.
        typical: Quantiles `QUANTILES` of each band's valid training pixels; () = not measured.
    """

    bands: tuple[str, ...]
    wavelengths: tuple[float, ...] = ()
    polarisations: tuple[str, ...] = ()
    unit: Unit = ""
    scale: float | None = None
    offset: float = 0.0
    nodata: float | None = dataclasses.field(default=None, metadata={"may_be_nan": True})
    gsd: float | None = None
    typical: Typical = ()

    def __post_init__(self) -> None:
        """Rejects inconsistent fields.

        Raises:
            UserError: A field has another length than the bands, the unit is unknown, or the
                scale is 0.
        """
        for name in ("wavelengths", "polarisations", "typical"):
            values = getattr(self, name)
            if values and len(values) != len(self.bands):
                raise UserError(
                    f"{name} has {len(values)} entries for {len(self.bands)} band(s) "
                    f"({listed(self.bands)}): give one per band, in their order, or none."
                )
        if self.unit not in get_args(Unit):
            known = ", ".join(repr(unit) for unit in get_args(Unit) if unit)
            raise UserError(f"Unit {self.unit!r}: choose one of {known}, or '' for not known.")
        if self.scale == 0:
            raise UserError("Scale 0 makes every value the same: give another, or None.")


def stacked(first: Sensor, second: Sensor) -> Sensor:
    """The sensor of images that hold the bands of both; facts that differ become unknown."""

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
    """`QUANTILES` of each band of (N, C) pixels, to three digits; N must not be 0."""
    quantiles = np.quantile(pixels.astype(np.float64), QUANTILES, axis=0).T
    return tuple(tuple(float(f"{value:.3g}") for value in band) for band in quantiles)


def canonical(name: str) -> str:
    """A band's name in the form that is compared: R is red, B02 is b2; lower case, no spaces."""
    plain = re.sub(r"[\s_-]+", "", name).lower()
    plain = re.sub(r"^b0*(\d+)", r"b\1", plain)
    return {"r": "red", "g": "green", "b": "blue", "nearinfrared": "nir"}.get(plain, plain)


def visible(bands: Sequence[str]) -> list[int]:
    """The places of red, green and blue by name (also Sentinel-2's), else 1 to 3, else 1 alone."""
    names = [name.lower() for name in bands]
    for wanted in (("red", "green", "blue"), ("b04", "b03", "b02"), ("b4", "b3", "b2")):
        if all(name in names for name in wanted):
            return [names.index(name) for name in wanted]
    return [0, 1, 2] if len(names) >= 3 else [0, 0, 0]


def listed(names: tuple[str, ...] | list[str]) -> str:
    """Names for a message; if more than twelve, the first four, the last and the count."""
    if len(names) <= 12:
        return ", ".join(names)
    return f"{', '.join(names[:4])}, ... {names[-1]} ({len(names)})"
