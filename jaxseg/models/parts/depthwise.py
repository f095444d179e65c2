"""Depthwise convolution: one kernel per channel, in a formulation that is fast on its platform.

XLA:CPU is slow at it. There, a sum over taps of the shifted image times the tap is one loop over
memory; TPU and GPU keep the native operation. `by_platform` selects.

Ratio of CPU seconds, native to this formulation, forward / backward, for 3x3 kernels in float32 on
two busy cores: 15.8 / 18.8 for 8 x 32 x 32 x 304, 6.3 / 26 for 2 x 128 x 128 x 256, and 5.4 / 47
for the pyramid's 2 x 32 x 32 x 2048 at rate 12. For those of EfficientNet-B4 on 4 images of 256 x
256 pixels: 13 / 27 for 3x3 at stride 2 on 128 x 128 x 144, 8.8 / 89 for 5x5 at stride 2 on 64 x 64
x 192, 13 / 18 for 5x5 on 32 x 32 x 336, and 16 / 141 for 5x5 on 8 x 8 x 1632.
"""

import functools

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxseg.models.parts.convolution import taps_that_touch
from jaxseg.models.parts.kernel_gradient import Padding
from jaxseg.models.parts.platforms import by_platform


def depthwise_conv2d(
    x: Array,
    kernel: Array,
    *,
    stride: int = 1,
    dilation: int = 1,
    padding: tuple[int, int] | None = None,
) -> Array:
    """Cross-correlation of each channel with its own kernel, zero-padded.

    On CPU, products are accumulated in float32, whatever the dtype.

    Args:
        x: Features, (B, H, W, C).
        kernel: (k, k, 1, C) of the dtype of `x`, k odd.
        stride: Step between output pixels along both axes.
        dilation: Step between taps along both axes, the atrous rate.
        padding: Zeros above and left, and below and right; None = as many as keep the size at
            stride 1.

    Returns:
        (B, H', W', C) with H' = (H + sum(padding) - dilation (k - 1) - 1) // stride + 1.
    """
    half = dilation * (kernel.shape[0] - 1) // 2
    before, after = (half, half) if padding is None else padding
    rows, top, bottom = taps_that_touch(
        x.shape[1], kernel.shape[0], stride, dilation, (before, after)
    )
    columns, left, right = taps_that_touch(
        x.shape[2], kernel.shape[1], stride, dilation, (before, after)
    )
    return _depthwise(x, kernel[rows, columns], stride, dilation, ((top, bottom), (left, right)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _depthwise(x: Array, kernel: Array, stride: int, dilation: int, padding: Padding) -> Array:
    native, shifted = (
        functools.partial(form, stride=stride, dilation=dilation, padding=padding)
        for form in (_native, _shifted)
    )
    y: Array = by_platform(x, kernel, cpu=shifted, others=native)
    return y


def _forward(
    x: Array, kernel: Array, stride: int, dilation: int, padding: Padding
) -> tuple[Array, tuple[Array, Array]]:
    return _depthwise(x, kernel, stride, dilation, padding), (x, kernel)


def _backward(
    stride: int, dilation: int, padding: Padding, saved: tuple[Array, Array], g: Array
) -> tuple[Array, Array]:
    def native(x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
        plain = functools.partial(_native, stride=stride, dilation=dilation, padding=padding)
        dx, dkernel = jax.vjp(plain, x, kernel)[1](g)
        return dx, dkernel

    def shifted(x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
        g = lax.optimization_barrier(g)  # or XLA:CPU recomputes `g` for each tap
        dx = _input_gradient(x.shape, kernel, g, stride, dilation, padding)
        return dx, _kernel_gradient(x, kernel, g, stride, dilation, padding)

    gradients: tuple[Array, Array] = by_platform(*saved, g, cpu=shifted, others=native)
    return gradients


_depthwise.defvjp(_forward, _backward)


def _native(x: Array, kernel: Array, *, stride: int, dilation: int, padding: Padding) -> Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
    )


def _shifted(x: Array, kernel: Array, *, stride: int, dilation: int, padding: Padding) -> Array:
    """The sum over taps of the shifted image times the tap."""
    padded = _padded(x, padding)
    b, height, width, c = padded.shape
    taps = kernel[:, :, 0].astype(jnp.float32)
    h = (height - dilation * (taps.shape[0] - 1) - 1) // stride + 1
    w = (width - dilation * (taps.shape[1] - 1) - 1) // stride + 1
    total = jnp.zeros((b, h, w, c), jnp.float32)
    for i in range(taps.shape[0]):
        for j in range(taps.shape[1]):
            top, left = i * dilation, j * dilation
            last = (b, top + (h - 1) * stride + 1, left + (w - 1) * stride + 1, c)
            part = lax.slice(padded, (0, top, left, 0), last, (1, stride, stride, 1))
            total += part.astype(jnp.float32) * taps[i, j]
    return total.astype(x.dtype)


def _input_gradient(
    shape: tuple[int, ...],
    kernel: Array,
    g: Array,
    stride: int,
    dilation: int,
    padding: Padding,
) -> Array:
    """The sum over taps of the shifted gradient times the tap, for each phase of the input.

    A phase is the pixels of one row and column modulo `stride`, which the same taps reach. Zeros
    between the gradients instead would be `stride`^2 times the work.
    """
    _, height, width, c = shape
    b, h, w, _ = g.shape
    rows, columns = -(-height // stride), -(-width // stride)
    taps = kernel[:, :, 0].astype(jnp.float32)
    # Input pixel stride m + phase and tap t belong to output pixel m + offset.
    down, across = (
        [
            [
                (t, (phase + before - t * dilation) // stride)
                for t in range(n)
                if (phase + before - t * dilation) % stride == 0
            ]
            for phase in range(stride)
        ]
        for n, (before, _) in zip(taps.shape[:2], padding, strict=True)
    )
    top, bottom = _overhang(down, h, rows)
    left, right = _overhang(across, w, columns)
    padded = jnp.pad(g, ((0, 0), (top, bottom), (left, right), (0, 0)))
    phases = []
    for row in down:
        for column in across:
            total = jnp.zeros((b, rows, columns, c), jnp.float32)
            for i, y in row:
                for j, x in column:
                    part = padded[:, top + y : top + y + rows, left + x : left + x + columns]
                    total += part.astype(jnp.float32) * taps[i, j]
            phases.append(total.astype(g.dtype))
    if stride == 1:
        return phases[0]
    every = jnp.stack(phases, axis=3).reshape(b, rows, columns, stride, stride, c)
    every = every.swapaxes(2, 3).reshape(b, rows * stride, columns * stride, c)
    return every[:, :height, :width]


def _overhang(phases: list[list[tuple[int, int]]], outputs: int, inputs: int) -> tuple[int, int]:
    """Rows of zeros before and behind the gradient, which offsets of taps reach."""
    offsets = [offset for pairs in phases for _, offset in pairs]
    return max(0, -min(offsets)), max(0, max(offsets) + inputs - outputs)


def _kernel_gradient(
    x: Array, kernel: Array, g: Array, stride: int, dilation: int, padding: Padding
) -> Array:
    """The sum of shifted image times gradient, by strips of rows small enough for the cache.

    The sum over a strip's pixels is a product with ones, because XLA:CPU's sum over leading axes is
    2 to 7 times slower, depending on the shape. Taps are a loop, not so many products, which would
    take four times as long to compile.
    """
    b, h, w, c = g.shape
    tall, wide = kernel.shape[:2]
    padded = _padded(x, padding)
    more = ((0, 0), *((0, -side % stride) for side in padded.shape[1:3]), (0, 0))
    padded = jnp.pad(padded, more)
    rows, columns = (side // stride for side in padded.shape[1:3])
    phases = padded.reshape(b, rows, stride, columns, stride, c)
    height = _rows_of_a_strip(h, b * w * c * 4 * stride**2)
    ones = jnp.ones((1, b * height * w), jnp.float32)

    def add_strip(number: Array, total: Array) -> Array:
        first = number * height
        out = lax.dynamic_slice_in_dim(g, first, height, axis=1).astype(jnp.float32)

        def of_tap(tap: Array) -> Array:
            i, j = jnp.divmod(tap, wide)
            (y, row), (z, column) = (jnp.divmod(t * dilation, stride) for t in (i, j))
            start = (0, first + y, row, z, column, 0)
            part = lax.dynamic_slice(phases, start, (b, height, 1, w, 1, c))
            product = part.reshape(b, height, w, c).astype(jnp.float32) * out
            product = lax.optimization_barrier(product.reshape(-1, c))
            sums: Array = jnp.dot(ones, product, precision="highest")
            return sums[0]

        of_taps: Array = lax.map(of_tap, jnp.arange(tall * wide))
        return total + of_taps

    start = jnp.zeros((tall * wide, c), jnp.float32)
    total: Array = lax.fori_loop(0, h // height, add_strip, start)
    return total.reshape(tall, wide, 1, c).astype(kernel.dtype)


def _padded(x: Array, padding: Padding) -> Array:
    """The features with the zeros around them, of which there may be fewer than none."""
    (top, bottom), (left, right) = padding
    around = ((0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0))
    padded: Array = lax.pad(x, jnp.zeros((), x.dtype), around)
    return padded


def _rows_of_a_strip(rows: int, bytes_per_row: int, cache: int = 2**18) -> int:
    """The largest divisor of `rows` whose strip fits into a core's private cache, at least 1."""
    fits = [n for n in range(1, rows + 1) if rows % n == 0 and n * bytes_per_row <= cache]
    return max(fits, default=1)
