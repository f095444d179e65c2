"""Prithvi-EO-2.0 for segmentation: an encoder that has seen the world, and two small decoders.

    PrithviUNet
    (B,H,W,C) ─ transformer, /16 ┬ 1/4 of the blocks ─ x2 ─ x2, to /4 ─────────────────┐
                                 ├ 2/4 ─ x2, to /8 ────────────────────────┐           │
                                 ├ 3/4, at /16 ────────────────┐           │           │
                                 └ all ─ maximum, to /32 ─ x2, block ─ x2, block ─ x2, block ─ block
                                                              (B,H,W,K) ─ resize ─ 1x1 ─────────┘
    PrithviLinear
    (B,H,W,C) ─ transformer, /16 ─ 16 x 16 logits of each patch and class ─ (B,H,W,K)

Source: Szwarcman, Roy, Fraccaro et al., Prithvi-EO-2.0: A Versatile Multi-Temporal Foundation Model
for Earth Observation Applications, 2024, arXiv:2412.02732, with decoders in the form of terratorch
1.2.13, against which outputs of both networks were checked: `LearnedInterpolateToPyramidal` (after
ViTDet: Li et al., Exploring Plain Vision Transformer Backbones for Object Detection, ECCV 2022) and
`UNetDecoder`, which is that of segmentation_models_pytorch 0.5 and later; `LinearDecoder`.

Differences from the paper: its segmentation uses UPerNet, and up to four dates.
"""

import dataclasses
import functools

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxseg.errors import COUNT
from jaxseg.models.parts.layers import BatchNorm, Conv, ConvTranspose, Dtype
from jaxseg.models.parts.resampling import max_pool2x2, pad_to_multiple, resize
from jaxseg.models.parts.vit import PATCH, PrithviViT, Transformer
from jaxseg.models.resnet_unet import UpBlock
from jaxseg.models.unet import DoubleConv


class PrithviUNet(nn.Module):
    """U-Net on the transformer: (B, H, W, C) standardised image -> (B, H, W, K) float32 logits.

    Attributes:
        num_classes: K.
        backbone: The size of the encoder.
        features: Channels of the decoder at 1/16, 1/8, 1/4 and again 1/4 of the image's size.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
        remat: Whether to recompute blocks in the backward pass: less memory, a quarter more work.
    """

    num_classes: int
    backbone: Transformer = "prithvi_eo_v2_tiny"
    features: tuple[int, int, int, int] = dataclasses.field(
        default=(512, 256, 128, 64), metadata=COUNT
    )
    dtype: Dtype = "float32"
    remat: bool = False

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:
        """Logits of each pixel; any H and W, edge-padded internally to multiples of 32.

        Attention and positions cover the whole input: logits of a tile and of a whole scene differ
        by design.

        Args:
            image: (B, H, W, C) float32.
            train: Whether batch normalisation uses the batch's statistics and updates the running
                ones.

        Returns:
            (B, H, W, K) float32 logits.
        """
        conv = functools.partial(Conv, dtype=self.dtype)
        up = functools.partial(ConvTranspose, dtype=self.dtype)
        norm = functools.partial(BatchNorm, use_running_average=not train, dtype=self.dtype)
        up_block = nn.remat(UpBlock) if self.remat else UpBlock
        double_conv = nn.remat(DoubleConv) if self.remat else DoubleConv
        block = functools.partial(up_block, conv=conv, norm=norm)
        backbone = PrithviViT(self.backbone, dtype=self.dtype, remat=self.remat, name="backbone")
        f = self.features
        height, width = image.shape[1:3]

        padded = pad_to_multiple(image, 32)
        found = backbone(padded, train=train)  # (B, H/16, W/16, E) each
        quarter, channels = len(found) // 4, found[0].shape[-1]
        skip4, skip8, skip16, last = found[quarter - 1 :: quarter]
        x = norm(name="fpn1_norm")(up(channels // 2, name="fpn1_up1")(skip4))
        x = nn.gelu(x, approximate=False)  # (B, H/8, W/8, E/2)
        skip4 = up(channels // 4, name="fpn1_up2")(x)  # (B, H/4, W/4, E/4)
        skip8 = up(channels // 2, name="fpn2_up")(skip8)  # (B, H/8, W/8, E/2)
        x = max_pool2x2(last)  # (B, H/32, W/32, E)

        x = block(f[0], name="decoder0")(x, (skip16,))  # (B, H/16, W/16, 512)
        x = block(f[1], name="decoder1")(x, (skip8,))  # (B, H/8, W/8, 256)
        x = block(f[2], name="decoder2")(x, (skip4,))  # (B, H/4, W/4, 128)
        x = double_conv(f[3], conv, norm, name="decoder3")(x)  # (B, H/4, W/4, 64)
        x = conv(self.num_classes, kernel_size=1, use_bias=True, name="head")(x)  # (B, H/4, W/4, K)
        size = padded.shape[1], padded.shape[2]
        return resize(x.astype(jnp.float32), size)[:, :height, :width]


class PrithviLinear(nn.Module):
    """One linear layer on the transformer: (B, H, W, C) standardised image -> (B, H, W, K) logits.

    Each patch's features become the logits of its 256 pixels, which do not know those of the next
    patch: a measure of what the encoder knows, and the cheapest head to train.

    Attributes:
        num_classes: K.
        backbone: The size of the encoder.
        dtype: Compute dtype; parameters and logits are float32.
        remat: Whether to recompute blocks in the backward pass: less memory, a quarter more work.
    """

    num_classes: int
    backbone: Transformer = "prithvi_eo_v2_tiny"
    dtype: Dtype = "float32"
    remat: bool = False

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:
        """Logits of each pixel; any H and W, edge-padded internally to multiples of 16.

        Attention and positions cover the whole input: logits of a tile and of a whole scene differ
        by design.

        Args:
            image: (B, H, W, C) float32.
            train: Without effect: nothing differs in training.

        Returns:
            (B, H, W, K) float32 logits.
        """
        backbone = PrithviViT(self.backbone, dtype=self.dtype, remat=self.remat, name="backbone")
        head = functools.partial(ConvTranspose, kernel_size=PATCH, stride=PATCH, dtype=self.dtype)
        height, width = image.shape[1:3]
        x = backbone(pad_to_multiple(image, PATCH), train=train)[-1]  # (B, H/16, W/16, E)
        logits = head(self.num_classes, name="head")(x)  # (B, H, W, K)
        return logits[:, :height, :width].astype(jnp.float32)
