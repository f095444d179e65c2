"""ResNet: deep because a block only learns what to add; here strides may become atrous rates.

    (B,H,W,C) ─ 7x7/2 ─ max 3x3/2 ─ layer1 ─ layer2 /2 ─ layer3 (/2) ─ layer4 (/2)
                                       └ outputs: features of all four layers and the stem ┘

    basic block:  x ─ 3x3 ─ 3x3 ─ + x         bottleneck:  x ─ 1x1 ─ 3x3 ─ 1x1 x 4 ─ + x

Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, arXiv:1512.03385; atrous
rates: Chen et al., arXiv:1706.05587. Checked against torchvision's resnet and deeplabv3.

Differences from the paper: as in torchvision, the stride of a bottleneck is in its 3x3 convolution
("ResNet v1.5"), and there is no average pooling and no classifier. `ResNet.rates` gives the atrous
rates that replace strides. `deep_stem` is PSPNet's: three 3x3 convolutions instead of the 7x7 one.
"""

import functools
from typing import Literal

import flax.linen as nn
from jax import Array

from jaxseg.models.parts.layers import BatchNorm, Conv, Dtype, LayerOf
from jaxseg.models.parts.resampling import max_pool3x3

Backbone = Literal["resnet18", "resnet34", "resnet50", "resnet101"]
"""The depths for which torchvision has weights, without ResNet-152."""

FirstRate = Literal["before", "own", "one"]
"""Atrous rate of the first block of a layer whose stride became a rate: that of the layer before
(torchvision), the layer's own (DeepLab's paper, PSPNet, segmentation_models_pytorch), or one
(Lextal/pspnet-pytorch). The same weights give different features."""


class ResNet(nn.Module):
    """(B, H, W, C) -> features of stem and layer1..4 at strides 2, 4, 8, 16, 32, or less if atrous.

    Attributes:
        backbone: Depth and kind of block.
        output_stride: Ratio of the image's size to that of the last features; strides beyond it
            become atrous rates.
        multi_grid: Factors of the rates of the blocks in layer4; unless it is (1, 1, 1), first
            blocks have their layer's own rate, as in the paper.
        first_rate: Rate of the first block of a layer whose stride became a rate.
        deep_stem: Whether 3x3 convolutions to 64, 64 and 128 channels replace the 7x7 one.
        width: Channels of the stem and inside the blocks of layer1, which each layer doubles; 64 is
            the paper's, fewer are for experiments on small budgets.
        dtype: Compute dtype.
        remat: Whether to recompute blocks in the backward pass: less memory, more work.
    """

    backbone: Backbone
    output_stride: Literal[8, 16, 32] = 32
    multi_grid: tuple[int, int, int] = (1, 1, 1)
    first_rate: FirstRate = "before"
    deep_stem: bool = False
    dtype: Dtype = "float32"
    remat: bool = False
    width: int = 64

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> tuple[Array, Array, Array, Array, Array]:
        """Features of the stem before its pooling and of the four layers, finest first.

        Args:
            image: (B, H, W, C).
            train: Whether batch normalisation uses the batch's statistics and updates the running
                ones.

        Returns:
            (B, H/2, W/2, 64), (B, H/4, W/4, F), (B, H/8, W/8, 2F), (B, H/s, W/s, 4F),
            (B, H/s, W/s, 8F), sizes rounded up at each stride; F is 64 for basic blocks and 256 for
            bottlenecks, and a deep stem has 128 channels. All of that for the usual width.
        """
        conv = functools.partial(Conv, dtype=self.dtype)
        norm = functools.partial(BatchNorm, use_running_average=not train, dtype=self.dtype)
        kind: type[nn.Module] = (
            Bottleneck if self.backbone in ("resnet50", "resnet101") else BasicBlock
        )
        block = functools.partial(nn.remat(kind) if self.remat else kind, conv=conv, norm=norm)

        if self.deep_stem:
            x = nn.relu(norm(name="norm1")(conv(self.width, stride=2, name="conv1")(image)))
            x = nn.relu(norm(name="norm2")(conv(self.width, name="conv2")(x)))  # (B, H/2, W/2, 64)
            x = conv(2 * self.width, name="conv3")(x)  # (B, H/2, W/2, 128)
            stem = nn.relu(norm(name="norm3")(x))
        else:
            x = conv(self.width, kernel_size=7, stride=2, name="conv1")(image)  # (B, H/2, W/2, 64)
            stem = nn.relu(norm(name="norm1")(x))
        x = max_pool3x3(stem)  # (B, H/4, W/4, 64 or 128)
        layers = []
        for layer, (stride, rates) in enumerate(self.rates(), start=1):
            for unit, rate in enumerate(rates):
                x = block(
                    self.width * 2 ** (layer - 1),
                    stride=stride if unit == 0 else 1,
                    rate=rate,
                    project=unit == 0 and (layer > 1 or kind is Bottleneck or self.deep_stem),
                    name=f"layer{layer}_{unit}",
                )(x)
            layers.append(x)
        return stem, layers[0], layers[1], layers[2], layers[3]

    @nn.nowrap
    def rates(self) -> list[tuple[int, tuple[int, ...]]]:
        """Stride of each layer and atrous rate of each of its blocks.

        A stride that would exceed `output_stride` becomes 1 and doubles the layer's rate. At stride
        8 layer3 and layer4 of a ResNet-50 have, with `first_rate`
            "before":  1,2,2,2,2,2 and 2,4,4
            "own":     2,2,2,2,2,2 and 4,4,4; 4,8,16 in layer4 with multi_grid (1, 2, 4)
            "one":     1,2,2,2,2,2 and 1,4,4
        ResNet-18's layer4 has two blocks and uses the first two factors of multi_grid.
        """
        depths = {
            "resnet18": (2, 2, 2, 2),
            "resnet34": (3, 4, 6, 3),
            "resnet50": (3, 4, 6, 3),
            "resnet101": (3, 4, 23, 3),
        }[self.backbone]
        plan = []
        reached, rate = 4, 1
        for layer, depth in enumerate(depths, start=1):
            before, stride = rate, 1 if layer == 1 else 2
            if reached * stride > self.output_stride:
                stride, rate = 1, rate * 2
            reached *= stride
            rates = [rate] * depth
            if self.multi_grid == (1, 1, 1):
                rates[0] = {"before": before, "own": rate, "one": 1}[self.first_rate]
            elif layer == 4:
                rates = [rate * factor for factor in self.multi_grid[:depth]]
            plan.append((stride, tuple(rates)))
        return plan


