"""Pooling, resizing and padding of (B, H, W, C) features, in formulations fast on CPU, GPU and TPU.

Resizing is two products with constant matrices, which keeps rows sharded where `jax.image.resize`
gathers them.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

from jaxseg.models.parts.platforms import by_platform


def max_pool2x2(x: Array) -> Array:
    """Maximum of 2x2 windows: (B, H, W, C) -> (B, H/2, W/2, C); H and W must be even.

    On ties the gradient goes to the first pixel in reading order, as in PyTorch.
    """
    windows = functools.partial(_max_of_windows, size=2, padding=0)
    return by_platform(x, cpu=_max_pool2x2, others=windows)


def max_pool3x3(x: Array) -> Array:
    """Maximum of 3x3 windows with stride 2 and padding 1, as after a ResNet's first convolution.

    (B, H, W, C) -> (B, ceil(H/2), ceil(W/2), C). On ties as `max_pool2x2`.
    """
    windows = functools.partial(_max_of_windows, size=3, padding=1)
    return by_platform(x, cpu=_max_pool3x3, others=windows)


def _max_of_windows(x: Array, size: int, padding: int) -> Array:
    """Windows of `size` x `size` pixels with stride 2; XLA has one operation for its gradient."""
    sides = (1, size, size, 1)
    pads = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    found: Array = lax.reduce_window(x, -math.inf, lax.max, sides, (1, 2, 2, 1), pads)
    return found


@jax.custom_vjp
def _max_pool2x2(x: Array) -> Array:
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))


def _max_pool2x2_forward(x: Array) -> tuple[Array, Array]:
    return _max_pool2x2(x), x


def _max_pool2x2_backward(x: Array, g: Array) -> tuple[Array]:
    # The maximum is located by comparing the four pixels with each other. Comparing them with the
    # maximum value, as JAX's gradient does, divides 0 by 0 if XLA computes `x` twice in two fusions
    # that round differently, which was observed on CPU.
    b, h, w, c = x.shape
    four = x.reshape(b, h // 2, 2, w // 2, 2, c)
    left, right = four[:, :, :, :, 0], four[:, :, :, :, 1]  # (B, H/2, 2, W/2, C)
    is_left = left >= right
    row = jnp.where(is_left, left, right)
    is_top = (row[:, :, 0] >= row[:, :, 1])[:, :, None]
    wins = jnp.concatenate((is_top, ~is_top), axis=2)
    zero = jnp.zeros((), g.dtype)
    g = g[:, :, None]
    pair = (jnp.where(wins & is_left, g, zero), jnp.where(wins & ~is_left, g, zero))
    return (jnp.stack(pair, axis=4).reshape(x.shape),)


_max_pool2x2.defvjp(_max_pool2x2_forward, _max_pool2x2_backward)


def _max_pool3x3(x: Array) -> Array:
    # Maximum of three columns, then of three rows, so that of equal pixels the first in reading
    # order wins: the gradient of a sliding window is slow on CPU.
    for axis in (2, 1):
        outputs = (x.shape[axis] + 1) // 2
        pads = [(0, 0)] * 4
        pads[axis] = (1, 2 * outputs - x.shape[axis])
        padded = jnp.pad(x, pads, constant_values=-math.inf)
        taps = [lax.slice_in_dim(padded, i, i + 2 * outputs - 1, 2, axis) for i in range(3)]
        x = _larger(_larger(taps[0], taps[1]), taps[2])
    return x


def _larger(a: Array, b: Array) -> Array:
    # The gradient follows this comparison, whereas that of `jnp.maximum` compares with a result
    # that XLA may have recomputed and rounded differently; ties go to the first, as in PyTorch.
    return jnp.where(a >= b, a, b)


def largest(x: Array, axes: tuple[int, ...] = (1, 2)) -> Array:
    """Maximum along axes, which are kept with length 1; default (B, H, W, C) -> (B, 1, 1, C).

    On ties the gradient goes to the first pixel.
    """
    for axis in axes:
        x = _largest(x, axis)
    return x


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _largest(x: Array, axis: int) -> Array:
    return x.max(axis, keepdims=True)


def _largest_forward(x: Array, axis: int) -> tuple[Array, tuple[Array, Array]]:
    # The gradient of `jnp.max` compares with the maximum and divides by the number of equal values,
    # which is 0 if XLA recomputes `x` with different rounding. An index is safe from rounding.
    return x.max(axis, keepdims=True), (jnp.argmax(x, axis, keepdims=True), x)


def _largest_backward(axis: int, saved: tuple[Array, Array], g: Array) -> tuple[Array]:
    winner, x = saved
    place = lax.broadcasted_iota(winner.dtype, x.shape, axis)
    return (jnp.where(place == winner, g, jnp.zeros((), g.dtype)),)


_largest.defvjp(_largest_forward, _largest_backward)


def mean_pool(x: Array, bins: int) -> Array:
    """Means of `bins` x `bins` areas, (B, H, W, C) -> (B, bins, bins, C) float32.

    Area i covers rows floor(i H / bins) to ceil((i + 1) H / bins): areas overlap if H is not a
    multiple of `bins`, as in PyTorch's adaptive pooling.
    """
    rows, columns = (jnp.asarray(_mean_of_areas(n, bins), jnp.float32) for n in x.shape[1:3])
    x = jnp.einsum("ih,bhwc->biwc", rows, x.astype(jnp.float32), precision="highest")
    return jnp.einsum("jw,biwc->bijc", columns, x, precision="highest")


def _mean_of_areas(pixels: int, bins: int) -> NDArray[np.float64]:
    """The (bins, pixels) matrix of means; each row sums to 1."""
    matrix = np.zeros((bins, pixels))
    for i in range(bins):
        first, stop = i * pixels // bins, -(-(i + 1) * pixels // bins)
        matrix[i, first:stop] = 1 / (stop - first)
    return matrix


def repeat2x2(x: Array) -> Array:
    """Nearest-neighbour upsampling by 2: (B, H, W, C) -> (B, 2H, 2W, C)."""
    b, h, w, c = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c))
    return x.reshape(b, 2 * h, 2 * w, c)


def resize(x: Array, size: tuple[int, int], *, align_corners: bool = False) -> Array:
    """Bilinear resizing without antialiasing, (B, h, w, C) -> (B, H, W, C).

    `align_corners=False` maps pixel areas to pixel areas: source = (target + 0.5) h / H - 0.5.
    `align_corners=True` maps corner centres to corner centres: source = target (h - 1) / (H - 1).
    """
    if x.shape[1:3] == size:
        return x
    rows = jnp.asarray(bilinear(x.shape[1], size[0], align_corners), x.dtype)
    columns = jnp.asarray(bilinear(x.shape[2], size[1], align_corners), x.dtype)
    return by_platform(x, rows, columns, cpu=_resized, others=_resized, cuda=_resized_in_batches)


def _resized(x: Array, rows: Array, columns: Array) -> Array:
    x = jnp.einsum("Hh,bhwc->bHwc", rows, x, precision="highest")
    return jnp.einsum("Ww,bhwc->bhWc", columns, x, precision="highest")


def _resized_in_batches(x: Array, rows: Array, columns: Array) -> Array:
    # The same products, one for each image, of arrays that are transposed before and not inside:
    # of the above XLA:GPU (jax 0.10.2) makes products for which Triton finds no tiles ("Couldn't
    # find output tile sizes"), unless it can try out kernels on a device.
    b, h, w, c = x.shape
    x = _image_by_image(rows, x.reshape(b, h, w * c)).reshape(b, -1, w, c)  # (B, H, w, C)
    x = _image_by_image(columns, x.swapaxes(1, 2).reshape(b, w, -1))  # (B, W, H C)
    return x.reshape(b, len(columns), len(rows), c).swapaxes(1, 2)


def _image_by_image(matrix: Array, x: Array) -> Array:
    """(N, n) times each of (B, n, F)."""
    each: Array = lax.optimization_barrier(jnp.broadcast_to(matrix, (x.shape[0], *matrix.shape)))
    made = jnp.matmul(each, lax.optimization_barrier(x), precision="highest")
    apart: Array = lax.optimization_barrier(made)
    return apart


def bilinear(source: int, target: int, align_corners: bool) -> NDArray[np.float64]:
    """The (target, source) matrix of linear interpolation of `resize`; each row sums to 1."""
    place = np.arange(target, dtype=np.float64)
    if align_corners:
        place *= (source - 1) / max(target - 1, 1)
    else:
        place = (place + 0.5) * source / target - 0.5
    distance = np.abs(np.clip(place, 0, source - 1)[:, None] - np.arange(source))
    return np.maximum(0.0, 1.0 - distance)


def pad_to_multiple(x: Array, multiple: int) -> Array:
    """Repeats the last row and column to reach multiples: (B, H, W, C) -> (B, H', W', C)."""
    down, right = (-size % multiple for size in x.shape[1:3])
    if not down and not right:
        return x
    return jnp.pad(x, ((0, 0), (0, down), (0, right), (0, 0)), mode="edge")
