"""Refined PSPNet: which polarisations matter, what surrounds a pixel, and where its region ends.

    (B,H,W,C) ─ band gate ─ ResNet ┬ layer4, /8 ─ pyramid ─ 1x1 ─ + ─ resize ─ concat ─ 3x3 ─ 3x3 ┐
                                   ├ layer3 ─ auxiliary head      │            │                  │
                                   ├ layer2, /8 ─ 1x1, 256 ───────┘            │                  │
                                   └ layer1, /4 ─ channel gate ─ 1x1, 48 ──────┘                  │
                                                                   (B,H,W,K) ─ resize ─ 1x1 ──────┘

Source: Zhang, Chen, Feng, Li, Yang, Guo, A Refined Pyramid Scene Parsing Network for Polarimetric
SAR Image Semantic Segmentation in Agricultural Areas, IEEE GRSL 2022, as far as its abstract
describes it: fusion of levels in the decoder, attention to polarimetric channels, an edge-aware
loss.

It refines Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, arXiv:1612.01105. No reference
implementation is known.

Differences from the paper: its abstract states no layers. Our choices are: gates by mean and
maximum as in CBAM (Woo et al., ECCV 2018, arXiv:1807.06521), on the bands and on the decoder's skip
from layer1, so that pre-trained weights still fit the backbone; 48 channels of layer1 and 256 of
layer2 in the decoder; the loss of Bokhovkin and Burnaev (`jaxseg.losses.edges.EdgeAware`);
torchvision's ResNet, with a stem of one 7x7 convolution, instead of PSPNet's deep stem.
"""

import dataclasses
import functools
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxseg.errors import COUNT, DROPOUT
from jaxseg.models.parts.aux_head import AuxHead
from jaxseg.models.parts.enlarged import EnlargedLogits
from jaxseg.models.parts.layers import BatchNorm, Conv, Dtype, LayerOf
from jaxseg.models.parts.pyramid_pooling import ConvOfPyramid, Pyramid
from jaxseg.models.parts.resampling import largest, resize
from jaxseg.models.parts.resnet import Backbone, ResNet


class RefinedPSPNet(EnlargedLogits):
    """(B, H, W, C) standardised polarimetric features -> (B, H, W, K) float32 logits.

    `jaxseg.transforms.polsar.CoherencyFeatures` computes such features from a coherency matrix.

    Attributes:
        num_classes: K.
        backbone: The ResNet to use.
        output_stride: Ratio of the image's size to that of the last features.
        features: Channels of the decoder.
        aux_head: Whether to add logits from layer3, sown as `aux_logits`, for an auxiliary loss.
        dropout: Share of the last features dropped in training; needs the rng `dropout`.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
        remat: Whether to recompute ResNet blocks in the backward pass: less memory, a quarter more
            work.
        width: Channels of the ResNet's first layer; all others are in proportion. 64 is
            torchvision's.
    """

    num_classes: int
    backbone: Backbone = "resnet50"
    output_stride: Literal[8, 16] = 8
    features: int = dataclasses.field(default=256, metadata=COUNT)
    aux_head: bool = False
    dropout: float = dataclasses.field(default=0.1, metadata=DROPOUT)
    dtype: Dtype = "float32"
    remat: bool = False
    width: int = dataclasses.field(default=64, metadata=COUNT)

    def coarse(self, image: Array, *, train: bool) -> Array:
        """See the base."""
        return self(image, train=train, enlarged=False)

    @nn.compact
    def __call__(self, image: Array, *, train: bool, enlarged: bool = True) -> Array:
        """Logits of each pixel; any H and W.

        Gates and pyramid cover the whole input: logits of a tile and of a whole scene differ by
        design.

        Args:
            image: (B, H, W, C) float32.
            train: Whether batch normalisation uses the batch's statistics and dropout is active.
            enlarged: Whether logits are those of pixels; otherwise see `coarse`.

        Returns:
            (B, H, W, K) float32 logits.
        """
        conv = functools.partial(Conv, dtype=self.dtype)
        norm = functools.partial(BatchNorm, use_running_average=not train, dtype=self.dtype)
        point = functools.partial(conv, kernel_size=1)
        backbone = ResNet(
            self.backbone,
            self.output_stride,
            dtype=self.dtype,
            remat=self.remat,
            width=self.width,
            name="backbone",
        )

        x = ChannelAttention(conv, name="band_gate")(image)
        _, layer1, layer2, layer3, layer4 = backbone(x, train=train)  # /4, /8, /8, /8 by default
        levels = Pyramid(conv, norm, name="pyramid")(layer4)
        project = ConvOfPyramid(self.features, 1, dtype=self.dtype, name="pyramid_project")
        x = norm(name="pyramid_norm")(project(layer4, levels))  # (B, H/8, W/8, 256)
        x = resize(x, (layer2.shape[1], layer2.shape[2]))  # layer2 is finer at output stride 16
        skip = norm(name="layer2_norm")(point(self.features, name="layer2_project")(layer2))
        x = nn.relu(x + skip)  # (B, H/8, W/8, 256)

        skip = ChannelAttention(conv, name="layer1_gate")(layer1)
        skip = nn.relu(norm(name="layer1_norm")(point(48, name="layer1_project")(skip)))
        x = resize(x, (layer1.shape[1], layer1.shape[2]))
        x = jnp.concatenate((x, skip), axis=-1)  # (B, H/4, W/4, 304)
        x = nn.relu(norm(name="decoder1_norm")(conv(self.features, name="decoder1")(x)))
        x = nn.relu(norm(name="decoder2_norm")(conv(self.features, name="decoder2")(x)))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = point(self.num_classes, use_bias=True, name="head")(x)  # (B, H/4, W/4, K)
        logits = x.astype(jnp.float32)

        if self.aux_head:
            x = AuxHead(self.num_classes, conv, norm, name="aux_head")(layer3, train=train)
            if not self.is_initializing():  # else `init` would return logits among the variables
                aux = x.astype(jnp.float32)
                aux = self.enlarge(aux, *image.shape[1:3]) if enlarged else aux
                self.sow("aux_logits", "layer3", aux)
        return self.enlarge(logits, *image.shape[1:3]) if enlarged else logits  # (B, H, W, K)


class ChannelAttention(nn.Module):
    """Weights channels depending on their mean and maximum: (B, H, W, C) -> (B, H, W, C).

    x times 2 sigmoid(e(mean) + e(maximum)), where e is two shared layers. The factor 2 is our
    addition: the gate is initially near 1, so that the backbone receives standardised bands.

    Attributes:
        conv: Makes a convolution.
        reduction: Ratio of the channels to those of the hidden layer; at least 8 remain.
    """

    conv: LayerOf
    reduction: int = 16

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, C) -> (B, H, W, C)."""
        channels = x.shape[-1]
        inside = max(8, channels // self.reduction)
        squeeze = self.conv(inside, kernel_size=1, use_bias=True, name="squeeze")
        excite = self.conv(channels, kernel_size=1, use_bias=True, name="excite")
        mean = x.mean(axis=(1, 2), keepdims=True, dtype=jnp.float32)  # (B, 1, 1, C)
        gate = excite(nn.relu(squeeze(mean))) + excite(nn.relu(squeeze(largest(x))))
        return x * (2 * nn.sigmoid(gate)).astype(x.dtype)
