"""How far a pixel sees: the theoretical receptive field of any network, by trying it.

The network is run, as it is, with kernels of positive taps on one channel and no normalisation, so
that nothing can cancel; what a row of the image changes in the logits depends on it.
"""

import functools
from collections.abc import Callable
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import NDArray

from jaxseg.models.parts.complex_layers import ComplexConv
from jaxseg.models.parts.convolution import conv_transpose2d
from jaxseg.models.parts.layers import Conv, ConvTranspose, DepthwiseConv

Places = NDArray[np.int64]

SIGHT_ROWS = 1536
"""Rows of the images in which it is looked how far a pixel sees; they have one column."""

QUICK_TO_COMPILE = {
    "xla_backend_optimization_level": 0,
    "xla_disable_hlo_passes": "fusion,constant_folding",
}
"""A program that runs once need not be good."""


def receptive_field(model: nn.Module, stride: int) -> int | None:
    """Rows of the image that the logits of one pixel depend on; None = all, or more than 1500.

    `stride` neighbouring rows are looked at, because pixels differ by their place within a stride;
    those that see farthest count.

    Args:
        model: The network.
        stride: Its output stride: pixels so many rows apart see alike.
    """
    rows = SIGHT_ROWS // 2 + np.arange(stride)
    with nn.intercept_methods(_positive):
        numbers, pixels = (_by_gradient if stride == 1 else _by_light)(model, rows)
    if {0, SIGHT_ROWS - 1} & set(pixels.tolist()):
        return None
    distance, place = rows[numbers] - pixels, (pixels if stride > 1 else numbers) % stride
    return max(int(np.ptp(distance[place == p])) + 1 for p in np.unique(place))


def _by_gradient(model: nn.Module, rows: Places) -> tuple[Places, Places]:
    """Pairs of a row of the logits and a row of the image that has a gradient.

    Exact however many gates act on one another; poolings by the maximum would choose one of their
    rows, so it is for networks without, which have no stride.
    """
    wanted = np.eye(SIGHT_ROWS, dtype=np.float32)[rows]

    def see(images: Array) -> Array:
        return (_logits(model, images) * wanted).sum()

    images = np.ones((len(rows), SIGHT_ROWS, 1, 1), np.float32)
    gradient = jax.jit(jax.grad(see), compiler_options=QUICK_TO_COMPILE)(images)
    numbers, pixels = np.nonzero(np.asarray(gradient)[..., 0, 0])
    return numbers, pixels


def _by_light(model: nn.Module, rows: Places) -> tuple[Places, Places]:
    """Pairs of a row of the image that is lit and a row of the logits that changes.

    Before a dim image, where little is lost in rounding, and before a brighter one, where a gate
    may act on a gate. Several gates that act on one another would fade below what is told apart.
    """
    images = np.ones((2, 1 + len(rows), SIGHT_ROWS, 1, 1), np.float32)
    images[0] = 1e-12
    images[:, 1 + np.arange(len(rows)), rows] = 1e12  # number 0 stays as it is
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
    """Convolutions see one channel through positive taps; normalisation does nothing.

    They answer with one channel, too, or two for a complex one, and leave it to broadcasting where
    it meets more.
    """
    module = context.module
    if context.method_name != "__call__":
        return call(*args, **kwargs)
    if isinstance(module, nn.BatchNorm):
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
        # Not `conv2d`, which on CPU may be one product for each tap: long to compile.
        stride, dilation = getattr(module, "stride", 1), getattr(module, "dilation", 1)
        padding = getattr(module, "padding", None)
        around = (dilation * (size - 1) // 2 if padding is None else padding,) * 2
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
