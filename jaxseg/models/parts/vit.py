"""Prithvi's vision transformer: an image is a sequence of patches, and each one looks at all.

    (B,H,W,C) ─ 16x16 patches ─ plus position ─ class token, patches ─ block ─ ... ─ block ─ norm
                                                                          └ outputs: (B,H/16,W/16,E)

    block:  x ─ norm ─ attention ─ + x ─ norm ─ E to 4E ─ GELU ─ 4E to E ─ + x

Source: Szwarcman, Roy, Fraccaro et al., Prithvi-EO-2.0: A Versatile Multi-Temporal Foundation Model
for Earth Observation Applications, 2024, arXiv:2412.02732, in the form of PrithviViT in terratorch
1.2.13, against which outputs were checked. Transformer: Dosovitskiy et al., An Image is Worth 16x16
Words, ICLR 2021, arXiv:2010.11929.

Differences from the paper: one date, so that patches are 16 x 16 pixels of it. Time and place of
the image, which the paper's TL models take beside it and which they were trained to do without, are
not given.
"""

import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from jaxseg.models.parts.convolution import conv2d
from jaxseg.models.parts.layers import Dtype

Transformer = Literal[
    "prithvi_eo_tiny", "prithvi_eo_v2_tiny", "prithvi_eo_v2_100", "prithvi_eo_v2_300"
]
"""terratorch's names, of models with and without time and place ("_tl"); there are no published
weights of `prithvi_eo_tiny`."""

SIZES: dict[Transformer, tuple[int, int, int]] = {
    "prithvi_eo_tiny": (256, 4, 4),
    "prithvi_eo_v2_tiny": (192, 12, 3),
    "prithvi_eo_v2_100": (768, 12, 12),
    "prithvi_eo_v2_300": (1024, 24, 16),
}
"""Channels E, number of blocks, attention heads."""

PATCH = 16
"""Pixels along a side of a patch."""

TRAINED_GRID = 14
"""Patches along a side of the images of 224 x 224 pixels that published weights were trained on."""


class PrithviViT(nn.Module):
    """(B, H, W, C) -> features after each block, all of stride 16.

    Attributes:
        backbone: The size.
        dtype: Compute dtype; normalisation and softmax are computed in float32.
        remat: Whether to recompute blocks in the backward pass: less memory, more work.
    """

    backbone: Transformer
    dtype: Dtype = "float32"
    remat: bool = False

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> tuple[Array, ...]:
        """Features after each block, the first one first; the last one's are normalised.

        Positions are those of the whole input, so features of a tile and of a whole scene differ
        by design, and attention takes memory with the square of the number of patches.

        Args:
            image: (B, H, W, C); H and W multiples of 16.
            train: Without effect, for an encoder's usual arguments: nothing differs in training.

        Returns:
            As many (B, H/16, W/16, E) as there are blocks.
        """
        channels, depth, heads = SIZES[self.backbone]
        block = nn.remat(Block) if self.remat else Block
        x = PatchEmbed(channels, self.dtype, name="patch_embed")(image)  # (B, h, w, E)
        batch, height, width, _ = x.shape
        x = (x + positions(height, width, channels)).astype(self.dtype)
        first = self.param("cls_token", nn.initializers.normal(0.02), (1, 1, channels))
        first = jnp.broadcast_to(first.astype(self.dtype), (batch, 1, channels))
        x = jnp.concatenate((first, x.reshape(batch, -1, channels)), axis=1)  # (B, 1 + h w, E)
        found = []
        for number in range(depth):
            x = block(heads, self.dtype, name=f"block{number}")(x)
            found.append(x)
        found[-1] = LayerNorm(self.dtype, name="norm")(x)
        return tuple(x[:, 1:].reshape(batch, height, width, channels) for x in found)


