"""The simplest training step, for comparison with that of other frameworks.

Forward, cross-entropy, backward, SGD with momentum, new batch statistics, nothing else: the same
on both sides.
"""

from functools import partial
from typing import Any

import flax.linen
import jax
import jax.numpy as jnp

LEARNING_RATE, MOMENTUM = 0.01, 0.9
PyTree = dict[str, Any] | tuple[Any, ...]


def start(variables: PyTree) -> PyTree:
    """The state before the first step: copies of parameters and statistics, and no velocity."""
    own = jax.tree.map(jnp.copy, variables)
    return own["params"], own.get("batch_stats", {}), jax.tree.map(jnp.zeros_like, own["params"])


def make_update(model: flax.linen.Module) -> jax.stages.Wrapped:
    """The jitted step `(state, image, label, key) -> state`, with the state donated."""

    def loss(
        params: PyTree, stats: PyTree, image: jax.Array, label: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, PyTree]:
        logits, updates = model.apply(
            {"params": params, "batch_stats": stats},
            image,
            train=True,
            mutable=["batch_stats"],
            rngs={"dropout": key},
        )
        hit = jnp.arange(logits.shape[-1]) == label[..., None]
        of_label = jnp.where(hit, logits, 0).sum(-1)
        return (jax.nn.logsumexp(logits, -1) - of_label).mean(), updates.get("batch_stats", {})

    @partial(jax.jit, donate_argnums=0)
    def update(state: PyTree, image: jax.Array, label: jax.Array, key: jax.Array) -> PyTree:
        params, stats, velocity = state
        grads, stats = jax.grad(loss, has_aux=True)(params, stats, image, label, key)
        velocity = jax.tree.map(lambda v, g: MOMENTUM * v + g, velocity, grads)
        params = jax.tree.map(lambda p, v: p - LEARNING_RATE * v, params, velocity)
        return params, stats, velocity

    return update
