"""Spectra of many narrow bands: their noise, and their projection onto a few components.

    training pixels --statistics--> noise_shares, pca, mnf      once, on the host, in float64
    spectra         --project, continuum_removed-->             for every pixel, jitted, in float32

Images are (..., C), bands last. Statistics of training pixels are computed by NumPy in float64:
the variances of 200 bands span ten orders of magnitude, more than float32 can invert.
"""

import functools
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from scipy import linalg

from jaxseg.errors import UserError

Float = NDArray[np.float64]


@dataclass
class SpectralStatistics:
    """Sums over training pixels: of spectra, and of differences between neighbours for the noise.

    Two adjacent pixels show nearly the same ground, so half the covariance of their difference
    estimates the covariance of the noise.

    Source: Green, Berman, Switzer, Craig, A Transformation for Ordering Multispectral Data in Terms
    of Image Quality with Implications for Noise Removal, IEEE TGRS 1988, for the differences.

    Attributes:
        bands: C.
        pixels: Number of pixels added.
        pairs: Number of neighbouring pairs added.
        mean: (C,) mean of the pixels.
        scatter: (C, C) sum of (x - mean)(x - mean)^T.
        noise_scatter: (C, C) sum of d d^T / 2 over the differences d.
    """

    bands: int
    pixels: int = field(init=False, default=0)
    pairs: int = field(init=False, default=0)
    mean: Float = field(init=False)
    scatter: Float = field(init=False)
    noise_scatter: Float = field(init=False)

    def __post_init__(self) -> None:
        """Starts without pixels."""
        self.mean = np.zeros(self.bands)
        self.scatter = np.zeros((self.bands, self.bands))
        self.noise_scatter = np.zeros((self.bands, self.bands))

    def add(self, image: NDArray[np.generic], counted: NDArray[np.bool_]) -> None:
        """Adds one window.

        Args:
            image: (H, W, C), finite where counted.
            counted: (H, W) mask of the training pixels; pairs are two of them that are adjacent.
        """
        spectra = image[counted].astype(np.float64)
        if not len(spectra):
            return
        total = self.pixels + len(spectra)
        centre = spectra.mean(0)
        step = centre - self.mean
        spectra -= centre
        self.scatter += spectra.T @ spectra
        self.scatter += np.outer(step, step) * (self.pixels * len(spectra) / total)
        self.mean += step * (len(spectra) / total)
        self.pixels = total
        for one, other in (
            ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
            ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ):
            both = counted[one] & counted[other]
            difference = image[one][both].astype(np.float64) - image[other][both].astype(np.float64)
            self.noise_scatter += difference.T @ difference / 2
            self.pairs += int(both.sum())

    def covariance(self) -> Float:
        """(C, C) covariance of the pixels.

        Raises:
            UserError: There are fewer than two pixels.
        """
        if self.pixels < 2:
            raise UserError(
                f"{self.pixels} labelled, valid training pixel(s): a covariance needs two or more. "
                "Check the masks and the nodata value of the source."
            )
        return np.asarray(self.scatter / (self.pixels - 1))

    def noise_covariance(self) -> Float:
        """(C, C) covariance of the noise.

        Raises:
            UserError: There are not more pairs than bands.
        """
        if self.pairs <= self.bands:
            raise UserError(
                f"{self.pairs} pairs of neighbouring training pixels for {self.bands} bands: their "
                "noise needs more. Label more adjacent pixels, or use PCA."
            )
        return np.asarray(self.noise_scatter / self.pairs)


def noise_shares(statistics: SpectralStatistics) -> Float:
    """(C,) share of noise in each band's variance: 1 = pure noise, or a constant band.

    The estimate for a band of pure noise scatters around 1; it is limited to 1.
    """
    variance = np.diag(statistics.covariance())
    noise = np.diag(statistics.noise_covariance())
    # A constant of 5000 has a variance of rounding errors.
    constant = variance <= 1e-12 * np.square(statistics.mean)
    shares = noise / np.where(constant, 1, variance)
    return np.where(constant, 1.0, np.minimum(shares, 1.0))


def pca(statistics: SpectralStatistics, components: int) -> Float:
    """(C, K) orthonormal directions of largest variance, in descending order.

    Source: Hotelling, Analysis of a Complex of Statistical Variables into Principal Components,
    Journal of Educational Psychology 1933.

    Raises:
        UserError: There are fewer bands than components, or too few pixels.
    """
    _check_components("PCA", components, statistics.bands)
    _, vectors = linalg.eigh(statistics.covariance())
    return _signed(vectors[:, ::-1][:, :components])


def mnf(statistics: SpectralStatistics, components: int) -> Float:
    """(C, K) directions of the largest signal-to-noise ratios, with noise variance 1 in each.

    Minimum noise fraction: V with V^T N V = I and V^T S V diagonal and descending, where S is the
    covariance of the pixels and N that of their noise. A millionth of the mean noise is added to
    the diagonal of N, for bands without noise.

    Source: Green et al. 1988, see `SpectralStatistics`; in this scaling Lee, Woodyatt, Berman,
    Enhancement of High Spectral Resolution Remote-Sensing Data by a Noise-Adjusted Principal
    Components Transform, IEEE TGRS 1990.

    Raises:
        UserError: There are fewer bands than components, or too few pixels.
    """
    _check_components("MNF", components, statistics.bands)
    noise = statistics.noise_covariance()
    variance = float(np.trace(noise)) / statistics.bands
    noise = noise + np.eye(statistics.bands) * (1e-6 * variance or 1.0)
    _, vectors = linalg.eigh(statistics.covariance(), noise)
    return _signed(vectors[:, ::-1][:, :components])


