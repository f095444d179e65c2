"""The U-Net of the paper: unpadded convolutions, so that each logit has seen real pixels alone.

    (B,h,w,C) ─ block f ──────── centre of the skip ──────── concat ─ block f ─ 1x1 ─ (B,H,W,K)
                   └ pool ─ block 2f ─ centre ─── concat ─ block 2f ─ up ┘
                               └ pool ─ block 4f ─ ... ─ up ┘              h = H + 184, w = W + 184

Source: Ronneberger, Fischer, Brox, U-Net: Convolutional Networks for Biomedical Image Segmentation,
MICCAI 2015, arXiv:1505.04597. Checked against a PyTorch network of the paper's figure.

Differences from the paper: see `OriginalUNet`.
"""

import dataclasses
import functools
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxseg.errors import COUNT, DROPOUT, UserError
from jaxseg.models.parts.inner import InnerLogits, without_outer
from jaxseg.models.parts.layers import Conv, ConvTranspose, Dtype, LayerOf
from jaxseg.models.parts.resampling import max_pool2x2


class OriginalUNet(InnerLogits):
    """The paper's: unpadded convolutions, so that logits depend on real pixels only.

    Differences from the paper: none with `context="valid"`. The paper does not state the position
    and rate of dropout: as in the authors' released Caffe network it follows the last two blocks of
    the contracting path, including the skip of the upper one, with rate 0.5. That network's ReLU
    after up-convolutions is neither in the paper's text nor here.

    Attributes:
        num_classes: K.
        features: Channels at full resolution; each pooling doubles them.
        context: Where the 92 pixels around the logits come from. `mirror` extrapolates the image by
            reflection, the paper's overlap-tile strategy: logits have the image's size. `valid`
            takes them from the image, as the published network does: there are logits for all
            pixels at least 92 pixels away from the border.
        dropout: Share of the features dropped in training; needs the rng `dropout`.
        dtype: Compute dtype; parameters and logits are float32.
        remat: Whether to recompute blocks in the backward pass: less memory, a quarter more work.
    """

    num_classes: int
    features: int = dataclasses.field(default=64, metadata=COUNT)
    context: Literal["mirror", "valid"] = "mirror"
    dropout: float = dataclasses.field(default=0.5, metadata=DROPOUT)
    dtype: Dtype = "float32"
    remat: bool = False

    def inner(self, image: Array, margin: int) -> Array:
        """Logits without those of the outer rows and columns, the same numbers as of all.

        A margin of 96 or more is the context of the inner pixels, so that nothing is mirrored.
        """
        # Mirrored images begin 92 pixels before the first logit, and features lie 16 pixels apart.
        first = (margin - 96) // 16 * 16 + 4
        needed = (side - margin + 92 - first for side in image.shape[1:3])
        height, width = (rows + (12 - rows) % 16 for rows in needed)
        if first < 0 or first + height > image.shape[1] or first + width > image.shape[2]:
            return without_outer(self(image, train=False), margin)
        part = image[:, first : first + height, first : first + width]
        logits = self(part, train=False, context="valid")
        skip = margin - first - 92
        height, width = (side - 2 * margin for side in image.shape[1:3])
        return logits[:, skip : skip + height, skip : skip + width]

    @nn.compact
    def __call__(
        self, image: Array, *, train: bool, context: Literal["mirror", "valid"] | None = None
    ) -> Array:
        """Logits of each pixel, or with `context="valid"` of each pixel with full context.

        Args:
            image: (B, H, W, C) float32; with `context="valid"` of sides 16 k + 12, from 188.
            train: Whether dropout is active.
            context: Instead of the network's own.

        Returns:
            (B, H, W, K) float32 logits, or with `context="valid"` (B, H - 184, W - 184, K).

        Raises:
            UserError: `context="valid"` and sides that become odd before some pooling.
        """
        conv = functools.partial(Conv, padding=0, use_bias=True, dtype=self.dtype)
        up = functools.partial(ConvTranspose, dtype=self.dtype)
        double_conv = nn.remat(ValidDoubleConv) if self.remat else ValidDoubleConv
        block = functools.partial(double_conv, conv=conv)
        drop = nn.Dropout(self.dropout, deterministic=not train)
        f = self.features
        height, width = image.shape[1:3]

        context = context or self.context
        if context == "mirror" or self.is_initializing():  # parameters do not depend on size
            image = mirrored(image)
        elif illegal := [side for side in (height, width) if side < 188 or side % 16 != 12]:
            raise UserError(_nearest_legal_sides(height, width, illegal[0]))
        # Sides of the paper's example follow in brackets.
        skip0 = block(f, name="down0")(image)  # [572 -> 568] (B, h, w, f)
        skip1 = block(2 * f, name="down1")(max_pool2x2(skip0))  # [280]
        skip2 = block(4 * f, name="down2")(max_pool2x2(skip1))  # [136]
        skip3 = drop(block(8 * f, name="down3")(max_pool2x2(skip2)))  # [64]
        x = drop(block(16 * f, name="down4")(max_pool2x2(skip3)))  # [28] (B, h/16, w/16, 16f)

        x = up(8 * f, name="up0")(x)  # [56]
        x = block(8 * f, name="decoder0")(beside_centre(x, skip3))  # [52]
        x = up(4 * f, name="up1")(x)  # [104]
        x = block(4 * f, name="decoder1")(beside_centre(x, skip2))  # [100]
        x = up(2 * f, name="up2")(x)  # [200]
        x = block(2 * f, name="decoder2")(beside_centre(x, skip1))  # [196]
        x = up(f, name="up3")(x)  # [392]
        x = block(f, name="decoder3")(beside_centre(x, skip0))  # [388]

        logits = conv(self.num_classes, kernel_size=1, name="head")(x)  # [388]
        return logits[:, :height, :width].astype(jnp.float32)


