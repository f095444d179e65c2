"""The theoretical receptive field of any network, found by running it.

The network is run with positive kernels, one channel and no normalisation, so that nothing can
cancel: logits that change with a row of the image depend on it.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

from jaxseg.models.domain_prompted import Simulator
from jaxseg.models.parts.complex_layers import ComplexConv
from jaxseg.models.parts.convolution import conv_transpose2d
from jaxseg.models.parts.layers import BatchNorm, Conv, ConvTranspose, DepthwiseConv
from jaxseg.models.parts.vit import PrithviViT

Places = NDArray[np.int64]

SIGHT_ROWS = 1536
"""Rows of the test images, which have one column."""

QUICK_TO_COMPILE = {
    "xla_backend_optimization_level": 0,
    "xla_disable_hlo_passes": "fusion,constant_folding",
}
"""Compiler options for a program that runs only once."""


class Sight(NamedTuple):
    """How far a pixel's logits see.

    Attributes:
        rows: Rows of the image that they depend on: the receptive field.
        border: Rows at the border of an image whose logits depend on pixels beyond it. An image
            begins and ends with a multiple of the stride.
    """

    rows: int
    border: int


def receptive_field(model: nn.Module, stride: int) -> int | None:
    """Rows of the image that the logits of one pixel depend on; None = all, or more than 1500."""
    found = sight(model, stride)
    return None if found is None else found.rows


def sight(model: nn.Module, stride: int) -> Sight | None:
    """How far the logits of a pixel see; None = the whole image, or more than 1500 rows.

    `stride` neighbouring rows are tested, because the receptive field depends on the position
    within a stride; the largest one counts.

    Args:
        model: The network.
        stride: Its output stride; pixels this many rows apart have the same receptive field.
    """
    rows = SIGHT_ROWS // 2 + np.arange(stride)
    try:
        with nn.intercept_methods(_positive):
            numbers, pixels = (_by_gradient if stride == 1 else _by_light)(model, rows)
    except _SeesAllError:
        return None
    if not len(pixels) or {0, SIGHT_ROWS - 1} & set(pixels.tolist()):
        return None
    distance, place = rows[numbers] - pixels, (pixels if stride > 1 else numbers) % stride
    seen = max(int(np.ptp(distance[place == p])) + 1 for p in np.unique(place))
    # What changes around the rows of one stride would be wrong if these lay beyond the border.
    border = max(0, int(rows[0] - pixels.min()), int(pixels.max() - rows[-1]))
    return Sight(seen, border)


class _SeesAllError(Exception):
    """A part of the network compares every pixel with every other: nothing has to be run."""


def _by_gradient(model: nn.Module, rows: Places) -> tuple[Places, Places]:
    """Pairs of a row of the logits and a row of the image with a gradient.

    Exact for any number of nested gates. Max pooling would pass the gradient to only one of its
    rows, so this is for networks without pooling, which have stride 1.
    """
    wanted = np.eye(SIGHT_ROWS, dtype=np.float32)[rows]

    def see(images: Array) -> Array:
        return (_logits(model, images) * wanted).sum()

    # Not 1, where the gradients of simple formulas vanish.
    images = np.full((len(rows), SIGHT_ROWS, 1, 1), 1.37, np.float32)
    gradient = jax.jit(jax.grad(see), compiler_options=QUICK_TO_COMPILE)(images)
    numbers, pixels = np.nonzero(np.asarray(gradient)[..., 0, 0])
    return numbers, pixels


def _by_light(model: nn.Module, rows: Places) -> tuple[Places, Places]:
    """Pairs of a row of the image that is set to a large value and a row of logits that changes.

    Tested on a dark image, where little is lost in rounding, and on a brighter one, where a gate
    can act on another gate. The effect of several nested gates would be too small to detect.
    """
    images = np.ones((2, 1 + len(rows), SIGHT_ROWS, 1, 1), np.float32)
    images[0] = 1e-12
    images[:, 1 + np.arange(len(rows)), rows] = 1e12  # image 0 is not changed
    see = jax.jit(functools.partial(_logits, model), compiler_options=QUICK_TO_COMPILE)
    seen = see(images.reshape(-1, *images.shape[2:]))
    chex.assert_tree_all_finite(seen)
    dim, lit = np.split(np.asarray(seen).reshape(2, -1, SIGHT_ROWS), [1], axis=1)
    numbers, pixels = np.nonzero((np.abs(lit - dim) > 1e-5 * dim).any(0))
    return numbers, pixels


def _logits(model: nn.Module, images: Array) -> Array:
    """(N, H, 1, 1) -> (N, H), all kernels positive."""
    variables = model.init(jax.random.key(0), images[:1, :64], train=False)
    logits: Any = model.apply(jax.tree.map(jnp.abs, variables), images, train=False)
    rows: Array = logits.sum((2, 3))
    return rows


def _positive(
    call: Callable[..., object],
    args: tuple[object, ...],
    kwargs: dict[str, object],
    context: nn.module.InterceptorContext,
) -> object:
    """Convolutions apply positive taps to one channel; normalisation does nothing.

    Their output has one channel, too (two for a complex one), which is broadcast where more are
    expected.
    """
    module = context.module
    if context.method_name != "__call__":
        return call(*args, **kwargs)
    if isinstance(module, PrithviViT | Simulator):
        raise _SeesAllError
    if isinstance(module, BatchNorm | nn.BatchNorm):
        return args[0]
    if isinstance(module, Conv | ComplexConv | ConvTranspose | DepthwiseConv):
        size = module.kernel_size
        taps = jnp.full((size, size, 1, 1), 1 / size**2)
        mean = jnp.asarray(args[0], jnp.float32).mean(-1, keepdims=True)
        if isinstance(module, ConvTranspose):
            return conv_transpose2d(
                mean,
                taps,
                stride=module.stride,
                padding=module.padding,
                output_padding=module.output_padding,
            )
        # Not `conv2d`, which on CPU may be one product per tap and slow to compile.
        stride, dilation = getattr(module, "stride", 1), getattr(module, "dilation", 1)
        padding = getattr(module, "padding", None)
        half = dilation * (size - 1) // 2 if padding is None else padding
        around = (half, half) if isinstance(half, int) else half
        y = lax.conv_general_dilated(
            mean,
            taps,
            (stride, stride),
            (around, around),
            rhs_dilation=(dilation, dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return jnp.concatenate((y, y), axis=-1) if isinstance(module, ComplexConv) else y
    return call(*args, **kwargs)
