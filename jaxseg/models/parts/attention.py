"""Attention shared by several networks: which channels and which pixels matter.

    SqueezeExcite   x ─ mean of pixels ─ 1x1, C/16 ─ ReLU ─ 1x1, C ─ sigmoid (B,1,1,C) ─ times x
    ScSE            x ─ SqueezeExcite ───────────────────────────────┐
                    x ─ 1x1, one channel ─ sigmoid (B,H,W,1) ─ times x ─ plus ─

Source: Hu, Shen, Sun, Squeeze-and-Excitation Networks, CVPR 2018, arXiv:1709.01507; Roy, Navab,
Wachinger, Concurrent Spatial and Channel Squeeze & Excitation in Fully Convolutional Networks,
MICCAI 2018, arXiv:1803.02579. Checked against the SCSEModule of segmentation_models_pytorch 0.5.

Differences from the papers: Roy's channel gate reduces the channels by 2, here by Hu's 16, and
Roy's spatial convolution has no bias; both as in segmentation_models_pytorch.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxseg.models.parts.layers import LayerOf


class SqueezeExcite(nn.Module):
    """Weights channels depending on their means: (B, H, W, C) -> (B, H, W, C).

    The means are over the whole input: features of a tile and of the whole scene differ by design.

    Attributes:
        conv: Makes a convolution.
        reduction: Ratio of the channels to those of the hidden layer; at least one remains.
    """

    conv: LayerOf
    reduction: int = 16

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """The features times sigmoid(excite(ReLU(squeeze(mean)))), (B, H, W, C) -> (B, H, W, C)."""
        channels = x.shape[-1]
        inside = max(1, channels // self.reduction)
        gate = x.mean(axis=(1, 2), keepdims=True, dtype=jnp.float32)  # (B, 1, 1, C)
        gate = nn.relu(self.conv(inside, kernel_size=1, use_bias=True, name="squeeze")(gate))
        gate = self.conv(channels, kernel_size=1, use_bias=True, name="excite")(gate)
        return x * nn.sigmoid(gate)


class ScSE(nn.Module):
    """Concurrent spatial and channel squeeze and excitation: (B, H, W, C) -> (B, H, W, C).

    Attributes:
        conv: Makes a convolution.
        reduction: Reduction of the channel gate, see `SqueezeExcite`.
    """

    conv: LayerOf
    reduction: int = 16

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Sum of x weighted by channel and x weighted by pixel, (B, H, W, C) -> (B, H, W, C)."""
        gate = self.conv(1, kernel_size=1, use_bias=True, name="spatial")(x)  # (B, H, W, 1)
        return SqueezeExcite(self.conv, self.reduction, name="channel")(x) + x * nn.sigmoid(gate)
