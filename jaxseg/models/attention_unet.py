"""Attention U-Net: what the decoder looks for decides which pixels of a skip it gets.

    (B,H,W,C) ─ block f ──────────────── skip ── gate ── concat ─ block f ─ 1x1 ─ (B,H,W,K)
                   └ pool ─ block 2f ─ skip ─ gate ─ concat ─ block 2f ┴ up ┘
                               └ pool ─ block 4f ─ ...        ─ up ┘

    gate:  skip ─ 1x1 ─┐
                       + ─ ReLU ─ 1x1 to one channel ─ sigmoid (B,h,w,1) ─ times skip
        decoder ─ 1x1 ─┘

There are two variants: `AttentionUNet` is the widely used two-dimensional form, with four gates;
`GridAttentionUNet` is the authors' own, whose gates work on the coarser grid.

Source: Oktay et al., Attention U-Net: Learning Where to Look for the Pancreas, MIDL 2018,
arXiv:1804.03999. `AttentionUNet` was checked against the outputs of LeeJunHyun/Image_Segmentation's
AttU_Net, `GridAttentionUNet` against those of ozan-oktay/Attention-Gated-Networks with 2D instead
of 3D layers. According to its abstract (four decoder blocks and gates), `AttentionUNet` is also the
network of Sulaiman et al., Scientific Reports 14, 2024, doi:10.1038/s41598-024-72712-5, for the
breast ultrasound images of BUSI.

Differences from the paper: see the docstring of each network.
"""

import dataclasses
import functools
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxseg.errors import COUNT
from jaxseg.models.parts.blocks import (
    PIXELS,
    ConvToBlocks,
    LogitsInBlocks,
    from_blocks,
    max_of_blocks,
    pixels_of_blocks,
)
from jaxseg.models.parts.inner import Decoder, InnerLogits
from jaxseg.models.parts.layers import BatchNorm, Conv, Dtype, LayerOf
from jaxseg.models.parts.platforms import blocks_pay
from jaxseg.models.parts.resampling import max_pool2x2, pad_to_multiple, repeat2x2, resize
from jaxseg.models.unet import DoubleConv


