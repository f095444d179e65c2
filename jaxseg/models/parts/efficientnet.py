"""EfficientNet: depth, width and image size grow together, and almost all space is depthwise.

    (B,H,W,C) ─ 3x3/2 ─ 16 to 55 blocks in seven stages, at strides 2, 4, 8, 16, 16, 32, 32
                  └ outputs: features of the stem and after the stages 2, 3, 5 and 7 ┘

    block:  x ─ 1x1, times 6 ─ depthwise 3x3 or 5x5 (/2) ─ channels by their means ─ 1x1 ─ + x

Source: Tan, Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML
2019, arXiv:1905.11946; blocks: Sandler et al., MobileNetV2, CVPR 2018, arXiv:1801.04381. Checked
against the encoders of segmentation_models_pytorch 0.6.

Differences from the paper, all as in segmentation_models_pytorch: there is no last 1x1 convolution
and no classifier; the third output of B0 is that of the first of three blocks of stage 5; zeros
around an image are those of the size that the network was published for, see `padding_for`.
"""

import functools
import itertools
import math
from typing import Literal, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxseg.models.parts.layers import BatchNorm, Conv, DepthwiseConv, Dtype, LayerOf
from jaxseg.models.parts.resnet import FirstRate

EfficientNetSize = Literal[
    "efficientnet-b0",
    "efficientnet-b1",
    "efficientnet-b2",
    "efficientnet-b3",
    "efficientnet-b4",
    "efficientnet-b5",
    "efficientnet-b6",
    "efficientnet-b7",
]
"""The sizes of the paper, by the names of segmentation_models_pytorch."""

SIZES: dict[EfficientNetSize, tuple[float, float, int]] = {
    "efficientnet-b0": (1.0, 1.0, 224),
    "efficientnet-b1": (1.0, 1.1, 240),
    "efficientnet-b2": (1.1, 1.2, 260),
    "efficientnet-b3": (1.2, 1.4, 300),
    "efficientnet-b4": (1.4, 1.8, 380),
    "efficientnet-b5": (1.6, 2.2, 456),
    "efficientnet-b6": (1.8, 2.6, 528),
    "efficientnet-b7": (2.0, 3.1, 600),
}
"""Factors of width and depth, and rows and columns of the published classifier's images."""

STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Of B0: blocks, taps, stride of the first block, factor of its channels, features."""

MOMENTUM, EPSILON = 0.99, 1e-3
"""Of the normalisations, as in TensorFlow."""


class EfficientNet(nn.Module):
    """(B, H, W, C) -> features at strides 2, 4, 8, 16, 32, or less if atrous.

    Attributes:
        size: Which of the paper's networks.
        output_stride: Ratio of the image's size to that of the last features; strides beyond it
            become atrous rates of the depthwise convolutions.
        first_rate: Rate of the block whose stride became a rate; with "own", the rate also counts
            for the blocks before it that follow the last output, as in segmentation_models_pytorch.
        drop_connect: Chance that the last block's result is left out for an image in training;
            that of the others rises to it linearly. Needs the rng `dropout`.
        deterministic: Whether no result is left out.
        dtype: Compute dtype.
        remat: Whether to recompute blocks in the backward pass: less memory, more work.
    """

    size: EfficientNetSize
    output_stride: Literal[8, 16, 32] = 32
    first_rate: FirstRate = "own"
    drop_connect: float = 0.2
    deterministic: bool = True
    dtype: Dtype = "float32"
    remat: bool = False

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> tuple[Array, Array, Array, Array, Array]:
        """Features of the stem and of four stages, finest first.

        The means that weight channels are over the whole input: features of a tile and of the whole
        scene differ by design.

        Args:
            image: (B, H, W, C).
            train: Whether batch normalisation uses the batch's statistics and updates the running
                ones.

        Returns:
            (B, H/2, W/2, 32), (B, H/4, W/4, 24), (B, H/8, W/8, 40), (B, H/s, W/s, 112),
            (B, H/s, W/s, 320) of B0, for H and W that are multiples of the strides.
        """
        conv = functools.partial(Conv, dtype=self.dtype)
        depthwise = functools.partial(DepthwiseConv, dtype=self.dtype)
        norm = functools.partial(
            BatchNorm,
            use_running_average=not train,
            momentum=MOMENTUM,
            epsilon=EPSILON,
            dtype=self.dtype,
        )
        kind: type[nn.Module] = nn.remat(InvertedBlock) if self.remat else InvertedBlock
        block = functools.partial(
            kind, conv=conv, depthwise=depthwise, norm=norm, deterministic=self.deterministic
        )
        width, _, side = SIZES[self.size]

        stem = conv(
            channels(32, width), stride=2, padding=padding_for(side, taps=3), name="stem"
        )  # (B, H/2, W/2, 32)
        x = nn.silu(norm(name="stem_norm")(stem(image)))
        outputs = [x]
        plan = self.plan()
        for i, step in enumerate(plan):
            x = block(step, drop=self.drop_connect * i / len(plan), name=f"block{i}")(x)
            if step.is_output:
                outputs.append(x)
        return outputs[0], outputs[1], outputs[2], outputs[3], outputs[4]

    @nn.nowrap
    def plan(self) -> list["Step"]:
        """What each block does."""
        width, depth, side = SIZES[self.size]
        counts = [math.ceil(depth * stage[0]) for stage in STAGES]
        last = [end - 1 for end in itertools.accumulate(counts)]
        outputs = [last[1], last[2], 8 if self.size == "efficientnet-b0" else last[4], last[6]]
        side = -(-side // 2)
        plan: list[Step] = []
        for count, (_, taps, stride, expansion, features) in zip(counts, STAGES, strict=True):
            for unit in range(count):
                s = stride if unit == 0 else 1
                padding = padding_for(side, taps) if s == 2 else None
                side = -(-side // s)
                features_out = channels(features, width)
                is_output = len(plan) in outputs
                plan.append(Step(features_out, taps, s, 1, expansion, padding, is_output))
        first = 0
        for number, end in enumerate(outputs):
            reached, before = 4 * 2**number, max(1, 2 * 2**number // self.output_stride)
            if reached > self.output_stride:
                own = reached // self.output_stride
                strided = next(i for i in range(first, end + 1) if plan[i].stride == 2)
                for i in range(first, end + 1):
                    rate = own if i > strided or self.first_rate == "own" else before
                    if i == strided and self.first_rate == "one":
                        rate = 1
                    plan[i] = plan[i]._replace(stride=1, rate=rate, padding=None)
            first = end + 1
        return plan


class Step(NamedTuple):
    """One block of a network.

    Attributes:
        features: Output channels.
        taps: Of the depthwise convolution, along both axes.
        stride: Of the depthwise convolution.
        rate: Atrous rate of the depthwise convolution.
        expansion: Factor of the channels inside.
        padding: Zeros before and behind; None = as many as keep the size.
        is_output: Whether its features are an output of the network.
    """

    features: int
    taps: int
    stride: int
    rate: int
    expansion: int
    padding: tuple[int, int] | None
    is_output: bool


class InvertedBlock(nn.Module):
    """Wide inside and narrow outside, plus the input where it has the output's shape.

    Attributes:
        step: Sizes; (B, H, W, C) -> (B, H/stride, W/stride, features).
        conv: Makes a convolution.
        depthwise: Makes a depthwise convolution.
        norm: Makes a normalisation.
        drop: Chance that the block's result is left out for an image in training.
        deterministic: Whether it is never left out.
    """

    step: Step
    conv: LayerOf
    depthwise: LayerOf
    norm: LayerOf
    drop: float = 0.0
    deterministic: bool = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, C) -> (B, H/stride, W/stride, features)."""
        point = functools.partial(self.conv, kernel_size=1)
        step, outside = self.step, x.shape[-1]
        inside, y = step.expansion * outside, x
        if step.expansion > 1:
            y = nn.silu(self.norm(name="expand_norm")(point(inside, name="expand")(y)))
        y = self.depthwise(
            step.taps, step.rate, stride=step.stride, padding=step.padding, name="depthwise"
        )(y)
        y = nn.silu(self.norm(name="depthwise_norm")(y))  # (B, H/stride, W/stride, inside)

        gate = y.mean(axis=(1, 2), keepdims=True, dtype=jnp.float32)  # (B, 1, 1, inside)
        gate = nn.silu(point(max(1, outside // 4), use_bias=True, name="squeeze")(gate))
        y = y * nn.sigmoid(point(inside, use_bias=True, name="excite")(gate))

        y = self.norm(name="project_norm")(point(step.features, name="project")(y))
        if y.shape == x.shape:
            drop = nn.Dropout(self.drop, broadcast_dims=(1, 2, 3), deterministic=self.deterministic)
            y = x + drop(y)
        return y


def channels(of_b0: int, width: float) -> int:
    """Channels times the factor of the width, rounded to a multiple of 8, by at most a tenth."""
    wanted = of_b0 * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * wanted else rounded + 8


def padding_for(side: int, taps: int) -> tuple[int, int]:
    """Zeros before and behind an image of `side` pixels for a convolution of stride 2.

    As many as TensorFlow's SAME: half as many outputs, rounded up, and one zero more behind where
    the number is odd. Published weights were trained and exported with those of one size of image,
    so that they belong to the network and not to the image at hand.
    """
    total = max(0, (-(-side // 2) - 1) * 2 + taps - side)
    return total // 2, total - total // 2
