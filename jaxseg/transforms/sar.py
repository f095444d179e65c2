"""Radiometry and augmentation of radar images, for `Config.preprocess` and `Config.augment_raw`.

The physics is in `jaxseg.physics.sar`. Filters and ratios need linear power, so files in dB need
`FromDecibel` first and `jaxseg.transforms.radiometry.LogIntensity` after them:

    preprocess=(FromDecibel(), RefinedLee(looks=4.4), RatioBand(), LogIntensity(), Standardize())
"""

import dataclasses

import jax
import jax.numpy as jnp

from jaxseg.errors import POSITIVE, UserError, check_ranges
from jaxseg.physics import sar, sar_filters
from jaxseg.physics.sar import RadarUnit
from jaxseg.scenes.scene import Batch


@dataclasses.dataclass(frozen=True)
class FromAmplitude:
    """Amplitude -> linear power, the square of the amplitude."""

    def __call__(self, image: jax.Array) -> jax.Array:
        """See the class."""
        return sar.amplitude_to_intensity(image)


@dataclasses.dataclass(frozen=True)
class FromDecibel:
    """dB -> linear power."""

    def __call__(self, image: jax.Array) -> jax.Array:
        """See the class."""
        return sar.decibel_to_intensity(image)


@dataclasses.dataclass(frozen=True)
class Lee:
    """Lee's filter on linear power, band by band; see `jaxseg.physics.sar_filters.lee`.

    Attributes:
        looks: Equivalent number of looks of the image.
        size: Rows and columns of the window, odd.
    """

    looks: float = dataclasses.field(metadata=POSITIVE)
    size: int = dataclasses.field(default=7, metadata={"least": 3, "odd": True})

    def __post_init__(self) -> None:
        """Rejects numbers outside their ranges."""
        check_ranges(self, "Lee")

    def __call__(self, image: jax.Array) -> jax.Array:
        """See the class."""
        filtered: jax.Array = sar_filters.lee(image, looks=self.looks, size=self.size)
        return filtered


@dataclasses.dataclass(frozen=True)
class RefinedLee:
    """Lee's refined filter on linear power, 7 x 7; see `jaxseg.physics.sar_filters.refined_lee`.

    Attributes:
        looks: Equivalent number of looks of the image.
    """

    looks: float = dataclasses.field(metadata=POSITIVE)

    def __post_init__(self) -> None:
        """Rejects numbers outside their ranges."""
        check_ranges(self, "RefinedLee")

    def __call__(self, image: jax.Array) -> jax.Array:
        """See the class."""
        filtered: jax.Array = sar_filters.refined_lee(image, looks=self.looks)
        return filtered


@dataclasses.dataclass(frozen=True)
class RatioBand:
    """An additional band, the ratio of two bands: a quotient in linear power, a difference in dB.

    VV / VH depends on the kind of scattering: it is high for smooth surfaces and low where volumes,
    such as tree crowns, change the polarisation.

    Attributes:
        numerator: Number of a band, counted from 1.
        denominator: Number of another band.
        decibel: Whether the image is in dB.
        floor: Smallest distinguishable power, for linear images.
    """

    numerator: int = 1
    denominator: int = 2
    decibel: bool = False
    floor: float = dataclasses.field(default=sar.FLOOR, metadata=POSITIVE)

    def __post_init__(self) -> None:
        """Rejects numbers outside their ranges."""
        check_ranges(self, "RatioBand")

    def __call__(self, image: jax.Array) -> jax.Array:
        """See the class.

        Raises:
            UserError: The image does not have these bands.
        """
        bands = image.shape[-1]
        numbers = (self.numerator, self.denominator)
        if not all(1 <= number <= bands for number in numbers):
            raise UserError(
                f"RatioBand of bands {numbers[0]} and {numbers[1]} for images of {bands} band(s): "
                f"bands are counted from 1 to {bands}."
            )
        one, other = (image[..., number - 1] for number in numbers)
        quotient = one - other if self.decibel else sar.ratio(one, other, floor=self.floor)
        return jnp.concatenate((image, quotient[..., None]), axis=-1)


@dataclasses.dataclass(frozen=True)
class Speckle:
    """Additional speckle, independent per pixel and band, on raw images: for `Config.augment_raw`.

    Every acquisition shows the same ground with different speckle. An image of L looks then has
    L looks / (L + looks + 1) looks: with `looks` = 8, 4 become 2.5.

    Attributes:
        looks: Looks of the added speckle, above 0; fewer looks mean more noise.
        unit: Unit of the raw values.
    """

    looks: float = dataclasses.field(metadata=POSITIVE)
    unit: RadarUnit = "intensity"

    def __post_init__(self) -> None:
        """Rejects numbers outside their ranges."""
        check_ranges(self, "Speckle")

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        """See the class."""
        return batch | {"image": sar.with_speckle(key, batch["image"], self.looks, self.unit)}
