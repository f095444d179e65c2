"""Domain prompts: a network that is told which sensor, season or place it sees, or works it out.

    training, domain d known    prompt d ───────────────────────┐  scale and shift of
    training, d masked          simulator(image, the others) ───┼─ normalisations, ─ network
    evaluation                  simulator(image, all prompts) ──┘  tokens of blocks   (B,H,W,K)

A prompt is a vector of each domain of the training. Every batch normalisation of the network scales
and shifts its channels by what it reads from the prompt: y (1 + S p) + T p, with S and T zero at
first, so that a network of convolutions begins as it is without prompts. In a transformer, every
block attends to a few tokens besides its own, which it reads from the prompt, too, and which end
with it (VPT-Deep's form). For a share of the training windows the
prompt of their own domain is hidden, and a simulator stands in for it: from the image it computes
weights of the other prompts and adds a correction. In evaluation the domain is never known, and
the simulator answers from all prompts.

The number of the domain is a last band of the training images, which `DomainBand` of
`jaxseg.transforms` appends; images without it are of a domain that is not known.

Source: Fang et al., ProS: Prompting-to-simulate Generalized Knowledge for Universal Cross-Domain
Retrieval, CVPR 2024, arXiv:2312.12478, read beside the authors' code, but not checked against it:
their task, their encoder and their loss are others. Scale and shift as in Perez et al., FiLM, AAAI
2018, arXiv:1709.07871; tokens of every block as in Jia et al., Visual Prompt Tuning, ECCV 2022,
arXiv:2203.12119. Differences, our choice: the network is trained, not a frozen CLIP; tokens, scales
and shifts are linear in one prompt of the domain; both stages are one, with hidden domains in a
share of each batch; the simulator is two convolutions and an attention over prompts, not a
transformer; class prompts and text are left out.
"""

import dataclasses
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from jaxseg.errors import COUNT, NOT_NEGATIVE, SHARE, UserError
from jaxseg.models.parts.layers import BatchNorm, Conv, Dtype
from jaxseg.models.parts.vit import Block
from jaxseg.models.unet import UNet

SCALE, SHIFT = "prompt_scale", "prompt_shift"
"""Parameters (P, C) that a normalisation has besides its own."""

TOKENS = "prompt_tokens"
"""Parameter (P, T E) that the block of a transformer has besides its own."""


class DomainPrompted(nn.Module):
    """(B, H, W, C) preprocessed image -> (B, H, W, K) float32 logits.

    Attributes:
        num_classes: K.
        network: The architecture; its classes, dtype and remat are replaced by the fields here.
        domains: Number of domains of the training.
        prompt: P, numbers of a prompt.
        masked: Share of the training windows, 0..1, whose own prompt is hidden.
        tokens: T, tokens that each block of a transformer has by the prompt.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
        remat: Whether to recompute blocks in the backward pass.
    """

    num_classes: int
    network: nn.Module = UNet(num_classes=0)
    domains: int = dataclasses.field(default=2, metadata={"least": 2})
    prompt: int = dataclasses.field(default=16, metadata=COUNT)
    masked: float = dataclasses.field(default=0.5, metadata=SHARE)
    tokens: int = dataclasses.field(default=4, metadata=NOT_NEGATIVE)
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
            UserError: The network has neither batch normalisation nor blocks with tokens.
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
        conditioned = _Conditioned(prompt, self.tokens)
        with nn.intercept_methods(conditioned):
            logits: Array = network(image, train=train)
        if not conditioned.places:
            raise UserError(
                f"DomainPrompted: {type(self.network).__name__} has no batch normalisation, which "
                "is what a prompt scales and shifts, and no transformer with --config.model.tokens "
                "of the prompt. Choose a network that has one of them."
            )
        return logits

    def _bands(self) -> int:
        """Number of bands without that of the domain, by the kernel that reads them."""
        kernel: Array = self.get_variable("params", "simulator")["conv1"]["kernel"]
        return kernel.shape[2]


class _Conditioned:
    """Changes normalisations and blocks by the prompt; an interceptor of their calls."""

    def __init__(self, prompt: Array, tokens: int) -> None:
        self._prompt = prompt  # (B, P)
        self._tokens = tokens
        self._open: set[tuple[str, ...]] = set()
        self.places = 0

    def __call__(
        self,
        call: Callable[..., Array],
        args: tuple[Array, ...],
        kwargs: dict[str, object],
        context: nn.module.InterceptorContext,
    ) -> Array:
        module = context.module
        if context.method_name == "__call__":
            if isinstance(module, BatchNorm):
                return self._scaled(call(*args, **kwargs), module)
            # One that is recomputed in the backward pass is called within a call of itself.
            if isinstance(module, Block) and self._tokens and module.path not in self._open:
                return self._attending(call, args[0], module)
        return call(*args, **kwargs)

    def _scaled(self, y: Array, norm: BatchNorm) -> Array:
        """What a normalisation returns, scaled and shifted."""
        self.places += 1
        shape = self._prompt.shape[-1], y.shape[-1] // norm.pixels
        scale, shift = (
            self._prompt @ jnp.tile(norm.param(name, nn.initializers.zeros, shape), norm.pixels)
            for name in (SCALE, SHIFT)
        )  # (B, C) each
        space = tuple(range(1, y.ndim - 1))
        changed: Array = y * (1 + jnp.expand_dims(scale, space)) + jnp.expand_dims(shift, space)
        return changed.astype(y.dtype)

    def _attending(self, call: Callable[..., Array], x: Array, block: Block) -> Array:
        """What a block makes of its tokens (B, N, E) if it sees those of the prompt, too."""
        self.places += 1
        batch, number, channels = x.shape
        shape = self._prompt.shape[-1], self._tokens * channels
        kernel = block.param(TOKENS, nn.initializers.lecun_normal(), shape)
        tokens = (self._prompt @ kernel).reshape(batch, self._tokens, channels)
        self._open.add(block.path)
        try:
            y = call(jnp.concatenate((x, tokens.astype(x.dtype)), axis=1))
        finally:
            self._open.remove(block.path)
        return y[:, :number]


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
