"""Speckle of radar intensity: Lee's filters, and the number of looks of an image.

Images are (..., H, W, C) linear power, bands last, each band processed separately. A pixel that is
not finite has no data: it is excluded from all statistics and stays NaN. Pixels outside the image
are treated likewise. For polarimetric matrices see `polsar_filters`, where all bands share the same
weights.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxseg.errors import UserError
from jaxseg.physics import refined_lee as edges
from jaxseg.physics.refined_lee import EdgeWindow


@functools.partial(jax.jit, static_argnames="size")
def lee(intensity: Array, *, looks: float | Array, size: int = 7) -> Array:
    """Lee's filter: a blend of pixel and local mean, weighted by the variation beyond speckle.

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
    filtered = mean + _kept(mean, square, looks) * (values - mean)
    return jnp.where(known, filtered, jnp.nan)


@jax.jit
def refined_lee(intensity: Array, *, looks: float | Array) -> Array:
    """Lee's filter over the half of a 7 x 7 window that lies on the pixel's side of an edge.

    The means of 3 x 3 overlapping sub-windows of 3 x 3 pixels give the gradients in four edge
    directions. The largest gradient determines the edge; the filter uses the side whose sub-window
    has the mean closer to that of the central sub-window. A sub-window without data takes the mean
    of the central one.

    Source: Lee, Refined Filtering of Image Noise Using Local Statistics, Computer Graphics and
    Image Processing 1981.

    Args:
        intensity: (..., H, W, C) linear power.
        looks: Equivalent number of looks.
    """
    known = jnp.isfinite(intensity)
    values = jnp.where(known, intensity, 0)

    def kept(over_half: Callable[[Array], Array], _: Array) -> Array:
        return _kept(over_half(values), over_half(jnp.square(values)), looks)

    ones = known.astype(values.dtype)
    filtered = edges.refined_lee(values, values, ones, window=_WINDOW, kept=kept)
    return jnp.where(known, filtered, jnp.nan)


@functools.partial(jax.jit, static_argnames="size")
def local_looks(intensity: Array, *, size: int = 7) -> Array:
    """mean^2 / variance of the window around each pixel: (..., H, W, C) -> (..., H, W, C).

    The equivalent number of looks if the window is homogeneous, less if it contains texture or an
    edge; NaN if a pixel of the window has no data or lies outside the image.

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
    """The scene's equivalent number of looks: (..., H, W, C) -> (C,), NaN without a full window.

    The mode of `local_looks`: windows with texture or edges scatter widely below it, homogeneous
    ones concentrate around it, so no homogeneous area has to be selected. The mode is taken on a
    logarithmic scale, in bins of 2 % smoothed by a Gaussian of 10 %. Homogeneous areas must be
    wider than the window. For one look the estimate is too high by about 6 %; where the speckle of
    neighbouring pixels is correlated, as in finely sampled products, it is too high for small
    windows and decreases as they grow.

    Source: Anfinsen, Doulgeris, Eltoft, Estimation of the Equivalent Number of Looks in
    Polarimetric SAR Imagery, IEEE TGRS 2009, for the mode; bins and width are our choice.

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


_SMALLEST = 1e-6
"""Squared coefficients of variation below this are lost to float32 rounding."""


def _kept(mean: Array, square: Array, looks: float | Array) -> Array:
    """Lee's b, the share that is kept, from the window's mean and mean of squares."""
    noise = 1 / looks
    # v (mean^2) and s (mean^2) instead of v and s avoid a division by zero in windows of zeros.
    variance = jnp.maximum(square - jnp.square(mean), 0)
    excess = variance - noise * jnp.square(mean)
    return jnp.where(excess > 0, excess / ((1 + noise) * jnp.where(excess > 0, variance, 1)), 0)


def _box_sum(x: Array, size: int) -> Array:
    """Sums over the size x size pixels around each pixel, 0 outside; the shape is kept."""
    zero = np.zeros((), x.dtype)
    before = (1,) * (x.ndim - 3)
    for window in ((size, 1), (1, size)):  # rows, then columns: 2 size additions per pixel
        whole = (*before, *window, 1)
        x = jax.lax.reduce_window(x, zero, jax.lax.add, whole, (1,) * x.ndim, "SAME")
    return x


def _check_odd(size: int) -> None:
    if size < 3 or size % 2 == 0:
        raise UserError(f"A window of {size} x {size} pixels: its size must be odd, 3 or more.")


def _look(means: Array) -> tuple[Array, Array]:
    """See `EdgeWindow`: a side is represented by its middle sub-window."""
    # The three of one side are subtracted from the three of the other.
    signs = np.zeros((4, 9))
    for number, (first, second) in enumerate(edges.SIDES):
        signs[number, first], signs[number, second] = -1, 1
    differences = jnp.tensordot(jnp.asarray(signs, means.dtype), means, axes=1)
    return differences, means[np.asarray(edges.MIDDLES)]


_WINDOW = EdgeWindow(edges.parts(7), edges.halves(7), _look, mirrored=False)
