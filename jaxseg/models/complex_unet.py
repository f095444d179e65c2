"""Complex U-Net: the U-Net in complex numbers, for radar images whose phases carry meaning.

    (B,H,W,C) ─ complex ─ block f ─────── skip ─────── concat ─ block f ─ 1x1 ─ (B,H,W,K)
                             └ mean ─ block 2f ─ skip ─ concat ─ block 2f ─ up ┘
                                         └ mean ─ ... ─ up ┘

Source: Trabelsi et al., Deep Complex Networks, ICLR 2018, arXiv:1705.09792, for the layers. Cao,
Wu, Zhang, Liang, Li, Pixel-Wise PolSAR Image Classification via a Novel Complex-Valued Deep Fully
Convolutional Network, Remote Sensing 2019, arXiv:1909.13299, for complex segmentation of
polarimetric SAR. The form is that of Ronneberger, Fischer, Brox, U-Net, MICCAI 2015.

Differences from the papers: this network is our design; Cao's has no skips. Pooling takes means
instead of Cao's maxima, because a mean keeps phases and needs no comparison of complex numbers;
upsampling is a complex 1x1 convolution and repetition instead of Cao's unpooling to the positions
of the maxima; logits are a real convolution of real and imaginary parts.
"""

import dataclasses
import functools
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxseg.errors import COUNT, UserError
from jaxseg.models.parts.complex_layers import ComplexBatchNorm, ComplexConv, ModReLU
from jaxseg.models.parts.layers import Conv, Dtype, LayerOf
from jaxseg.models.parts.resampling import pad_to_multiple, repeat2x2

Activation = Literal["crelu", "modrelu"]
"""ReLU of real and imaginary parts separately, or of the modulus with a learned offset."""


class ComplexUNet(nn.Module):
    """(B, H, W, C) real bands, of which the last are pairs -> (B, H, W, K) float32 logits.

    `pairs=3` reads the nine bands of a coherency matrix: T11, T22, T33 are real, T12, T13, T23
    complex. Standardise both parts of a pair by the same factor and without an offset, as phases
    change otherwise.

    Attributes:
        num_classes: K.
        pairs: Number of complex values at the end of the bands, each as real part, imaginary part;
            the bands before them are real.
        features: Complex channels at full resolution; each pooling doubles them.
        activation: Activation after each normalisation.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
        remat: Whether to recompute blocks in the backward pass: less memory, a quarter more work.
    """

    num_classes: int
    pairs: int = 0
    features: int = dataclasses.field(default=16, metadata=COUNT)
    activation: Activation = "crelu"
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

        Raises:
            UserError: There are fewer bands than `pairs` need.
        """
        conv = functools.partial(ComplexConv, dtype=self.dtype)
        norm = functools.partial(ComplexBatchNorm, use_running_average=not train, dtype=self.dtype)
        kind = nn.remat(ComplexBlock) if self.remat else ComplexBlock
        block = functools.partial(kind, activation=self.activation, conv=conv, norm=norm)
        f = self.features
        height, width = image.shape[1:3]

        def up(x: Array, features: int, name: str) -> Array:
            return repeat2x2(conv(features, kernel_size=1, name=name)(x))

        x = pad_to_multiple(as_complex(image, self.pairs), 16)  # (B, H, W, 2 (C - pairs))
        skip1 = block(f, name="encoder1")(x)  # (B, H, W, 2f)
        skip2 = block(2 * f, name="encoder2")(mean_pool2x2(skip1))  # (B, H/2, W/2, 4f)
        skip3 = block(4 * f, name="encoder3")(mean_pool2x2(skip2))  # (B, H/4, W/4, 8f)
        skip4 = block(8 * f, name="encoder4")(mean_pool2x2(skip3))  # (B, H/8, W/8, 16f)
        x = block(16 * f, name="bottleneck")(mean_pool2x2(skip4))  # (B, H/16, W/16, 32f)

        x = block(8 * f, name="decoder4")(beside(up(x, 8 * f, "up4"), skip4))
        x = block(4 * f, name="decoder3")(beside(up(x, 4 * f, "up3"), skip3))
        x = block(2 * f, name="decoder2")(beside(up(x, 2 * f, "up2"), skip2))
        x = block(f, name="decoder1")(beside(up(x, f, "up1"), skip1))  # (B, H, W, 2f)

        head = Conv(self.num_classes, kernel_size=1, use_bias=True, dtype=self.dtype, name="head")
        return head(x)[:, :height, :width].astype(jnp.float32)  # (B, H, W, K)


class ComplexBlock(nn.Module):
    """Two times 3x3 convolution, normalisation, activation, with 2 C -> 2 features real channels.

    Attributes:
        features: Complex output channels.
        activation: The activation.
        conv: Makes a complex convolution.
        norm: Makes a complex normalisation.
    """

    features: int
    activation: Activation
    conv: LayerOf
    norm: LayerOf

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, 2 C) -> (B, H, W, 2 features)."""
        for number in (1, 2):
            x = self.norm(name=f"norm{number}")(self.conv(self.features, name=f"conv{number}")(x))
            x = nn.relu(x) if self.activation == "crelu" else ModReLU(name=f"relu{number}")(x)
        return x


def as_complex(image: Array, pairs: int) -> Array:
    """Real bands and pairs -> real parts, then imaginary parts: (..., C) -> (..., 2 (C - pairs)).

    Raises:
        UserError: There are fewer bands than the pairs need.
    """
    bands = image.shape[-1]
    if not 0 <= 2 * pairs <= bands:
        raise UserError(
            f"{pairs} complex numbers need {2 * pairs} bands, the image has {bands}. Set "
            f"--config.model.pairs to {bands // 2} or less; a 3 x 3 matrix of nine bands has 3."
        )
    real, paired = image[..., : bands - 2 * pairs], image[..., bands - 2 * pairs :]
    parts = (real, paired[..., ::2], jnp.zeros_like(real), paired[..., 1::2])
    return jnp.concatenate(parts, axis=-1)


def beside(x: Array, y: Array) -> Array:
    """Complex channels of both: (..., 2 C), (..., 2 D) -> (..., 2 (C + D)), real parts first."""
    (xr, xi), (yr, yi) = jnp.split(x, 2, axis=-1), jnp.split(y, 2, axis=-1)
    return jnp.concatenate((xr, yr, xi, yi), axis=-1)


def mean_pool2x2(x: Array) -> Array:
    """Means of 2x2 windows: (B, H, W, C) -> (B, H/2, W/2, C); H and W must be even."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean(axis=(2, 4))
