"""Features in blocks of 2 x 2 pixels: (B, H, W, C) as (B, H/2, W/2, 4C), the same numbers.

A TPU lays channels along 128 lanes, and 32 of them leave three quarters empty: a U-Net's finest
level then moves mostly nothing. In blocks its 32 channels are 128. The channels of the four pixels
of a block follow each other in reading order. Each layer has the parameters of the one that it
replaces, by name, shape and meaning, and the results are the same up to rounding.

Design: ours. The idea is that of the space-to-depth stem of ResNets on TPUs (Ying et al., Image
Classification at Supercomputer Scale, 2018, arXiv:1811.06992), here for a whole level.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from jaxseg.models.parts.convolution import conv2d
from jaxseg.models.parts.layers import Dtype, he_normal

PIXELS = 4
"""Pixels of a block."""


class LogitsInBlocks(nn.Module):
    """A network that can leave its logits in blocks.

    A loss that does not ask where a pixel lies needs no other order, and to restore it costs as
    much as the layers save. It states `in_blocks` beside its `__call__`.
    """

    sides: ClassVar[int] = 16
    """Images whose sides are multiples of it are not padded before they are cut into blocks."""

    def blocks_pay(self) -> bool:
        """Whether blocks are the faster form on the platform that is compiled for."""
        raise NotImplementedError

    def in_blocks(self, image: Array, *, train: bool) -> Array:
        """Logits of the pixels of each block, the same numbers as of the call.

        Args:
            image: (B, H, W, C) float32; H and W are multiples of `sides`.
            train: As in the call.

        Returns:
            (B, H/2, W/2, 4, K) float32 logits.
        """
        raise NotImplementedError


def answers_in_blocks(model: nn.Module, image: Array) -> bool:
    """Whether a network computes the logits of an image in blocks and can leave them there.

    A class derived from `LogitsInBlocks` with another `__call__` does not inherit the promise.
    """
    called = next(base for base in type(model).__mro__ if "__call__" in vars(base))
    if "in_blocks" not in vars(called):
        return False
    if not isinstance(model, LogitsInBlocks) or not model.blocks_pay():
        return False
    return not any(side % model.sides for side in image.shape[1:3])


def as_rows(x: Array) -> Array:
    """(B, h, w, 4, ...) -> (B, h, 4w, ...): a picture of all pixels, in another order."""
    b, h, w, four, *rest = x.shape
    return x.reshape(b, h, w * four, *rest)


def by_blocks(x: Array) -> Array:
    """(B, H, W, ...) -> (B, H/2, W/2, 4, ...); H and W must be even."""
    b, h, w, *rest = x.shape
    x = x.reshape(b, h // 2, 2, w // 2, 2, *rest).swapaxes(2, 3)
    return x.reshape(b, h // 2, w // 2, PIXELS, *rest)


def from_blocks(x: Array) -> Array:
    """(B, H/2, W/2, 4C) -> (B, H, W, C)."""
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, 2, 2, c // PIXELS).swapaxes(2, 3)
    return x.reshape(b, 2 * h, 2 * w, c // PIXELS)


def pixels_of_blocks(x: Array) -> Array:
    """(B, h, w, 4C) -> (B, h, w, 4, C)."""
    return x.reshape(*x.shape[:3], PIXELS, -1)


def logits_of_blocks(x: Array, height: int, width: int, *, ordered: bool) -> Array:
    """Logits (B, h, w, 4K) as (B, height, width, K) float32, or as they lie (B, h, w, 4, K)."""
    x = from_blocks(x)[:, :height, :width] if ordered else pixels_of_blocks(x)
    return x.astype(jnp.float32)


@jax.custom_vjp
def max_of_blocks(x: Array) -> Array:
    """Maximum of each block, (B, h, w, 4C) -> (B, h, w, C), which is `max_pool2x2`.

    On ties the gradient goes to the first pixel in reading order, as there.
    """
    first, second, third, fourth = jnp.split(x, PIXELS, axis=-1)
    return jnp.maximum(jnp.maximum(first, second), jnp.maximum(third, fourth))


def _max_of_blocks_forward(x: Array) -> tuple[Array, Array]:
    return max_of_blocks(x), x


def _max_of_blocks_backward(x: Array, g: Array) -> tuple[Array]:
    # The winner is computed again: stored, its few channels would waste most of each tile's lanes.
    first, second, third, fourth = jnp.split(x, PIXELS, axis=-1)
    left, low = first >= second, third >= fourth
    top = jnp.where(left, first, second) >= jnp.where(low, third, fourth)
    wins = (top & left, top & ~left, ~top & low, ~top & ~low)
    zero = jnp.zeros((), g.dtype)
    return (jnp.concatenate([jnp.where(win, g, zero) for win in wins], axis=-1),)


max_of_blocks.defvjp(_max_of_blocks_forward, _max_of_blocks_backward)


class ConvToBlocks(nn.Module):
    """A padded convolution without bias, of 1x1 or 3x3, whose output is in blocks.

    Attributes:
        features: Output channels of a pixel.
        kernel_size: 1 or 3.
        use_bias: Whether to add a learned constant per channel.
        dtype: Compute dtype.
    """

    features: int
    kernel_size: int = 3
    use_bias: bool = False
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(
        self, *parts: Array, image: Array | None = None, doubled: Array | None = None
    ) -> Array:
        """Arrays of blocks, whose channels would be concatenated, -> (B, h, w, 4 features).

        Args:
            parts: (B, h, w, 4 C) each.
            image: (B, 2h, 2w, C) instead, an image whose channels are too few to be rearranged.
            doubled: (B, h, w, C) instead, of which `repeat2x2` would make the pixels.
        """
        widths = [part.shape[-1] // PIXELS for part in parts]
        inputs = sum(widths) + sum(x.shape[-1] for x in (image, doubled) if x is not None)
        shape = (self.kernel_size, self.kernel_size, inputs, self.features)
        kernel = self.param("kernel", he_normal, shape).astype(self.dtype)
        half = self.kernel_size // 2
        if image is not None:
            y = conv2d(image.astype(self.dtype), _from_pixels(kernel), stride=2, padding=1)
        elif doubled is not None:
            y = conv2d(doubled.astype(self.dtype), _from_doubled(kernel), padding=half)
        else:
            kernels = jnp.split(kernel, np.cumsum(widths)[:-1].tolist(), axis=2)
            packed = jnp.concatenate([_packed(part) for part in kernels], axis=2)
            x = jnp.concatenate([part.astype(self.dtype) for part in parts], axis=-1)
            y = conv2d(x, packed, padding=half)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,))
            y = y + jnp.tile(bias.astype(self.dtype), PIXELS)
        return y


class UpToBlocks(nn.Module):
    """`ConvTranspose` of 2x2 with stride 2, whose output is in blocks: a matrix product.

    Attributes:
        features: Output channels of a pixel; (B, h, w, C) -> (B, h, w, 4 features).
        dtype: Compute dtype.
    """

    features: int
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, h, w, C) -> (B, h, w, 4 features), the blocks of (B, 2h, 2w, features)."""
        inputs = x.shape[-1]
        kernel = self.param("kernel", he_normal, (2, 2, inputs, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        product = kernel.astype(self.dtype).transpose(2, 0, 1, 3).reshape(1, 1, inputs, -1)
        return conv2d(x.astype(self.dtype), product) + jnp.tile(bias, PIXELS)


def _packed(kernel: Array) -> Array:
    """The (k, k, 4 C, 4 F) kernel that makes blocks of blocks as (k, k, C, F) pixels of pixels."""
    taps = jnp.asarray(_taps_of_blocks(kernel.shape[0]), kernel.dtype)
    packed = jnp.einsum("arpy,bsqx,yxio->abrsipqo", taps, taps, kernel, precision="highest")
    size = kernel.shape[0], kernel.shape[1], PIXELS * kernel.shape[2], PIXELS * kernel.shape[3]
    return packed.reshape(size)


def _from_doubled(kernel: Array) -> Array:
    """The (k, k, C, 4 F) kernel that makes blocks of `repeat2x2` of an array from the array."""
    taps = jnp.asarray(_taps_of_blocks(kernel.shape[0]).sum(1), kernel.dtype)
    packed = jnp.einsum("apy,bqx,yxio->abipqo", taps, taps, kernel, precision="highest")
    return packed.reshape(*kernel.shape[:3], PIXELS * kernel.shape[3])


def _taps_of_blocks(taps: int) -> NDArray[np.float32]:
    """(a, r, p, y): 1 where row p of a block sees with tap y row r of the block at offset a."""
    half = taps // 2
    table = np.zeros((taps, 2, 2, taps), np.float32)
    for block in range(taps):
        for row in range(2):
            for phase in range(2):
                distance = 2 * (block - half) + row - phase
                if abs(distance) <= half:
                    table[block, row, phase, distance + half] = 1
    return table


def _from_pixels(kernel: Array) -> Array:
    """The (4, 4, C, 4 F) kernel that makes, with stride 2 and padding 1, blocks of pixels."""
    taps = np.zeros((4, 2, 3), np.float32)
    for phase in range(2):
        for tap in range(3):
            taps[phase + tap, phase, tap] = 1
    table = jnp.asarray(taps, kernel.dtype)
    packed = jnp.einsum("upy,vqx,yxio->uvipqo", table, table, kernel, precision="highest")
    return packed.reshape(4, 4, kernel.shape[2], PIXELS * kernel.shape[3])
