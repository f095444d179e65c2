"""Radiometry of hyperspectral images, for `Config.preprocess`.

`RemoveBands()`, `PCA(components)` and `MNF(components)` are fitted to the training pixels alone
when a run starts, and the fitted values are stored with the run:

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

from jaxseg.errors import COUNT, SHARE, UserError, check_ranges
from jaxseg.physics import hyperspectral
from jaxseg.physics.hyperspectral import SpectralStatistics
from jaxseg.scenes.scene import TrainingWindow


@dataclasses.dataclass(frozen=True)
class RemoveBands:
    """Removes the given bands, or those that are constant or mostly noise.

    Attributes:
        bands: Numbers of the bands to remove, counted from 1; None = found on training pixels.
        noise: Bands whose variance contains at least this share of noise are removed, if `bands`
            is None.
    """

    OPEN: ClassVar = ("bands",)
    REPEATABLE: ClassVar = False

    bands: tuple[int, ...] | None = None
    noise: float = dataclasses.field(default=0.5, metadata=SHARE)

    def __post_init__(self) -> None:
        """Rejects numbers outside their ranges."""
        check_ranges(self, "RemoveBands")

    def __call__(self, image: jax.Array) -> jax.Array:
        """See the class.

        Raises:
            UserError: The image does not have these bands, or has no others.
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
        """Whether the bands are known."""
        return self.bands is not None

    def fit(self, windows: Iterable[TrainingWindow]) -> Self:
        """The step with the bands found on the training pixels.

        Raises:
            UserError: There are too few training pixels.
        """
        shares = hyperspectral.noise_shares(_statistics(windows))
        found = tuple(int(band) + 1 for band in np.flatnonzero(shares >= self.noise))
        return dataclasses.replace(self, bands=found)


@dataclasses.dataclass(frozen=True)
class _Projection(abc.ABC):
    """(image - mean) @ matrix, both fitted to training pixels; subclasses compute the matrix."""

    OPEN: ClassVar = ("mean", "matrix")
    REPEATABLE: ClassVar = False

    components: int = dataclasses.field(metadata=COUNT)
    mean: tuple[float, ...] = ()
    matrix: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Rejects numbers outside their ranges."""
        check_ranges(self, type(self).__name__)

    def __call__(self, image: jax.Array) -> jax.Array:
        """See the class.

        Raises:
            UserError: It is not fitted, or was fitted to another number of bands.
        """
        if not self.fitted:
            raise UserError(_unfitted(self))
        bands, name = image.shape[-1], type(self).__name__
        if (len(self.mean), len(self.matrix)) != (bands, bands * self.components):
            raise UserError(
                f"{name} was fitted to {len(self.mean)} bands and "
                f"{len(self.matrix) // len(self.mean)} components, but {self.components} "
                f"components of images of {bands} band(s) are wanted. Empty its mean and matrix "
                "to fit it again."
            )
        matrix = np.asarray(self.matrix, np.float32).reshape(bands, self.components)
        mean = np.asarray(self.mean, np.float32)
        return hyperspectral.project(image, jnp.asarray(mean), jnp.asarray(matrix))

    @property
    def fitted(self) -> bool:
        """Whether mean and matrix are known."""
        return bool(self.mean)

    def fit(self, windows: Iterable[TrainingWindow]) -> Self:
        """The step with mean and matrix fitted to the training pixels.

        Raises:
            UserError: There are fewer bands than components, or too few training pixels.
        """
        statistics = _statistics(windows)
        matrix = self._directions(statistics)
        return dataclasses.replace(self, mean=_plain(statistics.mean), matrix=_plain(matrix))

    @abc.abstractmethod
    def _directions(self, statistics: SpectralStatistics) -> NDArray[np.float64]:
        """The matrix, (C, K)."""


@dataclasses.dataclass(frozen=True)
class PCA(_Projection):
    """Principal components: the directions in which training pixels vary most.

    Their variances differ by orders of magnitude; a `Standardize()` after it makes them equal.

    Attributes:
        components: K, the number of components that are kept.
        mean: (C,) mean spectrum; empty = computed from training pixels.
        matrix: C x K values, row by row; likewise.
    """

    def _directions(self, statistics: SpectralStatistics) -> NDArray[np.float64]:
        return hyperspectral.pca(statistics, self.components)


@dataclasses.dataclass(frozen=True)
class MNF(_Projection):
    """Minimum noise fraction: the directions with the largest signal-to-noise ratio.

    The noise is estimated from the differences between neighbouring pixels. It has variance 1 in
    every component, so the variance of a component states how far it exceeds the noise.

    Attributes:
        components: K, the number of components that are kept.
        mean: (C,) mean spectrum; empty = computed from training pixels.
        matrix: C x K values, row by row; likewise.
    """

    def _directions(self, statistics: SpectralStatistics) -> NDArray[np.float64]:
        return hyperspectral.mnf(statistics, self.components)


@dataclasses.dataclass(frozen=True)
class ContinuumRemoval:
    """Spectra divided by their upper convex hull: absorptions without brightness, at most 1.

    For reflectance; raw radiance also contains atmospheric absorption and the solar spectrum.

    Attributes:
        wavelengths: Wavelengths of the input bands, in any unit and order, all different.
    """

    wavelengths: tuple[float, ...]

    def __call__(self, image: jax.Array) -> jax.Array:
        """See the class.

        Raises:
            UserError: The wavelengths do not fit the image.
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
        f"{type(step).__name__} is not fitted: jaxseg.run.completion.completed(config) fits it to "
        "the training pixels."
    )


def _plain(numbers: NDArray[np.float64]) -> tuple[float, ...]:
    # As many digits as float32 can represent: the values are only used in float32.
    return tuple(float(f"{number:.9g}") for number in numbers.ravel())