class PatchEmbed(nn.Module):
    """A 16 x 16 convolution with stride 16: (B, H, W, C) -> (B, H/16, W/16, features).

    Computed as one matrix product, because XLA:CPU takes long to compile the gradient of the
    convolution.

    Attributes:
        features: Output channels.
        dtype: Compute dtype.
    """

    features: int
    dtype: Dtype

    @nn.compact
    def __call__(self, image: Array) -> Array:
        """(B, H, W, C) -> (B, H/16, W/16, features)."""
        batch, height, width, bands = image.shape
        h, w = height // PATCH, width // PATCH
        kernel = self.param("kernel", _like_dense, (PATCH, PATCH, bands, self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x = image.astype(self.dtype).reshape(batch, h, PATCH, w, PATCH, bands).swapaxes(2, 3)
        x = x.reshape(batch, h, w, PATCH * PATCH * bands)
        y = conv2d(x, kernel.astype(self.dtype).reshape(1, 1, -1, self.features))
        return y + bias.astype(self.dtype)


def _like_dense(key: Array, shape: tuple[int, ...]) -> Array:
    """Glorot's uniform distribution for all taps and bands as inputs, as in Prithvi's code."""
    flat = (math.prod(shape[:-1]), shape[-1])
    return nn.initializers.xavier_uniform()(key, flat).reshape(shape)


class Block(nn.Module):
    """Attention among all, then two layers for each: (B, N, E) -> (B, N, E).

    Attributes:
        heads: Attention heads, a divisor of E.
        dtype: Compute dtype.
    """

    heads: int
    dtype: Dtype

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, N, E) -> (B, N, E)."""
        batch, number, channels = x.shape

        def dense(features: int, name: str) -> nn.Dense:
            glorot = nn.initializers.xavier_uniform()
            return nn.Dense(features, dtype=self.dtype, kernel_init=glorot, name=name)

        y = dense(3 * channels, "qkv")(LayerNorm(self.dtype, name="norm1")(x))
        y = y.reshape(batch, number, 3, self.heads, channels // self.heads)
        y = jax.nn.dot_product_attention(y[:, :, 0], y[:, :, 1], y[:, :, 2])
        x = x + dense(channels, "proj")(y.reshape(batch, number, channels))
        y = dense(4 * channels, "fc1")(LayerNorm(self.dtype, name="norm2")(x))
        return x + dense(channels, "fc2")(nn.gelu(y, approximate=False))


class LayerNorm(nn.Module):
    """Normalises each vector of channels by itself: (..., E) -> (..., E).

    Not Flax's, whose variance is less exact. Its factor is called `gain`, because a `scale` has
    running statistics beside it in this library.

    Attributes:
        dtype: Dtype of the output; mean and variance are float32.
    """

    dtype: Dtype

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(..., E) -> (..., E)."""
        gain = self.param("gain", nn.initializers.ones, x.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
        x = x.astype(jnp.float32)
        x = x - x.mean(-1, keepdims=True)
        x = x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-5)
        return (x * gain + bias).astype(self.dtype)


def positions(height: int, width: int, channels: int) -> Array:
    """What is added to each patch by its place: (height, width, channels) float32.

    Three eighths of the channels are sines and cosines of the column, three of the row, two of the
    date, which is the first one. Other grids than 14 x 14 are interpolated from it by cubic
    convolution with aligned corners: an image of any size spans the positions of 224 pixels. Rows
    and columns are interpolated by themselves, which gives the same numbers.

    Args:
        height: Rows of patches.
        width: Columns of patches.
        channels: A multiple of 16.
    """
    part = channels // 16
    waves = _waves(np.arange(float(TRAINED_GRID)), 6 * part)  # (14, 6 part)
    columns, rows = (_cubic(TRAINED_GRID, n) @ waves for n in (width, height))
    date = _waves(np.zeros(1), 4 * part)
    every = (columns[None], rows[:, None], date[None])
    shapes = [(height, width, each.shape[-1]) for each in every]
    found = [
        jnp.broadcast_to(np.asarray(each, np.float32), shape)
        for each, shape in zip(every, shapes, strict=True)
    ]
    return jnp.concatenate(found, axis=-1)


def _waves(place: NDArray[np.float64], channels: int) -> NDArray[np.float64]:
    """Sines, then cosines of places: (N,) -> (N, channels), wavelengths 2 pi to 20 000 pi."""
    rates = 1 / 10_000 ** (np.arange(channels // 2) / (channels / 2))
    angles = np.outer(place, rates)
    return np.concatenate((np.sin(angles), np.cos(angles)), axis=1)


def _cubic(source: int, target: int) -> NDArray[np.float64]:
    """The (target, source) matrix of cubic convolution with aligned corners; rows sum to 1.

    Source: Keys, Cubic Convolution Interpolation for Digital Image Processing, IEEE TASSP 1981,
    with a = -0.75 and the border repeated, as in PyTorch.
    """
    place = np.arange(target) * (source - 1) / max(target - 1, 1)
    start = np.floor(place)
    matrix = np.zeros((target, source))
    for tap in (-1, 0, 1, 2):
        distance = np.abs(place - start - tap)
        near = (1.25 * distance - 2.25) * distance**2 + 1
        far = -0.75 * (((distance - 5) * distance + 8) * distance - 4)
        column = np.clip(start + tap, 0, source - 1).astype(int)
        np.add.at(matrix, (np.arange(target), column), np.where(distance <= 1, near, far))
    return matrix
