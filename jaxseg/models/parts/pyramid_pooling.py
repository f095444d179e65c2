"""Pyramid pooling: each pixel is concatenated with the means of areas around it at four scales.

    x ┬ means of 1, 4, 9, 36 areas ─ 1x1, C/4 ─ resize ┐
      └────────────────────────────────────────────────┴ concat

Source: Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, arXiv:1612.01105, in the form of
hszhao/semseg.
"""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxseg.models.parts.layers import LayerOf
from jaxseg.models.parts.resampling import mean_pool, resize


class Pyramid(nn.Module):
    """x concatenated with the means of its areas, (B, h, w, C) -> (B, h, w, 2 C).

    Attributes:
        conv: Makes a convolution.
        norm: Makes a normalisation.
        bins: Areas along each axis, one number per scale; empty = no pooling, x unchanged.
    """

    conv: LayerOf
    norm: LayerOf
    bins: tuple[int, ...] = (1, 2, 3, 6)

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, h, w, C) -> (B, h, w, C + n C/n) with n scales."""
        size = x.shape[1], x.shape[2]
        levels = [x]
        for i, bins in enumerate(self.bins):
            features = x.shape[-1] // len(self.bins)
            y = self.conv(features, kernel_size=1, name=f"level{i}")(mean_pool(x, bins))
            # A single area per image leaves few values to normalise, so the variance is computed
            # exactly.
            y = nn.relu(self.norm(name=f"level{i}_norm", use_fast_variance=False)(y))
            levels.append(resize(y, size, align_corners=True))
        return jnp.concatenate(levels, axis=-1)
