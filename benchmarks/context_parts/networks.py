"""Small networks that differ in one thing each: how far, and at which scales, they see.

They are made of the library's parts, with 8 channels at full resolution that double with each
pooling, so that what is compared is the structure of the context and not the number of parameters:

    U-Net       levels, skips, gates on the skips, scSE in the decoder
    DeepLabV3   the encoder to stride 8, then atrous convolutions and the mean of the image
    PSPNet      the same encoder, then means of areas
    LinkNet     residual blocks to stride 32, sums instead of concatenations

Rates 4, 8 and 16 at stride 8 look 32, 64 and 128 pixels away in scenes of 128 and 192 pixels; the
paper's 12, 24 and 36 look 96, 192 and 288 away in crops of 513.
"""

import functools
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxseg.models.attention_unet import Gate
from jaxseg.models.linknet import Decoder
from jaxseg.models.parts.attention import ScSE
from jaxseg.models.parts.layers import BatchNorm, Conv, ConvTranspose
from jaxseg.models.parts.pyramid_pooling import ConvOfPyramid, Pyramid
from jaxseg.models.parts.resampling import max_pool2x2, max_pool3x3, pad_to_multiple, resize
from jaxseg.models.parts.resnet import BasicBlock
from jaxseg.models.unet import DoubleConv


