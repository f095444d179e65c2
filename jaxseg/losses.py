"""Losses: frozen dataclasses a config holds by value; `loss(logits, batch, valid)` is a scalar.

Shapes: logits (B, H, W, K) float32, batch as in `jaxseg.batch`, valid (B, H, W) bool (True where
the sensor has data and the label is a class). A pixel that is not valid has no value and no
gradient, and a batch without any valid pixel has loss 0. Every loss is a weighted mean over the
valid pixels, times its own `weight` in the sum that is trained.
"""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp

from jaxseg.errors import UserError

Batch = dict[str, jax.Array]


class Loss(Protocol):
    """What a config may hold as a loss."""

    @property
    def weight(self) -> float:
        """Factor of this loss in the total."""

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """The scalar loss, without its factor."""


@dataclasses.dataclass(frozen=True)
class CrossEntropy:
    """Pixel-wise cross-entropy, the mean of `class_weights[label] * -log softmax(logits)[label]`.

    The mean divides by the sum of the weights (PyTorch's `CrossEntropyLoss(weight, ignore_index,
    label_smoothing)`; Source: checked against its formula, Szegedy et al. 2016 for the smoothing).

    Attributes:
        weight: Factor in the total loss.
        class_weights: One weight per class; empty = all ones.
        label_smoothing: Share (0..1) of the target spread evenly over all classes.
    """

    weight: float = 1.0
    class_weights: tuple[float, ...] = ()
    label_smoothing: float = 0.0

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class."""
        label = jnp.where(valid, batch["label"], 0)
        per_class = _per_class(self.class_weights, logits.shape[-1])
        weights = jnp.where(valid, per_class[label], 0.0)
        pixel = weights * _negative_log_likelihood(logits, label)
        if self.label_smoothing:
            # Each class of the even share is weighted by its own class weight, as PyTorch does.
            even = (per_class * -jax.nn.log_softmax(logits)).mean(-1)
            pixel = (1 - self.label_smoothing) * pixel + self.label_smoothing * even
        return _mean(pixel, weights, valid)


@dataclasses.dataclass(frozen=True)
class EdgeWeightedCrossEntropy:
    """The U-Net's cross-entropy, w(x) = wc(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2)).

    d1 and d2 are the distances in pixels to the nearest and second nearest object, so that the thin
    gaps between touching objects weigh most; wc balances the classes. The mean divides by the sum
    of the weights, so that the learning rate keeps its meaning. Source: Ronneberger, Fischer, Brox,
    MICCAI 2015, equation 2.

    Attributes:
        weight: Factor in the total loss.
        class_weights: wc, one per class; empty = all ones.
        w0: Height of the border term.
        sigma: Width of the border term in pixels.
    """

    weight: float = 1.0
    class_weights: tuple[float, ...] = ()
    w0: float = 10.0
    sigma: float = 5.0

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class.

        Raises:
            UserError: The batch has no `separation`.
        """
        if "separation" not in batch:
            raise UserError(
                "EdgeWeightedCrossEntropy needs d1 + d2 of every pixel. Set "
                "--config.data.separation True, with a "
                "source that knows object ids."
            )
        label = jnp.where(valid, batch["label"], 0)
        border = self.w0 * jnp.exp(-(batch["separation"] ** 2) / (2 * self.sigma**2))
        weights = _per_class(self.class_weights, logits.shape[-1])[label] + border
        weights = jnp.where(valid, weights, 0.0)
        return _mean(weights * _negative_log_likelihood(logits, label), weights, valid)


def _per_class(class_weights: tuple[float, ...], num_classes: int) -> jax.Array:
    if class_weights and len(class_weights) != num_classes:
        raise UserError(
            f"{len(class_weights)} class weights for {num_classes} classes: give one per class, "
            "or none."
        )
    return jnp.asarray(class_weights or (1.0,) * num_classes, jnp.float32)


def _negative_log_likelihood(logits: jax.Array, label: jax.Array) -> jax.Array:
    # A where-sum instead of a gather: its gradient is no scatter, which is slow on CPUs and TPUs
    # alike.
    chosen = jnp.where(jnp.arange(logits.shape[-1]) == label[..., None], logits, 0).sum(-1)
    return jax.nn.logsumexp(logits, axis=-1) - chosen


def _mean(pixel: jax.Array, weights: jax.Array, valid: jax.Array) -> jax.Array:
    # Dividing by one keeps a batch without any valid pixel, or of zero weight, finite.
    total = weights.sum()
    return jnp.where(valid, pixel, 0.0).sum() / jnp.where(total > 0, total, 1.0)
