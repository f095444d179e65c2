"""The Linen modules all networks are made of: thin, with PyTorch's defaults and fast operations.

A network creates each once with `functools.partial`, fixing dtype and training mode, and passes it
to its blocks.
"""

import math
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from jaxseg.models.parts.convolution import conv2d, conv_transpose2d
from jaxseg.models.parts.depthwise import depthwise_conv2d

Dtype = Literal["float32", "bfloat16"]
"""Compute dtype of a network; parameters, batch statistics and logits stay float32."""

Layer = Callable[[Array], Array]
"""A fully configured module: features in, features out."""

LayerOf = Callable[..., Layer]
"""`functools.partial` of a module class, created once by a network and passed to its blocks."""


class Conv(nn.Module):
    """`conv2d` with its kernel: (B, H, W, C) -> (B, H', W', features).

    Attributes:
        features: Output channels.
        kernel_size: Taps along both axes.
        stride: Step between output pixels.
        dilation: Step between taps.
        padding: Zeros on each side; None = as many as keep the size at stride 1.
        use_bias: Whether to add a learned constant per channel.
        dtype: Compute dtype.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    dilation: int = 1
    padding: int | None = None
    use_bias: bool = False
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, C) -> (B, H', W', features)."""
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", he_normal, shape)
        half = self.dilation * (self.kernel_size - 1) // 2
        y = conv2d(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            stride=self.stride,
            dilation=self.dilation,
            padding=half if self.padding is None else self.padding,
        )
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return y


class DepthwiseConv(nn.Module):
    """`depthwise_conv2d` with its kernel: (B, H, W, C) -> (B, H, W, C).

    Attributes:
        kernel_size: Taps along both axes, odd.
        dilation: Step between taps.
        dtype: Compute dtype.
    """

    kernel_size: int = 3
    dilation: int = 1
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, C) -> (B, H, W, C)."""
        shape = (self.kernel_size, self.kernel_size, 1, x.shape[-1])
        kernel = self.param("kernel", he_normal, shape)
        return depthwise_conv2d(
            x.astype(self.dtype), kernel.astype(self.dtype), dilation=self.dilation
        )


class SeparableConv(nn.Module):
    """Depthwise over space, then 1x1 over channels: about 1 / kernel_size^2 of the work of `Conv`.

    There is nothing between the two, as in PyTorch ports; the original Xception code has
    normalisation and ReLU there.

    Attributes:
        features: Output channels; (B, H, W, C) -> (B, H, W, features).
        kernel_size: Taps along both axes, odd.
        dilation: Step between taps.
        dtype: Compute dtype.
    """

    features: int
    kernel_size: int = 3
    dilation: int = 1
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, C) -> (B, H, W, features)."""
        x = DepthwiseConv(self.kernel_size, self.dilation, self.dtype, name="depthwise")(x)
        return Conv(self.features, kernel_size=1, dtype=self.dtype, name="point")(x)


class ConvTranspose(nn.Module):
    """`conv_transpose2d` with its kernel: (B, H, W, C) -> (B, H', W', features).

    Attributes:
        features: Output channels.
        kernel_size: Taps along both axes.
        stride: Distance of two input pixels in the output.
        padding: Rows and columns cut off on each side.
        output_padding: Rows and columns added at the bottom and right.
        use_bias: Whether to add a learned constant per channel.
        dtype: Compute dtype.
    """

    features: int
    kernel_size: int = 2
    stride: int = 2
    padding: int = 0
    output_padding: int = 0
    use_bias: bool = True
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, C) -> (B, H', W', features)."""
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", he_normal, shape)
        y = conv_transpose2d(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            stride=self.stride,
            padding=self.padding,
            output_padding=self.output_padding,
        )
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return y


class BatchNorm(nn.Module):
    """Batch normalisation with PyTorch's defaults, and a defined result for a single value.

    The variance of one value per channel, such as the mean of one image, is always 0: training
    would see a constant, and the stored variance would decay to 0, by whose root evaluation
    divides. There the stored statistics are used in training, too, and stay as they are. Everything
    else is as in Flax.

    Attributes:
        use_running_average: Whether to use the stored statistics, as in evaluation.
        momentum: Weight of the old values in the stored statistics; PyTorch's 0.1 is that of the
            new ones.
        epsilon: Added to the variances.
        use_fast_variance: Whether the variance is the mean of squares minus the square of the mean,
            which needs one pass but is less exact.
        pixels: How many pixels' channels follow each other in the last axis, see
            `jaxseg.models.parts.blocks`.
        dtype: Dtype of the output; statistics are float32.
    """

    use_running_average: bool
    momentum: float = 0.9
    epsilon: float = 1e-5
    use_fast_variance: bool = True
    pixels: int = 1
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, ..., C) -> (B, ..., C)."""
        shape = (x.shape[-1] // self.pixels,)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        variance = self.variable("batch_stats", "var", jnp.ones, shape)
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)

        if self.use_running_average or (is_single_value(x) and self.pixels == 1):
            m, v = mean.value, variance.value
        else:
            wide = x.astype(jnp.float32)
            m = self._mean(wide)
            if self.use_fast_variance:
                v = jnp.maximum(self._mean(jnp.square(wide)) - jnp.square(m), 0)
            else:
                v = self._mean(jnp.square(wide - self._of_all_pixels(m)))
            if not self.is_initializing():
                for stored, new in ((mean, m), (variance, v)):
                    stored.value = self.momentum * stored.value + (1 - self.momentum) * new
        factor = jax.lax.rsqrt(v + self.epsilon) * scale
        m, factor, bias = map(self._of_all_pixels, (m, factor, bias))
        y: Array = (x - m) * factor + bias
        return y.astype(self.dtype)

    def _mean(self, wide: Array) -> Array:
        mean: Array = wide.mean(tuple(range(wide.ndim - 1)))
        return mean if self.pixels == 1 else mean.reshape(self.pixels, -1).mean(0)

    def _of_all_pixels(self, values: Array) -> Array:
        return values if self.pixels == 1 else jnp.tile(values, self.pixels)


def is_single_value(x: Array) -> bool:
    """Whether (B, ..., C) holds one value per channel, which has no variance."""
    return math.prod(x.shape[:-1]) == 1


def he_normal(key: Array, shape: tuple[int, ...]) -> Array:
    """Normal with variance 2 / fan-in, the number of inputs of one output.

    Source: He et al., Delving Deep into Rectifiers, ICCV 2015.
    """
    return jax.random.normal(key, shape) * math.sqrt(2 / math.prod(shape[:-1]))
