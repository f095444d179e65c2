"""Speckle of polarimetric matrices: sliding means, the refined Lee filter, numbers of looks.

    bands of a matrix (..., H, W, C)  ->  the same, every element filtered with the same weights

so that matrices stay Hermitian and positive semidefinite. The scene is padded by reflection.
Pixels without data, zero in all bands or not finite in one, are excluded from means: those of zeros
stay zero, the others are NaN in all bands.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from jaxseg.physics import refined_lee as edges
from jaxseg.physics.decompositions import has_data
from jaxseg.physics.polsar import PAIRS, span
from jaxseg.physics.refined_lee import EdgeWindow, window_means


@functools.partial(jax.jit, static_argnames="size")
def boxcar(image: Array, size: int) -> Array:
    """Means over the size x size pixels around each pixel: (..., H, W, C) -> (..., H, W, C)."""
    values, known = _with_data(image)
    return _kept_blank(_box_means(values, known, size), image)


@functools.partial(jax.jit, static_argnames="size")
def refined_lee(bands: Array, *, looks: float, size: int = 7) -> Array:
    """Speckle filter that averages on one side of an edge: (..., H, W, C) -> (..., H, W, C).

    Means of the span in 3 x 3 overlapping parts of the window give four gradients. The largest
    determines the direction of the edge through the window; of the two sides, the one whose mean is
    closer to that of the central part is used. Over this half of the window

        out = mean + b (in - mean),  b = max(0, (v - s) / (v (1 + s))),  s = 1 / looks,

    with v the squared coefficient of variation of the span; all elements have the same b.

    Source: Lee, Refined Filtering of Image Noise Using Local Statistics, Computer Graphics and
    Image Processing 1981; Lee, Grunes, de Grandi, Polarimetric SAR Speckle Filtering and Its
    Implication for Classification, IEEE TGRS 1999. PolSARpro chooses the side by the sign of the
    gradient alone; this function follows the paper of 1981.

    Args:
        bands: Real bands of a C2, C3 or T3, or one band of intensity.
        looks: Equivalent number of looks, see `equivalent_looks`.
        size: Rows and columns of the window: 5, 7, 9 or 11.

    Raises:
        ValueError: The size is none of these.
    """
    if size not in (5, 7, 9, 11):
        raise ValueError(f"A window of {size} x {size} pixels: choose 5, 7, 9 or 11.")
    given = bands
    bands, known = _with_data(given)
    power = bands if bands.shape[-1] == 1 else span(bands)[..., None]

    def kept(over_half: Callable[[Array], Array], middle: Array) -> Array:
        # Relative to the central part, because squares of small powers underflow in float32.
        unit = jnp.where(middle > 0, middle, 1)
        overall = jnp.maximum(power.mean(), 1e-30)
        mean = over_half(power) / unit
        square = over_half(jnp.square(power / overall)) * jnp.square(overall / unit)
        variance = jnp.maximum(square - jnp.square(mean), 0)
        variation = variance / jnp.maximum(jnp.square(mean), 1e-12)  # squared, cv^2
        noise = 1 / looks
        b = (variation - noise) / jnp.maximum(variation * (1 + noise), 1e-12)
        return jnp.clip(b, 0, 1)

    parts, halves = _shares(edges.parts(size)), _shares(edges.halves(size))
    window = EdgeWindow(parts, halves, _look, mirrored=True)
    filtered = edges.refined_lee(bands, power, known, window=window, kept=kept)
    return _kept_blank(filtered, given)


@functools.partial(jax.jit, static_argnames="size")
def equivalent_looks(bands: Array, size: int = 9) -> Array:
    """Equivalent number of looks around each pixel: (..., H, W, 9 or 4) -> (..., H, W).

    (tr Sigma)^2 / (E[tr T^2] - tr Sigma^2) over a window, Sigma = E[T], for matrices
    of the complex Wishart distribution. Texture and edges in the window lower it, filters and
    correlated neighbours raise it: the looks of a scene are those of its homogeneous windows.

    Source: Anfinsen, Doulgeris, Eltoft, Estimation of the Equivalent Number of Looks in
    Polarimetric SAR Imagery, IEEE TGRS 2009.
    """
    bands, known = _with_data(bands)
    mean = functools.partial(_box_means, known=known, size=size)
    scale = span(bands)[..., None]
    around = jnp.maximum(mean(scale), 1e-30)  # per pixel, so that float32 holds the squares
    sigma = mean(bands) / around
    overall = jnp.maximum(scale.mean(), 1e-30)
    square = mean(_trace_of_square(bands / overall)[..., None])[..., 0]
    square = square * jnp.square(overall / around[..., 0])
    spread = jnp.maximum(square - _trace_of_square(sigma), 1e-6)
    return jnp.square(span(sigma)) / spread


def _with_data(bands: Array) -> tuple[Array, Array]:
    """(..., C) -> the same, 0 in pixels without data, and (..., 1), 1 where a pixel has data."""
    known = has_data(bands)[..., None]
    return jnp.where(known, bands, 0), known.astype(bands.dtype)


def _kept_blank(filtered: Array, bands: Array) -> Array:
    """The filtered bands, with the pixels without data of the given ones."""
    blank = jnp.where(jnp.isfinite(bands).all(-1, keepdims=True), 0, jnp.nan)
    return jnp.where(has_data(bands)[..., None], filtered, blank)


def _box_means(image: Array, known: Array, size: int) -> Array:
    """Means over the known ones of the size x size pixels around each pixel."""
    return window_means(image, known, _shares(np.ones((1, size, size))), mirrored=True)[0]


def _trace_of_square(bands: Array) -> Array:
    """Trace of M^2, M Hermitian: squares of the diagonal plus twice those above it."""
    size = 3 if bands.shape[-1] == 9 else 2
    diagonal = jnp.square(bands[..., :size]).sum(-1)
    return diagonal + 2 * jnp.square(bands[..., size : size + 2 * len(PAIRS)]).sum(-1)


def _look(means: Array) -> tuple[Array, Array]:
    """See `EdgeWindow`: a side is represented by the mean of its three parts."""
    sides = [[means[np.asarray(side)] for side in both] for both in edges.SIDES]
    differences = jnp.stack([first.sum(0) - second.sum(0) for first, second in sides])
    return differences, jnp.stack([side.mean(0) for both in sides for side in both])


def _shares(masks: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, n, n) weights that sum to 1, equal where a mask is 1."""
    return np.asarray(masks / masks.sum((1, 2), keepdims=True))
