"""PSPNet: the class of a pixel depends on the scene, so it sees the means of areas around it.

    PSPNet
    (B,H,W,C) ─ ResNet, /8 ┬ layer4 ┬ means of 1, 4, 9, 36 areas ─ 1x1, C/4 ─ resize ┐
                           │        └──────────────────────────────────────── concat ┴ 3x3 ─ 1x1 ┐
                           └ layer3 ─ auxiliary head (training only)      (B,H,W,K) ─ resize ────┘
    LecturePSPNet
    (B,H,W,C) ─ ResNet, /8 ┬ layer4 ┬ means of areas ─ 1x1, C ─ resize ┐
                           │        └───────────────────────── concat ─┴ 1x1 ─ x2 ─ x2 ─ x2 ─ 1x1
                           └ layer3 ─ maximum ─ classes present in the image (training only)

Source: Zhao, Shi, Qi, Wang, Jia, Pyramid Scene Parsing Network, CVPR 2017, arXiv:1612.01105, in the
form of hszhao/semseg, the first author's, against which outputs were checked; `LecturePSPNet`
against those of Lextal/pspnet-pytorch.

Differences of PSPNet from the paper: any H and W. Logits are resized with aligned corners, as in
semseg, which therefore requires multiples of 8 plus 1: at these sizes each feature lies on the
pixel at its centre. Other sizes are padded internally. Differences of LecturePSPNet, all as in
Lextal's code: a ResNet with one 7x7 convolution instead of the deep stem, whose atrous rates start
one block late; a pyramid that neither reduces nor normalises channels; upsampling in three learned
steps; and instead of the auxiliary head, layer3 predicts which classes the image contains.
"""

import dataclasses
import functools

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxseg.errors import COUNT, DROPOUT
from jaxseg.models.parts.aux_head import AuxHead
from jaxseg.models.parts.enlarged import EnlargedLogits
from jaxseg.models.parts.layers import BatchNorm, Conv, Dtype, LayerOf
from jaxseg.models.parts.pyramid_pooling import ConvOfPyramid, Pyramid
from jaxseg.models.parts.resampling import largest, mean_pool, pad_to_multiple, resize
from jaxseg.models.parts.resnet import Backbone, ResNet


class PSPNet(EnlargedLogits):
    """(B, H, W, C) standardised image -> (B, H, W, K) float32 logits.

    Attributes:
        num_classes: K.
        backbone: The ResNet to use, with the deep stem.
        bins: Areas of the pyramid along each axis, one number per scale; empty = no pooling.
        aux_head: Whether to add logits from layer3, sown as `aux_logits`, for an auxiliary loss.
        dropout: Share of the channels dropped before the last convolution in training; needs the
            rng `dropout`.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
        remat: Whether to recompute ResNet blocks in the backward pass: less memory, a quarter more
            work.
        width: Channels of the ResNet's first layer; all others are in proportion. 64 is the
            paper's.
    """

    num_classes: int
    backbone: Backbone = "resnet50"
    bins: tuple[int, ...] = dataclasses.field(default=(1, 2, 3, 6), metadata=COUNT)
    aux_head: bool = True
    dropout: float = dataclasses.field(default=0.1, metadata=DROPOUT)
    dtype: Dtype = "float32"
    remat: bool = False
    width: int = dataclasses.field(default=64, metadata=COUNT)

    def coarse(self, image: Array, *, train: bool) -> Array:
        """See the base."""
        return self(image, train=train, enlarged=False)

    def enlarge(self, coarse: Array, height: int, width: int) -> Array:
        """See the base."""
        size = height + -(height - 1) % 8, width + -(width - 1) % 8
        return resize(coarse, size, align_corners=True)[:, :height, :width]

    @nn.compact
    def __call__(self, image: Array, *, train: bool, enlarged: bool = True) -> Array:
        """Logits of each pixel; any H and W, edge-padded internally to multiples of 8 plus 1.

        The pyramid covers the whole input: logits of a tile and of a whole scene differ by design.

        Args:
            image: (B, H, W, C) float32.
            train: Whether batch normalisation uses the batch's statistics and dropout is active.
            enlarged: Whether logits are those of pixels; otherwise see `coarse`.

        Returns:
            (B, H, W, K) float32 logits.
        """
        conv = functools.partial(Conv, dtype=self.dtype)
        norm = functools.partial(BatchNorm, use_running_average=not train, dtype=self.dtype)
        height, width = image.shape[1:3]
        backbone = ResNet(
            self.backbone,
            output_stride=8,
            first_rate="own",
            deep_stem=True,
            dtype=self.dtype,
            remat=self.remat,
            width=self.width,
            name="backbone",
        )

        image = padded_to_corners(image)
        *_, layer3, layer4 = backbone(image, train=train)  # (B, H/8, W/8, 1024) and 2048
        levels = Pyramid(conv, norm, self.bins, name="pyramid")(layer4)  # (B, n, n, 512) each
        x = ConvOfPyramid(8 * self.width, dtype=self.dtype, name="head_conv")(layer4, levels)
        x = nn.relu(norm(name="head_norm")(x))  # (B, H/8, W/8, 512)
        x = nn.Dropout(self.dropout, broadcast_dims=(1, 2), deterministic=not train)(x)
        x = conv(self.num_classes, kernel_size=1, use_bias=True, name="head")(x)  # (B, H/8, W/8, K)
        logits = x.astype(jnp.float32)

        if self.aux_head:
            head = AuxHead(self.num_classes, conv, norm, drop_channels=True, name="aux_head")
            x = head(layer3, train=train).astype(jnp.float32)
            if not self.is_initializing():  # else `init` would return logits among the variables
                aux = self.enlarge(x, height, width) if enlarged else x
                self.sow("aux_logits", "layer3", aux)
        return self.enlarge(logits, height, width) if enlarged else logits  # (B, H, W, K)


