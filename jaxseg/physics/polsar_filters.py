"""Speckle of polarimetric matrices: sliding means, the refined Lee filter, numbers of looks.

    bands of a matrix (..., H, W, C)  ->  the same, every element filtered with the same weights

so that matrices stay Hermitian and positive semidefinite. The scene is continued by reflection.
Pixels without data have to be zero in all bands, not NaN: they count in no mean and stay zero.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from jaxseg.physics.polsar import PAIRS, span


@functools.partial(jax.jit, static_argnames="size")
def boxcar(image: Array, size: int) -> Array:
    """Means of the size x size pixels around each: (..., H, W, C) -> (..., H, W, C)."""
    known = _known(image)
    return known * _means(image, known, np.full((1, size, size), 1 / size**2))[0]


@functools.partial(jax.jit, static_argnames="size")
def refined_lee(bands: Array, *, looks: float, size: int = 7) -> Array:
    """Speckle filter that looks only along an edge: (..., H, W, C) -> (..., H, W, C).

    Means of the span in 3 x 3 overlapping parts of the window give four gradients. The largest
    tells the direction of the edge through the window, and of its two sides that one is taken whose
    mean is nearer to that of the part in the middle. Over this half of the window

        out = mean + b (in - mean),  b = max(0, (v - s) / (v (1 + s))),  s = 1 / looks,

    with v the squared coefficient of variation of the span; all elements have the same b.

    Source: Lee, Refined Filtering of Image Noise Using Local Statistics, Computer Graphics and
    Image Processing 1981; Lee, Grunes, de Grandi, Polarimetric SAR Speckle Filtering and Its
    Implication for Classification, IEEE TGRS 1999. PolSARpro takes the side by the sign of the
    gradient alone, this function as the paper of 1981 does.

    Args:
        bands: Real bands of a C2, C3 or T3, or one band of intensity.
        looks: Equivalent number of looks, see `equivalent_looks`.
        size: Rows and columns of the window: 5, 7, 9 or 11.

    Raises:
        ValueError: Another size.
    """
    if size not in (5, 7, 9, 11):
        raise ValueError(f"A window of {size} x {size} pixels: choose 5, 7, 9 or 11.")
    known = _known(bands)
    power = bands if bands.shape[-1] == 1 else span(bands)[..., None]
    parts = _means(power, known, _parts(size))[..., 0]  # (9, ..., H, W) means, in reading order
    filled = _weighted(known, _parts(size))[..., 0] > _NOTHING
    parts = jnp.where(filled, parts, parts[4])  # without data: alike the middle, no edge
    gradients = jnp.abs(jnp.stack([_difference(parts, *sides) for sides in _SIDES], axis=-1))
    edge = gradients.argmax(-1)  # (..., H, W)
    middle = parts[4]
    half = jnp.zeros_like(edge)
    for number, sides in enumerate(_SIDES):
        first, second = (parts[np.asarray(side)].mean(0) for side in sides)
        nearer = jnp.where(jnp.abs(first - middle) <= jnp.abs(second - middle), 0, 1)
        half = jnp.where(edge == number, 2 * number + nearer, half)

    # Relative to the middle, or squares of small powers would be lost in float32.
    unit = jnp.where(middle > 0, middle, 1)[..., None]
    chosen = jax.nn.one_hot(half, 8, axis=0)[..., None]  # (8, ..., H, W, 1)
    masks = _halves(size)
    mean = (chosen * _means(bands, known, masks)).sum(0)
    mean_power = (chosen * _means(power, known, masks)).sum(0) / unit
    overall = jnp.maximum(power.mean(), 1e-30)
    square = (chosen * _means(jnp.square(power / overall), known, masks)).sum(0)
    square = square * jnp.square(overall / unit)
    variance = jnp.maximum(square - jnp.square(mean_power), 0)
    variation = variance / jnp.maximum(jnp.square(mean_power), 1e-12)  # squared, cv^2
    noise = 1 / looks
    b = (variation - noise) / jnp.maximum(variation * (1 + noise), 1e-12)
    return known * (mean + jnp.clip(b, 0, 1) * (bands - mean))


@functools.partial(jax.jit, static_argnames="size")
def equivalent_looks(bands: Array, size: int = 9) -> Array:
    """Equivalent number of looks around each pixel: (..., H, W, 9 or 4) -> (..., H, W).

    (tr Sigma)^2 / (E[tr T^2] - tr Sigma^2) over a window, Sigma = E[T], for matrices
    of the complex Wishart distribution. Texture and edges in the window lower it, filters and
    correlated neighbours raise it: a scene's looks are those of its homogeneous windows.

    Source: Anfinsen, Doulgeris, Eltoft, Estimation of the Equivalent Number of Looks in
    Polarimetric SAR Imagery, IEEE TGRS 2009.
    """
    known = _known(bands)
    mean = functools.partial(_means, known=known, weights=np.full((1, size, size), 1 / size**2))
    scale = span(bands)[..., None]
    around = jnp.maximum(mean(scale)[0], 1e-30)  # per pixel, so that float32 holds the squares
    sigma = mean(bands)[0] / around
    overall = jnp.maximum(scale.mean(), 1e-30)
    square = mean(_trace_of_square(bands / overall)[..., None])[0, ..., 0]
    square = square * jnp.square(overall / around[..., 0])
    spread = jnp.maximum(square - _trace_of_square(sigma), 1e-6)
    return jnp.square(span(sigma)) / spread


_NOTHING = 1e-6
"""Share of a window, far below a pixel's, up to which there are no data but rounding."""


