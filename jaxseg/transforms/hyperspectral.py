"""Radiometry of hyperspectral images, for `Config.preprocess`.

The numbers of `RemoveBands()`, `PCA(components)` and `MNF(components)` come from the training
pixels alone, when a run starts, and are stored with it:

    preprocess=(RemoveBands(), Standardize(), PCA(components=30))

A training pixel is a valid pixel of the training split that has a label.
"""

import abc
import dataclasses
from collections.abc import Iterable
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.physics import hyperspectral
from jaxseg.physics.hyperspectral import SpectralStatistics
from jaxseg.scenes.scene import TrainingWindow


@dataclasses.dataclass(frozen=True)
class RemoveBands:
    """Leaves bands out: those given, or those that turn out to be constant or mostly noise.

    Attributes:
        bands: Numbers of the bands to leave out, counted from 1; None = found on training pixels.
        noise: Where they are found, the noise's part of the variance from which a band goes.
    """

    OPEN: ClassVar = ("bands",)
    REPEATABLE: ClassVar = False

    bands: tuple[int, ...] | None = None
    noise: float = 0.5

    def __call__(self, image: jax.Array) -> jax.Array:
        """See the class.

        Raises:
            UserError: The image has no such bands, or no other ones.
        """
        count = image.shape[-1]
        if self.bands is None:
            raise UserError(_unfitted(self))
        if not all(1 <= band <= count for band in self.bands):
            raise UserError(
                f"RemoveBands of {self.bands} for images of {count} band(s): bands are counted "
                f"from 1 to {count}."
            )
        kept = [band for band in range(count) if band + 1 not in self.bands]
        if not kept:
            raise UserError(f"RemoveBands leaves none of {count} band(s). Remove fewer.")
        return image[..., np.asarray(kept)]

    @property
    def fitted(self) -> bool:
        """Whether its numbers are known."""
        return self.bands is not None

    def fit(self, windows: Iterable[TrainingWindow]) -> Self:
        """The step with the bands that the training pixels tell.

        Raises:
            UserError: There are too few training pixels.
        """
        shares = hyperspectral.noise_shares(_statistics(windows))
        found = tuple(int(band) + 1 for band in np.flatnonzero(shares >= self.noise))
        return dataclasses.replace(self, bands=found)


@dataclasses.dataclass(frozen=True)
class _Projection(abc.ABC):
    """(image - mean) @ matrix, both found on training pixels; its kinds differ in the matrix."""

    OPEN: ClassVar = ("mean", "matrix")
    REPEATABLE: ClassVar = False

    components: int
    mean: tuple[float, ...] = ()
    matrix: tuple[float, ...] = ()

    def __call__(self, image: jax.Array) -> jax.Array:
        """See the class.

        Raises:
            UserError: It was found for another number of bands, or not yet.
        """
        if not self.fitted:
            raise UserError(_unfitted(self))
        bands, name = image.shape[-1], type(self).__name__
        if (len(self.mean), len(self.matrix)) != (bands, bands * self.components):
            raise UserError(
                f"{name} was found for {len(self.mean)} bands and "
                f"{len(self.matrix) // len(self.mean)} components, and is to make "
                f"{self.components} of images of {bands} band(s). Empty its mean and matrix to "
                "have it found again."
            )
        matrix = np.asarray(self.matrix, np.float32).reshape(bands, self.components)
        mean = np.asarray(self.mean, np.float32)
        return hyperspectral.project(image, jnp.asarray(mean), jnp.asarray(matrix))

    @property
    def fitted(self) -> bool:
        """Whether its numbers are known."""
        return bool(self.mean)

    def fit(self, windows: Iterable[TrainingWindow]) -> Self:
        """The step with the numbers of the training pixels.

        Raises:
            UserError: There are fewer bands than components, or too few training pixels.
        """
        statistics = _statistics(windows)
        matrix = self._directions(statistics)
        return dataclasses.replace(self, mean=_plain(statistics.mean), matrix=_plain(matrix))

    @abc.abstractmethod
    def _directions(self, statistics: SpectralStatistics) -> NDArray[np.float64]:
        """(C, K) the matrix."""


@dataclasses.dataclass(frozen=True)
class PCA(_Projection):
    """Principal components: the directions in which training pixels vary most.

    Their variances differ by orders of magnitude; let a `Standardize()` follow for equal ones.

    Attributes:
        components: K, how many are kept.
        mean: (C,) mean spectrum; empty = found on training pixels.
        matrix: C x K numbers, row by row; likewise.
    """

    def _directions(self, statistics: SpectralStatistics) -> NDArray[np.float64]:
        return hyperspectral.pca(statistics, self.components)


@dataclasses.dataclass(frozen=True)
class MNF(_Projection):
    """Minimum noise fraction: the directions in which training pixels differ most from noise.

    Noise is what neighbouring pixels differ in. It has variance 1 in every component, so the
    variance of a component says how far it stands above the noise.

    Attributes:
        components: K, how many are kept.
        mean: (C,) mean spectrum; empty = found on training pixels.
        matrix: C x K numbers, row by row; likewise.
    """

    def _directions(self, statistics: SpectralStatistics) -> NDArray[np.float64]:
        return hyperspectral.mnf(statistics, self.components)


@dataclasses.dataclass(frozen=True)
class ContinuumRemoval:
    """Spectra divided by their upper convex hull: absorptions without brightness, at most 1.

    For reflectance; raw radiance has the absorptions of the air and the light's spectrum too.

    Attributes:
        wavelengths: Of the bands that enter, in any unit and order, no two the same.
    """

    wavelengths: tuple[float, ...]

    def __call__(self, image: jax.Array) -> jax.Array:
        """See the class.

        Raises:
            UserError: Wavelengths do not fit the image.
        """
        removed: jax.Array = hyperspectral.continuum_removed(image, self.wavelengths)
        return removed


def _statistics(windows: Iterable[TrainingWindow]) -> SpectralStatistics:
    statistics: SpectralStatistics | None = None
    for image, counted in windows:
        if statistics is None:
            statistics = SpectralStatistics(image.shape[-1])
        statistics.add(image, counted)
    if statistics is None:
        raise UserError("The training split holds no scene. Check the source's paths and split.")
    return statistics


def _unfitted(step: object) -> str:
    return (
        f"{type(step).__name__} has no numbers yet: jaxseg.run.completion.completed(config) finds "
        "them on the training pixels."
    )


def _plain(numbers: NDArray[np.float64]) -> tuple[float, ...]:
    # As many digits as float32 tells apart; nothing else ever sees them.
    return tuple(float(f"{number:.9g}") for number in numbers.ravel())