def project(image: Array, mean: Array, matrix: Array) -> Array:
    """(image - mean) @ matrix: (..., C) -> (..., K), in float32 throughout.

    By default accelerators multiply in bfloat16, whose three digits are too few for the small
    components.
    """
    centred = image.astype(jnp.float32) - mean
    return jnp.matmul(centred, matrix, precision=jax.lax.Precision.HIGHEST)


@functools.partial(jax.jit, static_argnames="wavelengths")
def continuum_removed(image: Array, wavelengths: tuple[float, ...]) -> Array:
    """Spectra divided by their continuum, the upper convex hull: (..., C) -> (..., C), at most 1.

    This keeps the position and depth of absorptions but not the brightness. Where the hull is not
    above zero the quotient is meaningless and set to 1. A spectrum with NaN becomes NaN.

    Source: Clark and Roush, Reflectance Spectroscopy: Quantitative Analysis Techniques for Remote
    Sensing Applications, Journal of Geophysical Research 1984. Checked against the hull of
    `scipy.spatial.ConvexHull`.

    Args:
        image: (..., C) reflectance or radiance.
        wavelengths: Wavelengths of the C bands in any unit and order, all different.

    Raises:
        UserError: The wavelengths do not fit the image.
    """
    hull = continuum(image, wavelengths)
    dark = hull <= 0  # NaN is not, and stays
    return jnp.where(dark, 1, image / jnp.where(dark, 1, hull))


def continuum(image: Array, wavelengths: tuple[float, ...]) -> Array:
    """The upper convex hull of each spectrum, at its wavelengths: (..., C) -> (..., C).

    Raises:
        UserError: The wavelengths do not fit the image.
    """
    bands = image.shape[-1]
    if len(wavelengths) != bands or len(set(wavelengths)) != bands:
        raise UserError(
            f"{len(wavelengths)} wavelengths, {len(set(wavelengths))} of them different, for "
            f"images of {bands} bands: give each band a different one."
        )
    order = np.argsort(wavelengths)  # spectrometers of an instrument may overlap
    x = jnp.asarray(np.asarray(wavelengths)[order] - min(wavelengths), jnp.float32)
    y = image[..., order].astype(jnp.float32)
    flat = y.reshape(-1, bands)
    hull = jax.vmap(functools.partial(_upper_hull, x))(flat)
    hull = jnp.where(jnp.isfinite(flat).all(-1, keepdims=True), hull, jnp.nan)
    return hull.reshape(y.shape)[..., np.argsort(order)]


def _upper_hull(x: Array, y: Array) -> Array:
    """The hull of one spectrum, x ascending: (C,), (C,) -> (C,).

    Andrew's monotone chain: going through the bands, the last corner is removed as long as it does
    not lie above the line from the corner before it to the new point. Each iteration removes or
    adds one corner, so twice as many iterations as bands suffice for every spectrum.
    """
    bands = len(x)

    def step(_: int, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        corners, top, new = carry  # indices of the corners, their count, the next band
        point = jnp.minimum(new, bands - 1)
        a, b = corners[jnp.maximum(top - 2, 0)], corners[jnp.maximum(top - 1, 0)]
        below = (y[b] - y[a]) * (x[point] - x[a]) <= (y[point] - y[a]) * (x[b] - x[a])
        drop = (top >= 2) & below & (new < bands)
        push = ~drop & (new < bands)
        place = jnp.where(push, top, bands)  # out of range where nothing is added
        corners = corners.at[place].set(point, mode="drop")
        return corners, top - drop + push, new + push

    start = (jnp.zeros(bands, jnp.int32), jnp.int32(0), jnp.int32(0))
    corners, top, _ = jax.lax.fori_loop(0, 2 * bands, step, start)
    numbers = jnp.arange(bands)
    is_corner = (
        jnp.zeros(bands, bool).at[jnp.where(numbers < top, corners, bands)].set(True, mode="drop")
    )
    left = jax.lax.cummax(jnp.where(is_corner, numbers, 0))
    right = jax.lax.cummin(jnp.where(is_corner, numbers, bands - 1), reverse=True)
    share = (x - x[left]) / jnp.where(right > left, x[right] - x[left], 1)
    return y[left] + share * (y[right] - y[left])


def _check_components(name: str, components: int, bands: int) -> None:
    if not 1 <= components <= bands:
        raise UserError(f"{name} to {components} components of {bands} bands: 1 to {bands}.")


def _signed(vectors: Float) -> Float:
    """The vectors with the largest entry of each column positive: their sign is arbitrary."""
    largest = np.abs(vectors).argmax(0)
    return np.asarray(vectors * np.sign(vectors[largest, np.arange(vectors.shape[1])]))