class AttentionUNet(InnerLogits, LogitsInBlocks):
    """Four gates: (B, H, W, C) standardised image -> (B, H, W, K) float32 logits.

    Differences from the paper, all as in LeeJunHyun's AttU_Net: the skip at full resolution has a
    gate, too; the gating signal is the decoder's features at the skip's resolution, so nothing in
    the gate is resized; its convolutions are normalised; upsampling repeats pixels and applies a
    3x3 convolution; no deep supervision.

    Attributes:
        num_classes: K.
        features: Channels at full resolution; each pooling doubles them.
        gates: Whether skips are gated; without gates the network is a baseline.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
        remat: Whether to recompute blocks in the backward pass: less memory, a quarter more work.
    """

    num_classes: int
    features: int = dataclasses.field(default=64, metadata=COUNT)
    gates: bool = True
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
        conv = functools.partial(Conv, use_bias=True, dtype=self.dtype)
        norm = functools.partial(BatchNorm, use_running_average=not train, dtype=self.dtype)
        double_conv = nn.remat(DoubleConv) if self.remat else DoubleConv
        block = functools.partial(double_conv, conv=conv, norm=norm)
        up = functools.partial(UpConv, conv=conv, norm=norm)
        f = self.features
        height, width = image.shape[1:3]
        blocks = self.blocks_pay() or not ordered
        decoder = Decoder(margin, 16, reach=3, finest=2 if blocks else 1)
        conv1 = functools.partial(ConvToBlocks, use_bias=True, dtype=self.dtype) if blocks else conv
        norm1 = functools.partial(norm, pixels=PIXELS) if blocks else norm
        block1 = functools.partial(double_conv, conv=conv1, norm=norm1)

        def gated(x: Array, skip: Array, level: int, conv: LayerOf, norm: LayerOf) -> list[Array]:
            """The skip, gated by the decoder's features, and these."""
            stride = 2 ** (level - 1)
            x, skip = decoder.below(x, stride), decoder.skip(skip, stride)
            if self.gates:
                skip = Gate(stride * f // 2, conv, norm, name=f"gate{level}")(skip, x)
            return [skip, x]

        def beside(x: Array, skip: Array, level: int) -> Array:
            return jnp.concatenate(gated(x, skip, level, conv, norm), axis=-1)

        x = pad_to_multiple(image, 16)
        if blocks:
            skip1 = block1(f, name="encoder1")(image=x)  # (B, H/2, W/2, 4f)
            x = max_of_blocks(skip1)
        else:
            skip1 = block1(f, name="encoder1")(x)  # (B, H, W, f)
            x = max_pool2x2(skip1)
        skip2 = block(2 * f, name="encoder2")(x)  # (B, H/2, W/2, 2f)
        skip3 = block(4 * f, name="encoder3")(max_pool2x2(skip2))  # (B, H/4, W/4, 4f)
        skip4 = block(8 * f, name="encoder4")(max_pool2x2(skip3))  # (B, H/8, W/8, 8f)
        x = block(16 * f, name="bottleneck")(max_pool2x2(skip4))  # (B, H/16, W/16, 16f)

        x = up(8 * f, name="up4")(x)  # (B, H/8, W/8, 8f)
        x = block(8 * f, name="decoder4")(beside(x, skip4, 4))
        x = up(4 * f, name="up3")(x)  # (B, H/4, W/4, 4f)
        x = block(4 * f, name="decoder3")(beside(x, skip3, 3))
        x = up(2 * f, name="up2")(x)  # (B, H/2, W/2, 2f)
        x = block(2 * f, name="decoder2")(beside(x, skip2, 2))
        head = conv1(self.num_classes, kernel_size=1, name="head")
        x = UpConv(f, conv1, norm1, blocks, name="up1")(x)  # (B, H, W, f), or in blocks
        parts = gated(x, skip1, 1, conv1, norm1)
        if blocks:
            x = head(block1(f, name="decoder1")(*parts))  # (B, H/2, W/2, 4K)
            if not ordered:
                return pixels_of_blocks(x).astype(jnp.float32)
            return decoder.last(from_blocks(x), height, width).astype(jnp.float32)
        x = block1(f, name="decoder1")(jnp.concatenate(parts, axis=-1))
        return head(decoder.last(x, height, width)).astype(jnp.float32)  # (B, H, W, K)


class Gate(nn.Module):
    """skip * sigmoid(psi(ReLU(Wx skip + Wg signal))), one gate per pixel for all channels.

    Attributes:
        features: Hidden channels.
        conv: Makes a convolution.
        norm: Makes a normalisation; it follows each of the three convolutions.
    """

    features: int
    conv: LayerOf
    norm: LayerOf

    @nn.compact
    def __call__(self, skip: Array, signal: Array) -> Array:
        """(B, h, w, C) and the gating signal (B, h, w, G) -> (B, h, w, C), or all in blocks."""
        point = functools.partial(self.conv, kernel_size=1)
        of_skip = self.norm(name="skip_norm")(point(self.features, name="skip")(skip))
        of_signal = self.norm(name="signal_norm")(point(self.features, name="signal")(signal))
        x = nn.relu(of_skip + of_signal)  # (B, h, w, features)
        gate = nn.sigmoid(self.norm(name="psi_norm")(point(1, name="psi")(x)))
        if gate.shape[-1] > 1:  # one for each pixel of a block
            gate = jnp.repeat(gate, skip.shape[-1] // gate.shape[-1], axis=-1)
        return skip * gate


class UpConv(nn.Module):
    """Nearest-neighbour upsampling by 2, 3x3 convolution, normalisation, ReLU.

    Attributes:
        features: Output channels.
        conv: Makes a convolution.
        norm: Makes a normalisation.
        to_blocks: Whether these two work on blocks.
    """

    features: int
    conv: LayerOf
    norm: LayerOf
    to_blocks: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, h, w, C) -> (B, 2h, 2w, features), or its blocks (B, h, w, 4 features)."""
        conv = self.conv(self.features, name="conv")
        x = conv(doubled=x) if self.to_blocks else conv(repeat2x2(x))
        return nn.relu(self.norm(name="norm")(x))


class GridAttentionUNet(nn.Module):
    """Gates on a coarser grid: (B, H, W, C) standardised image -> (B, H, W, K) float32 logits.

    Three skips are gated, the one at full resolution is not. The gating signal of the lowest gate
    comes from the bottleneck, those of the others from the decoder stage below. Logits of all four
    decoder stages are resized, stacked and combined by one more convolution.

    Differences from the paper, as in the authors' unet_CT_multi_att_dsv: two parallel gates on each
    skip, and the stacked logits. Two dimensions instead of three: with 3D kernels it would have
    exactly as many parameters as theirs.

    Attributes:
        num_classes: K.
        features: Channels at full resolution; each pooling doubles them.
        gates: Number of parallel gates on each skip.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
        remat: Whether to recompute blocks in the backward pass: less memory, a quarter more work.
    """

    num_classes: int
    features: int = dataclasses.field(default=16, metadata=COUNT)
    gates: Literal[1, 2] = 2
    dtype: Dtype = "float32"
    remat: bool = False

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:
        """Logits of each pixel; any H and W, edge-padded internally to multiples of 16.

        Args:
            image: (B, H, W, C) float32.
            train: Whether batch normalisation uses the batch's statistics and updates the running
                ones.

        Returns:
            (B, H, W, K) float32 logits.
        """
        conv = functools.partial(Conv, use_bias=True, dtype=self.dtype)
        norm = functools.partial(BatchNorm, use_running_average=not train, dtype=self.dtype)
        double_conv = nn.remat(DoubleConv) if self.remat else DoubleConv
        block = functools.partial(double_conv, conv=conv, norm=norm)
        gate = functools.partial(GridGates, self.gates, conv, norm)
        point = functools.partial(conv, kernel_size=1)
        f = self.features
        height, width = image.shape[1:3]

        x = pad_to_multiple(image, 16)
        size = x.shape[1], x.shape[2]
        skip1 = block(f, name="encoder1")(x)  # (B, H, W, f)
        skip2 = block(2 * f, name="encoder2")(max_pool2x2(skip1))  # (B, H/2, W/2, 2f)
        skip3 = block(4 * f, name="encoder3")(max_pool2x2(skip2))  # (B, H/4, W/4, 4f)
        skip4 = block(8 * f, name="encoder4")(max_pool2x2(skip3))  # (B, H/8, W/8, 8f)
        x = block(16 * f, name="bottleneck")(max_pool2x2(skip4))  # (B, H/16, W/16, 16f)

        signal = nn.relu(norm(name="signal_norm")(point(16 * f, name="signal")(x)))
        x4 = block(8 * f, name="decoder4")(beside_doubled(gate(name="gate4")(skip4, signal), x))
        x3 = block(4 * f, name="decoder3")(beside_doubled(gate(name="gate3")(skip3, x4), x4))
        x2 = block(2 * f, name="decoder2")(beside_doubled(gate(name="gate2")(skip2, x3), x3))
        x1 = block(f, name="decoder1")(beside_doubled(skip1, x2))  # (B, H, W, f)

        answers = [
            resize(point(self.num_classes, name=f"answer{i}")(x), size)
            for i, x in ((1, x1), (2, x2), (3, x3), (4, x4))
        ]
        x = jnp.concatenate(answers, axis=-1)  # (B, H, W, 4 K)
        logits = point(self.num_classes, name="head")(x)  # (B, H, W, K)
        return logits[:, :height, :width].astype(jnp.float32)


class GridGates(nn.Module):
    """Parallel grid gates, fused by a 1x1 convolution, normalisation and ReLU.

    Attributes:
        gates: Number of gates.
        conv: Makes a convolution.
        norm: Makes a normalisation.
    """

    gates: int
    conv: LayerOf
    norm: LayerOf

    @nn.compact
    def __call__(self, skip: Array, signal: Array) -> Array:
        """(B, h, w, C) and the gating signal (B, h/2, w/2, G) -> (B, h, w, C)."""
        gated = [
            GridGate(self.conv, self.norm, name=f"gate{i}")(skip, signal)
            for i in range(1, self.gates + 1)
        ]
        x = self.conv(skip.shape[-1], kernel_size=1, name="fuse")(jnp.concatenate(gated, axis=-1))
        return nn.relu(self.norm(name="fuse_norm")(x))


class GridGate(nn.Module):
    """The paper's gate: additive attention on half the skip's grid, resized to the skip.

    Attributes:
        conv: Makes a convolution.
        norm: Makes a normalisation.
    """

    conv: LayerOf
    norm: LayerOf

    @nn.compact
    def __call__(self, skip: Array, signal: Array) -> Array:
        """(B, h, w, C) and the gating signal (B, h/2, w/2, G) -> (B, h, w, C)."""
        channels = skip.shape[-1]
        point = functools.partial(self.conv, kernel_size=1)
        theta = self.conv(
            channels, kernel_size=2, stride=2, padding=0, use_bias=False, name="theta"
        )(skip)  # (B, h/2, w/2, C)
        phi = resize(point(channels, name="phi")(signal), (theta.shape[1], theta.shape[2]))
        alpha = nn.sigmoid(point(1, name="psi")(nn.relu(theta + phi)))  # (B, h/2, w/2, 1)
        alpha = resize(alpha, (skip.shape[1], skip.shape[2]))  # (B, h, w, 1)
        return self.norm(name="norm")(point(channels, name="out")(alpha * skip))


def beside_doubled(skip: Array, x: Array) -> Array:
    """Skip and resized features: (B, h, w, S), (B, h/2, w/2, C) -> (B, h, w, S + C)."""
    return jnp.concatenate((skip, resize(x, (skip.shape[1], skip.shape[2]))), axis=-1)