class ValidDoubleConv(nn.Module):
    """Two times unpadded 3x3 convolution, ReLU: (B, H, W, C) -> (B, H - 4, W - 4, features).

    Attributes:
        features: Output channels.
        conv: Makes a convolution.
    """

    features: int
    conv: LayerOf

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, C) -> (B, H - 4, W - 4, features)."""
        x = nn.relu(self.conv(self.features, name="conv1")(x))
        return nn.relu(self.conv(self.features, name="conv2")(x))


def mirrored(image: Array) -> Array:
    """The image padded by reflection, so that the valid logits cover it.

    92 rows and columns on each side, plus as many below and right as make the sides 16 k + 12. The
    border pixel is not repeated; an image smaller than its margin is reflected repeatedly.

    Args:
        image: (B, H, W, C).

    Returns:
        (B, H', W', C), H' >= H + 184 and W' >= W + 184.
    """
    for axis in (1, 2):
        side = image.shape[axis]
        below = 92 + (12 - side - 184) % 16
        source = np.pad(np.arange(side), (92, below), mode="reflect")
        image = jnp.take(image, source, axis=axis)
    return image


def beside_centre(x: Array, skip: Array) -> Array:
    """Centre of the skip and features: (B, h, w, C), (B, H, W, S) -> (B, h, w, S + C)."""
    top, left = ((s - t) // 2 for s, t in zip(skip.shape[1:3], x.shape[1:3], strict=True))
    centre = skip[:, top : top + x.shape[1], left : left + x.shape[2]]
    return jnp.concatenate((centre, x), axis=-1)


def _nearest_legal_sides(height: int, width: int, illegal: int) -> str:
    below = max(188, (illegal - 12) // 16 * 16 + 12)
    return (
        f"Image of {height} x {width} pixels: without mirrored context sides must be 16 k + 12, "
        f"from 188; nearest to {illegal} are {below} and {below + 16}. Crop or pad the image, or "
        'use context="mirror", which accepts any size.'
    )
