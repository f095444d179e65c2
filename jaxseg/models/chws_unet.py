"""CHWS-UNet: skips are weighted along channels, height and width, and in the plane of the others.

    (B,H,W,C) ─ block f ───────────────── CHWS ── concat ─ block f ─ 1x1 ─ (B,H,W,K)
                   └ pool ─ block 2f ─ CHWS ─ concat ─ block 2f ─ up ┘
                               └ pool ─ block 4f ─ ...  ─ up ┘

    CHWS    x ┬ unit, channels in the channels' place ┐
              ├ unit, rows in the channels' place ────┼ mean ─ ReLU ─ normalisation
              └ unit, columns in the channels' place ─┘
    unit    x ─ LCAM: which channels ─ where in the plane of the other two ─ normalisation ─ ReLU
    LCAM    x * sigmoid(c(mean) + c(maximum)), c one short convolution along the channels

Source: Yu et al., channel-height-width-spatial attention, Engineering Applications of Artificial
Intelligence 2024, doi:10.1016/j.engappai.2024.108751. With `axis="reshape"` checked against the
outputs of the authors' code (Frankyu666666/CHWS-UNet).

Differences from the paper: the authors' code moves rows and columns to the channel axis by
`reshape`, which reinterprets the memory instead of exchanging axes, and it normalises each row and
column separately, so it only accepts images of 256 x 256. `axis="reshape"` does the same.
`axis="permute"` exchanges the axes, as the paper's title suggests, and accepts any size; it
normalises channels, which is our choice. The base network is LeeJunHyun's U-Net.
"""

import dataclasses
import functools
import math
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxseg.errors import COUNT, UserError
from jaxseg.models.attention_unet import UpConv
from jaxseg.models.parts.layers import BatchNorm, Conv, Dtype, LayerOf
from jaxseg.models.parts.resampling import largest, max_pool2x2, pad_to_multiple
from jaxseg.models.unet import DoubleConv

Axis = Literal["permute", "reshape"]
"""How rows and columns become channels: by exchanging axes, or as in the authors' code."""

SIDE = 256
"""Rows and columns of the images that the authors' code accepts."""


class CHWSUNet(nn.Module):
    """(B, H, W, C) standardised image -> (B, H, W, K) float32 logits.

    Attributes:
        num_classes: K.
        features: Channels at full resolution; each pooling doubles them.
        attention: Attention on the skips: `chws`; `lcam`, only its channel attention, as in the
            paper's LCAM-UNet; or none. Means and maxima are over the whole input, so logits of a
            tile and of the whole scene differ by design.
        axis: How CHWS turns height and width into channels.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
        remat: Whether to recompute blocks in the backward pass: less memory, a quarter more work.
    """

    num_classes: int
    features: int = dataclasses.field(default=64, metadata=COUNT)
    attention: Literal["chws", "lcam", "none"] = "chws"
    axis: Axis = "permute"
    dtype: Dtype = "float32"
    remat: bool = False

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:
        """Logits of each pixel; any H and W, edge-padded internally to multiples of 16.

        Args:
            image: (B, H, W, C) float32; with `axis="reshape"` of 256 x 256 pixels.
            train: Whether batch normalisation uses the batch's statistics and updates the running
                ones.

        Returns:
            (B, H, W, K) float32 logits.

        Raises:
            UserError: `axis="reshape"` and another size.
        """
        conv = functools.partial(Conv, use_bias=True, dtype=self.dtype)
        norm = functools.partial(BatchNorm, use_running_average=not train, dtype=self.dtype)
        double_conv = nn.remat(DoubleConv) if self.remat else DoubleConv
        chws = nn.remat(CHWS) if self.remat else CHWS
        block = functools.partial(double_conv, conv=conv, norm=norm)
        up = functools.partial(UpConv, conv=conv, norm=norm)
        f = self.features
        height, width = image.shape[1:3]

        def weighed(skip: Array, level: int) -> Array:
            """The skip of level 1, 2, 3 or 4, at 1, 1/2, 1/4 or 1/8 of the image's size."""
            if self.attention == "lcam":
                return LCAM(taps(skip.shape[-1]), name=f"skip{level}")(skip)
            if self.attention == "chws":
                side = SIDE // 2 ** (level - 1)
                return chws(self.axis, side, conv, norm, name=f"skip{level}")(skip)
            return skip

        if self.attention == "chws" and self.axis == "reshape":
            if self.is_initializing():  # some parameters have the size of the image
                image = jnp.zeros((1, SIDE, SIDE, image.shape[-1]))
            elif (height, width) != (SIDE, SIDE):
                raise UserError(
                    f'Image of {height} x {width} pixels: axis="reshape" is the authors\' code, '
                    f"which accepts {SIDE} x {SIDE} only. Crop or pad the image, or use "
                    'axis="permute", which accepts any size.'
                )
        x = pad_to_multiple(image, 16)
        skip1 = block(f, name="encoder1")(x)  # (B, H, W, f)
        skip2 = block(2 * f, name="encoder2")(max_pool2x2(skip1))  # (B, H/2, W/2, 2f)
        skip3 = block(4 * f, name="encoder3")(max_pool2x2(skip2))  # (B, H/4, W/4, 4f)
        skip4 = block(8 * f, name="encoder4")(max_pool2x2(skip3))  # (B, H/8, W/8, 8f)
        x = block(16 * f, name="bottleneck")(max_pool2x2(skip4))  # (B, H/16, W/16, 16f)

        x = up(8 * f, name="up4")(x)  # (B, H/8, W/8, 8f)
        x = block(8 * f, name="decoder4")(jnp.concatenate((weighed(skip4, 4), x), axis=-1))
        x = up(4 * f, name="up3")(x)  # (B, H/4, W/4, 4f)
        x = block(4 * f, name="decoder3")(jnp.concatenate((weighed(skip3, 3), x), axis=-1))
        x = up(2 * f, name="up2")(x)  # (B, H/2, W/2, 2f)
        x = block(2 * f, name="decoder2")(jnp.concatenate((weighed(skip2, 2), x), axis=-1))
        x = up(f, name="up1")(x)  # (B, H, W, f)
        x = block(f, name="decoder1")(jnp.concatenate((weighed(skip1, 1), x), axis=-1))

        logits = conv(self.num_classes, kernel_size=1, name="head")(x)  # (B, H, W, K)
        return logits[:, :height, :width].astype(jnp.float32)