class Bottleneck(nn.Module):
    """1x1 to `features`, 3x3, 1x1 to four times as many, plus the input.

    Attributes:
        features: Channels inside; (B, H, W, C) -> (B, H/stride, W/stride, 4 features).
        conv: Makes a convolution.
        norm: Makes a normalisation.
        stride: Stride of the 3x3 convolution.
        rate: Atrous rate of the 3x3 convolution.
        project: Whether the input passes a strided 1x1 convolution, because its shape differs from
            the output's.
    """

    features: int
    conv: LayerOf
    norm: LayerOf
    stride: int = 1
    rate: int = 1
    project: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, C) -> (B, H/stride, W/stride, 4 features)."""
        y = self.conv(self.features, kernel_size=1, name="conv1")(x)
        y = nn.relu(self.norm(name="norm1")(y))
        y = self.conv(self.features, stride=self.stride, dilation=self.rate, name="conv2")(y)
        y = nn.relu(self.norm(name="norm2")(y))
        y = self.norm(name="norm3")(self.conv(4 * self.features, kernel_size=1, name="conv3")(y))
        if self.project:
            x = self.conv(4 * self.features, kernel_size=1, stride=self.stride, name="project")(x)
            x = self.norm(name="project_norm")(x)
        return nn.relu(y + x)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, plus the input; both carry the atrous rate.

    Attributes:
        features: Channels; (B, H, W, C) -> (B, H/stride, W/stride, features).
        conv: Makes a convolution.
        norm: Makes a normalisation.
        stride: Stride of the first convolution.
        rate: Atrous rate of both.
        project: Whether the input passes a strided 1x1 convolution, because its shape differs from
            the output's.
    """

    features: int
    conv: LayerOf
    norm: LayerOf
    stride: int = 1
    rate: int = 1
    project: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, C) -> (B, H/stride, W/stride, features)."""
        y = self.conv(self.features, stride=self.stride, dilation=self.rate, name="conv1")(x)
        y = nn.relu(self.norm(name="norm1")(y))
        y = self.norm(name="norm2")(self.conv(self.features, dilation=self.rate, name="conv2")(y))
        if self.project:
            x = self.conv(self.features, kernel_size=1, stride=self.stride, name="project")(x)
            x = self.norm(name="project_norm")(x)
        return nn.relu(y + x)