def _known(bands: Array) -> Array:
    """(..., C) -> (..., 1), 1 where a pixel has data, 0 where all of its bands are 0."""
    return (bands != 0).any(-1, keepdims=True).astype(bands.dtype)


def _means(image: Array, known: Array, weights: NDArray[np.float64]) -> Array:
    """Means of the known pixels of several windows, whose weights sum to 1: as `_weighted`."""
    share = _weighted(known, weights)
    return _weighted(image, weights) / jnp.where(share > _NOTHING, share, 1)


def _trace_of_square(bands: Array) -> Array:
    """Trace of M^2, M Hermitian: squares of the diagonal, twice those of what is above it."""
    size = 3 if bands.shape[-1] == 9 else 2
    diagonal = jnp.square(bands[..., :size]).sum(-1)
    return diagonal + 2 * jnp.square(bands[..., size : size + 2 * len(PAIRS)]).sum(-1)


# Numbers of the parts on the two sides of an edge, of the 3 x 3 in reading order.
_SIDES = (
    ((0, 3, 6), (2, 5, 8)),  # left, right
    ((1, 2, 5), (3, 6, 7)),  # upper right, lower left
    ((0, 1, 2), (6, 7, 8)),  # up, down
    ((0, 1, 3), (5, 7, 8)),  # upper left, lower right
)


def _difference(parts: Array, first: tuple[int, ...], second: tuple[int, ...]) -> Array:
    return parts[np.asarray(first)].sum(0) - parts[np.asarray(second)].sum(0)


def _parts(size: int) -> NDArray[np.float64]:
    """(9, size, size) weights of the means of the 3 x 3 overlapping parts of a window."""
    side = {5: 3, 7: 3, 9: 5, 11: 5}[size]
    step = (size - side) // 2
    weights = np.zeros((9, size, size))
    for number in range(9):
        top, left = step * (number // 3), step * (number % 3)
        weights[number, top : top + side, left : left + side] = 1 / side**2
    return weights


def _halves(size: int) -> NDArray[np.float64]:
    """(8, size, size) weights of the halves of a window, in the order of `_SIDES`."""
    row, column = np.indices((size, size)) - size // 2
    across = (-column, column - row, -row, -row - column)  # grow towards the first side
    masks = np.stack([side >= 0 for first in across for side in (first, -first)]).astype(np.float64)
    return np.asarray(masks / masks.sum((1, 2), keepdims=True))


def _weighted(image: Array, weights: NDArray[np.float64]) -> Array:
    """Sliding sums by several kernels: (..., H, W, C), (K, n, n) -> (K, ..., H, W, C)."""
    count, size, _ = weights.shape
    half = size // 2
    *batch, height, width, bands = image.shape
    planes = jnp.moveaxis(image.reshape(-1, height, width, bands), -1, 1)
    planes = planes.reshape(-1, height, width)
    # Scenes smaller than the window have no reflection of its size.
    mode = "symmetric" if min(height, width) >= half else "edge"
    planes = jnp.pad(planes, ((0, 0), (half, half), (half, half)), mode=mode)
    kernel = jnp.asarray(weights, image.dtype).transpose(1, 2, 0)[:, :, None]  # (n, n, 1, K)
    out = jax.lax.conv_general_dilated(
        planes[..., None],
        kernel,
        (1, 1),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=jax.lax.Precision.HIGHEST,
    )
    out = out.reshape(-1, bands, height, width, count)
    return jnp.moveaxis(out, (4, 1), (0, 4)).reshape(count, *batch, height, width, bands)
