"""Corruptions of where the signal lies: bands that do not match, larger pixels, JPEG.

See `jaxseg.transforms.corruptions.corruption`.
"""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from jaxseg.physics import jpeg, sar
from jaxseg.scenes.sensor import Sensor
from jaxseg.transforms.corruptions.corruption import is_radar, physical, raw


@dataclasses.dataclass(frozen=True)
class Misregistration:
    """Bands that are shifted against the first one, each into a random direction.

    The strength is the length of the shift in pixels; values between pixels are interpolated, which
    also blurs them. The label lies as the first band does.
    """

    name: ClassVar = "misregistration"
    unit: ClassVar = "pixels"
    none: ClassVar = 0.0

    def refused(self, sensor: Sensor) -> str:
        """See the protocol."""
        if is_radar(sensor):
            return "the polarisations of a radar are measured together"
        return "" if len(sensor.bands) > 1 else "there is one band"

    def strengths(self, sensor: Sensor) -> tuple[float, ...]:
        """See the protocol."""
        return (0.5, 1, 2, 4)

    def meaning(self, strength: float, sensor: Sensor) -> str:
        """See the protocol."""
        return "" if sensor.gsd is None else f"{strength * sensor.gsd:.3g} m"

    def corrupted(
        self, key: Array, image: Array, valid: Array, strength: Array, sensor: Sensor
    ) -> Array:
        """See the protocol."""
        size, *_, bands = image.shape
        angle = jax.random.uniform(key, (size, bands), maxval=2 * jnp.pi)
        length = strength * (jnp.arange(bands) > 0)
        known = jnp.broadcast_to(valid[..., None], image.shape).astype(jnp.float32)
        shifted, weight = image, known
        for axis, direction in ((1, jnp.sin(angle)), (2, jnp.cos(angle))):
            shifted = _shifted(shifted, length * direction, axis)
            weight = _shifted(weight, length * direction, axis)
        return jnp.where(weight > 1e-3, shifted / jnp.maximum(weight, 1e-3), image)


@dataclasses.dataclass(frozen=True)
class Resolution:
    """The ground in larger pixels: means of squares, on the grid of the image.

    The strength is how many times larger. Means of radar images are those of linear power, as in
    multilooking. Squares of other than whole factors hold different numbers of pixels.
    """

    name: ClassVar = "resolution"
    unit: ClassVar = "x pixel size"
    none: ClassVar = 1.0

    def refused(self, sensor: Sensor) -> str:
        """See the protocol."""
        return ""

    def strengths(self, sensor: Sensor) -> tuple[float, ...]:
        """See the protocol."""
        return (1.5, 2, 3, 4, 8)

    def meaning(self, strength: float, sensor: Sensor) -> str:
        """See the protocol."""
        return "" if sensor.gsd is None else f"pixels of {strength * sensor.gsd:.3g} m"

    def corrupted(
        self, key: Array, image: Array, valid: Array, strength: Array, sensor: Sensor
    ) -> Array:
        """See the protocol."""
        quantity = physical(image, sensor)
        if sensor.unit == "decibel":
            quantity = sar.decibel_to_intensity(quantity)
        elif sensor.unit == "amplitude":
            quantity = sar.amplitude_to_intensity(quantity)
        rows, columns = (_same_square(length, strength) for length in image.shape[1:3])
        known = valid[..., None].astype(jnp.float32)
        total = jnp.einsum("yh,bhwc,xw->byxc", rows, quantity * known, columns)
        count = jnp.einsum("yh,bhwc,xw->byxc", rows, known, columns)
        mean = total / jnp.maximum(count, 1)  # a pixel with data is in its own square
        if sensor.unit == "decibel":
            mean = sar.intensity_to_decibel(mean)
        elif sensor.unit == "amplitude":
            mean = sar.intensity_to_amplitude(mean)
        return raw(mean, sensor)


@dataclasses.dataclass(frozen=True)
class Jpeg:
    """Compressed by JPEG, each band by itself: `physics.jpeg`.

    A band is stretched to 8 bits between its smallest and its largest value in the window. The
    strength is the quality, 1..100.
    """

    name: ClassVar = "jpeg"
    unit: ClassVar = "quality"
    none: ClassVar = math.inf

    def refused(self, sensor: Sensor) -> str:
        """See the protocol."""
        return "radar images are not kept as JPEG" if is_radar(sensor) else ""

    def strengths(self, sensor: Sensor) -> tuple[float, ...]:
        """See the protocol."""
        return (90, 70, 50, 30, 10)

    def meaning(self, strength: float, sensor: Sensor) -> str:
        """See the protocol."""
        return f"steps from {float(jpeg.quantisation(strength).min()):g} of 255"

    def corrupted(
        self, key: Array, image: Array, valid: Array, strength: Array, sensor: Sensor
    ) -> Array:
        """See the protocol."""
        known = valid[..., None]
        low = jnp.where(known, image, jnp.inf).min((1, 2), keepdims=True)
        high = jnp.where(known, image, -jnp.inf).max((1, 2), keepdims=True)
        low, high = (jnp.where(jnp.isfinite(end), end, 0.0) for end in (low, high))
        middle = jnp.where(known, image, 0.0).sum((1, 2), keepdims=True)
        middle /= jnp.maximum(known.sum((1, 2), keepdims=True), 1)
        step = jnp.maximum(high - low, 1e-30) / 255
        levels = jnp.round((jnp.where(known, image, middle) - low) / step)
        band = jnp.moveaxis(levels, -1, 1)  # (B, C, H, W)
        return low + step * jnp.moveaxis(jpeg.compressed(band, strength), 1, -1)


def _shifted(image: Array, shift: Array, axis: int) -> Array:
    """(B, H, W, C) sampled `shift` (B, C) pixels further along an axis; edges are repeated."""
    length = image.shape[axis]
    whole = jnp.floor(shift)
    shape = [image.shape[0], 1, 1, image.shape[-1]]
    part = (shift - whole).reshape(shape)
    along = [1, 1, 1, 1]
    along[axis] = length
    start = jnp.arange(length).reshape(along) + whole.astype(jnp.int32).reshape(shape)

    def at(place: Array) -> Array:
        return jnp.take_along_axis(image, jnp.clip(place, 0, length - 1), axis)

    return at(start) * (1 - part) + at(start + 1) * part


def _same_square(length: int, factor: Array) -> Array:
    """(length, length) 1 where two pixels lie in the same larger one."""
    cell = jnp.floor((jnp.arange(length) + 0.5) / factor)
    return (cell[:, None] == cell).astype(jnp.float32)
