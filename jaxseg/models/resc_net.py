"""ReSC-Net: few layers for many bands, with attention to channels, and to positions and channels.

                          ┌─────── three times ───────┐
    (B,H,W,C) ─ 1x1 ─ 64 ─┴ 1x1 ─ 3x3 ─ channel gate ─ + ─┬ place gate x channel gate ─ 1x1 ┐
                                                          └──────────── times ──────────────┴ + ┐
                          (B,H,W,K) ─ 1x1 ─ dropout ─ concat of pixel and neighbourhood mean ───┘

Source: Fu, Du, Zhang, ReSC-net: Hyperspectral Image Classification Based on Attention-Enhanced
Residual Module and Spatial-Channel Attention, IEEE TGRS 2024, doi:10.1109/TGRS.2024.3402364, as far
as its abstract describes it: residual modules enhanced by channel attention for low-level features,
a spatial-channel attention for deep ones, simple because a patch has far more bands than pixels,
and a random gain on the centre of a labelled patch as augmentation
(`jaxseg.transforms.CenterGain`). No reference implementation is known.

Differences from the paper: its abstract states no layers, widths or patch size. Those here are our
choice; the channel gate is squeeze-and-excitation (Hu et al., CVPR 2018, arXiv:1709.01507). The
paper cuts a patch around each labelled pixel and classifies its centre. This network is fully
convolutional, also our choice: one pass classifies every pixel of a scene, because every average
over a patch becomes the mean of the P x P window around each pixel, clipped at the image's border.
Convolutions use the actual neighbours where those of a patch would use zero padding, and averages
are taken of features that already contain averages: logits depend on 5 P + 2 rows, 47 for P = 9,
whereas those of a patch network depend on P.
"""

import dataclasses
import functools

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxseg.errors import COUNT, DROPOUT, NOT_NEGATIVE, UserError
from jaxseg.models.parts.layers import BatchNorm, Conv, Dtype, LayerOf


class ReSCNet(nn.Module):
    """(B, H, W, C) standardised spectra -> (B, H, W, K) float32 logits.

    Attributes:
        num_classes: K.
        features: Channels of all layers.
        modules: Number of residual modules.
        patch: P, rows and columns of the neighbourhood over which attention averages, odd.
        reduction: Ratio of the channels to the hidden channels of a channel gate.
        dropout: Share of the last features dropped in training; needs the rng `dropout`.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
        remat: Whether to recompute the modules in the backward pass: less memory, a quarter more
            work.
        attention: Whether modules have channel gates and the last features their spatial-channel
            attention; without them the network is a baseline.
    """

    num_classes: int
    features: int = dataclasses.field(default=64, metadata=COUNT)
    modules: int = dataclasses.field(default=3, metadata=NOT_NEGATIVE)
    patch: int = 9
    reduction: int = dataclasses.field(default=8, metadata=COUNT)
    dropout: float = dataclasses.field(default=0.5, metadata=DROPOUT)
    dtype: Dtype = "float32"
    remat: bool = False
    attention: bool = True

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:
        """Logits of each pixel; any H and W.

        Args:
            image: (B, H, W, C) float32.
            train: Whether batch normalisation uses the batch's statistics and dropout is active.

        Returns:
            (B, H, W, K) float32 logits.

        Raises:
            UserError: The patch has no centre.
        """
        if self.patch < 1 or self.patch % 2 == 0:
            odd = max(1, self.patch - 1)
            raise UserError(
                f"Patch of {self.patch} x {self.patch} pixels has no centre: take {odd} or "
                f"{odd + 2}."
            )
        conv = functools.partial(Conv, dtype=self.dtype)
        norm = functools.partial(BatchNorm, use_running_average=not train, dtype=self.dtype)
        gate = functools.partial(ChannelGate, self.patch, self.reduction, conv)
        kind = nn.remat(ResidualModule) if self.remat else ResidualModule

        x = conv(self.features, kernel_size=1, name="stem")(image)
        x = nn.relu(norm(name="stem_norm")(x))  # (B, H, W, 64)
        for number in range(1, self.modules + 1):
            x = kind(conv, norm, gate if self.attention else None, name=f"module{number}")(x)
        if self.attention:
            x = SpatialChannelAttention(conv, gate, name="attention")(x)
        mean = window_mean(x, self.patch).astype(x.dtype)
        x = jnp.concatenate((x, mean), axis=-1)  # (B, H, W, 128)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = conv(self.num_classes, kernel_size=1, use_bias=True, name="head")(x)  # (B, H, W, K)
        return x.astype(jnp.float32)


class ResidualModule(nn.Module):
    """1x1, normalisation, ReLU, 3x3, normalisation, channel gate, plus the input.

    Attributes:
        conv: Makes a convolution.
        norm: Makes a normalisation.
        gate: Makes a channel gate; None = the module has none.
    """

    conv: LayerOf
    norm: LayerOf
    gate: LayerOf | None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, C) -> (B, H, W, C)."""
        y = self.conv(x.shape[-1], kernel_size=1, name="conv1")(x)
        y = nn.relu(self.norm(name="norm1")(y))
        y = self.norm(name="norm2")(self.conv(x.shape[-1], name="conv2")(y))
        return x + (y if self.gate is None else y * self.gate(name="gate")(y))


class ChannelGate(nn.Module):
    """Squeeze and excitation at each pixel with the mean of the window around it.

    Attributes:
        window: Rows and columns of the window.
        reduction: Ratio of the channels to the hidden ones; at least 4 remain.
        conv: Makes a convolution.
    """

    window: int
    reduction: int
    conv: LayerOf

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, C) -> weights 0..1, (B, H, W, C)."""
        inside = max(4, x.shape[-1] // self.reduction)
        mean = window_mean(x, self.window)
        y = nn.relu(self.conv(inside, kernel_size=1, use_bias=True, name="squeeze")(mean))
        y = self.conv(x.shape[-1], kernel_size=1, use_bias=True, name="excite")(y)
        return nn.sigmoid(y)


class SpatialChannelAttention(nn.Module):
    """Weights each channel at each position: x + M x, M = sigmoid(1x1(place x channel)).

    Attributes:
        conv: Makes a convolution.
        gate: Makes a channel gate.
    """

    conv: LayerOf
    gate: LayerOf

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, C) -> (B, H, W, C)."""
        place = nn.sigmoid(self.conv(1, use_bias=True, name="place")(x))  # (B, H, W, 1)
        channel = self.gate(name="channel")(x)  # (B, H, W, C)
        joint = self.conv(x.shape[-1], kernel_size=1, use_bias=True, name="joint")(place * channel)
        return x + nn.sigmoid(joint) * x


def window_mean(x: Array, window: int) -> Array:
    """Mean over the window, clipped to the image: (B, H, W, C) -> (B, H, W, C) float32.

    Args:
        x: (B, H, W, C).
        window: Rows and columns of the window, odd.
    """
    # Rows, then columns: 2 P additions per pixel instead of P * P.
    mean = functools.partial(nn.avg_pool, padding="SAME", count_include_pad=False)
    rows: Array = mean(x.astype(jnp.float32), (window, 1))
    means: Array = mean(rows, (1, window))
    return means
