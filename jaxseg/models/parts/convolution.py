"""Convolutions and transposed convolutions, each in a formulation that is fast on its platform.

Images are (B, H, W, C), kernels (kh, kw, in, out), and padding is symmetric as in PyTorch, so
imported weights fit. Two rules determine the formulations:

*   Operations that XLA executes slowly on all platforms are rewritten for all: transposed
    convolutions to many channels become ordinary ones and depth-to-space.
*   Operations that only XLA:CPU executes slowly (gradients of convolutions, taps that mostly fall
    on padding, transposed convolutions to few channels) are replaced by `by_platform`: programs for
    TPU and GPU keep the native operation.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.export import is_symbolic_dim
from numpy.typing import NDArray

from jaxseg.models.parts import cells
from jaxseg.models.parts.kernel_gradient import Padding, kernel_gradient
from jaxseg.models.parts.platforms import LANES, by_platform, rows_of_a_device


def conv2d(
    x: Array, kernel: Array, *, stride: int = 1, dilation: int = 1, padding: int = 0
) -> Array:
    """Cross-correlation with zero padding, called convolution in all deep learning libraries.

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
        return _pointwise(_every(x, stride), kernel[0, 0])
    same_rows = stride == 1 and top + bottom == dilation * (kernel.shape[0] - 1)
    if same_rows and not is_symbolic_dim(x.shape[1]) and dilation > rows_of_a_device(x.shape[1]):
        return _row_by_row(x, kernel, dilation, around)
    return _conv(x, kernel, stride, dilation, around)


def _every(x: Array, stride: int) -> Array:
    """Every so manyth pixel: an index would become a gather where the batch is a symbol."""
    return x if stride == 1 else lax.slice(x, (0, 0, 0, 0), x.shape, (1, stride, stride, 1))


def conv_transpose2d(
    x: Array, kernel: Array, *, stride: int, padding: int = 0, output_padding: int = 0
) -> Array:
    """Transposed convolution: each input pixel adds a copy of the kernel, `stride` pixels apart.

    Where it has few output channels, TPU and GPU use the native operation: to interleave phases
    would move mostly empty lanes there.

    Args:
        x: Features, (B, H, W, C).
        kernel: (k, k, C, F) of the dtype of `x`; `kernel[i, j]` contributes to the pixel i rows
            below and j columns right of the first one, as in PyTorch.
        stride: Distance of two input pixels in the output.
        padding: Rows and columns cut off on each of the four sides.
        output_padding: Rows and columns added at the bottom and right.

    Returns:
        (B, H', W', F) with H' = (H - 1) stride - 2 padding + k + output_padding.
    """
    phases, native = (
        functools.partial(form, stride=stride, padding=padding, output_padding=output_padding)
        for form in (_transposed_by_phases, _transposed_natively)
    )
    if kernel.shape[3] >= LANES:
        return phases(x, kernel)
    return by_platform(x, kernel, cpu=phases, others=native)


