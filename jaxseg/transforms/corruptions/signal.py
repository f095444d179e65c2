"""Corruptions of the signal of each pixel: speckle, haze, stripes, missing bands.

See `jaxseg.transforms.corruptions.corruption`.
"""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from jaxseg.errors import NOT_NEGATIVE, check_ranges
from jaxseg.physics import haze, polsar, sar
from jaxseg.scenes.sensor import Sensor, canonical
from jaxseg.transforms.corruptions.corruption import (
    RADAR,
    is_radar,
    physical,
    radar_unit,
    raw,
)

WAVELENGTHS = {
    **{"blue": 490.0, "green": 560.0, "red": 665.0, "nir": 842.0, "swir1": 1610.0, "swir2": 2190.0},
    **{"b1": 443.0, "b2": 490.0, "b3": 560.0, "b4": 665.0, "b5": 705.0, "b6": 740.0, "b7": 783.0},
    **{"b8": 842.0, "b8a": 865.0, "b9": 945.0, "b10": 1375.0, "b11": 1610.0, "b12": 2190.0},
}
"""Nanometres of bands by their names: the usual words, and Sentinel-2's numbers."""


@dataclasses.dataclass(frozen=True)
class AddedSpeckle:
    """More speckle, as of an image of fewer looks: mean 1, variance 1 / looks, on linear power.

    An image of L looks then has L looks / (L + looks + 1). Polarimetric matrices get it as a whole
    (`physics.polsar.with_speckle`), which needs more looks than the matrix has rows, less 1.
    """

    name: ClassVar = "speckle"
    unit: ClassVar = "looks"
    none: ClassVar = math.inf

    def refused(self, sensor: Sensor) -> str:
        """See the protocol."""
        if sensor.unit in RADAR or _is_matrix(sensor):
            return ""
        if is_radar(sensor):
            return "the unit of the radar image is not known"
        return "coherent waves alone have speckle, not optical images"

    def strengths(self, sensor: Sensor) -> tuple[float, ...]:
        """See the protocol."""
        return (32, 16, 8, 4, 3) if sensor.unit == "coherency" else (16, 8, 4, 2, 1)

    def meaning(self, strength: float, sensor: Sensor) -> str:
        """See the protocol."""
        return f"variance {1 / strength:.3g}"

    def corrupted(
        self, key: Array, image: Array, valid: Array, strength: Array, sensor: Sensor
    ) -> Array:
        """See the protocol."""
        quantity = physical(image, sensor)
        if sensor.unit == "coherency":
            return raw(polsar.with_speckle(key, quantity, strength), sensor)
        return raw(sar.with_speckle(key, quantity, strength, radar_unit(sensor)), sensor)


@dataclasses.dataclass(frozen=True)
class Haze:
    """A layer of haze of the same depth everywhere: `physics.haze`.

    The strength is the optical depth at 550 nm. Bands without a known wavelength (by the sensor or
    by their names) get that of 550 nm. Where the unit is not reflectance, the airlight is what the
    brightest hundredth of the training pixels shows in each band.

    Attributes:
        airlight: Reflectance 0..1 of an endlessly thick layer; 0.2 is our choice: thin layers add
            some 0.1 to 0.2 for each unit of depth.
    """

    airlight: float = dataclasses.field(default=0.2, metadata=NOT_NEGATIVE)

    name: ClassVar = "haze"
    unit: ClassVar = "optical depth"
    none: ClassVar = 0.0

    def __post_init__(self) -> None:
        """Rejects numbers outside their ranges."""
        check_ranges(self, "Haze")

    def refused(self, sensor: Sensor) -> str:
        """See the protocol."""
        if is_radar(sensor):
            return "radar sees through haze"
        if sensor.unit != "reflectance" and not sensor.typical:
            return "neither reflectance nor typical values tell how bright haze is in these images"
        return ""

    def strengths(self, sensor: Sensor) -> tuple[float, ...]:
        """See the protocol."""
        return (0.1, 0.2, 0.4, 0.8, 1.6)

    def meaning(self, strength: float, sensor: Sensor) -> str:
        """See the protocol."""
        added = 1 - math.exp(-strength)
        if sensor.unit == "reflectance":
            return f"{100 * added:.2g} % lost, {self.airlight * added:.3f} added"
        return f"{100 * added:.2g} % lost, replaced by the brightest 1 %"

    def corrupted(
        self, key: Array, image: Array, valid: Array, strength: Array, sensor: Sensor
    ) -> Array:
        """See the protocol."""
        passed = haze.transmission(strength, wavelengths(sensor))
        if sensor.unit == "reflectance":
            return raw(haze.with_haze(physical(image, sensor), passed, self.airlight), sensor)
        bright = jnp.asarray([band[-1] for band in sensor.typical], jnp.float32)
        return haze.with_haze(image, passed, bright)