class CHWS(nn.Module):
    """Mean of three units that weight channels, rows and columns: (B, h, w, C) -> the same.

    Attributes:
        axis: How rows and columns become channels.
        side: Rows and columns at this level in the authors' code, which determine the taps of
            LCAM's convolution along rows and columns.
        conv: Makes a convolution.
        norm: Makes a normalisation.
    """

    axis: Axis
    side: int
    conv: LayerOf
    norm: LayerOf

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, h, w, C) -> (B, h, w, C)."""
        unit = functools.partial(Unit, conv=self.conv)
        reach = taps(self.side)
        by_channel = nn.relu(
            self.norm(name="channel_norm")(unit(taps(x.shape[-1]), name="channel")(x))
        )
        if self.axis == "permute":  # the last axis is treated as channels
            by_row = unit(reach, name="height")(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
            by_column = unit(reach, name="width")(x.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
            by_row = nn.relu(self.norm(name="by_row_norm")(by_row))
            by_column = nn.relu(self.norm(name="by_column_norm")(by_column))
        else:
            by_row = self._reshaped(x, "height", "bhwc")
            by_column = self._reshaped(x, "width", "bwch")
        x = (by_channel + by_row + by_column) / 3
        return self.norm(name="norm")(nn.relu(x))

    def _reshaped(self, x: Array, name: str, order: str) -> Array:
        """The authors' unit for rows or columns, with their memory layout."""
        sizes = dict(zip("bhwc", x.shape, strict=True))
        y = x.transpose(0, 3, 1, 2)  # their layout is (B, C, h, w)
        first, second, third = (sizes[letter] for letter in order[1:])
        y = y.reshape(x.shape[0], first, second, third).transpose(0, 2, 3, 1)
        y = Unit(taps(self.side), self.conv, name=name)(y)
        y = nn.relu(self.norm(name=f"{name}_norm")(y)).transpose(0, 3, 1, 2)
        return y.reshape(x.shape[0], x.shape[3], *x.shape[1:3]).transpose(0, 2, 3, 1)


class Unit(nn.Module):
    """Weights channels, then positions: (B, h, w, C) -> (B, h, w, C), whatever the axes mean.

    Attributes:
        taps: Number of channels that LCAM's convolution spans.
        conv: Makes a convolution.
    """

    taps: int
    conv: LayerOf

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """The input times LCAM's weights, times sigmoid(7x7 of the channels' mean and maximum)."""
        x = LCAM(self.taps, name="lcam")(x)
        mean = x.mean(axis=-1, keepdims=True, dtype=jnp.float32).astype(x.dtype)
        seen = jnp.concatenate((mean, largest(x, (3,))), axis=-1)  # (B, h, w, 2)
        return x * nn.sigmoid(self.conv(1, kernel_size=7, use_bias=False, name="place")(seen))


class LCAM(nn.Module):
    """Light channel attention: x * sigmoid(c(mean) + c(maximum)), (B, h, w, C) -> (B, h, w, C).

    Attributes:
        taps: Number of channels that the shared convolution c spans, odd.
    """

    taps: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, h, w, C) -> (B, h, w, C)."""
        start = nn.initializers.normal(1 / math.sqrt(self.taps))
        kernel = self.param("kernel", start, (self.taps, 1, 1))
        channels, half = x.shape[-1], self.taps // 2
        mean = x.mean(axis=(1, 2), keepdims=True, dtype=jnp.float32)
        pooled = mean + largest(x).astype(jnp.float32)  # c is linear: one convolution of the sum
        pooled = jnp.pad(pooled, ((0, 0), (0, 0), (0, 0), (half, half)))
        gate = sum(
            kernel[tap, 0, 0] * pooled[..., tap : tap + channels] for tap in range(self.taps)
        )  # (B, 1, 1, C)
        return x * nn.sigmoid(gate).astype(x.dtype)


def taps(channels: int) -> int:
    """Taps of LCAM's convolution: about half the binary logarithm of the channels, odd, >= 3."""
    width = max(3, int(abs((math.log2(channels) + 1) / 2)))
    return width + 1 if width % 2 == 0 else width