def _transposed_natively(
    x: Array, kernel: Array, *, stride: int, padding: int, output_padding: int
) -> Array:
    around = kernel.shape[0] - 1 - padding
    return lax.conv_general_dilated(
        x,
        kernel[::-1, ::-1],
        (1, 1),
        ((around, around + output_padding),) * 2,
        lhs_dilation=(stride, stride),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _transposed_by_phases(
    x: Array, kernel: Array, *, stride: int, padding: int, output_padding: int
) -> Array:
    """The output pixels of one phase (row and column modulo `stride`) are a small convolution.

    All phases are computed as channels of one convolution, and depth-to-space interleaves them.
    This needs no zeros between pixels, and no halo if the kernel is as large as the stride.
    """
    taps, first, last = _taps_of_phases(kernel.shape[0], stride, padding)
    _, h, w, c = x.shape
    size = [(n - 1) * stride - 2 * padding + kernel.shape[0] + output_padding for n in (h, w)]
    rows, columns = (-(-n // stride) for n in size)
    filled = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))  # the last tap is zero: unused
    phases = filled[taps.T[:, None, :, None], taps.T[None, :, None, :]]  # (d, d, s, s, C, F)
    phases = phases.transpose(0, 1, 4, 2, 3, 5).reshape(*phases.shape[:2], c, -1)
    around = ((-first, rows - h + last), (-first, columns - w + last))
    if phases.shape[:2] == (1, 1) and around == ((0, 0), (0, 0)):
        y = _pointwise(x, phases[0, 0])
    else:
        y = _conv(x, phases, 1, 1, around)
    y = y.reshape(-1, rows, columns, stride, stride, kernel.shape[3]).swapaxes(2, 3)
    y = y.reshape(-1, rows * stride, columns * stride, kernel.shape[3])
    return y[:, : size[0], : size[1]]


def _taps_of_phases(taps: int, stride: int, padding: int) -> tuple[NDArray[np.int64], int, int]:
    """Which tap of the kernel each phase of the output applies to each neighbour in the input.

    Returns:
        (stride, neighbours) indices of taps, `taps` = no tap; offsets of the first and last
        neighbour. Output pixel `stride m + phase` applies tap `t` to input pixel `m + offset` if
        `stride offset = phase + padding - t`.
    """
    pairs = {}
    for phase in range(stride):
        for tap in range(taps):
            offset, rest = divmod(phase + padding - tap, stride)
            if rest == 0:
                pairs[phase, offset] = tap
    first = min(offset for _, offset in pairs)
    last = max(offset for _, offset in pairs)
    table = np.full((stride, last - first + 1), taps)
    for (phase, offset), tap in pairs.items():
        table[phase, offset - first] = tap
    return table, first, last


def _taps_that_touch(
    pixels: int, taps: int, stride: int, dilation: int, padding: int
) -> tuple[slice, int, int]:
    """Taps that reach any pixel, and the padding they need: rate 36 on 32 rows leaves one tap.

    Exact, because the dropped taps would only be multiplied by zeros.
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
        # Without barriers, XLA:CPU recomputes `g`, slowly, in transposed order.
        g = lax.optimization_barrier(g)
        pixels, outputs = x.reshape(-1, x.shape[-1]), g.reshape(-1, g.shape[-1])
        return jnp.dot(g, kernel.T), _gram(pixels, outputs).astype(kernel.dtype)

    gradients: tuple[Array, Array] = by_platform(*saved, g, cpu=quick, others=native)
    return gradients


_pointwise.defvjp(_pointwise_forward, _pointwise_backward)


def _gram(a: Array, b: Array) -> Array:
    """(P, M), (P, N) -> (M, N) float32, the product of the transposed `a` with `b`.

    The smaller factor is transposed in memory first: XLA:CPU is slow at doing so in the product.
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


FEW_ROWS = 2
"""So few rows under a 3x3 kernel are computed as on a CPU everywhere: each output then sees all of
them, and where they are sharded, XLA's partitioner (jax 0.10.2) multiplies the native operation's
gradient by the number of shards of the batch, silently."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv(x: Array, kernel: Array, stride: int, dilation: int, padding: Padding) -> Array:
    def native(x: Array, kernel: Array) -> Array:
        return _native(x, kernel, stride, dilation, padding)

    def tap_by_tap(x: Array, kernel: Array) -> Array:
        return _tap_by_tap(x, kernel, dilation, padding)

    if cells.pay(x.shape, kernel.shape, stride, dilation):
        in_cells = functools.partial(cells.conv2d, stride=stride, padding=padding)
        found: Array = by_platform(x, kernel, cpu=native, others=in_cells, cuda=native)
        return found
    if not _mostly_padding(x.shape, kernel.shape, stride, dilation, padding):
        return native(x, kernel)
    if x.shape[1] <= FEW_ROWS:
        return tap_by_tap(x, kernel)
    y: Array = by_platform(x, kernel, cpu=tap_by_tap, others=native)
    return y


def _row_by_row(x: Array, kernel: Array, dilation: int, padding: Padding) -> Array:
    """Stride 1, as many rows as before: each row of the kernel on its own, then the sum of three.

    Where a tap reaches beyond the rows of a device and its neighbours, XLA's partitioner gathers
    the whole input on every device. Here each device needs its own rows alone, and what travels are
    sums of few channels, by as many rows as they are moved.
    """
    taps, wide, channels, features = kernel.shape
    rows = kernel.transpose(1, 2, 0, 3).reshape(1, wide, channels, taps * features)
    sums = jnp.split(_conv(x, rows, 1, dilation, ((0, 0), padding[1])), taps, axis=-1)
    moved = [_moved_up(y, tap * dilation - padding[0][0]) for tap, y in enumerate(sums)]
    return functools.reduce(jnp.add, moved)


def _moved_up(x: Array, rows: int) -> Array:
    """Row r of the result is row r + `rows`, and 0 beyond the edges.

    No step is longer than the rows of a device, so that each is an exchange between neighbours.
    """
    longest = rows_of_a_device(x.shape[1])
    while rows:
        step = max(-longest, min(rows, longest))
        around = ((0, 0, 0), (-step, step, 0), (0, 0, 0), (0, 0, 0))
        x, rows = lax.pad(x, jnp.zeros((), x.dtype), around), rows - step
    return x


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
        return dx, kernel_gradient(
            x, g, (kernel.shape[0], kernel.shape[1]), stride, dilation, padding
        ).astype(kernel.dtype)

    def in_cells(x: Array, kernel: Array, g: Array) -> tuple[Array, Array]:
        form = functools.partial(cells.conv2d, stride=stride, padding=padding)
        dx, dkernel = jax.vjp(form, x, kernel)[1](g)
        return dx, dkernel

    if saved[0].shape[1] <= FEW_ROWS:
        return quick(*saved, g)
    others = in_cells if cells.pay(saved[0].shape, saved[1].shape, stride, dilation) else native
    gradients: tuple[Array, Array] = by_platform(*saved, g, cpu=quick, others=others, cuda=native)
    return gradients


_conv.defvjp(_conv_forward, _conv_backward)


def _live_outputs(
    pixels: int, taps: int, dilation: int, padding: tuple[int, int]
) -> list[tuple[int, int]]:
    """Stride 1: for each tap the range of outputs for which it falls on a pixel, not on padding."""
    outputs = pixels + sum(padding) - dilation * (taps - 1)
    shifts = [tap * dilation - padding[0] for tap in range(taps)]
    return [(max(0, -shift), min(outputs, pixels - shift)) for shift in shifts]


def _mostly_padding(
    image: tuple[int, ...], kernel: tuple[int, ...], stride: int, dilation: int, padding: Padding
) -> bool:
    """Whether a fifth or more of the products are with zeros, as at rate 12 on 32 rows.

    Kernels larger than 3 x 3 are excluded: tap by tap they would take too long to compile. So are
    images whose size is a symbol, in an exported program.
    """
    if stride != 1 or kernel[0] * kernel[1] > 9:
        return False
    if any(is_symbolic_dim(side) for side in image[1:3]):
        return False
    share = 1.0
    for axis in (0, 1):
        ranges = _live_outputs(image[1 + axis], kernel[axis], dilation, padding[axis])
        outputs = image[1 + axis] + sum(padding[axis]) - dilation * (kernel[axis] - 1)
        share *= sum(max(0, stop - start) for start, stop in ranges) / (outputs * kernel[axis])
    return share <= 0.8


def _tap_by_tap(x: Array, kernel: Array, dilation: int, padding: Padding) -> Array:
    """Stride 1: one matrix product per tap, with only the pixels that it reaches."""
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
    """Stride 1: the output's gradient convolved with the kernel rotated by 180 degrees."""
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    (top, bottom), (left, right) = padding
    tall, wide = (dilation * (taps - 1) for taps in kernel.shape[:2])
    return _conv(g, turned, 1, dilation, ((tall - top, tall - bottom), (wide - left, wide - right)))