class LevelledUNet(nn.Module):
    """The library's padded U-Net with any number of levels; it has five.

    Attributes:
        num_classes: K.
        levels: Resolutions, poolings plus one.
        skips: Whether the decoder sees the encoder's features.
        attention: `gates` weights the pixels of the skips as in Attention U-Net, `scse` pixels and
            channels of what a decoder block gets.
        features: Channels at full resolution.
    """

    num_classes: int = 2
    levels: int = 5
    skips: bool = True
    attention: Literal["none", "gates", "scse"] = "none"
    features: int = 8

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:
        """(B, H, W, C) -> (B, H, W, K)."""
        norm = functools.partial(BatchNorm, use_running_average=not train)
        block = functools.partial(DoubleConv, conv=Conv, norm=norm)
        widths = [self.features * 2**level for level in range(self.levels)]
        height, width = image.shape[1:3]
        x = pad_to_multiple(image, 2 ** (self.levels - 1))
        encoded = []
        for level, features in enumerate(widths[:-1]):
            encoded.append(block(features, name=f"encoder{level}")(x))
            x = max_pool2x2(encoded[-1])
        x = block(widths[-1], name="bottleneck")(x)
        for level, features in reversed(list(enumerate(widths[:-1]))):
            x = ConvTranspose(features, name=f"up{level}")(x)
            if self.skips:
                skip = encoded[level]
                if self.attention == "gates":
                    skip = Gate(max(1, features // 2), Conv, norm, name=f"gate{level}")(skip, x)
                x = jnp.concatenate((x, skip), axis=-1)
            if self.attention == "scse":
                x = ScSE(Conv, name=f"scse{level}")(x)
            x = block(features, name=f"decoder{level}")(x)
        logits = Conv(self.num_classes, kernel_size=1, use_bias=True, name="head")(x)
        return logits[:, :height, :width]


class SmallDeepLab(nn.Module):
    """Atrous pyramid on an encoder of stride 8.

    Attributes:
        num_classes: K.
        rates: Atrous rates of the 3x3 convolutions, beside the 1x1 one.
        image_pooling: Whether the mean of the whole image is a further branch.
        features: Channels at full resolution.
    """

    num_classes: int = 2
    rates: tuple[int, ...] = (4, 8, 16)
    image_pooling: bool = True
    features: int = 8

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:
        """(B, H, W, C) -> (B, H, W, K)."""
        norm = functools.partial(BatchNorm, use_running_average=not train)
        x = encoder_to_8(image, self.features, norm)
        width = x.shape[-1]
        branches = [Conv(width, kernel_size=1, name="point")(x)]
        for rate in self.rates:
            branches.append(Conv(width, dilation=rate, name=f"atrous{rate}")(x))
        branches = [nn.relu(norm(name=f"norm{i}")(branch)) for i, branch in enumerate(branches)]
        if self.image_pooling:
            mean = Conv(width, kernel_size=1, name="image")(x.mean((1, 2), keepdims=True))
            mean = nn.relu(norm(name="image_norm", use_fast_variance=False)(mean))
            branches.append(jnp.broadcast_to(mean, x.shape))
        x = Conv(width, kernel_size=1, name="project")(jnp.concatenate(branches, axis=-1))
        return _enlarged(nn.relu(norm(name="project_norm")(x)), self.num_classes, image)


class SmallPSPNet(nn.Module):
    """Pyramid pooling on an encoder of stride 8.

    Attributes:
        num_classes: K.
        bins: Areas along each axis, one number per scale; empty = no pooling.
        features: Channels at full resolution.
    """

    num_classes: int = 2
    bins: tuple[int, ...] = (1, 2, 3, 6)
    features: int = 8

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:
        """(B, H, W, C) -> (B, H, W, K)."""
        norm = functools.partial(BatchNorm, use_running_average=not train)
        x = encoder_to_8(image, self.features, norm)
        levels = Pyramid(Conv, norm, self.bins, name="pyramid")(x)
        conv = ConvOfPyramid(x.shape[-1], align_corners=False, name="head_conv")
        return _enlarged(nn.relu(norm(name="head_norm")(conv(x, levels))), self.num_classes, image)


class SmallLinkNet(nn.Module):
    """LinkNet with few channels.

    Attributes:
        num_classes: K.
        features: Channels of the stem.
    """

    num_classes: int = 2
    features: int = 16

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:
        """(B, H, W, C) -> (B, H, W, K)."""
        norm = functools.partial(BatchNorm, use_running_average=not train)
        height, width = image.shape[1:3]
        stem = Conv(self.features, kernel_size=7, stride=2, name="stem")(pad_to_multiple(image, 32))
        stem = max_pool3x3(nn.relu(norm(name="stem_norm")(stem)))
        encoded, x = [], stem
        for level in range(4):
            for unit in range(2):
                strided = level > 0 and unit == 0
                x = BasicBlock(
                    self.features * 2**level,
                    Conv,
                    norm,
                    stride=2 if strided else 1,
                    project=strided,
                    name=f"layer{level + 1}_{unit}",
                )(x)
            encoded.append(x)
        up = functools.partial(Decoder, conv=Conv, up=ConvTranspose, norm=norm)
        for level in (2, 1, 0):
            x = up(self.features * 2**level, name=f"decoder{level + 2}")(x) + encoded[level]
        x = up(self.features, stride=1, name="decoder1")(x) + stem
        wide = ConvTranspose(
            self.features, kernel_size=3, padding=1, output_padding=1, name="wide"
        )(x)
        x = nn.relu(norm(name="wide_norm")(wide))
        x = nn.relu(norm(name="conv_norm")(Conv(self.features, name="conv")(x)))
        logits = ConvTranspose(self.num_classes, use_bias=True, name="head")(x)
        return logits[:, :height, :width]


def encoder_to_8(image: Array, features: int, norm: functools.partial[BatchNorm]) -> Array:
    """The first four levels of the U-Net's encoder: (B, H, W, C) -> (B, H/8, W/8, 8 features)."""
    x = pad_to_multiple(image, 8)
    for level in range(4):
        x = max_pool2x2(x) if level else x
        x = DoubleConv(features * 2**level, Conv, norm, name=f"encoder{level}")(x)
    return x


def _enlarged(x: Array, num_classes: int, image: Array) -> Array:
    """Logits of features at stride 8, enlarged to the image's size."""
    x = Conv(num_classes, kernel_size=1, use_bias=True, name="head")(x)
    height, width = image.shape[1:3]
    return resize(x, (8 * x.shape[1], 8 * x.shape[2]))[:, :height, :width]


NETWORKS: dict[str, nn.Module] = (
    {f"unet{n}": LevelledUNet(levels=n) for n in (2, 3, 4, 5)}
    | {f"unet{n}_no_skips": LevelledUNet(levels=n, skips=False) for n in (2, 3, 4, 5)}
    | {
        "unet5_gates": LevelledUNet(attention="gates"),
        "unet5_scse": LevelledUNet(attention="scse"),
        "linknet": SmallLinkNet(),
        "stride8": SmallPSPNet(bins=()),
        "psp_1": SmallPSPNet(bins=(1,)),
        "psp_all": SmallPSPNet(),
        "deeplab_1": SmallDeepLab(rates=(16,), image_pooling=False),
        "deeplab_1_pooled": SmallDeepLab(rates=(16,)),
        "deeplab_3": SmallDeepLab(image_pooling=False),
        "deeplab_3_pooled": SmallDeepLab(),
    }
)
"""The networks by the names of the command line."""

TITLES = (
    {f"unet{n}": f"U-Net, {n} levels" for n in (2, 3, 4, 5)}
    | {f"unet{n}_no_skips": f"U-Net, {n} levels, no skips" for n in (2, 3, 4, 5)}
    | {
        "unet5_gates": "U-Net, 5 levels, gated skips",
        "unet5_scse": "U-Net, 5 levels, scSE",
        "linknet": "LinkNet",
        "stride8": "PSPNet without pooling",
        "psp_1": "PSPNet, bins 1",
        "psp_all": "PSPNet, bins 1, 2, 3, 6",
        "deeplab_1": "DeepLabV3, rate 16",
        "deeplab_1_pooled": "DeepLabV3, rate 16, image pooling",
        "deeplab_3": "DeepLabV3, rates 4, 8, 16",
        "deeplab_3_pooled": "DeepLabV3, rates 4, 8, 16, image pooling",
    }
)
"""What a network is called in tables."""