def padded_to_corners(image: Array) -> Array:
    """Repeats the last row and column to reach 8 k + 1: (B, H, W, C) -> (B, H', W', C).

    Strides halve such a side to 4 k + 1, 2 k + 1 and k + 1, with features centred at every eighth
    pixel from the first to the last.
    """
    down, right = (-(side - 1) % 8 for side in image.shape[1:3])
    return jnp.pad(image, ((0, 0), (0, down), (0, right), (0, 0)), mode="edge")


class LecturePSPNet(nn.Module):
    """(B, H, W, C) standardised image -> (B, H, W, K) float32 logits.

    Attributes:
        num_classes: K.
        backbone: The ResNet to use.
        bins: Areas of the pyramid along each axis, one number per scale; empty = no pooling.
        pyramid_dropout: Share of the pyramid's channels dropped in training; needs the rng
            `dropout`.
        dropout: The same after each step of upsampling.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
        remat: Whether to recompute blocks of ResNet and upsampling in the backward pass: less
            memory, a quarter more work.
    """

    num_classes: int
    backbone: Backbone = "resnet18"
    bins: tuple[int, ...] = dataclasses.field(default=(1, 2, 3, 6), metadata=COUNT)
    pyramid_dropout: float = dataclasses.field(default=0.3, metadata=DROPOUT)
    dropout: float = dataclasses.field(default=0.15, metadata=DROPOUT)
    dtype: Dtype = "float32"
    remat: bool = False

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:
        """Logits of each pixel; any H and W, edge-padded internally to multiples of 8.

        Sows `class_logits`, (B, K) float32 logits of each class's presence in the image. Pyramid
        and maximum cover the whole input: logits of a tile and of a whole scene differ by design.

        Args:
            image: (B, H, W, C) float32.
            train: Whether batch normalisation uses the batch's statistics and dropout is active.

        Returns:
            (B, H, W, K) float32 logits.
        """
        conv = functools.partial(Conv, use_bias=True, dtype=self.dtype)
        norm = functools.partial(BatchNorm, use_running_average=not train, dtype=self.dtype)
        dense = functools.partial(
            nn.Dense, kernel_init=nn.initializers.he_normal(), dtype=self.dtype
        )
        drop = functools.partial(nn.Dropout, broadcast_dims=(1, 2), deterministic=not train)
        up = functools.partial(nn.remat(Upsample) if self.remat else Upsample, conv=conv, norm=norm)
        height, width = image.shape[1:3]
        backbone = ResNet(
            self.backbone,
            output_stride=8,
            first_rate="one",
            dtype=self.dtype,
            remat=self.remat,
            name="backbone",
        )

        *_, layer3, layer4 = backbone(pad_to_multiple(image, 8), train=train)
        x = PlainPyramid(1024, self.dtype, self.bins, name="pyramid")(layer4)
        x = drop(self.pyramid_dropout)(x)
        x = drop(self.dropout)(up(256, name="up1")(x))  # (B, H/4, W/4, 256)
        x = drop(self.dropout)(up(64, name="up2")(x))  # (B, H/2, W/2, 64)
        x = drop(self.dropout)(up(64, name="up3")(x))  # (B, H, W, 64)
        logits = conv(self.num_classes, kernel_size=1, name="head")(x)[:, :height, :width]

        x = largest(layer3)[:, 0, 0]  # (B, 256) with ResNet-18
        x = nn.relu(dense(256, name="class_hidden")(x))
        x = dense(self.num_classes, name="class_head")(x)  # (B, K)
        if not self.is_initializing():  # else `init` would return logits among the variables
            self.sow("class_logits", "layer3", x.astype(jnp.float32))
        return logits.astype(jnp.float32)


class PlainPyramid(nn.Module):
    """Lextal's pyramid pooling: each scale has as many channels as x; then a 1x1 convolution.

    Attributes:
        features: Output channels.
        dtype: Compute dtype.
        bins: Areas along each axis, one number per scale.
    """

    features: int
    dtype: Dtype
    bins: tuple[int, ...]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, h, w, C) -> (B, h, w, features)."""
        point = functools.partial(Conv, kernel_size=1, dtype=self.dtype)
        levels = [
            point(x.shape[-1], name=f"level{i}")(mean_pool(x, bins))
            for i, bins in enumerate(self.bins)
        ]
        project = ConvOfPyramid(
            self.features,
            kernel_size=1,
            align_corners=False,
            first=False,
            use_bias=True,
            dtype=self.dtype,
            name="project",
        )
        return nn.relu(project(x, levels))  # (B, h, w, features)


class Upsample(nn.Module):
    """Resize by 2, 3x3 convolution, normalisation, PReLU: (B, h, w, C) -> (B, 2h, 2w, features).

    Attributes:
        features: Output channels.
        conv: Makes a convolution with a bias.
        norm: Makes a normalisation.
    """

    features: int
    conv: LayerOf
    norm: LayerOf

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, h, w, C) -> (B, 2h, 2w, features)."""
        x = resize(x, (2 * x.shape[1], 2 * x.shape[2]))
        x = self.norm(name="norm")(self.conv(self.features, name="conv")(x))
        return PReLU(name="prelu")(x)


class PReLU(nn.Module):
    """x where positive, otherwise x times a learned slope, initially 0.25.

    Source: He et al., Delving Deep into Rectifiers, ICCV 2015, arXiv:1502.01852, with one slope for
    all channels.
    """

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """The shape of x."""
        slope = self.param("slope", nn.initializers.constant(0.25), (1,))
        return jnp.where(x > 0, x, slope.astype(x.dtype) * x)
