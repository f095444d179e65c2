"""Adapters that only training has: what a network sees at several scales, in another's terms.

    student    bottleneck     decoder4      decoder3      decoder2   ...  head ─ (B,H,W,K)
                   │              │             │             │
    aligned    1x1, norm ─ up ─ 1x1, norm ─ up ─ 1x1, norm ─ up ─ 1x1, norm       training only
                   ┆              ┆             ┆             ┆
    teacher    bottleneck     decoder4      decoder3      decoder2                (another run)

`Distillation(student="aligned/", features=...)` compares the adapters' outputs, instead of the
network's own features, with those of the teacher: the networks see different sensors, and the
channels of two networks are in different orders. Each adapter also sees the output of the coarser
one before it. The prediction is the network's alone; no adapter is in an exported program.

Source: the form of Gao and Dong, Heterogeneous Feature Distillation Network for SAR Image Semantic
Segmentation, 2022, arXiv:2210.08988: a teacher that is trained on optical images, a student of the
same architecture for radar, features transferred between them, scales aggregated. Its equations and
code were not at hand, so the modules are our own, and not checked against the authors' code. There,
the aggregated features also make the prediction, in student and teacher. An adapter is that of the
authors of Shu et al. 2021, arXiv:2011.13256 (irfanICMLL/TorchDistiller): 1x1 convolution,
normalisation, ReLU.
"""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxseg.errors import UserError
from jaxseg.models.parts.layers import BatchNorm, Conv, Dtype
from jaxseg.models.parts.resampling import resize


class Aligned(nn.Module):
    """A network with adapters: (B, H, W, C) image -> (B, H, W, K) float32 logits of the network.

    Attributes:
        num_classes: K.
        network: The architecture; its classes and dtype are replaced by the fields here. Its blocks
            are stored, not recomputed: what happens within recomputed ones cannot be read.
        layers: Its modules whose outputs are aligned, (B, h, w, F) each, from coarse to fine; an
            output has as many channels as there are.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
    """

    num_classes: int
    network: nn.Module
    layers: tuple[str, ...] = ("bottleneck", "decoder4", "decoder3", "decoder2")
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:
        """Logits of each pixel; any H and W that the network accepts.

        Args:
            image: (B, H, W, C) float32.
            train: Whether batch normalisation uses the batch's statistics and dropout is active,
                and whether the adapters are computed.

        Returns:
            (B, H, W, K) float32 logits.

        Raises:
            UserError: The network has no such layer.
        """
        network = self.network.clone(
            parent=self,
            name="student",
            num_classes=self.num_classes,
            dtype=self.dtype,
            remat=False,
        )
        outputs = _Outputs(tuple((*self.path, "student", layer) for layer in self.layers))
        with nn.intercept_methods(outputs):
            logits: Array = network(image, train=train)
        if train or self.is_initializing():
            Adapters(self.layers, self.dtype, name="aligned")(outputs.found, train=train)
        return logits


class _Outputs:
    """What modules at these paths return; an interceptor of their calls."""

    def __init__(self, paths: tuple[tuple[str, ...], ...]) -> None:
        self._paths = paths
        self.found: dict[str, Array] = {}

    def __call__(
        self,
        call: Callable[..., Array],
        args: tuple[Array, ...],
        kwargs: dict[str, object],
        context: nn.module.InterceptorContext,
    ) -> Array:
        y = call(*args, **kwargs)
        if context.method_name == "__call__" and context.module.path in self._paths:
            self.found[context.module.name or ""] = y
        return y


class Adapters(nn.Module):
    """An adapter for each layer, named like it; see the file.

    Attributes:
        layers: Names of the layers, from coarse to fine.
        dtype: Compute dtype.
    """

    layers: tuple[str, ...]
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(self, features: dict[str, Array], *, train: bool) -> None:
        """Aligns (B, h, w, F) features of every layer; the outputs are captured, not returned.

        Raises:
            UserError: A layer is missing.
        """
        coarser = None
        for layer in self.layers:
            if layer not in features:
                raise UserError(
                    f"The network has no layer {layer} to align. `jaxseg models NETWORK` lists "
                    "the layers of a network; give those that lie directly in it."
                )
            own = features[layer]
            _, height, width, channels = own.shape
            seen = own
            if coarser is not None:
                seen = jnp.concatenate((own, resize(coarser, (height, width))), axis=-1)
            coarser = Adapter(channels, self.dtype, name=layer)(seen, train=train)


class Adapter(nn.Module):
    """1x1 convolution, normalisation, ReLU.

    Attributes:
        features: Output channels.
        dtype: Compute dtype.
    """

    features: int
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(self, x: Array, *, train: bool) -> Array:
        """(B, h, w, C) -> (B, h, w, features)."""
        x = Conv(self.features, kernel_size=1, dtype=self.dtype, name="conv")(x)
        x = BatchNorm(use_running_average=not train, dtype=self.dtype, name="norm")(x)
        return nn.relu(x)
