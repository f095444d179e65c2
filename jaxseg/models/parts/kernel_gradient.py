"""The gradient of a convolution's kernel as a program for CPUs: strip by strip of output rows.

XLA:CPU's gradient is one convolution whose kernel is as large as the image. Its operands do not
fit into the cache, which makes it 4 to 10 times slower than necessary. The operands of a strip fit,
and the gradients of all strips are added.
"""

import jax.numpy as jnp
from jax import Array, lax

Padding = tuple[tuple[int, int], tuple[int, int]]
"""Zeros before and after the rows, before and after the columns; negative = pixels cut off."""


def kernel_gradient(
    x: Array, g: Array, taps: tuple[int, int], stride: int, dilation: int, padding: Padding
) -> Array:
    """Gradient of `sum(g * convolution(x, kernel))` with respect to the kernel.

    Args:
        x: Features, (B, H, W, C).
        g: Gradient of the output, (B, H', W', F).
        taps: kh, kw.
        stride: Step between output pixels along both axes.
        dilation: Step between taps along both axes.
        padding: Padding of the convolution.

    Returns:
        (kh, kw, C, F) float32.
    """
    if stride == dilation == 1 and g.shape[3] < x.shape[3]:
        # The same sum, seen from the input's pixels: the narrower array is the one whose pixels
        # are gathered once for each tap.
        (top, bottom), (left, right), (tall, wide) = *padding, (n - 1 for n in taps)
        around = (tall - top, tall - bottom), (wide - left, wide - right)
        turned = _by_convolution(_padded(g, around), x, taps)
        return turned[::-1, ::-1].swapaxes(2, 3)
    x = _padded(x, padding)
    if stride == dilation == 1:
        return _by_convolution(x, g, taps)
    return _by_columns(x, g, taps, stride, dilation)


def _padded(x: Array, padding: Padding) -> Array:
    x = jnp.pad(x, ((0, 0), _grown(padding[0]), _grown(padding[1]), (0, 0)))
    return x[:, max(0, -padding[0][0]) :, max(0, -padding[1][0]) :]


def _grown(padding: tuple[int, int]) -> tuple[int, int]:
    return max(0, padding[0]), max(0, padding[1])


def _by_convolution(x: Array, g: Array, taps: tuple[int, int]) -> Array:
    """Stride 1: channels of `x` as samples, samples as channels, `g` as the kernel.

    The native gradient at small scale: XLA:CPU gathers the taps' pixels while it multiplies.
    """
    (kh, kw), (b, h, w, f) = taps, g.shape
    rows = _rows_of_a_strip(h, b * w, 512)
    # Without barriers, the convolution reads operands that are not transposed in memory.
    x = x[:, :, : w + kw - 1].astype(jnp.float32)
    turned = lax.optimization_barrier(x.transpose(3, 1, 2, 0))

    def add_strip(number: Array, total: Array) -> Array:
        strip = lax.dynamic_slice_in_dim(turned, number * rows, rows + kh - 1, axis=1)
        out = lax.dynamic_slice_in_dim(g, number * rows, rows, axis=1).astype(jnp.float32)
        pixels, kernel = lax.optimization_barrier((strip, out.transpose(1, 2, 0, 3)))
        return total + lax.conv_general_dilated(
            pixels, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    zero = jnp.zeros((x.shape[3], kh, kw, f), jnp.float32)
    total: Array = lax.fori_loop(0, h // rows, add_strip, zero)
    return total.transpose(1, 2, 0, 3)


def _by_columns(x: Array, g: Array, taps: tuple[int, int], stride: int, dilation: int) -> Array:
    """Any stride and dilation: the taps' pixels are gathered (im2col), then one matrix product."""
    (kh, kw), c, (b, h, w, f) = taps, x.shape[3], g.shape
    rows = _rows_of_a_strip(h, b * w * (kh * kw * c + f), 2**20)
    reach = (rows - 1) * stride + 1

    def add_strip(number: Array, total: Array) -> Array:
        first = number * rows * stride
        columns = []
        for i in range(kh):
            strip = lax.dynamic_slice_in_dim(x, first + i * dilation, reach, axis=1)[:, ::stride]
            lefts = [j * dilation for j in range(kw)]
            columns += [strip[:, :, left : left + (w - 1) * stride + 1 : stride] for left in lefts]
        pixels = jnp.concatenate(columns, axis=3).reshape(-1, kh * kw * c)
        out = lax.dynamic_slice_in_dim(g, number * rows, rows, axis=1).reshape(-1, f)
        # The barrier makes XLA transpose the smaller factor in memory; its product with transposed
        # factors is slow.
        turned = lax.optimization_barrier(out.T)
        return total + jnp.dot(turned, pixels, preferred_element_type=jnp.float32)

    zero = jnp.zeros((f, kh * kw * c), jnp.float32)
    total: Array = lax.fori_loop(0, h // rows, add_strip, zero)
    return total.T.reshape(kh, kw, c, f)


def _rows_of_a_strip(rows: int, size_of_a_row: int, cache: int) -> int:
    """The largest divisor of `rows` whose strip is not larger than `cache`, at least 1."""
    fits = [n for n in range(1, rows + 1) if rows % n == 0 and n * size_of_a_row <= cache]
    return max(fits, default=1)
