"""DeepLabV3: atrous convolutions see far at full resolution, a pyramid of them at all scales.

                               ┌ 1x1 ────────────────┐
    (B,H,W,C) ─ ResNet, /8 ────┼ 3x3, three rates ───┼ concat ─ 1x1 ─ 3x3 ─ 1x1 ─ resize ─ (B,H,W,K)
                  │            └ image mean ─ 1x1 ───┘
                  └ layer3 ─ auxiliary head (training only)

Source: Chen, Papandreou, Schroff, Adam, Rethinking Atrous Convolution for Semantic Image
Segmentation, 2017, arXiv:1706.05587, in the form of torchvision's deeplabv3_resnet50, against which
outputs were checked.

Differences from the paper, all as in torchvision: a 3x3 convolution between pyramid and logits;
dropout 0.5 after the pyramid; no multi-grid by default, in which case atrous rates start one block
late (`ResNet.rates`); an auxiliary head on layer3. The paper's settings are `multi_grid=(1, 2, 4)`
and `output_stride=16` in training.

The form of segmentation_models_pytorch's DeepLabV3, checked against it, is
`first_rate="own", align_corners=True`. Both forms have the same parameters: weights of one load
into the other but give different logits.
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
from jaxseg.models.parts.resampling import resize
from jaxseg.models.parts.resnet import Backbone, FirstRate, ResNet


class DeepLabV3(EnlargedLogits):
    """(B, H, W, C) standardised image -> (B, H, W, K) float32 logits.

    Attributes:
        num_classes: K.
        backbone: The ResNet to use.
        output_stride: Ratio of the image's size to that of the features; 8 is finer and 3 to 4
            times the work of 16.
        atrous_rates: Rates of the pyramid's 3x3 convolutions, any number of them; None = 12, 24, 36
            at stride 8 and 6, 12, 18 at stride 16.
        multi_grid: Factors of the rates in layer4; the paper's best is (1, 2, 4).
        first_rate: Atrous rate of the first block of a layer whose stride became a rate.
        features: Channels of pyramid and head.
        align_corners: Whether logits are enlarged with corner centres aligned.
        aux_head: Whether to add logits from layer3, sown as `aux_logits`, for an auxiliary loss.
        dropout: Share of the pyramid's features dropped in training; needs the rng `dropout`.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
        freeze_batch_norm: Whether training uses the fixed running statistics, as in the paper's
            second stage.
        remat: Whether to recompute ResNet blocks in the backward pass: less memory, a quarter more
            work.
        width: Channels of the ResNet's first layer, which each layer doubles; 64 is the paper's.
        image_pooling: Whether the pyramid has the mean of the whole image beside its rates.
    """

    num_classes: int
    backbone: Backbone = "resnet50"
    output_stride: Literal[8, 16] = 8
    atrous_rates: tuple[int, ...] | None = dataclasses.field(default=None, metadata=COUNT)
    multi_grid: tuple[int, int, int] = dataclasses.field(default=(1, 1, 1), metadata=COUNT)
    first_rate: FirstRate = "before"
    features: int = dataclasses.field(default=256, metadata=COUNT)
    align_corners: bool = False
    aux_head: bool = False
    dropout: float = dataclasses.field(default=0.5, metadata=DROPOUT)
    dtype: Dtype = "float32"
    freeze_batch_norm: bool = False
    remat: bool = False
    width: int = dataclasses.field(default=64, metadata=COUNT)
    image_pooling: bool = True

    def coarse(self, image: Array, *, train: bool) -> Array:
        """See the base."""
        return self(image, train=train, enlarged=False)

    def enlarge(self, coarse: Array, height: int, width: int) -> Array:
        """See the base."""
        return resize(coarse, (height, width), align_corners=self.align_corners)

    @nn.compact
    def __call__(self, image: Array, *, train: bool, enlarged: bool = True) -> Array:
        """Logits of each pixel; any H and W.

        The pyramid's image mean is over the whole input: logits of a tile and of the whole scene
        differ by design.

        Args:
            image: (B, H, W, C) float32.
            train: Whether batch normalisation uses the batch's statistics and dropout is active.
            enlarged: Whether logits are those of pixels; otherwise see `coarse`.

        Returns:
            (B, H, W, K) float32 logits.
        """
        conv = functools.partial(Conv, dtype=self.dtype)
        measure = train and not self.freeze_batch_norm
        norm = functools.partial(BatchNorm, use_running_average=not measure, dtype=self.dtype)
        rates = usual_rates(self.output_stride) if self.atrous_rates is None else self.atrous_rates
        backbone = ResNet(
            self.backbone,
            self.output_stride,
            self.multi_grid,
            self.first_rate,
            dtype=self.dtype,
            remat=self.remat,
            width=self.width,
            name="backbone",
        )

        *_, layer3, layer4 = backbone(
            image, train=measure
        )  # (B, H/8, W/8, 1024), (B, H/8, W/8, 2048)
        x = AtrousPyramid(
            rates, conv, conv, norm, self.features, self.image_pooling, name="pyramid"
        )(layer4)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)  # (B, H/8, W/8, 256)
        x = conv(self.features, name="head_conv")(x)
        x = nn.relu(norm(name="head_norm")(x))
        x = conv(self.num_classes, kernel_size=1, use_bias=True, name="head")(x)  # (B, H/8, W/8, K)
        logits = x.astype(jnp.float32)

        if self.aux_head:
            x = AuxHead(self.num_classes, conv, norm, name="aux_head")(layer3, train=train)
            if not self.is_initializing():  # else `init` would return logits among the variables
                aux = x.astype(jnp.float32)
                aux = self.enlarge(aux, *image.shape[1:3]) if enlarged else aux
                self.sow("aux_logits", "layer3", aux)
        return self.enlarge(logits, *image.shape[1:3]) if enlarged else logits  # (B, H, W, K)


def usual_rates(output_stride: Literal[8, 16]) -> tuple[int, ...]:
    """The papers' rates of the pyramid, which reach equally far in the image at both strides."""
    return (12, 24, 36) if output_stride == 8 else (6, 12, 18)


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling: the surroundings of a pixel at several scales.

    Attributes:
        rates: Atrous rates of the 3x3 branches.
        conv: Makes a convolution.
        atrous_conv: Makes a convolution of the 3x3 branches, which may be separable.
        norm: Makes a normalisation.
        features: Channels of each branch and of the result.
        image: Whether the mean of the whole image is one of the branches.
    """

    rates: tuple[int, ...]
    conv: LayerOf
    atrous_conv: LayerOf
    norm: LayerOf
    features: int = 256
    image: bool = True

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, h, w, C) -> (B, h, w, features)."""
        point = functools.partial(self.conv, self.features, kernel_size=1)
        branches = [nn.relu(self.norm(name="point_norm")(point(name="point")(x)))]
        for i, rate in enumerate(self.rates, start=1):
            y = self.atrous_conv(self.features, dilation=rate, name=f"atrous{i}")(x)
            branches.append(nn.relu(self.norm(name=f"atrous{i}_norm")(y)))
        if self.image:
            mean = x.mean(axis=(1, 2), keepdims=True, dtype=jnp.float32)  # (B, 1, 1, C)
            y = self.norm(name="image_norm", use_fast_variance=False)(point(name="image")(mean))
            y = nn.relu(y)
            branches.append(jnp.broadcast_to(y, (*x.shape[:3], self.features)))
        x = point(name="project")(jnp.concatenate(branches, axis=-1))  # (B, h, w, features)
        return nn.relu(self.norm(name="project_norm")(x))
