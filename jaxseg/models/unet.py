"""U-Net: an encoder sees more and more, a decoder puts it in its place, skips keep the detail.

    (B,H,W,C) ─ block f ────────────── skip ──────────────── concat ─ block f ─ 1x1 ─ (B,H,W,K)
                   └ pool ─ block 2f ─ skip ───── concat ─ block 2f ─ up ┘
                               └ pool ─ block 4f ─ ... ─ up ┘

There are three variants: `UNet` is the padded form of brain-segmentation-pytorch, `OriginalUNet`
that of the paper, and `ResNetUNet` has a ResNet or an EfficientNet as encoder, for which trained
weights exist.

Source: Ronneberger, Fischer, Brox, U-Net: Convolutional Networks for Biomedical Image Segmentation,
MICCAI 2015, arXiv:1505.04597. `UNet` was checked against mateuszbuda/brain-segmentation-pytorch,
`OriginalUNet` against a PyTorch network of the paper's figure, `ResNetUNet` against the Unet of
segmentation_models_pytorch 0.5.

Differences from the paper: see the docstring of each network.
"""

import dataclasses
import functools
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxseg.errors import COUNT, DROPOUT, UserError
from jaxseg.models.parts.attention import ScSE
from jaxseg.models.parts.blocks import (
    PIXELS,
    ConvToBlocks,
    LogitsInBlocks,
    UpToBlocks,
    from_blocks,
    logits_of_blocks,
    max_of_blocks,
    pixels_of_blocks,
)
from jaxseg.models.parts.encoders import Encoder, encoder
from jaxseg.models.parts.inner import Decoder, InnerLogits, without_outer
from jaxseg.models.parts.layers import BatchNorm, Conv, ConvTranspose, Dtype, LayerOf
from jaxseg.models.parts.platforms import blocks_pay
from jaxseg.models.parts.resampling import max_pool2x2, pad_to_multiple, repeat2x2

Attention = Literal["none", "scse"]
"""Attention to channels and pixels in a decoder: none, or `ScSE`."""


