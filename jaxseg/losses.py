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
                "--config.data.separation."
            )
        label = jnp.where(valid, batch["label"], 0)
        border = self.w0 * jnp.exp(-(batch["separation"] ** 2) / (2 * self.sigma**2))
        weights = _per_class(self.class_weights, logits.shape[-1])[label] + border
        weights = jnp.where(valid, weights, 0.0)
        return _mean(weights * _negative_log_likelihood(logits, label), weights, valid)


@dataclasses.dataclass(frozen=True)
class EdgeAware:
    """One minus the F1 score of boundaries: sharp edges, learned from the prediction itself.

    The boundary of a class is max3(1 - p) - (1 - p), with the softmax p and likewise with the label
    as 0 or 1: how much likelier the pixel is of the class than one of its eight neighbours. With
    max5 of a boundary as what lies within two pixels of it, precision is the share of the predicted
    boundary that is near a true one, recall that of the true boundary near a predicted one. The
    loss is the mean of 1 - 2 P R / (P + R) over images and classes that have a true boundary.
    Neighbours that are not valid make no boundary.

    Source: Bokhovkin, Burnaev, Boundary Loss for Remote Sensing Imagery Semantic Segmentation, ISNN
    2019, arXiv:1905.07852, with its window sizes 3 and 5. Differences from the paper: an image in
    which a class has no boundary does not count for it.

    Attributes:
        weight: Factor in the total loss.
        tolerance: Pixels that a predicted boundary may be off.
    """

    weight: float = 1.0
    tolerance: int = 2

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class."""
        mask = valid[..., None]
        classes = jnp.arange(logits.shape[-1])
        likely = jax.nn.softmax(jnp.where(mask, logits.astype(jnp.float32), 0.0))
        target = (batch["label"][..., None] == classes).astype(jnp.float32)

        def boundary(share: jax.Array) -> jax.Array:
            other = jnp.where(mask, 1 - share, 0.0)
            return jnp.where(mask, _largest_near(other, 1) - other, 0.0)

        predicted, true = boundary(likely), boundary(target)  # (B, H, W, K)
        precision = _share(predicted, _largest_near(true, self.tolerance))  # (B, K)
        recall = _share(true, _largest_near(predicted, self.tolerance))
        score = _over(2 * precision * recall, precision + recall)
        present = (true.sum((1, 2)) > 0).astype(jnp.float32)
        return _over((present * (1 - score)).sum(), present.sum())


def _largest_near(x: jax.Array, reach: int) -> jax.Array:
    """Maximum of the window of 2 reach + 1 rows and columns; x (B, H, W, K) must not be negative.

    Comparisons of shifted copies: the gradient of a sliding window is slow on CPUs, and that of
    `jnp.maximum` divides ties.
    """
    for axis in (1, 2):
        pads = [(0, 0)] * 4
        pads[axis] = (reach, reach)
        padded = jnp.pad(x, pads)
        for shift in range(2 * reach + 1):
            other = jax.lax.slice_in_dim(padded, shift, shift + x.shape[axis], axis=axis)
            x = jnp.where(x >= other, x, other)
    return x


def _share(boundary: jax.Array, near: jax.Array) -> jax.Array:
    """The part of a boundary that lies near another one, (B, H, W, K) -> (B, K)."""
    return _over((boundary * near).sum((1, 2)), boundary.sum((1, 2)))


def _over(part: jax.Array, whole: jax.Array) -> jax.Array:
    # Dividing by one keeps what is empty, and its gradient, finite.
    return part / jnp.where(whole > 0, whole, 1.0)


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
