"""Radiometry of any sensor: standardized bands, power in decibel, steps for some of the bands."""

import dataclasses
import math
from collections.abc import Iterable
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxseg.errors import FINITE, POSITIVE, UserError, check_ranges
from jaxseg.physics import sar
from jaxseg.scenes.scene import TrainingWindow
from jaxseg.system.console import note
from jaxseg.transforms.transform import Preprocess


@dataclasses.dataclass(frozen=True)
class Standardize:
    """(image - mean) / std for each band.

    Attributes:
        mean: Mean of each band in raw sensor units; empty = measured on valid, labelled
            training pixels when a run starts.
        std: Standard deviation of each band, likewise.
    """

    OPEN: ClassVar = ("mean", "std")
    REPEATABLE: ClassVar = True  # sums in float64, of which six digits are kept

    mean: tuple[float, ...] = dataclasses.field(default=(), metadata=FINITE)
    std: tuple[float, ...] = dataclasses.field(default=(), metadata=POSITIVE)

    def __post_init__(self) -> None:
        """Rejects numbers outside their ranges."""
        check_ranges(self, "Standardize")

    def __call__(self, image: jax.Array) -> jax.Array:
        """See the class."""
        bands = image.shape[-1]
        if len(self.mean) != bands or len(self.std) != bands:
            raise UserError(
                f"Standardize has {len(self.mean)} means and {len(self.std)} standard deviations "
                f"for images of {bands} band(s). Give one of each per band, or none to have them "
                "measured."
            )
        return (image - jnp.asarray(self.mean)) / jnp.asarray(self.std)

    @property
    def fitted(self) -> bool:
        """Whether mean and standard deviation are known."""
        return bool(self.mean)

    def fit(self, windows: Iterable[TrainingWindow]) -> Self:
        """The step with mean and standard deviation of the training pixels, at least one.

        Args:
            windows: Images (H, W, C), each with a mask (H, W) of its training pixels.

        Raises:
            UserError: Values are so far from zero that float32 cannot tell them apart.
        """
        count, mean, scatter = 0, np.zeros(1), np.zeros(1)
        low, high = np.full(1, np.inf), np.full(1, -np.inf)
        for image, counted in windows:
            pixels = image[counted].astype(np.float64)
            if not len(pixels):
                continue
            # Each window about its own mean: sums of squares would cancel where the mean is large.
            own, both = pixels.mean(0), count + len(pixels)
            scatter = scatter + ((pixels - own) ** 2).sum(0)
            scatter = scatter + (own - mean) ** 2 * (count * len(pixels) / both)
            mean, count = mean + (own - mean) * (len(pixels) / both), both
            low, high = np.minimum(low, pixels.min(0)), np.maximum(high, pixels.max(0))
        constant = low == high
        mean, std = np.where(constant, low, mean), np.sqrt(scatter / count)
        if constant.any():
            bands = ", ".join(str(number + 1) for number in np.flatnonzero(constant))
            note(
                f"Standardize: band(s) {bands} have one value in all training pixels, and teach "
                "nothing; it is subtracted, and other values are left on their scale. (Powers "
                "below the `floor` of a step before it have all become that.)"
            )
        std = np.where(constant, 1.0, std)
        step = np.spacing(np.maximum(np.abs(low), np.abs(high)).astype(np.float32))
        blurred = high - low < 10 * step
        if (blurred & ~constant).any():
            band = int(np.argmax(blurred & ~constant))
            raise UserError(
                f"Standardize: band {band + 1} holds values from {low[band]:.10g} to "
                f"{high[band]:.10g}, which float32, in which networks compute, cannot tell apart. "
                "Subtract a constant from the files."
            )
        return dataclasses.replace(
            self,
            mean=tuple(map(_rounded, mean.tolist(), std.tolist())),
            std=tuple(float(f"{s:.6g}") for s in std),
        )


def _rounded(mean: float, std: float) -> float:
    """Six digits, easy to read in a printed config, or as many as 1/10,000 of `std` needs."""
    digits = 6
    if mean and std:
        digits = max(digits, 4 + math.ceil(math.log10(abs(mean) / std)))
    return float(f"{mean:.{min(digits, 17)}g}")


@dataclasses.dataclass(frozen=True)
class LogIntensity:
    """Linear radar power -> dB, 10 log10 of the power, in which speckle is additive.

    Zeros and NaN become the floor; invalid pixels stay invalid, and `preprocess` sets them to 0.

    Attributes:
        floor: Smallest distinguishable power, the sensor's noise; 1e-6 = -60 dB.
    """

    floor: float = dataclasses.field(default=sar.FLOOR, metadata=POSITIVE)

    def __post_init__(self) -> None:
        """Rejects numbers outside their ranges."""
        check_ranges(self, "LogIntensity")

    def __call__(self, image: jax.Array) -> jax.Array:
        """See the class."""
        return sar.intensity_to_decibel(image, floor=self.floor)


@dataclasses.dataclass(frozen=True)
class OnBands:
    """Applies steps to a contiguous range of bands, for images of several sensors.

    Attributes:
        start: First band, counted from 0.
        stop: One past the last band.
        steps: Radiometry, in order.
    """

    start: int
    stop: int
    steps: tuple[Preprocess, ...]

    def __call__(self, image: jax.Array) -> jax.Array:
        """See the class.

        Raises:
            UserError: The image has fewer bands.
        """
        if not 0 <= self.start < self.stop <= image.shape[-1]:
            raise UserError(
                f"OnBands from {self.start} to {self.stop} for images of {image.shape[-1]} band(s)."
            )
        part = image[..., self.start : self.stop]
        for step in self.steps:
            part = step(part)
        return jnp.concatenate((image[..., : self.start], part, image[..., self.stop :]), axis=-1)
