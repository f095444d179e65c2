"""U-Net: an encoder sees more and more, a decoder puts it in its place, skips keep the detail.

    (B,H,W,C) ─ block f ────────────── skip ──────────────── concat ─ block f ─ 1x1 ─ (B,H,W,K)
                   └ pool ─ block 2f ─ skip ───── concat ─ block 2f ─ up ┘
                               └ pool ─ block 4f ─ ... ─ up ┘

Source: Ronneberger, Fischer, Brox, U-Net: Convolutional Networks for Biomedical Image Segmentation,
MICCAI 2015, arXiv:1505.04597, in the form of mateuszbuda/brain-segmentation-pytorch, against which
outputs were checked.

Differences from the paper: convolutions are padded, so logits have the image's size; batch
normalisation follows each 3x3 convolution, which has no bias then; no dropout; 32 instead of 64
features at full resolution.
"""

import functools

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxseg.models.layers import BatchNorm, Conv, ConvTranspose, Dtype, LayerOf
from jaxseg.models.resampling import max_pool2x2, pad_to_multiple


class UNet(nn.Module):
    """(B, H, W, C) standardised image -> (B, H, W, K) float32 logits.

    Attributes:
        num_classes: K.
        features: Channels at full resolution; each pooling doubles them.
        dtype: What is computed in; parameters, batch statistics and logits are float32.
        remat: Whether to compute blocks anew in the backward pass instead of keeping what is inside
            them: less memory, a quarter more work.
    """

    num_classes: int
    features: int = 32
    dtype: Dtype = "float32"
    remat: bool = False

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:
        """Logits of each pixel; any H and W, the edge repeated inside up to multiples of 16.

        Args:
            image: (B, H, W, C) float32.
            train: Whether batch normalisation uses the batch's statistics and updates the running
                ones.

        Returns:
            (B, H, W, K) float32 logits.
        """
        conv = functools.partial(Conv, dtype=self.dtype)
        norm = functools.partial(BatchNorm, use_running_average=not train, dtype=self.dtype)
        up = functools.partial(ConvTranspose, dtype=self.dtype)
        double_conv = nn.remat(DoubleConv) if self.remat else DoubleConv
        block = functools.partial(double_conv, conv=conv, norm=norm)
        f = self.features
        height, width = image.shape[1:3]

        x = pad_to_multiple(image, 16)
        skip1 = block(f, name="encoder1")(x)  # (B, H, W, f)
        skip2 = block(2 * f, name="encoder2")(max_pool2x2(skip1))  # (B, H/2, W/2, 2f)
        skip3 = block(4 * f, name="encoder3")(max_pool2x2(skip2))  # (B, H/4, W/4, 4f)
        skip4 = block(8 * f, name="encoder4")(max_pool2x2(skip3))  # (B, H/8, W/8, 8f)
        x = block(16 * f, name="bottleneck")(max_pool2x2(skip4))  # (B, H/16, W/16, 16f)

        x = up(8 * f, name="up4")(x)  # (B, H/8, W/8, 8f)
        x = block(8 * f, name="decoder4")(jnp.concatenate((x, skip4), axis=-1))
        x = up(4 * f, name="up3")(x)  # (B, H/4, W/4, 4f)
        x = block(4 * f, name="decoder3")(jnp.concatenate((x, skip3), axis=-1))
        x = up(2 * f, name="up2")(x)  # (B, H/2, W/2, 2f)
        x = block(2 * f, name="decoder2")(jnp.concatenate((x, skip2), axis=-1))
        x = up(f, name="up1")(x)  # (B, H, W, f)
        x = block(f, name="decoder1")(jnp.concatenate((x, skip1), axis=-1))

        logits = conv(self.num_classes, kernel_size=1, use_bias=True, name="head")(
            x
        )  # (B, H, W, K)
        return logits[:, :height, :width].astype(jnp.float32)


class DoubleConv(nn.Module):
    """Twice convolution 3x3, normalisation, ReLU: (B, H, W, C) -> (B, H, W, features).

    Attributes:
        features: Output channels.
        conv: Makes a convolution.
        norm: Makes a normalisation.
    """

    features: int
    conv: LayerOf
    norm: LayerOf

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, C) -> (B, H, W, features)."""
        x = self.conv(self.features, name="conv1")(x)
        x = nn.relu(self.norm(name="norm1")(x))
        x = self.conv(self.features, name="conv2")(x)
        return nn.relu(self.norm(name="norm2")(x))
