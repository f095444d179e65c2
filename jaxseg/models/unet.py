"""U-Net: an encoder sees more and more, a decoder puts it in its place, skips keep the detail.

    (B,H,W,C) ─ block f ────────────── skip ──────────────── concat ─ block f ─ 1x1 ─ (B,H,W,K)
                   └ pool ─ block 2f ─ skip ───── concat ─ block 2f ─ up ┘
                               └ pool ─ block 4f ─ ... ─ up ┘

`UNet` is the padded form of brain-segmentation-pytorch. That of the paper is in
`jaxseg.models.original_unet`, one on a ResNet or an EfficientNet in `jaxseg.models.resnet_unet`.

Source: Ronneberger, Fischer, Brox, U-Net: Convolutional Networks for Biomedical Image Segmentation,
MICCAI 2015, arXiv:1505.04597. Checked against mateuszbuda/brain-segmentation-pytorch.

Differences from the paper: see `UNet`.
"""

import dataclasses
import functools

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxseg.errors import COUNT
from jaxseg.models.parts.blocks import (
    PIXELS,
    ConvToBlocks,
    LogitsInBlocks,
    UpToBlocks,
    from_blocks,
    max_of_blocks,
    pixels_of_blocks,
)
from jaxseg.models.parts.inner import Decoder, InnerLogits
from jaxseg.models.parts.layers import BatchNorm, Conv, ConvTranspose, Dtype, LayerOf
from jaxseg.models.parts.platforms import blocks_pay
from jaxseg.models.parts.resampling import max_pool2x2, pad_to_multiple


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