class UNet(InnerLogits, LogitsInBlocks):
    """Padded: (B, H, W, C) standardised image -> (B, H, W, K) float32 logits.

    Differences from the paper, all as in brain-segmentation-pytorch: convolutions are padded, so
    logits have the image's size; batch normalisation follows each 3x3 convolution, which therefore
    has no bias; no dropout; 32 instead of 64 features at full resolution.

    Attributes:
        num_classes: K.
        features: Channels at full resolution; each pooling doubles them.
        skips: Whether the decoder sees the encoder's features; without them the network is a
            baseline.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
        remat: Whether to recompute blocks in the backward pass instead of storing their
            activations: less memory, a quarter more work.
    """

    num_classes: int
    features: int = dataclasses.field(default=32, metadata=COUNT)
    skips: bool = True
    dtype: Dtype = "float32"
    remat: bool = False

    def inner(self, image: Array, margin: int) -> Array:
        """Logits without those of the outer rows and columns, the same numbers as of all."""
        return self(image, train=False, margin=margin)

    def blocks_pay(self) -> bool:
        """Whether the finest level is computed in blocks on the platform that is compiled for."""
        return blocks_pay(self.features)

    def in_blocks(self, image: Array, *, train: bool) -> Array:
        """Logits in blocks: (B, H, W, C) -> (B, H/2, W/2, 4, K); H and W multiples of 16."""
        return self(image, train=train, ordered=False)

    @nn.compact
    def __call__(
        self, image: Array, *, train: bool, margin: int = 0, ordered: bool = True
    ) -> Array:
        """Logits of each pixel; any H and W, edge-padded internally to multiples of 16.

        On TPUs the finest level is computed in blocks where that is faster, see
        `jaxseg.models.parts.blocks`.

        Args:
            image: (B, H, W, C) float32.
            train: Whether batch normalisation uses the batch's statistics and updates the running
                ones.
            margin: Outer rows and columns at each side whose logits are left out.
            ordered: Whether logits lie as the pixels do; otherwise see `in_blocks`.

        Returns:
            (B, H - 2 margin, W - 2 margin, K) float32 logits.
        """
        conv = functools.partial(Conv, dtype=self.dtype)
        norm = functools.partial(BatchNorm, use_running_average=not train, dtype=self.dtype)
        up = functools.partial(ConvTranspose, dtype=self.dtype)
        double_conv = nn.remat(DoubleConv) if self.remat else DoubleConv
        block = functools.partial(double_conv, conv=conv, norm=norm)
        f = self.features
        height, width = image.shape[1:3]
        blocks = self.blocks_pay() or not ordered
        decoder = Decoder(margin, 16, reach=2, finest=2 if blocks else 1)
        to_blocks = functools.partial(ConvToBlocks, dtype=self.dtype)
        finest = functools.partial(
            double_conv, conv=to_blocks, norm=functools.partial(norm, pixels=PIXELS)
        )

        def beside(x: Array, skip: Array, stride: int) -> Array:
            x, skip = decoder.below(x, stride), decoder.skip(skip, stride)
            return jnp.concatenate((x, skip), axis=-1) if self.skips else x

        x = pad_to_multiple(image, 16)
        if blocks:
            skip1 = finest(f, name="encoder1")(image=x)  # (B, H/2, W/2, 4f)
            x = max_of_blocks(skip1)
        else:
            skip1 = block(f, name="encoder1")(x)  # (B, H, W, f)
            x = max_pool2x2(skip1)
        skip2 = block(2 * f, name="encoder2")(x)  # (B, H/2, W/2, 2f)
        skip3 = block(4 * f, name="encoder3")(max_pool2x2(skip2))  # (B, H/4, W/4, 4f)
        skip4 = block(8 * f, name="encoder4")(max_pool2x2(skip3))  # (B, H/8, W/8, 8f)
        x = block(16 * f, name="bottleneck")(max_pool2x2(skip4))  # (B, H/16, W/16, 16f)

        x = up(8 * f, name="up4")(x)  # (B, H/8, W/8, 8f)
        x = block(8 * f, name="decoder4")(beside(x, skip4, 8))
        x = up(4 * f, name="up3")(x)  # (B, H/4, W/4, 4f)
        x = block(4 * f, name="decoder3")(beside(x, skip3, 4))
        x = up(2 * f, name="up2")(x)  # (B, H/2, W/2, 2f)
        x = block(2 * f, name="decoder2")(beside(x, skip2, 2))
        if blocks:
            x = UpToBlocks(f, dtype=self.dtype, name="up1")(x)  # (B, H/2, W/2, 4f)
            x, skip1 = decoder.below(x, 1), decoder.skip(skip1, 1)
            x = finest(f, name="decoder1")(*((x, skip1) if self.skips else (x,)))
            head = to_blocks(self.num_classes, kernel_size=1, use_bias=True, name="head")
            x = head(x)  # (B, H/2, W/2, 4K)
            if not ordered:
                return pixels_of_blocks(x).astype(jnp.float32)
            return decoder.last(from_blocks(x), height, width).astype(jnp.float32)
        x = up(f, name="up1")(x)  # (B, H, W, f)
        x = block(f, name="decoder1")(beside(x, skip1, 1))

        x = decoder.last(x, height, width)
        logits = conv(self.num_classes, kernel_size=1, use_bias=True, name="head")(
            x
        )  # (B, H, W, K)
        return logits.astype(jnp.float32)


class DoubleConv(nn.Module):
    """Two times 3x3 convolution, normalisation, ReLU: (B, H, W, C) -> (B, H, W, features).

    With `ConvToBlocks` as convolution, and a normalisation of its pixels, all of it is in blocks.

    Attributes:
        features: Output channels.
        conv: Makes a convolution.
        norm: Makes a normalisation.
    """

    features: int
    conv: LayerOf
    norm: LayerOf

    @nn.compact
    def __call__(self, *parts: Array, **others: Array) -> Array:
        """(B, H, W, C), or what the convolution takes, -> (B, H, W, features)."""
        x = self.conv(self.features, name="conv1")(*parts, **others)
        x = nn.relu(self.norm(name="norm1")(x))
        x = self.conv(self.features, name="conv2")(x)
        return nn.relu(self.norm(name="norm2")(x))


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
