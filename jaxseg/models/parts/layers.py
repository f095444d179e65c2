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
from jaxseg.models.parts.normalisation import (
    Channels,
    Windows,
    evaluates,
    is_single_value,
    setting,
    spread,
    uses_running,
)

Dtype = Literal["float32", "bfloat16"]
"""Compute dtype of a network; parameters, batch statistics and logits stay float32."""

Layer = Callable[..., Array]
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
        padding: Zeros on each side, or above and left and below and right; None = as many as keep
            the size at stride 1.
        use_bias: Whether to add a learned constant per channel.
        dtype: Compute dtype.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    dilation: int = 1
    padding: int | tuple[int, int] | None = None
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
    """`depthwise_conv2d` with its kernel: (B, H, W, C) -> (B, H', W', C).

    Attributes:
        kernel_size: Taps along both axes, odd.
        dilation: Step between taps.
        dtype: Compute dtype.
        stride: Step between output pixels.
        padding: Zeros above and left, and below and right; None = as many as keep the size at
            stride 1.
    """

    kernel_size: int = 3
    dilation: int = 1
    dtype: Dtype = "float32"
    stride: int = 1
    padding: tuple[int, int] | None = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, C) -> (B, H', W', C)."""
        shape = (self.kernel_size, self.kernel_size, 1, x.shape[-1])
        kernel = self.param("kernel", he_normal, shape)
        return depthwise_conv2d(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            stride=self.stride,
            dilation=self.dilation,
            padding=self.padding,
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
    """Batch normalisation with PyTorch's defaults, or what `Normalisation` puts in its place.

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
        """(B, ..., C) -> (B, ..., C).

        Raises:
            UserError: The groups of the run's `Normalisation` do not fit x.
        """
        shape = (x.shape[-1] // self.pixels,)
        kind = setting().how.kind
        scale = self.param("scale", nn.initializers.ones, shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        if kind == "group":
            m, v = self._moments(x, Channels(x, self.path, shape[0]))
            m, v = self._spread(m, x), self._spread(v, x)
        else:
            mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
            variance = self.variable("batch_stats", "var", jnp.ones, shape)
            m, v = (jnp.tile(stored.value, self.pixels) for stored in (mean, variance))
            single = is_single_value(x) and self.pixels == 1
            evaluated = evaluates(self.use_running_average)
            if not (evaluated or uses_running(self.path) or single):
                windows = Windows(x, self.path, self.pixels)
                of_groups = self._moments(x, windows)
                m, v = (
                    self._spread(windows.known(new, stored.value), x)
                    for new, stored in zip(of_groups, (mean, variance), strict=True)
                )
                if not self.is_initializing():
                    average = windows.overall(of_groups[0])
                    # The variance of the groups' means, around the stored one: exact, and devices
                    # need not know the new one first.
                    away, off = of_groups[0] - mean.value, average - mean.value
                    total = windows.overall(of_groups[1] + jnp.square(away)) - jnp.square(off)
                    for stored, new in ((mean, average), (variance, jnp.maximum(total, 0))):
                        stored.value = windows.moved(stored.value, new, self.momentum)
        scale, bias = jnp.tile(scale, self.pixels), jnp.tile(bias, self.pixels)
        y: Array = (x - m) * (jax.lax.rsqrt(v + self.epsilon) * scale) + bias
        return y.astype(self.dtype)

    def _moments(self, x: Array, together: Windows | Channels) -> tuple[Array, Array]:
        """Mean and variance of the values that are measured together, (G, C) each."""
        wide = x.astype(jnp.float32)
        m = self._mean(wide, together)
        if self.use_fast_variance:
            v = jnp.maximum(self._mean(jnp.square(wide), together) - jnp.square(m), 0)
        else:
            v = self._mean(jnp.square(wide - self._spread(m, x)), together)
        return m, v

    def _mean(self, x: Array, together: Windows | Channels) -> Array:
        """Of all pixels, (B, ..., pixels C) -> (G, C)."""
        mean = together.mean(x)
        return mean.reshape(mean.shape[0], self.pixels, -1).mean(1)

    def _spread(self, of_groups: Array, x: Array) -> Array:
        return spread(jnp.tile(of_groups, self.pixels), x)


def he_normal(key: Array, shape: tuple[int, ...]) -> Array:
    """Normal with variance 2 / fan-in, the number of inputs of one output.

    Source: He et al., Delving Deep into Rectifiers, ICCV 2015.
    """
    return jax.random.normal(key, shape) * math.sqrt(2 / math.prod(shape[:-1]))