@dataclasses.dataclass(frozen=True)
class Stripes:
    """Columns whose detectors differ in gain: normal, independent for each column and band.

    The strength is the standard deviation of the gain in percent of the signal.
    """

    name: ClassVar = "stripes"
    unit: ClassVar = "% of signal"
    none: ClassVar = 0.0

    def refused(self, sensor: Sensor) -> str:
        """See the protocol."""
        return "a radar has no line of detectors" if is_radar(sensor) else ""

    def strengths(self, sensor: Sensor) -> tuple[float, ...]:
        """See the protocol."""
        return (1, 2, 5, 10, 20)

    def meaning(self, strength: float, sensor: Sensor) -> str:
        """See the protocol."""
        return ""

    def corrupted(
        self, key: Array, image: Array, valid: Array, strength: Array, sensor: Sensor
    ) -> Array:
        """See the protocol."""
        size, _, width, bands = image.shape
        gain = 1 + strength / 100 * jax.random.normal(key, (size, 1, width, bands))
        return raw(physical(image, sensor) * gain, sensor)


@dataclasses.dataclass(frozen=True)
class MissingBands:
    """Bands that were not delivered, drawn for each image: they hold the value of no signal.

    That is zero of the physical quantity, or -60 dB. The strength is their number.
    """

    name: ClassVar = "missing"
    unit: ClassVar = "bands"
    none: ClassVar = 0.0

    def refused(self, sensor: Sensor) -> str:
        """See the protocol."""
        if sensor.unit == "coherency":
            return "the bands are elements of one matrix, which is there or not"
        return "" if len(sensor.bands) > 1 else "there is one band"

    def strengths(self, sensor: Sensor) -> tuple[float, ...]:
        """See the protocol."""
        bands = len(sensor.bands)
        if bands <= 5:
            return tuple(range(1, bands))
        return tuple(sorted({1, *(max(1, bands // part) for part in (8, 4, 2))}))

    def meaning(self, strength: float, sensor: Sensor) -> str:
        """See the protocol."""
        return f"{strength:g} of {len(sensor.bands)} bands"

    def corrupted(
        self, key: Array, image: Array, valid: Array, strength: Array, sensor: Sensor
    ) -> Array:
        """See the protocol."""
        size, *_, bands = image.shape
        order = jnp.argsort(jax.random.uniform(key, (size, bands)), axis=-1)
        missing = (jnp.argsort(order, axis=-1) < strength)[:, None, None]
        nothing = 10 * math.log10(sar.FLOOR) if sensor.unit == "decibel" else 0.0
        return jnp.where(missing, raw(jnp.float32(nothing), sensor), image)


def wavelengths(sensor: Sensor) -> tuple[float, ...]:
    """Of each band in nanometres, as the sensor states it or as its name says; 0 = not known."""
    if sensor.wavelengths:
        return sensor.wavelengths
    return tuple(WAVELENGTHS.get(canonical(band), 0.0) for band in sensor.bands)


def _is_matrix(sensor: Sensor) -> bool:
    return sensor.unit == "coherency" and len(sensor.bands) in (4, 9)
