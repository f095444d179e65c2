"""Losses that are a weighted mean over pixels, with class_weights[label] as the weight of a pixel.

Losses of whole regions (Dice and similar ones) are in `jaxseg.losses.regions`, that of boundaries
in `jaxseg.losses.edges`. A network of two classes has two logits, whose softmax is the sigmoid of
their difference. `class_weights` are numbers, or a rule of `jaxseg.losses.class_weights` that is
replaced by numbers measured on the training split when a run starts.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from jaxseg.errors import UserError
from jaxseg.losses.border_weights import Separation, reach
from jaxseg.losses.class_weights import ClassWeights, check_weights, weights_of
from jaxseg.losses.loss import (
    Unordered,
    check_between,
    in_float32,
    negative_log_likelihood,
    nth_largest,
    ordered_bits,
    over,
    targets,
)
from jaxseg.scenes.scene import Batch


class MeanOfPixels:
    """Base of losses that divide by a sum of weights which does not depend on the logits.

    Slices of a batch (`Config.accumulate`) then count as much as their weights, and together they
    have the gradient of the batch. A class derived from such a loss with another `__call__` does
    not inherit the promise.
    """

    class_weights: ClassWeights

    def total_weight(self, batch: Batch, valid: jax.Array) -> jax.Array:
        """What the mean divides by, () float32.

        Args:
            batch: As in the call.
            valid: (B, H, W) bool, as in the call.
        """
        return _label_weights(self.class_weights, batch, valid).sum()


@dataclasses.dataclass(frozen=True)
class CrossEntropy(MeanOfPixels, Unordered):
    """Pixel-wise cross-entropy, the mean of `class_weights[label] * -log softmax(logits)[label]`.

    The mean divides by the sum of the weights (PyTorch's `CrossEntropyLoss(weight, ignore_index,
    label_smoothing)`; Source: checked against its outputs, Szegedy et al. 2016 for the smoothing).

    Attributes:
        weight: Factor in the total loss.
        class_weights: One weight per class, or a rule; empty = all ones.
        label_smoothing: Share (0..1) of the target spread evenly over all classes.
    """

    weight: float = 1.0
    class_weights: ClassWeights = ()
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        """Rejects invalid weights, and a share outside 0..1."""
        check_weights(self.weight, self.class_weights)
        check_between("label_smoothing", self.label_smoothing, 0, 1)

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class."""
        logits, target = in_float32(logits), targets(logits, batch, valid)
        weights = _pixel_weights(self.class_weights, target, valid)
        pixel = weights * negative_log_likelihood(logits, target, valid)
        if self.label_smoothing:
            # As in PyTorch, each class of the even share is weighted by its class weight.
            per_class = weights_of(self.class_weights, logits.shape[-1])
            even = (per_class * -jax.nn.log_softmax(logits)).mean(-1)
            pixel = (1 - self.label_smoothing) * pixel + self.label_smoothing * even
        return _mean(pixel, weights, valid)


@dataclasses.dataclass(frozen=True)
class BinaryCrossEntropy(MeanOfPixels, Unordered):
    """One sigmoid per class against all others: for classes that are not mutually exclusive.

    The mean over pixels of `class_weights[label]` times the mean over classes of
    -t log s(x) - (1 - t) log(1 - s(x)), where s is the sigmoid and t is 1 for the pixel's class.
    Without class weights it is PyTorch's `BCEWithLogitsLoss` (Source: checked against its outputs).
    A single logit per pixel is that of class 1, the object, against class 0.

    Attributes:
        weight: Factor in the total loss.
        class_weights: One weight per class, or a rule; empty = all ones.
    """

    weight: float = 1.0
    class_weights: ClassWeights = ()

    def __post_init__(self) -> None:
        """Rejects invalid weights."""
        check_weights(self.weight, self.class_weights)

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class."""
        single = logits.shape[-1] == 1
        x = logits.astype(jnp.float32)
        target = targets(jnp.repeat(logits, 2, axis=-1) if single else logits, batch, valid)
        weights = _pixel_weights(self.class_weights, target, valid)
        against = target[..., 1:] if single else target
        pixel = (jax.nn.softplus(x) - jnp.where(against, x, 0.0)).mean(-1)
        return _mean(weights * pixel, weights, valid)


@dataclasses.dataclass(frozen=True)
class Focal(MeanOfPixels, Unordered):
    """Cross-entropy that down-weights easy pixels: the mean of -(1 - p)^gamma log p.

    p is the softmax at the label. Source: Lin et al., Focal Loss for Dense Object Detection, ICCV
    2017, arXiv:1708.02002, equation 5, whose alpha is `class_weights`. Differences: softmax instead
    of a sigmoid, and the mean divides by the sum of class weights, not by the number of objects.

    Attributes:
        weight: Factor in the total loss.
        class_weights: One weight per class, or a rule; empty = all ones.
        gamma: Strength of the down-weighting; 0 = cross-entropy.
    """

    weight: float = 1.0
    class_weights: ClassWeights = ()
    gamma: float = 2.0

    def __post_init__(self) -> None:
        """Rejects invalid weights and a negative gamma."""
        check_weights(self.weight, self.class_weights)
        check_between("gamma", self.gamma, 0, math.inf)

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class."""
        logits, target = in_float32(logits), targets(logits, batch, valid)
        weights = _pixel_weights(self.class_weights, target, valid)
        nll = negative_log_likelihood(logits, target, valid)
        # For gamma < 1 the slope at p = 1 is unbounded, so 1 - p is limited to 1e-7 from below.
        missed = jnp.maximum(-jnp.expm1(-nll), 1e-7)
        return _mean(weights * missed**self.gamma * nll, weights, valid)


@dataclasses.dataclass(frozen=True)
class HardPixelCrossEntropy(Unordered):
    """Online hard example mining: cross-entropy over the pixels with the largest loss (top-k).

    Of all valid pixels of the batch, only the share `fraction` with the largest -log p of the label
    counts, including all ties with the smallest of these. Class weights weight the selected pixels
    but do not affect the selection. Source: Wu, Shen, van den Hengel, Bridging Category-level and
    Instance-level Semantic Image Segmentation, 2016, arXiv:1605.06885, section 3.2, with a share
    instead of a number of pixels.

    The threshold is found without a sort, see `jaxseg.losses.loss.nth_largest`.

    Attributes:
        weight: Factor in the total loss.
        class_weights: One weight per class, or a rule; empty = all ones.
        fraction: Share (0..1] of the valid pixels that are used; 1 = cross-entropy.
    """

    weight: float = 1.0
    class_weights: ClassWeights = ()
    fraction: float = 0.25

    def __post_init__(self) -> None:
        """Rejects invalid weights, and a share that is 0 or outside 0..1."""
        check_weights(self.weight, self.class_weights)
        check_between("fraction", self.fraction, 0, 1, above=True)

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class."""
        logits, target = in_float32(logits), targets(logits, batch, valid)
        nll = negative_log_likelihood(logits, target, valid)
        wanted = jnp.ceil(self.fraction * valid.sum()).astype(jnp.int32)
        bits = ordered_bits(nll)
        hard = valid & (bits >= nth_largest(bits, valid[..., None], wanted[None])[0])
        weights = jnp.where(hard, _pixel_weights(self.class_weights, target, valid), 0.0)
        return _mean(weights * nll, weights, valid)


@dataclasses.dataclass(frozen=True)
class SymmetricCrossEntropy(MeanOfPixels, Unordered):
    """For labels that are partly wrong: alpha CE + beta RCE, with RCE = -sum_k p_k log t_k.

    The reverse term uses `log_zero` for log 0, so it is -log_zero (1 - p of the label), which
    bounds the cost of a wrong label. Source: Wang et al., Symmetric Cross Entropy for Robust
    Learning with Noisy Labels, ICCV 2019, arXiv:1908.06112, equations 4 to 7, with its CIFAR-10
    values.

    Attributes:
        weight: Factor in the total loss.
        class_weights: One weight per class, or a rule; empty = all ones.
        alpha: Factor of the cross-entropy.
        beta: Factor of the reverse cross-entropy.
        log_zero: Value used for the logarithm of 0.
    """

    weight: float = 1.0
    class_weights: ClassWeights = ()
    alpha: float = 0.1
    beta: float = 1.0
    log_zero: float = -4.0

    def __post_init__(self) -> None:
        """Rejects invalid weights, negative factors and a positive logarithm of 0."""
        check_weights(self.weight, self.class_weights)
        check_between("alpha", self.alpha, 0, math.inf)
        check_between("beta", self.beta, 0, math.inf)
        check_between("log_zero", self.log_zero, -math.inf, 0)

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class."""
        logits, target = in_float32(logits), targets(logits, batch, valid)
        weights = _pixel_weights(self.class_weights, target, valid)
        nll = negative_log_likelihood(logits, target, valid)
        reverse = -self.log_zero * -jnp.expm1(-nll)
        return _mean(weights * (self.alpha * nll + self.beta * reverse), weights, valid)


@dataclasses.dataclass(frozen=True)
class EdgeWeightedCrossEntropy(MeanOfPixels, Unordered):
    """The U-Net's cross-entropy, w(x) = wc(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2)).

    d1 and d2 are the distances in pixels to the nearest and second nearest object, so that the thin
    gaps between touching objects have the largest weight; wc balances the classes. The mean divides
    by the sum of the weights, so that learning rates stay comparable. Source: Ronneberger, Fischer,
    Brox, MICCAI 2015, equation 2.

    Attributes:
        weight: Factor in the total loss.
        class_weights: wc, one per class, or a rule; empty = all ones.
        w0: Height of the border term.
        sigma: Width of the border term in pixels.
    """

    weight: float = 1.0
    class_weights: ClassWeights = ()
    w0: float = 10.0
    sigma: float = 5.0

    def __post_init__(self) -> None:
        """Rejects invalid weights, and a border without width."""
        check_weights(self.weight, self.class_weights)
        check_between("w0", self.w0, 0, math.inf)
        check_between("sigma", self.sigma, 0, math.inf, above=True)

    @property
    def needs(self) -> tuple[Separation, ...]:
        """d1 + d2, up to where the border term becomes negligible."""
        return (Separation(reach(self.w0, self.sigma)),)

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class.

        Raises:
            UserError: The batch has no `separation`.
        """
        if "separation" not in batch:
            raise UserError(
                "EdgeWeightedCrossEntropy needs d1 + d2 of every pixel, `separation` in the batch: "
                "its property `needs` computes it, and training passes that to the pipeline."
            )
        logits, target = in_float32(logits), targets(logits, batch, valid)
        weights = _pixel_weights(self.class_weights, target, valid) + self._border(batch, valid)
        nll = negative_log_likelihood(logits, target, valid)
        return _mean(weights * nll, weights, valid)

    def total_weight(self, batch: Batch, valid: jax.Array) -> jax.Array:
        """See `MeanOfPixels`."""
        return super().total_weight(batch, valid) + self._border(batch, valid).sum()

    def _border(self, batch: Batch, valid: jax.Array) -> jax.Array:
        border = self.w0 * jnp.exp(-(batch["separation"] ** 2) / (2 * self.sigma**2))
        return jnp.where(valid, border, 0.0)


def _label_weights(class_weights: ClassWeights, batch: Batch, valid: jax.Array) -> jax.Array:
    """`_pixel_weights` without logits."""
    of_class = batch["label"][..., None] == jnp.arange(len(class_weights))
    return _pixel_weights(class_weights, of_class & valid[..., None], valid)


def _pixel_weights(class_weights: ClassWeights, target: jax.Array, valid: jax.Array) -> jax.Array:
    """(B, H, W): the weight of each pixel's class, 0 where invalid."""
    if not class_weights:
        return valid.astype(jnp.float32)
    return jnp.where(target, weights_of(class_weights, target.shape[-1]), 0.0).sum(-1)


def _mean(pixel: jax.Array, weights: jax.Array, valid: jax.Array) -> jax.Array:
    # Without valid pixels, or if all weights are 0, the mean is 0.
    total = weights.sum()
    mean = over(jnp.where(valid, pixel, 0.0).sum(), total)
    return jnp.where(total > 0, mean, 0.0)
