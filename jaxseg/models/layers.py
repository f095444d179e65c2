"""The few operations all networks are made of, each in its fast formulation.

Pure functions first, then thin Linen modules around them. Images are (B, H, W, C), kernels (kh, kw,
in, out), padding is symmetric as in PyTorch, so imported weights fit. Two rules decide the
formulations:

*   Whatever XLA executes slowly everywhere is rewritten for everyone: the 2x2 transposed
    convolution as a 1x1 one and depth-to-space, the 2x2 maximum as a reshape, resizing as two
    products with constant matrices (which also keep rows sharded, where `jax.image.resize` gathers
    them).
*   What only XLA:CPU executes slowly, the gradients of convolutions and taps that mostly meet
    padding, is chosen by `jax.lax.platform_dependent`: programs for TPU and GPU keep the native
    operation.
"""

import functools
import math
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

Dtype = Literal["float32", "bfloat16"]
"""What a network computes in; parameters, batch statistics and logits stay float32."""

Layer = Callable[[Array], Array]
"""A module with nothing left to choose: features in, features out."""

LayerOf = Callable[..., Layer]
"""`functools.partial` of a module class, made once by a network and handed to its blocks."""

Padding = tuple[tuple[int, int], tuple[int, int]]
"""Zeros before and after the rows, before and after the columns; negative: cut pixels off."""


# -- convolution -----------------------------------------------------------------------------------


def conv2d(
    x: Array, kernel: Array, *, stride: int = 1, dilation: int = 1, padding: int = 0
) -> Array:
    """Cross-correlation with zero padding, which all deep learning libraries call convolution.

    Args:
        x: Features, (B, H, W, C).
        kernel: (kh, kw, C, F), of the dtype of `x`.
        stride: Step between output pixels along both axes.
        dilation: Step between taps along both axes, the atrous rate.
        padding: Zeros on each of the four sides.

    Returns:
        (B, H', W', F) with H' = (H + 2 padding - dilation (kh - 1) - 1) // stride + 1.
    """
    rows, top, bottom = _taps_that_touch(x.shape[1], kernel.shape[0], stride, dilation, padding)
    columns, left, right = _taps_that_touch(x.shape[2], kernel.shape[1], stride, dilation, padding)
    kernel, around = kernel[rows, columns], ((top, bottom), (left, right))
    if kernel.shape[:2] == (1, 1) and around == ((0, 0), (0, 0)):
        return _pointwise(x[:, ::stride, ::stride], kernel[0, 0])
    return _conv(x, kernel, stride, dilation, around)


