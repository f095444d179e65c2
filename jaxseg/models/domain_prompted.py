"""Domain prompts: a network that is told which sensor, season or place it sees, or works it out.

    training, domain d known    prompt d ───────────────────────┐  scale and shift
    training, d masked          simulator(image, the others) ───┼─ of every ─ network ─ (B,H,W,K)
    evaluation                  simulator(image, all prompts) ──┘  normalisation

A prompt is a vector of each domain of the training. Every batch normalisation of the network scales
and shifts its channels by what it reads from the prompt: y (1 + S p) + T p, with S and T zero at
first, so that the network begins as it is without prompts. For a share of the training windows the
prompt of their own domain is hidden, and a simulator stands in for it: from the image it computes
weights of the other prompts and adds a correction. In evaluation the domain is never known, and
the simulator answers from all prompts.

The number of the domain is a last band of the training images, which `DomainBand` of
`jaxseg.transforms` appends; images without it are of a domain that is not known.

Source: Fang et al., ProS: Prompting-to-simulate Generalized Knowledge for Universal Cross-Domain
Retrieval, CVPR 2024, arXiv:2312.12478, read beside the authors' code, but not checked against it:
their task, their encoder and their loss are others. Scale and shift as in Perez et al., FiLM, AAAI
2018, arXiv:1709.07871. Differences, our choice: the network is trained, not a frozen CLIP; prompts
scale and shift channels, and are not tokens; both stages are one, with hidden domains in a share of
each batch; the simulator is two convolutions and an attention over prompts, not a transformer; no
prompts of classes, and no text.
"""

import dataclasses
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from jaxseg.errors import COUNT, SHARE, UserError
from jaxseg.models.parts.layers import BatchNorm, Conv, Dtype
from jaxseg.models.unet import UNet

SCALE, SHIFT = "prompt_scale", "prompt_shift"
"""Parameters (P, C) that a normalisation has besides its own."""


class DomainPrompted(nn.Module):
    """(B, H, W, C) preprocessed image -> (B, H, W, K) float32 logits.

    Attributes:
        num_classes: K.
        network: The architecture; its classes, dtype and remat are replaced by the fields here.
        domains: Number of domains of the training.
        prompt: P, numbers of a prompt.
        masked: Share of the training windows, 0..1, whose own prompt is hidden.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
        remat: Whether to recompute blocks in the backward pass.
    """

    num_classes: int
    network: nn.Module = UNet(num_classes=0)
    domains: int = dataclasses.field(default=2, metadata={"least": 2})
    prompt: int = dataclasses.field(default=16, metadata=COUNT)
    masked: float = dataclasses.field(default=0.5, metadata=SHARE)
    dtype: Dtype = "float32"
    remat: bool = False

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:
        """Logits of each pixel; any H and W that the network accepts.

        Args:
            image: (B, H, W, C) float32; in training, (B, H, W, C + 1) if the last band is the
                number of the domain, 1 to `domains`, or 0 where it is not known.
            train: Whether batch normalisation uses the batch's statistics and dropout is active.

        Returns:
            (B, H, W, K) float32 logits.

        Raises:
            UserError: The network has no batch normalisation.
        """
        own = None
        if train and not self.is_initializing() and image.shape[-1] == self._bands() + 1:
            # The largest, as pixels without data are 0.
            domain = jnp.round(image[..., -1].max((1, 2))).astype(jnp.int32)
            own = domain[:, None] == 1 + jnp.arange(self.domains)  # (B, D), none if not known
            image = image[..., :-1]
        normal = nn.initializers.normal(1.0)
        prompts = self.param("prompts", normal, (self.domains, self.prompt))
        prompt = Simulator(self.dtype, name="simulator")(image, prompts, own)  # (B, P)
        if own is not None:
            hidden = jax.random.bernoulli(self.make_rng("dropout"), self.masked, (len(image),))
            told = own.any(1) & ~hidden
            prompt = jnp.where(told[:, None], own.astype(jnp.float32) @ prompts, prompt)
        network = self.network.clone(
            parent=self,
            name="prompted",
            num_classes=self.num_classes,
            dtype=self.dtype,
            remat=self.remat,
        )
        conditioned = _Conditioned(prompt)
        with nn.intercept_methods(conditioned):
            logits: Array = network(image, train=train)
        if not conditioned.norms:
            raise UserError(
                f"DomainPrompted: {type(self.network).__name__} has no batch normalisation, which "
                "is what a prompt scales and shifts. Choose a network that has."
            )
        return logits

    def _bands(self) -> int:
        """Number of bands without that of the domain, by the kernel that reads them."""
        kernel: Array = self.get_variable("params", "simulator")["conv1"]["kernel"]
        return kernel.shape[2]


class _Conditioned:
    """Scales and shifts what every normalisation returns; an interceptor of their calls."""

    def __init__(self, prompt: Array) -> None:
        self._prompt = prompt  # (B, P)
        self.norms = 0

    def __call__(
        self,
        call: Callable[..., Array],
        args: tuple[Array, ...],
        kwargs: dict[str, object],
        context: nn.module.InterceptorContext,
    ) -> Array:
        y, norm = call(*args, **kwargs), context.module
        if not isinstance(norm, BatchNorm) or context.method_name != "__call__":
            return y
        self.norms += 1
        shape = self._prompt.shape[-1], y.shape[-1] // norm.pixels
        scale, shift = (
            self._prompt @ jnp.tile(norm.param(name, nn.initializers.zeros, shape), norm.pixels)
            for name in (SCALE, SHIFT)
        )  # (B, C) each
        space = tuple(range(1, y.ndim - 1))
        changed: Array = y * (1 + jnp.expand_dims(scale, space)) + jnp.expand_dims(shift, space)
        return changed.astype(y.dtype)


class Simulator(nn.Module):
    """The prompt of a domain that is not known, from the image and the prompts of others.

    Mean and standard deviation of two layers of features describe the image. The description asks
    for the prompts that are like it, and corrects their mean.

    Attributes:
        dtype: Compute dtype of the convolutions.
        features: Their channels.
    """

    dtype: Dtype = "float32"
    features: int = 16

    @nn.compact
    def __call__(self, image: Array, prompts: Array, hidden: Array | None) -> Array:
        """(B, H, W, C) image, (D, P) prompts, (B, D) which of them are hidden -> (B, P)."""
        x = nn.relu(Conv(self.features, stride=2, dtype=self.dtype, name="conv1")(image))
        x = nn.relu(Conv(self.features, stride=2, dtype=self.dtype, name="conv2")(x))
        x = x.astype(jnp.float32)
        mean = x.mean((1, 2))
        spread = jnp.sqrt(jnp.square(x - mean[:, None, None]).mean((1, 2)) + 1e-6)
        description = nn.relu(
            nn.Dense(2 * self.features, name="describe")(jnp.concatenate((mean, spread), axis=-1))
        )
        size = prompts.shape[-1]
        question = nn.Dense(size, name="ask")(description)
        alike = question @ prompts.T / math.sqrt(size)  # (B, D)
        if hidden is not None:
            alike = jnp.where(hidden, -jnp.inf, alike)
        known = nn.softmax(alike) @ prompts  # (B, P)
        both = jnp.concatenate((description, known), axis=-1)
        return known + nn.Dense(size, name="correct")(both)
