"""The modules of complex-valued networks, written in real numbers.

Features of F complex channels are 2 F real channels: all real parts, then all imaginary parts. So
pooling, resizing, padding and concatenation by parts work as for real features, bfloat16 can be
used, and no complex convolutions are needed.

Source: Trabelsi et al., Deep Complex Networks, ICLR 2018, arXiv:1705.09792 (convolution,
initialisation, normalisation, CReLU); Arjovsky, Shah, Bengio, Unitary Evolution Recurrent Neural
Networks, ICML 2016, arXiv:1511.06464 (modReLU).
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from jaxseg.models.parts.convolution import conv2d
from jaxseg.models.parts.layers import Dtype
from jaxseg.models.parts.normalisation import (
    Channels,
    Windows,
    evaluates,
    is_single_value,
    setting,
    spread,
    uses_running,
)


class ComplexConv(nn.Module):
    """Convolution with complex kernels: (B, H, W, 2 C) -> (B, H, W, 2 features).

    (A + iB) * (x + iy) = (A x - B y) + i (B x + A y): one real convolution whose kernel repeats A
    and B.

    Attributes:
        features: Complex output channels.
        kernel_size: Taps along both axes, odd; zero padding keeps the image's size.
        dtype: Compute dtype.
    """

    features: int
    kernel_size: int = 3
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, 2 C) -> (B, H, W, 2 features)."""
        shape = (self.kernel_size, self.kernel_size, x.shape[-1] // 2, 2 * self.features)
        kernel = self.param("kernel", complex_he_normal, shape)
        real, imaginary = jnp.split(kernel, 2, axis=-1)
        turned = jnp.concatenate((-imaginary, real), axis=-1)  # contribution of imaginary parts
        both = jnp.concatenate((kernel, turned), axis=2)  # (k, k, 2 C, 2 features)
        return conv2d(x.astype(self.dtype), both.astype(self.dtype), padding=self.kernel_size // 2)


class ComplexBatchNorm(nn.Module):
    """Batch normalisation of complex channels: (B, H, W, 2 C) -> (B, H, W, 2 C).

    A channel is centred and multiplied by the inverse square root of the 2 x 2 covariance of its
    real and imaginary parts, then by a learned symmetric 2 x 2 matrix, and a complex offset is
    added. With the initial `scale` and `shear` the output is circular, with variance 1/2 in each
    part. A single value per channel is normalised as in `jaxseg.models.parts.layers.BatchNorm`, and
    a run's `Normalisation` applies alike.

    Attributes:
        use_running_average: Whether to use the stored statistics, as in evaluation.
        momentum: Weight of the old values in the stored statistics.
        epsilon: Added to the variances.
        dtype: Dtype of the output; statistics are float32.
    """

    use_running_average: bool
    momentum: float = 0.9
    epsilon: float = 1e-5
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, 2 C) -> (B, H, W, 2 C)."""
        count = x.shape[-1] // 2
        kind = setting().how.kind
        half = nn.initializers.constant(math.sqrt(0.5))
        scale = self.param("scale", half, (2 * count,))  # both ends of the diagonal
        shear = self.param("shear", nn.initializers.zeros, (count,))  # off the diagonal
        bias = self.param("bias", nn.initializers.zeros, (2 * count,))

        x = x.astype(jnp.float32)
        if kind == "group":
            m, v, c = _moments(x, Channels(x, self.path, count))
            m, v, c = spread(m, x), spread(v, x), spread(c, x)
        else:
            mean = self.variable("batch_stats", "mean", jnp.zeros, (2 * count,))
            variance = self.variable("batch_stats", "var", jnp.ones, (2 * count,))
            covariance = self.variable("batch_stats", "covariance", jnp.zeros, (count,))
            m, v, c = mean.value, variance.value, covariance.value
            evaluated = evaluates(self.use_running_average)
            if not (evaluated or uses_running(self.path) or is_single_value(x)):
                windows = Windows(x, self.path)
                of_groups = _moments(x, windows)
                m, v, c = (
                    spread(windows.known(new, stored), x)
                    for new, stored in zip(of_groups, (m, v, c), strict=True)
                )
                if not self.is_initializing():
                    average = windows.overall(of_groups[0])
                    # As in `BatchNorm`, around the stored mean.
                    away, off = of_groups[0] - mean.value, average - mean.value
                    total = windows.overall(of_groups[1] + jnp.square(away)) - jnp.square(off)
                    joint = windows.overall(of_groups[2] + away[:, :count] * away[:, count:])
                    joint -= off[:count] * off[count:]
                    total = jnp.maximum(total, 0)
                    for stored, new in ((mean, average), (variance, total), (covariance, joint)):
                        stored.value = windows.moved(stored.value, new, self.momentum)
        x = x - m

        # Inverse root of [[a, c], [c, b]]: [[b + s, -c], [-c, a + s]] / (s t).
        a, b = v[..., :count] + self.epsilon, v[..., count:] + self.epsilon
        s = jnp.sqrt(jnp.maximum(a * b - c * c, self.epsilon**2))
        t = jnp.sqrt(a + b + 2 * s)
        rr, ii, ri = (b + s) / (s * t), (a + s) / (s * t), -c / (s * t)
        # Times the learned matrix [[p, r], [r, q]]: one 2 x 2 product per pixel.
        p, q = scale[:count], scale[count:]
        first = p * rr + shear * ri, p * ri + shear * ii
        second = shear * rr + q * ri, shear * ri + q * ii
        real, imaginary = x[..., :count], x[..., count:]
        out = jnp.concatenate(
            (first[0] * real + first[1] * imaginary, second[0] * real + second[1] * imaginary),
            axis=-1,
        )
        return (out + bias).astype(self.dtype)


class ModReLU(nn.Module):
    """Reduces each modulus by a learned amount and keeps the phase: (B, H, W, 2 C) -> the same.

    ReLU(|z| + b) z / |z|, with one b per channel, initially 0.
    """

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, 2 C) -> (B, H, W, 2 C)."""
        count = x.shape[-1] // 2
        offset = self.param("offset", nn.initializers.zeros, (count,))
        real, imaginary = (part.astype(jnp.float32) for part in jnp.split(x, 2, axis=-1))
        modulus = jnp.sqrt(jnp.square(real) + jnp.square(imaginary) + 1e-12)  # differentiable at 0
        gain = nn.relu(modulus + offset) / modulus
        return (jnp.concatenate((gain, gain), axis=-1) * x).astype(x.dtype)


def complex_he_normal(key: Array, shape: tuple[int, ...]) -> Array:
    """Real and imaginary parts with variance 1 / fan-in: complex numbers with variance 2 / fan-in.

    Equivalent to Trabelsi's initialisation: Rayleigh-distributed moduli and uniform phases.
    """
    return jax.random.normal(key, shape) * math.sqrt(1 / math.prod(shape[:-1]))


def _moments(x: Array, together: Windows | Channels) -> tuple[Array, Array, Array]:
    """Means and variances (G, 2 C) of both parts, and their covariances (G, C)."""
    m = together.mean(x)
    x = x - spread(m, x)
    count = x.shape[-1] // 2
    v = together.mean(jnp.square(x))
    return m, v, together.mean(x[..., :count] * x[..., count:])
