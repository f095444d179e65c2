"""DeepLabV3+: DeepLabV3's pyramid says what, features of a quarter of the size say where.

                       ┌ layer4, /16 ─ pyramid ─ resize ┐
    (B,H,W,C) ─ ResNet ┤                                concat ─ 3x3 ─ 1x1 ─ resize ─ (B,H,W,K)
                       └ layer1, /4 ─ 1x1 to 48 ────────┘

Source: Chen, Zhu, Papandreou, Schroff, Adam, Encoder-Decoder with Atrous Separable Convolution for
Semantic Image Segmentation, ECCV 2018, arXiv:1802.02611. The default is the form of
VainF/DeepLabV3Plus-Pytorch; outputs were checked against it and segmentation_models_pytorch.

The forms differ in a few fields. The paper's form is that of the authors' code on a ResNet (the
paper's best encoder is an Xception); its outputs were not compared:

    field            VainF       smp             paper
    separable        False       True            True
    pyramid_conv     False       True            False
    decoder_convs    1           1               2
    low_first        True        False           False
    first_rate       "before"    "own"           "own"
    align_corners    False       True            True
    atrous_rates     None        (12, 24, 36)    None
    dropout          0.1         0.5             0.1

Differences of the paper's form from the authors' code: no normalisation and ReLU within a separable
convolution, and the pyramid's image mean comes last, not first.
"""

import dataclasses
import functools
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxseg.errors import COUNT, DROPOUT
from jaxseg.models.deeplab import AtrousPyramid, usual_rates
from jaxseg.models.parts.enlarged import EnlargedLogits
from jaxseg.models.parts.layers import BatchNorm, Conv, Dtype, SeparableConv
from jaxseg.models.parts.resampling import resize
from jaxseg.models.parts.resnet import Backbone, FirstRate, ResNet


class DeepLabV3Plus(EnlargedLogits):
    """(B, H, W, C) standardised image -> (B, H, W, K) float32 logits.

    Attributes:
        num_classes: K.
        backbone: The ResNet to use.
        output_stride: Ratio of the image's size to that of the pyramid's features.
        atrous_rates: Rates of the pyramid's 3x3 convolutions, any number of them; None = 12, 24, 36
            at stride 8 and 6, 12, 18 at stride 16.
        multi_grid: Factors of the rates in layer4.
        first_rate: Atrous rate of the first block of a layer whose stride became a rate.
        features: Channels of pyramid and decoder.
        separable: Whether the 3x3 convolutions of pyramid and decoder are separable (depthwise,
            then 1x1), with a sixth of the pyramid's parameters.
        pyramid_conv: Whether one more 3x3 convolution follows the pyramid.
        decoder_convs: Number of 3x3 convolutions after the concatenation.
        low_first: Whether the concatenation begins with the fine features, not the pyramid's.
        align_corners: Whether features and logits are enlarged with corner centres aligned.
        dropout: Share of the pyramid's features dropped in training; needs the rng `dropout`.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
        freeze_batch_norm: Whether training uses the fixed running statistics.
        remat: Whether to recompute ResNet blocks in the backward pass: less memory, a quarter more
            work.
    """

    num_classes: int
    backbone: Backbone = "resnet50"
    output_stride: Literal[8, 16] = 16
    atrous_rates: tuple[int, ...] | None = dataclasses.field(default=None, metadata=COUNT)
    multi_grid: tuple[int, int, int] = dataclasses.field(default=(1, 1, 1), metadata=COUNT)
    first_rate: FirstRate = "before"
    features: int = dataclasses.field(default=256, metadata=COUNT)
    separable: bool = False
    pyramid_conv: bool = False
    decoder_convs: int = 1
    low_first: bool = True
    align_corners: bool = False
    dropout: float = dataclasses.field(default=0.1, metadata=DROPOUT)
    dtype: Dtype = "float32"
    freeze_batch_norm: bool = False
    remat: bool = False

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
        conv3x3 = functools.partial(SeparableConv, dtype=self.dtype) if self.separable else conv
        measure = train and not self.freeze_batch_norm
        norm = functools.partial(BatchNorm, use_running_average=not measure, dtype=self.dtype)
        enlarge = functools.partial(resize, align_corners=self.align_corners)
        rates = usual_rates(self.output_stride) if self.atrous_rates is None else self.atrous_rates
        backbone = ResNet(
            self.backbone,
            self.output_stride,
            self.multi_grid,
            self.first_rate,
            dtype=self.dtype,
            remat=self.remat,
            name="backbone",
        )

        _, layer1, _, _, layer4 = backbone(image, train=measure)  # (B, H/4, W/4, 256) and ...
        x = AtrousPyramid(rates, conv, conv3x3, norm, self.features, name="pyramid")(layer4)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)  # (B, H/16, W/16, 256)
        if self.pyramid_conv:
            x = conv3x3(self.features, name="pyramid_conv")(x)
            x = nn.relu(norm(name="pyramid_norm")(x))
        what = enlarge(x, (layer1.shape[1], layer1.shape[2]))  # (B, H/4, W/4, 256)

        where = conv(48, kernel_size=1, name="low")(layer1)
        where = nn.relu(norm(name="low_norm")(where))  # (B, H/4, W/4, 48)

        x = jnp.concatenate((where, what) if self.low_first else (what, where), axis=-1)
        for i in range(1, self.decoder_convs + 1):
            x = conv3x3(self.features, name=f"decoder{i}")(x)
            x = nn.relu(norm(name=f"decoder{i}_norm")(x))  # (B, H/4, W/4, 256)
        x = conv(self.num_classes, kernel_size=1, use_bias=True, name="head")(x)
        logits = x.astype(jnp.float32)
        return self.enlarge(logits, *image.shape[1:3]) if enlarged else logits  # (B, H, W, K)
