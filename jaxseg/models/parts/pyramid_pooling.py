"""Pyramid pooling: each pixel is concatenated with the means of areas around it at four scales.

    x ┬ means of 1, 4, 9, 36 areas ─ 1x1, C/4 ─ resize ┐
      └────────────────────────────────────────────────┴ concat

A convolution that follows need not see the enlarged levels: `ConvOfPyramid` applies its taps to the
few areas and enlarges what comes out, which is the same function at a fraction of the work.

Source: Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, arXiv:1612.01105, in the form of
hszhao/semseg.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from jaxseg.models.parts.convolution import conv2d
from jaxseg.models.parts.layers import Dtype, LayerOf, he_normal
from jaxseg.models.parts.resampling import bilinear, mean_pool


class Pyramid(nn.Module):
    """Means of the areas of an image, (B, h, w, C) -> (B, n, n, C / scales) for each scale n.

    Attributes:
        conv: Makes a convolution.
        norm: Makes a normalisation.
        bins: Areas along each axis, one number per scale.
    """

    conv: LayerOf
    norm: LayerOf
    bins: tuple[int, ...] = (1, 2, 3, 6)

    @nn.compact
    def __call__(self, x: Array) -> list[Array]:
        """One array for each scale."""
        levels = []
        for i, bins in enumerate(self.bins):
            features = x.shape[-1] // len(self.bins)
            y = self.conv(features, kernel_size=1, name=f"level{i}")(mean_pool(x, bins))
            # A single area per image leaves few values to normalise, so the variance is computed
            # exactly.
            y = self.norm(name=f"level{i}_norm", use_fast_variance=False)(y)
            levels.append(nn.relu(y))
        return levels


class ConvOfPyramid(nn.Module):
    """A convolution of x beside enlarged levels, which are never enlarged themselves.

    With R the matrix that enlarges rows and S_t the shift of tap t, a tap of the convolution sees
    S_t R y R' S_u'. So each tap is applied to the areas y, and the result enlarged by the shifted
    matrices S_t R, whose rows beyond the border are 0 like the padding.

    Attributes:
        features: Output channels.
        kernel_size: Taps along both axes, odd.
        align_corners: How levels are enlarged, see `resize`.
        first: Whether x comes first in the kernel's input channels; else the levels do.
        use_bias: Whether to add a learned constant per channel.
        dtype: Compute dtype.
    """

    features: int
    kernel_size: int = 3
    align_corners: bool = True
    first: bool = True
    use_bias: bool = False
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(self, x: Array, levels: Sequence[Array]) -> Array:
        """Convolves x, (B, h, w, C), beside levels, (B, n, n, C'): -> (B, h, w, features)."""
        parts = [x, *levels] if self.first else [*levels, x]
        taps, width = self.kernel_size, sum(part.shape[-1] for part in parts)
        kernel = self.param("kernel", he_normal, (taps, taps, width, self.features))
        ends = np.cumsum([part.shape[-1] for part in parts])[:-1]
        kernels = jnp.split(kernel.astype(self.dtype), [int(end) for end in ends], axis=2)
        y = jnp.zeros((), self.dtype)
        for part, own in zip(parts, kernels, strict=True):
            part = part.astype(self.dtype)
            if part is x or part.shape[1:3] == x.shape[1:3]:
                y = y + conv2d(part, own, padding=taps // 2)
            else:
                y = y + self._enlarged(part, own, x.shape[1:3])
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return y

    def _enlarged(self, level: Array, kernel: Array, size: tuple[int, ...]) -> Array:
        """What the convolution makes of the level, (B, n, n, C') -> (B, h, w, features)."""
        rows, columns = (
            self._shifted(source, target).astype(self.dtype)
            for source, target in zip(level.shape[1:3], size, strict=True)
        )
        y = jnp.einsum("bpqc,tucf->btpuqf", level, kernel)
        y = jnp.einsum("htp,btpuqf->bhuqf", rows, y, precision="highest")
        return jnp.einsum("wuq,bhuqf->bhwf", columns, y, precision="highest")

    def _shifted(self, source: int, target: int) -> NDArray[np.float64]:
        """(target, taps, source): the enlarging matrix as each tap sees it."""
        half = self.kernel_size // 2
        matrix = np.pad(bilinear(source, target, self.align_corners), ((half, half), (0, 0)))
        return np.stack([matrix[t : t + target] for t in range(self.kernel_size)], axis=1)
