"""Projected gradient ascent (PGD): the change within a ball that a network answers worst.

    x_0 = x,   x_1 = x + U(-eps, eps),   x_t+1 = clip(x_t + a sign(dJ / dx_t), x - eps, x + eps)

The ball is L-infinity on the input of the network, after the radiometry: if that ends with
`Standardize`, eps is in standard deviations of each band (of decibel, for radar). J is the
cross-entropy of all counted pixels of an image; in a targeted attack, minus the cross-entropy of
the wanted class at all of them. a = 2.5 eps / steps. Each image keeps the strongest of its x_0,
x_1, ..., so that no attack helps the network. Values are not cut off where the sensor's range ends.

In the form of SegPGD, pixels that are still right count 1 - l and wrong ones l = (t - 1) / 2 T, and
the strongest is that with the fewest right pixels.

Source: Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018; Gu
et al., SegPGD, ECCV 2022. Not checked against the authors' code. The length of the steps is the
usual one, which lets every start reach the rim and turn there; keeping the strongest is our choice.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.models.parts.normalisation import normalised_by
from jaxseg.models.parts.platforms import compiled_for
from jaxseg.run.measured import counted_pixels
from jaxseg.scenes.scene import Batch

Tree = Any  # pytrees of arrays have no useful type

UNTARGETED = -1
"""Instead of the id of a class."""

STEP = 2.5
"""Length of all steps together, in radii of the ball."""


def nll(logits: jax.Array, wanted: jax.Array) -> jax.Array:
    """(B, H, W) cross-entropy of the class `wanted` (B, H, W), which must be one of 0..K-1."""
    hit = wanted[..., None] == jnp.arange(logits.shape[-1])
    return jax.nn.logsumexp(logits, -1) - jnp.where(hit, logits, 0.0).sum(-1)


def wanted_classes(batch: Batch, target: jax.Array) -> jax.Array:
    """(B, H, W) what cross-entropy is of: the label, or the target; 0 where no pixel counts."""
    label = jnp.where(counted_pixels(batch), batch["label"].astype(jnp.int32), 0)
    return jnp.where(target < 0, label, target)


def logits_of(config: Config, mesh: Mesh) -> Callable[[Tree, jax.Array], jax.Array]:
    """The network in evaluation: (variables, input (B, H, W, C)) -> logits (B, H, W, K)."""

    def answer(variables: Tree, image: jax.Array) -> jax.Array:
        placed = compiled_for(sharding.platform_of(mesh), mesh.shape["space"])
        with placed, normalised_by(config.norm):
            found: Any = config.model.apply(variables, image, train=False)
        return found  # type: ignore[no-any-return]

    return answer


def make_attack(config: Config, mesh: Mesh) -> Callable[..., Batch]:
    """The attack `(variables, batch, key, epsilon, steps, target, by_pixel) -> batch`.

    All but the shapes are arguments, so that one program serves all strengths. `batch["image"]` is
    the input of the network, (B, H, W, C) float32; `epsilon` () float32, `steps` () int32, `target`
    () int32, a class or `UNTARGETED`, `by_pixel` () bool, whether in the form of SegPGD.
    """
    answer = logits_of(config, mesh)

    def attack(
        variables: Tree,
        batch: Batch,
        key: jax.Array,
        epsilon: jax.Array,
        steps: jax.Array,
        target: jax.Array,
        by_pixel: jax.Array,
    ) -> Batch:
        variables = sharding.gathered(mesh, variables)
        clean, counted = batch["image"], counted_pixels(batch)
        mask = batch["valid"][..., None]
        wanted, sign = wanted_classes(batch, target), jnp.where(target < 0, 1.0, -1.0)
        pixels = jnp.maximum(counted.sum((1, 2)), 1)

        def objective(image: jax.Array, share: jax.Array) -> tuple[jax.Array, jax.Array]:
            logits = answer(variables, image)
            losses = nll(logits, wanted)
            right = jnp.argmax(logits, -1) == wanted
            weight = jnp.where(by_pixel, jnp.where(right, 1 - share, share), 1.0)
            total = sign * jnp.where(counted, weight * losses, 0.0).sum()
            power = jnp.where(by_pixel, -right.astype(jnp.float32), losses)
            return total, sign * jnp.where(counted, power, 0.0).sum((1, 2)) / pixels

        gradient = jax.grad(objective, has_aux=True)

        def step(
            number: jax.Array, carry: tuple[jax.Array, jax.Array, jax.Array]
        ) -> tuple[jax.Array, jax.Array, jax.Array]:
            image, best, most = carry
            share = jnp.maximum(number - 1, 0) / (2 * steps)
            slope, power = gradient(image, share)
            stronger = power > most
            best = jnp.where(stronger[:, None, None, None], image, best)
            moved = image + STEP * epsilon / steps * jnp.sign(slope)
            start = clean + epsilon * jax.random.uniform(key, clean.shape, minval=-1)
            moved = jnp.where(number == 0, start, moved)
            moved = jnp.clip(moved, clean - epsilon, clean + epsilon)
            return jnp.where(mask, moved, clean), best, jnp.where(stronger, power, most)

        least = jnp.full(pixels.shape, -jnp.inf)
        _, best, _ = jax.lax.fori_loop(0, steps + 2, step, (clean, clean, least))
        return batch | {"image": best}

    return attack
