"""A corruption: what nature, sensor or processing does to an image, in its physical unit.

    image (B, H, W, C) raw values  ->  the same shape and unit, float32

It acts on raw sensor values, before the radiometry of a run. Its strength is an argument of the
compiled program, not a constant, so that one program serves all strengths; at the strength `none`
the image comes back bit by bit. Pixels without data are 0, add nothing to their neighbours, and
stay without data. Values are neither rounded to whole numbers nor cut off where a file type ends.

The physics is in `jaxseg.physics`; the idea of curves over strengths is that of ImageNet-C.

Source: Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations, ICLR 2019. Kinds and units are of Earth observation, and our choice.
"""

from typing import ClassVar, Protocol, runtime_checkable

import jax.numpy as jnp
from jax import Array

from jaxseg.physics.sar import RadarUnit
from jaxseg.scenes.sensor import Sensor

RADAR: dict[str, RadarUnit] = {
    "power": "intensity",
    "amplitude": "amplitude",
    "decibel": "decibel",
}
"""Units of radar images -> what `jaxseg.physics.sar` calls them."""


@runtime_checkable
class Corruption(Protocol):
    """One kind of corruption, as a value.

    Attributes:
        name: In tables and flags.
        unit: Unit of its strength.
        none: The strength that changes nothing.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    none: ClassVar[float]

    def refused(self, sensor: Sensor) -> str:
        """Why it does not exist for this sensor; empty if it does."""

    def strengths(self, sensor: Sensor) -> tuple[float, ...]:
        """Strengths from weak to strong."""

    def meaning(self, strength: float, sensor: Sensor) -> str:
        """A strength in words; empty if its unit says all."""

    def corrupted(
        self, key: Array, image: Array, valid: Array, strength: Array, sensor: Sensor
    ) -> Array:
        """The corrupted image, of a strength other than `none`.

        Args:
            key: Random key.
            image: (B, H, W, C) float32 raw values, 0 where there are no data.
            valid: (B, H, W) bool.
            strength: () float32.
            sensor: What the values mean.
        """


def corrupted(
    corruption: Corruption,
    key: Array,
    image: Array,
    valid: Array,
    strength: Array,
    sensor: Sensor,
) -> Array:
    """The image with a corruption of this strength; bit by bit the same at `corruption.none`.

    Args:
        corruption: Its kind; `refused` must be empty for the sensor.
        key: Random key.
        image: (B, H, W, C) raw values of any real type; NaN allowed where invalid.
        valid: (B, H, W) bool.
        strength: () float32.
        sensor: What the values mean.

    Returns:
        (B, H, W, C) float32, 0 where there are no data.
    """
    mask = valid[..., None]
    clean = jnp.where(mask, image.astype(jnp.float32), 0.0)
    changed = corruption.corrupted(key, clean, valid, strength, sensor)
    return jnp.where(mask & (strength != corruption.none), changed, clean)


def is_radar(sensor: Sensor) -> bool:
    """Whether the images are of a radar."""
    return sensor.unit in (*RADAR, "coherency") or bool(sensor.polarisations)


def radar_unit(sensor: Sensor) -> RadarUnit:
    """The unit of a radar image that has one."""
    return RADAR[sensor.unit]


def physical(image: Array, sensor: Sensor) -> Array:
    """Raw values -> the physical quantity; of an unknown scale, the values themselves."""
    return image * _scale(sensor) + sensor.offset


def raw(quantity: Array, sensor: Sensor) -> Array:
    """The inverse of `physical`."""
    return (quantity - sensor.offset) / _scale(sensor)


def _scale(sensor: Sensor) -> float:
    return 1.0 if sensor.scale is None else sensor.scale