def _taps_that_touch(
    pixels: int, taps: int, stride: int, dilation: int, padding: int
) -> tuple[slice, int, int]:
    """Taps that meet a pixel at all and the padding they need: rate 36 on 32 rows leaves one tap.

    Exact, because what is dropped would only ever have met zeros.
    """
    outputs = (pixels + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
    first = [tap * dilation - padding for tap in range(taps)]
    touch = [t for t, f in enumerate(first) if f < pixels and f + (outputs - 1) * stride >= 0]
    low, high = (touch[0], touch[-1]) if touch else (0, taps - 1)
    return (
        slice(low, high + 1),
        padding - low * dilation,
        padding - (taps - 1 - high) * dilation,
    )


@jax.custom_vjp
def _pointwise(x: Array, kernel: Array) -> Array:
    """A 1x1 convolution is a matrix product: (B, H, W, C) times (C, F)."""
    return jnp.dot(x, kernel)


def _pointwise_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return jnp.dot(x, kernel), (x, kernel)


def _pointwise_backward(saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    def native(x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
        dx, dkernel = jax.vjp(jnp.dot, x, kernel)[1](g)
        return dx, dkernel

    def quick(x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
        # Barriers, or XLA:CPU computes what led to `g` a second time, slowly, in turned order.
        g = lax.optimization_barrier(g)
        pixels, outputs = x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])
        return jnp.dot(g, kernel.T), _gram(pixels, outputs).astype(kernel.dtype)

    gradients: tuple[Array, Array] = lax.platform_dependent(*saved, g, cpu=quick, default=native)
    return gradients


_pointwise.defvjp(_pointwise_forward, _pointwise_backward)


def _gram(a: Array, b: Array) -> Array:
    """(P, M), (P, N) -> (M, N) float32, the product of the turned `a` with `b`.

    The smaller one is turned in memory first, because XLA:CPU is slow at doing it on the way.
    """
    if b.shape[1] < a.shape[1]:
        turned = lax.optimization_barrier(_gram(b, a))
        return jnp.transpose(turned)
    turned = lax.optimization_barrier(a.T)
    return jnp.dot(turned, b, preferred_element_type=jnp.float32)


def _native(x: Array, kernel: Array, stride: int, dilation: int, padding: Padding) -> Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv(x: Array, kernel: Array, stride: int, dilation: int, padding: Padding) -> Array:
    def native(x: Array, kernel: Array) -> Array:
        return _native(x, kernel, stride, dilation, padding)

    def tap_by_tap(x: Array, kernel: Array) -> Array:
        return _tap_by_tap(x, kernel, dilation, padding)

    if not _mostly_padding(x.shape, kernel.shape, stride, dilation, padding):
        return native(x, kernel)
    y: Array = lax.platform_dependent(x, kernel, cpu=tap_by_tap, default=native)
    return y


def _conv_forward(
    x: Array, kernel: Array, stride: int, dilation: int, padding: Padding
) -> tuple[Array, tuple[Array, Array]]:
    return _conv(x, kernel, stride, dilation, padding), (x, kernel)


def _conv_backward(
    stride: int, dilation: int, padding: Padding, saved: tuple[Array, Array], g: Array
) -> tuple[Array, Array]:
    def native(x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
        plain = functools.partial(_native, stride=stride, dilation=dilation, padding=padding)
        dx, dkernel = jax.vjp(plain, x, kernel)[1](g)
        return dx, dkernel

    def quick(x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
        if _mostly_padding(x.shape, kernel.shape, stride, dilation, padding):
            by_tap = functools.partial(_tap_by_tap, dilation=dilation, padding=padding)
            dx, dkernel = jax.vjp(by_tap, x, kernel)[1](g)
            return dx, dkernel
        strided = stride != 1
        dx = native(x, kernel, g)[0] if strided else _input_gradient(kernel, g, dilation, padding)
        return dx, _kernel_gradient(x, kernel, g, stride, dilation, padding)

    gradients: tuple[Array, Array] = lax.platform_dependent(*saved, g, cpu=quick, default=native)
    return gradients


_conv.defvjp(_conv_forward, _conv_backward)


def _live_outputs(
    pixels: int, taps: int, dilation: int, padding: tuple[int, int]
) -> list[tuple[int, int]]:
    """Stride 1: for each tap the range of outputs for which it meets a pixel and not padding."""
    outputs = pixels + sum(padding) - dilation * (taps - 1)
    shifts = [tap * dilation - padding[0] for tap in range(taps)]
    return [(max(0, -shift), min(outputs, pixels - shift)) for shift in shifts]


def _mostly_padding(
    image: tuple[int, ...], kernel: tuple[int, ...], stride: int, dilation: int, padding: Padding
) -> bool:
    """Whether a fifth of the products or more are with zeros, as at rate 12 on 32 rows."""
    if stride != 1:
        return False
    share = 1.0
    for axis in (0, 1):
        ranges = _live_outputs(image[1 + axis], kernel[axis], dilation, padding[axis])
        outputs = image[1 + axis] + sum(padding[axis]) - dilation * (kernel[axis] - 1)
        share *= sum(max(0, stop - start) for start, stop in ranges) / (outputs * kernel[axis])
    return share <= 0.8


def _tap_by_tap(x: Array, kernel: Array, dilation: int, padding: Padding) -> Array:
    """Stride 1: one matrix product per tap, of only those pixels that it meets."""
    _, h, w, _ = x.shape
    rows = _live_outputs(h, kernel.shape[0], dilation, padding[0])
    columns = _live_outputs(w, kernel.shape[1], dilation, padding[1])
    height = h + sum(padding[0]) - dilation * (kernel.shape[0] - 1)
    width = w + sum(padding[1]) - dilation * (kernel.shape[1] - 1)
    total = jnp.zeros((x.shape[0], height, width, kernel.shape[3]), x.dtype)
    for i, (top, bottom) in enumerate(rows):
        for j, (left, right) in enumerate(columns):
            if bottom <= top or right <= left:
                continue
            y, z = i * dilation - padding[0][0], j * dilation - padding[1][0]
            part = jnp.dot(x[:, top + y : bottom + y, left + z : right + z], kernel[i, j])
            frame = ((0, 0), (top, height - bottom), (left, width - right), (0, 0))
            total += jnp.pad(part, frame)
    return total


def _input_gradient(kernel: Array, g: Array, dilation: int, padding: Padding) -> Array:
    """Stride 1: the convolution of the output's gradient with the kernel turned by 180 degrees."""
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    (top, bottom), (left, right) = padding
    tall, wide = (dilation * (taps - 1) for taps in kernel.shape[:2])
    return _conv(g, turned, 1, dilation, ((tall - top, tall - bottom), (wide - left, wide - right)))


def _kernel_gradient(
    x: Array, kernel: Array, g: Array, stride: int, dilation: int, padding: Padding
) -> Array:
    """Strip by strip of output rows: lay the taps' pixels side by side, one matrix product, add.

    A strip and its columns stay in the cache, which XLA:CPU's own formulation does not care for.
    """
    kh, kw, c, f = kernel.shape
    b, h, w, _ = g.shape
    x = jnp.pad(x, ((0, 0), _grown(padding[0]), _grown(padding[1]), (0, 0)))
    x = x[:, max(0, -padding[0][0]) :, max(0, -padding[1][0]) :]
    rows = _rows_of_a_strip(h, b * w * (kh * kw * c + f) * 4)
    reach = (rows - 1) * stride + 1

    def add_strip(number: Array, total: Array) -> Array:
        first = number * rows * stride
        columns = []
        for i in range(kh):
            strip = lax.dynamic_slice_in_dim(x, first + i * dilation, reach, axis=1)[:, ::stride]
            lefts = [j * dilation for j in range(kw)]
            columns += [strip[:, :, left : left + (w - 1) * stride + 1 : stride] for left in lefts]
        taps = jnp.concatenate(columns, axis=3).reshape(-1, kh * kw * c)
        out = lax.dynamic_slice_in_dim(g, number * rows, rows, axis=1).reshape(-1, f)
        # The barrier makes XLA turn the smaller factor itself; its product of two turned factors
        # is slow.
        turned = lax.optimization_barrier(out.T)
        return total + jnp.dot(turned, taps, preferred_element_type=jnp.float32)

    total = lax.fori_loop(0, h // rows, add_strip, jnp.zeros((f, kh * kw * c), jnp.float32))
    gradient: Array = total.T.reshape(kernel.shape).astype(kernel.dtype)
    return gradient


def _grown(padding: tuple[int, int]) -> tuple[int, int]:
    return max(0, padding[0]), max(0, padding[1])


def _rows_of_a_strip(rows: int, bytes_per_row: int, cache: int = 4 * 2**20) -> int:
    """The largest divisor of `rows` whose strip fits the cache of a core, at least 1."""
    fits = [n for n in range(1, rows + 1) if rows % n == 0 and n * bytes_per_row <= cache]
    return max(fits, default=1)


# -- resampling ------------------------------------------------------------------------------------


def upconv2x2(x: Array, kernel: Array) -> Array:
    """Transposed convolution of size 2 and stride 2: (B, H, W, C) -> (B, 2H, 2W, F).

    Windows do not overlap, so it is one matrix product and depth-to-space; that needs no halo
    where rows are sharded. `kernel` is (2, 2, C, F), `kernel[i, j]` makes output pixel (2y+i,
    2x+j).
    """
    b, h, w, c = x.shape
    f = kernel.shape[3]
    # Written as rows times a matrix: left to itself, `einsum` transposes the features first.
    y = jnp.dot(x, kernel.transpose(2, 0, 1, 3).reshape(c, 4 * f)).reshape(b, h, w, 2, 2, f)
    return y.swapaxes(2, 3).reshape(b, 2 * h, 2 * w, f)


@jax.custom_vjp
def max_pool2x2(x: Array) -> Array:
    """Maximum of 2x2 windows: (B, H, W, C) -> (B, H/2, W/2, C); H and W must be even.

    On ties the gradient goes to the first pixel in reading order, as PyTorch's does.
    """
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))


def _max_pool2x2_forward(x: Array) -> tuple[Array, Array]:
    return max_pool2x2(x), x


def _max_pool2x2_backward(x: Array, g: Array) -> tuple[Array]:
    # The winner is found by comparing the four pixels with one another. Comparing them with the
    # maximum, as JAX's own gradient does, divides 0 by 0 where XLA computes `x` twice, in two
    # fusions that round differently: seen on CPU.
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


max_pool2x2.defvjp(_max_pool2x2_forward, _max_pool2x2_backward)


def max_pool3x3(x: Array) -> Array:
    """Maximum of 3x3 windows with stride 2 and padding 1, as after a ResNet's first convolution.

    (B, H, W, C) -> (B, ceil(H/2), ceil(W/2), C).
    """
    lowest = -math.inf
    # Maximum of three rows, then of three columns: a sliding window's gradient is slow, on CPU
    # most of all.
    for axis in (1, 2):
        outputs = (x.shape[axis] + 1) // 2
        pads = [(0, 0)] * 4
        pads[axis] = (1, 2 * outputs - x.shape[axis])
        padded = jnp.pad(x, pads, constant_values=lowest)
        taps = [lax.slice_in_dim(padded, i, i + 2 * outputs - 1, 2, axis) for i in range(3)]
        x = _larger(_larger(taps[0], taps[1]), taps[2])
    return x


def _larger(a: Array, b: Array) -> Array:
    # Its gradient follows the comparison, where that of `jnp.maximum` compares with a result that
    # XLA may have computed a second time and rounded differently; ties go to the first, as in
    # PyTorch.
    return jnp.where(a >= b, a, b)


def resize(x: Array, size: tuple[int, int], *, align_corners: bool = False) -> Array:
    """Bilinear resizing without antialiasing, (B, h, w, C) -> (B, H, W, C).

    `align_corners=False` maps pixel areas on pixel areas: source = (target + 0.5) h / H - 0.5.
    `align_corners=True` maps corner centres on corner centres: source = target (h - 1) / (H - 1).
    """
    if x.shape[1:3] == size:
        return x
    rows = _bilinear(x.shape[1], size[0], align_corners).astype(x.dtype)
    columns = _bilinear(x.shape[2], size[1], align_corners).astype(x.dtype)
    x = jnp.einsum("Hh,bhwc->bHwc", rows, x, precision="highest")
    return jnp.einsum("Ww,bhwc->bhWc", columns, x, precision="highest")


def _bilinear(source: int, target: int, align_corners: bool) -> NDArray[np.float64]:
    """The (target, source) matrix of linear interpolation; each row sums to 1."""
    place = np.arange(target, dtype=np.float64)
    if align_corners:
        place *= (source - 1) / max(target - 1, 1)
    else:
        place = (place + 0.5) * source / target - 0.5
    distance = np.abs(np.clip(place, 0, source - 1)[:, None] - np.arange(source))
    return np.maximum(0.0, 1.0 - distance)


def pad_to_multiple(x: Array, multiple: int) -> Array:
    """Repeats the last row and column up to multiples: (B, H, W, C) -> (B, H', W', C)."""
    down, right = (-size % multiple for size in x.shape[1:3])
    if not down and not right:
        return x
    return jnp.pad(x, ((0, 0), (0, down), (0, right), (0, 0)), mode="edge")


# -- modules ---------------------------------------------------------------------------------------


class Conv(nn.Module):
    """`conv2d` with its kernel: (B, H, W, C) -> (B, H', W', features).

    Attributes:
        features: Output channels.
        kernel_size: Taps along both axes.
        stride: Step between output pixels.
        dilation: Step between taps.
        padding: Zeros on each side; None = as many as keep the size at stride 1.
        use_bias: Whether to add a learned constant per channel.
        dtype: What is computed in.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    dilation: int = 1
    padding: int | None = None
    use_bias: bool = False
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, C) -> (B, H', W', features)."""
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", he_normal, shape)
        half = self.dilation * (self.kernel_size - 1) // 2
        y = conv2d(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            stride=self.stride,
            dilation=self.dilation,
            padding=half if self.padding is None else self.padding,
        )
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return y


class UpConv(nn.Module):
    """`upconv2x2` with its kernel and bias: (B, H, W, C) -> (B, 2H, 2W, features).

    Attributes:
        features: Output channels.
        dtype: What is computed in.
    """

    features: int
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, C) -> (B, 2H, 2W, features)."""
        kernel = self.param("kernel", he_normal, (2, 2, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return upconv2x2(x.astype(self.dtype), kernel.astype(self.dtype)) + bias.astype(self.dtype)


BatchNorm = functools.partial(nn.BatchNorm, momentum=0.9, epsilon=1e-5)
"""PyTorch's defaults: its momentum 0.1 is the share of the new, Flax's 0.9 that of the old."""


def he_normal(key: Array, shape: tuple[int, ...]) -> Array:
    """Normal with variance 2 / fan-in, the inputs that meet in one output.

    Source: He et al., Delving Deep into Rectifiers, ICCV 2015.
    """
    return jax.random.normal(key, shape) * math.sqrt(2 / math.prod(shape[:-1]))
