"""A strided convolution of few channels as one without stride over cells of pixels.

The first layer of most encoders sees 3 to 12 bands. A TPU lays channels along 128 lanes, so that it
moves mostly nothing for them. Here the pixels of a cell, `stride` x `stride`, become its channels;
taps that complete the cells of the kernel are zero.

Source: the stem of ResNets in Ying et al., Image Classification at Supercomputer Scale, 2018,
arXiv:1811.06992.
"""

import jax.numpy as jnp
from jax import Array, lax
from jax.export import is_symbolic_dim

from jaxseg.models.parts.kernel_gradient import Padding
from jaxseg.models.parts.platforms import LANES


def pay(image: tuple[int, ...], kernel: tuple[int, ...], stride: int, dilation: int) -> bool:
    """Whether a cell has so few channels that it fits into the lanes of a TPU.

    Args:
        image: (B, H, W, C); not where a side is a symbol, in an exported program.
        kernel: (kh, kw, C, F).
        stride: Along both axes.
        dilation: Likewise.
    """
    if any(is_symbolic_dim(side) for side in image[1:3]):
        return False
    return stride > 1 and dilation == 1 and kernel[0] >= stride and stride**2 * kernel[2] <= LANES


def conv2d(x: Array, kernel: Array, stride: int, padding: Padding) -> Array:
    """See `jaxseg.models.parts.convolution.conv2d`; `padding` of both axes, before and after."""
    taps = [-(-size // stride) * stride for size in kernel.shape[:2]]
    around, sizes = [], []
    for side, size, filled, (low, high) in zip(
        x.shape[1:3], kernel.shape[:2], taps, padding, strict=True
    ):
        outputs = (side + low + high - size) // stride + 1
        sizes.append(outputs - 1 + filled // stride)
        around.append((low, sizes[-1] * stride - side - low, 0))
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *around, (0, 0, 0)))
    pixels = [(row, column) for row in range(stride) for column in range(stride)]
    step = (1, stride, stride, 1)
    cells = [lax.slice(x, (0, row, column, 0), x.shape, step) for row, column in pixels]
    frame = ((0, taps[0] - kernel.shape[0]), (0, taps[1] - kernel.shape[1]), (0, 0), (0, 0))
    kernel = jnp.pad(kernel, frame)
    parts = [kernel[row::stride, column::stride] for row, column in pixels]
    joined = jnp.concatenate(cells, axis=-1), jnp.concatenate(parts, axis=2)
    return lax.conv_general_dilated(
        *joined, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
