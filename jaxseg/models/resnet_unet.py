"""U-Net on a classifier: its encoder is a ResNet or an EfficientNet, whose weights exist.

    encoder ┬ stride 2 ── skip ───────────────────── concat ─ block ─ up ─ block ─ 3x3 ─ (B,H,W,K)
            ├ stride 4 ── skip ──── concat ─ block ─ up ┘
            ├ ...
            └ stride 32 ── ... ─ up ┘

Source: Ronneberger, Fischer, Brox, U-Net: Convolutional Networks for Biomedical Image Segmentation,
MICCAI 2015, arXiv:1505.04597. Checked against the Unet of segmentation_models_pytorch
0.5.

Differences from the paper: see `ResNetUNet`.
"""

import dataclasses
import functools
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxseg.errors import COUNT
from jaxseg.models.parts.attention import ScSE
from jaxseg.models.parts.blocks import PIXELS, ConvToBlocks, LogitsInBlocks, logits_of_blocks
from jaxseg.models.parts.encoders import Encoder, encoder
from jaxseg.models.parts.layers import BatchNorm, Conv, Dtype, LayerOf
from jaxseg.models.parts.platforms import blocks_pay
from jaxseg.models.parts.resampling import pad_to_multiple, repeat2x2
from jaxseg.models.unet import DoubleConv

Attention = Literal["none", "scse"]
"""Attention to channels and pixels in a decoder: none, or `ScSE`."""


class ResNetUNet(LogitsInBlocks):
    """U-Net on a classifier: (B, H, W, C) standardised image -> (B, H, W, K) float32 logits.

    Differences from the paper, all as in segmentation_models_pytorch: the encoder is a ResNet or an
    EfficientNet, so the first skip has half the image's size and the last upsampling has no skip;
    upsampling repeats pixels; padded convolutions with batch normalisation; a 3x3 head.

    Attributes:
        num_classes: K.
        backbone: The encoder. An EfficientNet weights channels by means over the whole input, so
            that logits of a tile and of a whole scene differ by design.
        features: Channels of the decoder at 1/16, 1/8, 1/4, 1/2 and full resolution.
        attention: `scse` weights channels and pixels before and after each decoder block; its means
            are over the whole input, so logits of a tile and of a whole scene differ by design.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
        remat: Whether to recompute blocks in the backward pass: less memory, a quarter more work.
    """

    num_classes: int
    backbone: Encoder = "resnet34"
    features: tuple[int, int, int, int, int] = dataclasses.field(
        default=(256, 128, 64, 32, 16), metadata=COUNT
    )
    attention: Attention = "none"
    dtype: Dtype = "float32"
    remat: bool = False

    sides = 32

    def blocks_pay(self) -> bool:
        """Whether the finest level is computed in blocks on the platform that is compiled for."""
        return self.attention == "none" and blocks_pay(self.features[-1])

    def in_blocks(self, image: Array, *, train: bool) -> Array:
        """Logits in blocks: (B, H, W, C) -> (B, H/2, W/2, 4, K); H and W multiples of 32."""
        return self(image, train=train, ordered=False)

    @nn.compact
    def __call__(self, image: Array, *, train: bool, ordered: bool = True) -> Array:
        """Logits of each pixel; any H and W, edge-padded internally to multiples of 32.

        Args:
            image: (B, H, W, C) float32.
            train: Whether batch normalisation uses the batch's statistics and updates the running
                ones.
            ordered: Whether logits lie as the pixels do; otherwise see `in_blocks`.

        Returns:
            (B, H, W, K) float32 logits.
        """
        conv = functools.partial(Conv, dtype=self.dtype)
        norm = functools.partial(BatchNorm, use_running_average=not train, dtype=self.dtype)
        up_block = nn.remat(UpBlock) if self.remat else UpBlock
        block = functools.partial(up_block, conv=conv, norm=norm, attention=self.attention)
        backbone = encoder(self.backbone, train=train, dtype=self.dtype, remat=self.remat)
        f = self.features
        height, width = image.shape[1:3]

        x = pad_to_multiple(image, 32)
        skip3, skip2, skip1, skip0, x = backbone(x, train=train)  # strides 2, 4, 8, 16, 32
        x = block(f[0], name="decoder0")(x, (skip0,))  # (B, H/16, W/16, 256)
        x = block(f[1], name="decoder1")(x, (skip1,))  # (B, H/8, W/8, 128)
        x = block(f[2], name="decoder2")(x, (skip2,))  # (B, H/4, W/4, 64)
        x = block(f[3], name="decoder3")(x, (skip3,))  # (B, H/2, W/2, 32)
        if self.blocks_pay() or not ordered:
            to_blocks = functools.partial(ConvToBlocks, dtype=self.dtype)
            pixels = functools.partial(norm, pixels=PIXELS)
            last = up_block(f[4], to_blocks, pixels, to_blocks=True, name="decoder4")
            x = last(x, ())  # (B, H/2, W/2, 4 * 16)
            x = to_blocks(self.num_classes, use_bias=True, name="head")(x)
            return logits_of_blocks(x, height, width, ordered=ordered)
        x = block(f[4], name="decoder4")(x, ())  # (B, H, W, 16)

        logits = conv(self.num_classes, use_bias=True, name="head")(x)  # (B, H, W, K)
        return logits[:, :height, :width].astype(jnp.float32)


class UpBlock(nn.Module):
    """Nearest-neighbour upsampling, concatenation with skips, then `DoubleConv`.

    Attributes:
        features: Output channels.
        conv: Makes a convolution.
        norm: Makes a normalisation.
        attention: `scse` weights the concatenation, if there are skips, and the output.
        to_blocks: Whether convolution and normalisation work on blocks; not with skips or
            attention.
    """

    features: int
    conv: LayerOf
    norm: LayerOf
    attention: Attention = "none"
    to_blocks: bool = False

    @nn.compact
    def __call__(self, x: Array, skips: tuple[Array, ...]) -> Array:
        """(B, H/2, W/2, C) and skips of (B, H, W, S) -> (B, H, W, features), or its blocks."""
        double_conv = DoubleConv(self.features, self.conv, self.norm, name="double_conv")
        if self.to_blocks:
            return double_conv(doubled=x)
        x = jnp.concatenate((repeat2x2(x), *skips), axis=-1)
        if self.attention == "scse" and skips:
            x = ScSE(self.conv, name="attention1")(x)
        x = double_conv(x)
        if self.attention == "scse":
            x = ScSE(self.conv, name="attention2")(x)
        return x
