"""Radar intensity: its units, its speckle, and filters against it.

    amplitude --square--> intensity, linear power --10 log10--> dB

Images are (..., H, W, C), bands last, each band on its own. Filters, means and estimates work on
linear intensity. A pixel that is not finite has no data: it counts in no statistic, takes no part
in its neighbours' and stays NaN. What lies outside of the image is treated alike.

An intensity I = R n has the reflectivity R, which is wanted, and fully developed speckle
n ~ Gamma(L, 1 / L) of L looks: mean 1, variance 1 / L, so the squared coefficient of variation of a
homogeneous area is 1 / L. In dB speckle is additive, with a mean of 10 / ln 10 (psi(L) - ln L) and
a variance of (10 / ln 10)^2 psi_1(L).

Source: Oliver and Quegan, Understanding Synthetic Aperture Radar Images, SciTech 2004, chapter 4;
the filters name their own.
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from jaxseg.errors import UserError

Unit = Literal["amplitude", "intensity", "decibel"]
"""What the numbers of an image are; intensity is linear power, of any scale."""

FLOOR = 1e-6
"""Smallest power told apart by default, -60 dB: below the noise of any spaceborne radar."""


def amplitude_to_intensity(amplitude: Array) -> Array:
    """Amplitude squared, in float32: whole numbers would overflow."""
    return jnp.square(amplitude.astype(jnp.float32))


def intensity_to_amplitude(intensity: Array) -> Array:
    """Root of the intensity; negative ones, left by a subtraction of noise, become 0."""
    return jnp.sqrt(jnp.where(intensity < 0, 0, intensity))


def intensity_to_decibel(intensity: Array, *, floor: float = FLOOR) -> Array:
    """10 log10 of linear power, finite whatever is given.

    What is not above the floor becomes the floor: zeros, negative numbers and NaN.
    """
    return 10 * jnp.log10(above(intensity, floor))


def above(intensity: Array, floor: float) -> Array:
    """The intensity, or the floor where it is not above it; NaN is not above anything."""
    return jnp.where(intensity > floor, intensity, floor)


def decibel_to_intensity(decibel: Array) -> Array:
    """Linear power of dB; NaN stays, minus infinity becomes 0."""
    return jnp.exp(decibel * (np.log(10) / 10))


def ratio(numerator: Array, denominator: Array, *, floor: float = FLOOR) -> Array:
    """Quotient of two linear powers, such as VV / VH; NaN where either has no data.

    Args:
        numerator: Linear power of any shape.
        denominator: The same.
        floor: Smaller powers, of both, count as this: a quotient of noise means nothing.
    """
    return jnp.maximum(numerator, floor) / jnp.maximum(denominator, floor)


@functools.partial(jax.jit, static_argnames=("rows", "columns"))
def multilook(intensity: Array, *, rows: int, columns: int) -> Array:
    """Mean intensity of blocks: (..., H, W, C) -> (..., H // rows, W // columns, C).

    Rows and columns that do not fill a block are left out; a block is NaN where nothing in it has
    data. Never take this mean of dB: it would be too low by the mean of the speckle in dB.

    Args:
        intensity: (..., H, W, C) linear power.
        rows: Height of a block.
        columns: Its width.
    """
    *before, height, width, bands = intensity.shape
    high, wide = height // rows, width // columns
    cut = intensity[..., : high * rows, : wide * columns, :]
    blocks = cut.reshape(*before, high, rows, wide, columns, bands)
    known = jnp.isfinite(blocks)
    total = jnp.where(known, blocks, 0).sum((-4, -2))
    return total / known.sum((-4, -2))  # 0 / 0 = NaN


@functools.partial(jax.jit, static_argnames="size")
def lee(intensity: Array, *, looks: float | Array, size: int = 7) -> Array:
    """Lee's filter: between a pixel and the mean around it, by how much more than speckle varies.

        out = m + b (in - m),  b = max(0, (v - s) / (v (1 + s))),  s = 1 / looks,

    with m the mean and v the squared coefficient of variation of the window's pixels.

    Source: Lee, Digital Image Enhancement and Noise Filtering by Use of Local Statistics, IEEE PAMI
    1980, in the form for multiplicative noise.

    Args:
        intensity: (..., H, W, C) linear power.
        looks: Equivalent number of looks.
        size: Rows and columns of the window, odd.
    """
    _check_odd(size)
    known = jnp.isfinite(intensity)
    values = jnp.where(known, intensity, 0)
    count = jnp.maximum(_box_sum(known.astype(values.dtype), size), 1)
    mean = _box_sum(values, size) / count
    square = _box_sum(jnp.square(values), size) / count
    return jnp.where(known, _weighed(values, mean, square, looks), jnp.nan)


@jax.jit
def refined_lee(intensity: Array, *, looks: float | Array) -> Array:
    """Lee's filter over that half of a 7 x 7 window which lies on the pixel's side of an edge.

    The means of the 3 x 3 overlapping sub-windows of 3 x 3 pixels give the gradients of four edge
    directions. The largest is the edge's; of its two sides that one is filtered over whose
    sub-window's mean is nearer to the one in the middle. A sub-window without data counts as the
    one in the middle.

    Source: Lee, Refined Filtering of Image Noise Using Local Statistics, Computer Graphics and
    Image Processing 1981.

    Args:
        intensity: (..., H, W, C) linear power.
        looks: Equivalent number of looks.
    """
    known = jnp.isfinite(intensity)
    values = jnp.where(known, intensity, 0)
    ones = known.astype(values.dtype)
    counts = _window_sums(ones, _SUB_WINDOWS)  # (9, ..., H, W, C)
    means = _window_sums(values, _SUB_WINDOWS) / jnp.maximum(counts, 1)
    middle = means[4]
    means = jnp.where(counts > 0, means, middle)

    gradients = jnp.abs(jnp.tensordot(jnp.asarray(_GRADIENTS, values.dtype), means, axes=1))
    edge = gradients.argmax(0)  # (..., H, W, C), one of four
    far = jnp.abs(means - middle)
    nearer_second = jnp.stack([far[second] < far[first] for first, second in _SIDES])
    half = 2 * edge + jnp.take_along_axis(nearer_second, edge[None], axis=0)[0]

    def over_half(x: Array) -> Array:
        sums = _window_sums(x, _HALVES)  # (8, ..., H, W, C)
        return jnp.take_along_axis(sums, half[None], axis=0)[0]

    count = jnp.maximum(over_half(ones), 1)
    mean, square = over_half(values) / count, over_half(jnp.square(values)) / count
    return jnp.where(known, _weighed(values, mean, square, looks), jnp.nan)


@functools.partial(jax.jit, static_argnames="size")
def local_looks(intensity: Array, *, size: int = 7) -> Array:
    """mean^2 / variance of the window around each pixel: (..., H, W, C) -> (..., H, W, C).

    The equivalent number of looks where the window is homogeneous, less where it holds texture or
    an edge; NaN where a pixel of it has no data or lies outside of the image.

    Args:
        intensity: (..., H, W, C) linear power.
        size: Rows and columns of the window, odd.
    """
    _check_odd(size)
    known = jnp.isfinite(intensity)
    values = jnp.where(known, intensity, 0)
    pixels = size * size
    mean = _box_sum(values, size) / pixels
    variance = _box_sum(jnp.square(values), size) / pixels - jnp.square(mean)
    variance = jnp.maximum(variance * pixels / (pixels - 1), _SMALLEST * jnp.square(mean))
    whole = _box_sum(known.astype(values.dtype), size) == pixels
    return jnp.where(whole & (mean > 0), jnp.square(mean) / variance, jnp.nan)


@functools.partial(jax.jit, static_argnames="size")
def equivalent_looks(intensity: Array, *, size: int = 7) -> Array:
    """The scene's equivalent number of looks: (..., H, W, C) -> (C,), NaN without a whole window.

    The most frequent value of `local_looks`: windows with texture or edges scatter widely below
    it, homogeneous ones gather around it, so no homogeneous area has to be pointed out. Frequent is
    meant on a logarithmic scale, in bins of 2 % smoothed by a Gaussian of 10 %. It needs
    homogeneous areas wider than the window. For one look it is too high by about 6 %; where the
    speckle of neighbouring pixels is correlated, as in finely sampled products, it is too high for
    small windows and falls as they grow.

    Source: Anfinsen, Doulgeris, Eltoft, Estimation of the Equivalent Number of Looks in
    Polarimetric SAR Imagery, IEEE TGRS 2009, for the most frequent value; bins and width are ours.

    Args:
        intensity: (..., H, W, C) linear power.
        size: Rows and columns of the window, odd.
    """
    step, width = 0.02, 5
    lowest, highest = -3.0, 12.0  # natural logarithms: 0.05 to 160,000 looks
    bins = round((highest - lowest) / step)
    smoothing = jnp.exp(-0.5 * jnp.square(jnp.arange(-4 * width, 4 * width + 1) / width))

    def of_band(looks: Array) -> Array:
        known = jnp.isfinite(looks)
        logarithm = jnp.log(jnp.where(known, looks, 1))
        place = jnp.clip((logarithm - lowest) / step, 0, bins - 1).astype(jnp.int32)
        counts = jnp.zeros(bins).at[place].add(known)
        best = jnp.convolve(counts, smoothing, mode="same").argmax()
        return jnp.where(known.any(), jnp.exp(lowest + step * (best + 0.5)), jnp.nan)

    looks = local_looks(intensity, size=size)
    return jax.vmap(of_band, in_axes=-1)(looks.reshape(-1, looks.shape[-1]))


def speckle(key: Array, shape: tuple[int, ...], looks: float | Array) -> Array:
    """Factors of fully developed speckle of L looks, float32: Gamma, mean 1, variance 1 / L.

    Source: Goodman, Some Fundamental Properties of Speckle, Journal of the Optical Society of
    America 1976.
    """
    return jax.random.gamma(key, looks, shape, jnp.float32) / looks


def with_speckle(key: Array, image: Array, looks: float | Array, unit: Unit) -> Array:
    """The image under further speckle, each pixel and band its own: float32 in the same unit.

    NaN and zeros stay. An image of L looks comes to have L looks / (L + looks + 1).
    """
    factor = speckle(key, image.shape, looks)
    image = image.astype(jnp.float32)
    if unit == "decibel":
        # A draw may be 0 in float32 where looks are far below 1.
        return image + 10 * jnp.log10(jnp.maximum(factor, 1e-30))
    return image * (jnp.sqrt(factor) if unit == "amplitude" else factor)


_SMALLEST = 1e-6
"""Squared coefficients of variation below this are lost in the rounding of float32."""


def _weighed(values: Array, mean: Array, square: Array, looks: float | Array) -> Array:
    """Lee's compromise of `values` and `mean`, by the means of the window and of its squares."""
    noise = 1 / looks
    # v (mean^2) and s (mean^2) instead of v and s: windows of zeros divide nothing by zero.
    variance = jnp.maximum(square - jnp.square(mean), 0)
    excess = variance - noise * jnp.square(mean)
    b = jnp.where(excess > 0, excess / ((1 + noise) * jnp.where(excess > 0, variance, 1)), 0)
    return mean + b * (values - mean)


def _box_sum(x: Array, size: int) -> Array:
    """Sums of the size x size pixels around each, 0 outside: (..., H, W, C) -> the same."""
    zero = np.zeros((), x.dtype)
    before = (1,) * (x.ndim - 3)
    for window in ((size, 1), (1, size)):  # rows, then columns: 2 size additions a pixel
        whole = (*before, *window, 1)
        x = jax.lax.reduce_window(x, zero, jax.lax.add, whole, (1,) * x.ndim, "SAME")
    return x


def _window_sums(x: Array, kernels: NDArray[np.float32]) -> Array:
    """Sums over K shapes of window, 0 outside: (..., H, W, C), (K, n, n) -> (K, ..., H, W, C)."""
    *before, height, width, bands = x.shape
    planes = jnp.moveaxis(x, -1, 0).reshape(-1, height, width, 1)
    half = kernels.shape[-1] // 2
    sums = jax.lax.conv_general_dilated(
        planes,
        jnp.asarray(kernels, x.dtype).transpose(1, 2, 0)[:, :, None],
        (1, 1),
        ((half, half), (half, half)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=jax.lax.Precision.HIGHEST,
    )
    sums = sums.reshape(bands, *before, height, width, len(kernels))
    return jnp.moveaxis(jnp.moveaxis(sums, -1, 0), 1, -1)


def _check_odd(size: int) -> None:
    if size < 3 or size % 2 == 0:
        raise UserError(f"A window of {size} x {size} pixels: it has to be odd, 3 or more.")


def _sub_windows() -> NDArray[np.float32]:
    """(9, 7, 7): 3 x 3 pixels each, two apart, in reading order."""
    kernels = np.zeros((9, 7, 7), np.float32)
    for number in range(9):
        top, left = 2 * (number // 3), 2 * (number % 3)
        kernels[number, top : top + 3, left : left + 3] = 1
    return kernels


def _halves() -> NDArray[np.float32]:
    """(8, 7, 7): the halves of a window on both sides of four edges, the edge's pixels in both."""
    row, column = np.indices((7, 7)) - 3
    across = (column, row - column, row, row + column)  # the coordinate across each edge
    halves = [half for axis in across for half in (axis <= 0, axis >= 0)]
    return np.stack(halves).astype(np.float32)


# Numbers of the sub-windows in the middle of an edge's two sides, in the order of `_halves`:
# left and right, upper right and lower left, above and below, upper left and lower right.
_SIDES = ((3, 5), (2, 6), (1, 7), (0, 8))

# Three sub-windows on one side minus three on the other, for the same four edges.
_GRADIENTS = np.array(
    [
        [-1, 0, 1, -1, 0, 1, -1, 0, 1],
        [0, -1, -1, 1, 0, -1, 1, 1, 0],
        [-1, -1, -1, 0, 0, 0, 1, 1, 1],
        [-1, -1, 0, -1, 0, 1, 0, 1, 1],
    ],
    np.float32,
)

_SUB_WINDOWS, _HALVES = _sub_windows(), _halves()
