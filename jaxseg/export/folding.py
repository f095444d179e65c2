"""Batch normalisation folded into the kernels before it, for a network that is only evaluated.

With running statistics, a normalisation is y = g x + s with g = scale / sqrt(var + epsilon) and
s = bias - g mean. After a convolution x = k * image + b, the kernel g k and the constant g b + s
give the same, in one pass over the pixels less. A normalisation that follows something else stays
as one product and one sum. All is computed in float64 and rounded once.

Source: Jacob et al., Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference, CVPR 2018, section 3.2.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from jaxseg.models.domain_prompted import SCALE
from jaxseg.models.parts.complex_layers import ComplexBatchNorm, ComplexConv
from jaxseg.models.parts.convolution import conv2d
from jaxseg.models.parts.layers import BatchNorm, Conv, ConvTranspose, DepthwiseConv
from jaxseg.models.parts.normalisation import Normalisation, normalised_by
from jaxseg.models.parts.pyramid_pooling import ConvOfPyramid

Path = tuple[str, ...]
Numbers = NDArray[np.float64]
Leaves = dict[Path, Any]

LINEAR = (Conv, ConvTranspose, DepthwiseConv, ConvOfPyramid)
"""Modules whose output channels are the last axis of their `kernel`."""


class Folded:
    """A network without batch normalisation, and its kernels.

    Attributes:
        variables: `params` and `batch_stats` with the changed kernels.
        folded: Paths of the normalisations that are part of a kernel.
        left: Paths of those that follow something else.
    """

    def __init__(self, model: nn.Module, variables: Any, image: Any, norm: Normalisation) -> None:  # noqa: ANN401
        """Folds what can be folded.

        Args:
            model: The network.
            variables: Its `params` and `batch_stats`, arrays.
            image: (B, H, W, C) preprocessed, its shape and dtype.
            norm: How it normalises; groups are measured in evaluation, too, and stay as they are.
        """
        self._model, self._norm = model, norm
        leaves: Leaves = flax.traverse_util.flatten_dict(jax.device_get(variables))
        self._affine: dict[Path, tuple[NDArray[np.float32] | None, NDArray[np.float32]]] = {}
        self._complex: dict[Path, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
        self.folded: list[Path] = []
        self.left: list[Path] = []
        for path, kind, epsilon, source in self._normalisations(variables, image):
            if ("batch_stats", *path, "mean") not in leaves:
                continue  # measured in evaluation
            if ("params", *path, SCALE) in leaves:
                continue  # what a prompt makes of it differs from image to image
            if kind is ComplexBatchNorm:
                if source is None:
                    self.left.append(path)
                    continue
                self._fold_complex(leaves, path, source, epsilon)
            else:
                self._fold(leaves, path, source, epsilon)
        self.variables: Any = flax.traverse_util.unflatten_dict(leaves)

    def __call__(self, image: Array) -> Array:
        """(B, H, W, C) preprocessed -> (B, H, W, K) logits, the same as the network's."""
        with normalised_by(self._norm), self._without():
            logits: Any = self._model.apply(self.variables, image, train=False)
        return jnp.asarray(logits)

    def _normalisations(
        self,
        variables: Any,  # noqa: ANN401
        image: Any,  # noqa: ANN401
    ) -> list[tuple[Path, type[nn.Module], float, Path | None]]:
        """Path, class, epsilon and, if it may be folded, the convolution before."""
        made: dict[int, tuple[Path, Any]] = {}  # an output's id; keeping it keeps the id its own
        calls: Counter[Path] = Counter()
        found: list[tuple[Path, type[nn.Module], float, Path | None]] = []

        def note(call: Any, args: Any, kwargs: Any, context: Any) -> Any:  # noqa: ANN401
            module = context.module
            if context.method_name != "__call__":
                return call(*args, **kwargs)
            calls[module.path] += 1
            if isinstance(module, BatchNorm | ComplexBatchNorm):
                before = made.get(id(args[0]), (None, None))[0]
                found.append((module.path, type(module), module.epsilon, before))
            result = call(*args, **kwargs)
            if isinstance(module, (*LINEAR, ComplexConv)):
                made[id(result)] = module.path, result
            return result

        with normalised_by(self._norm), nn.intercept_methods(note):
            jax.eval_shape(lambda v, x: self._model.apply(v, x, train=False), variables, image)
        # A layer that is called twice has one kernel for both.
        return [
            (path, kind, epsilon, before if before and calls[before] == calls[path] == 1 else None)
            for path, kind, epsilon, before in dict.fromkeys(found)
        ]

    def _fold(self, leaves: Leaves, path: Path, source: Path | None, epsilon: float) -> None:
        scale, bias = (_wide(leaves["params", *path, name]) for name in ("scale", "bias"))
        mean, variance = (_wide(leaves["batch_stats", *path, name]) for name in ("mean", "var"))
        gain = scale / np.sqrt(variance + epsilon)
        shift = bias - gain * mean
        if source is None:
            self.left.append(path)
            self._affine[path] = gain.astype(np.float32), shift.astype(np.float32)
            return
        for name in ("kernel", "bias"):
            place = ("params", *source, name)
            if place in leaves:
                leaves[place] = (_wide(leaves[place]) * gain).astype(np.float32)
        self.folded.append(path)
        self._affine[path] = None, shift.astype(np.float32)

    def _fold_complex(self, leaves: Leaves, path: Path, source: Path, epsilon: float) -> None:
        """The 2 x 2 matrix of each channel mixes the outputs for real and imaginary parts."""
        scale, shear, bias = (
            _wide(leaves["params", *path, name]) for name in ("scale", "shear", "bias")
        )
        mean, variance, c = (
            _wide(leaves["batch_stats", *path, name]) for name in ("mean", "var", "covariance")
        )
        n = len(shear)
        a, b = variance[:n] + epsilon, variance[n:] + epsilon
        s = np.sqrt(np.maximum(a * b - c * c, epsilon**2))
        t = np.sqrt(a + b + 2 * s)
        rr, ii, ri = (b + s) / (s * t), (a + s) / (s * t), -c / (s * t)
        p, q = scale[:n], scale[n:]
        matrix = (
            (p * rr + shear * ri, p * ri + shear * ii),
            (
                shear * rr + q * ri,
                shear * ri + q * ii,
            ),
        )

        def mixed(x: Numbers) -> Numbers:
            real, imaginary = x[..., :n], x[..., n:]
            return np.concatenate([row[0] * real + row[1] * imaginary for row in matrix], axis=-1)

        kernel = _wide(leaves["params", *source, "kernel"])
        real, imaginary = np.split(kernel, 2, axis=-1)
        both = np.concatenate((kernel, np.concatenate((-imaginary, real), axis=-1)), axis=2)
        shift = bias - mixed(mean)
        self._complex[source] = mixed(both).astype(np.float32), shift.astype(np.float32)
        self._complex[path] = self._complex[source]
        self.folded.append(path)

    def _without(self) -> AbstractContextManager[Any]:
        """The network with its normalisations replaced."""

        def instead(call: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> Any:  # noqa: ANN401
            module = context.module
            if context.method_name != "__call__":
                return call(*args, **kwargs)
            if module.path in self._affine:
                gain, shift = self._affine[module.path]
                return (args[0] if gain is None else args[0] * gain) + shift
            if module.path in self._complex and isinstance(module, ComplexConv):
                kernel = jnp.asarray(self._complex[module.path][0])
                return conv2d(args[0], kernel, padding=module.kernel_size // 2)
            if module.path in self._complex:
                return args[0] + self._complex[module.path][1]
            return call(*args, **kwargs)

        return nn.intercept_methods(instead)


def _wide(numbers: Any) -> Numbers:  # noqa: ANN401  (any array)
    return np.asarray(numbers, np.float64)
