"""Losses of whole regions: the overlap of each class, not a count of pixels.

With p the softmax and t = 1 at a pixel's class (else 0), summed over valid pixels for each class:

    I = sum p t      P = sum p      T = sum t          overlap, predicted, true
    Dice     2 I / (P + T)                             Tversky   I / (I + a (P - I) + b (T - I))
    Jaccard  I / (P + T - I)                           a = b = 1/2: Dice; a = b = 1: Jaccard

The sums are over each image or the whole batch. Contract and conventions: `jaxseg.losses.loss`.
"""

import dataclasses
import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.losses.class_weights import ClassWeights, check_weights, weights_of
from jaxseg.losses.loss import Unordered, check_between, in_float32, over, targets
from jaxseg.scenes.scene import Batch

Regions = Literal["batch", "image"]
"""What the sums of a region loss are taken over."""


@dataclasses.dataclass(frozen=True)
class Dice(Unordered):
    """One minus the soft Dice score (2 I + s1) / (P + T + s2), the mean over classes.

    Source: Milletari, Navab, Ahmadi, V-Net, 3DV 2016, arXiv:1606.04797, with plain instead of
    squared sums. Equivalents of published losses, checked against their formulas:

    - brain-segmentation-pytorch, the padded U-Net, whose sigmoid is a softmax of two classes and
      whose Dice is that of the object: `Dice(class_weights=(0, 1), absent=True)`.
    - Oktay's Attention U-Net, 2 (I + 0.01) / (P + T + 0.01) for each image and class:
      `Dice(regions="image", smooth=(0.02, 0.01), absent=True)`.

    Attributes:
        weight: Factor in the total loss.
        class_weights: One weight per class in the mean, or a rule; empty = all ones.
        regions: Whether sums are over the batch, or over each image with a mean over images.
        smooth: s1 and s2, in pixels, added to numerator and denominator.
        absent: Whether classes without a true pixel in a region are included in the mean.
    """

    weight: float = 1.0
    class_weights: ClassWeights = ()
    regions: Regions = "batch"
    smooth: tuple[float, float] = (1.0, 1.0)
    absent: bool = False

    def __post_init__(self) -> None:
        """Rejects invalid weights and a negative smooth."""
        check_weights(self.weight, self.class_weights)
        _check_smooth(self.smooth)

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class."""
        sums = _sums(logits, batch, valid, self.regions)
        above, below = self.smooth
        score = over(2 * sums.met + above, sums.predicted + sums.true + below)
        return _class_mean(1 - score, sums, self.class_weights, absent=self.absent)


@dataclasses.dataclass(frozen=True)
class GeneralisedDice(Unordered):
    """One minus 2 sum_k w_k I_k / sum_k w_k (P_k + T_k), with w_k = 1 / T_k^2 for small classes.

    Source: Sudre et al., Generalised Dice overlap, DLMIA 2017, arXiv:1707.03237. A class without a
    true pixel, whose weight would be infinite, is left out.

    Attributes:
        weight: Factor in the total loss.
        class_weights: A further factor of w_k for each class, or a rule; empty = all ones.
        regions: Whether sums are over the batch, or over each image with a mean over images.
    """

    weight: float = 1.0
    class_weights: ClassWeights = ()
    regions: Regions = "batch"

    def __post_init__(self) -> None:
        """Rejects invalid weights."""
        check_weights(self.weight, self.class_weights)

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class."""
        sums = _sums(logits, batch, valid, self.regions)
        factors = weights_of(self.class_weights, logits.shape[-1])
        weights = jnp.where(sums.true > 0, factors, 0.0) / jnp.maximum(sums.true, 1.0) ** 2
        whole = (weights * (sums.predicted + sums.true)).sum(-1)  # (N,)
        loss = 1 - over(2 * (weights * sums.met).sum(-1), whole)
        counted = (whole > 0).astype(jnp.float32)
        return over((counted * loss).sum(), counted.sum())


@dataclasses.dataclass(frozen=True)
class Jaccard(Unordered):
    """One minus the soft intersection over union (I + s1) / (P + T - I + s2), mean over classes.

    Source: Rahman, Wang, Optimizing Intersection-Over-Union in Deep Neural Networks for Image
    Segmentation, ISVC 2016.

    Attributes:
        weight: Factor in the total loss.
        class_weights: One weight per class in the mean, or a rule; empty = all ones.
        regions: Whether sums are over the batch, or over each image with a mean over images.
        smooth: s1 and s2, in pixels, added to numerator and denominator.
        absent: Whether classes without a true pixel in a region are included in the mean.
    """

    weight: float = 1.0
    class_weights: ClassWeights = ()
    regions: Regions = "batch"
    smooth: tuple[float, float] = (1.0, 1.0)
    absent: bool = False

    def __post_init__(self) -> None:
        """Rejects invalid weights and a negative smooth."""
        check_weights(self.weight, self.class_weights)
        _check_smooth(self.smooth)

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class."""
        sums = _sums(logits, batch, valid, self.regions)
        above, below = self.smooth
        score = over(sums.met + above, sums.predicted + sums.true - sums.met + below)
        return _class_mean(1 - score, sums, self.class_weights, absent=self.absent)


@dataclasses.dataclass(frozen=True)
class Tversky(Unordered):
    """(1 - TI)^(1 / gamma), the mean over classes: separate costs for false alarms and misses.

    TI = (I + s1) / (I + alpha (P - I) + beta (T - I) + s2). Source: Salehi, Erdogmus, Gholipour,
    MLMI 2017, arXiv:1706.05721. With gamma above 1 it is the focal Tversky loss, which emphasizes
    hard regions: Abraham, Khan, ISBI 2019, arXiv:1810.07842, where alpha and beta are exchanged
    and gamma is 4/3.

    Attributes:
        weight: Factor in the total loss.
        class_weights: One weight per class in the mean, or a rule; empty = all ones.
        alpha: Cost of false alarms: predicted but not true.
        beta: Cost of misses: true but not predicted.
        gamma: 1 = Tversky; 1 to 3 = focal Tversky.
        regions: Whether sums are over the batch, or over each image with a mean over images.
        smooth: s1 and s2, in pixels, added to numerator and denominator.
        absent: Whether classes without a true pixel in a region are included in the mean.
    """

    weight: float = 1.0
    class_weights: ClassWeights = ()
    alpha: float = 0.3
    beta: float = 0.7
    gamma: float = 1.0
    regions: Regions = "batch"
    smooth: tuple[float, float] = (1.0, 1.0)
    absent: bool = False

    def __post_init__(self) -> None:
        """Rejects invalid weights, negative costs and a gamma below 1."""
        check_weights(self.weight, self.class_weights)
        check_between("alpha", self.alpha, 0, math.inf)
        check_between("beta", self.beta, 0, math.inf)
        check_between("gamma", self.gamma, 1, math.inf)
        _check_smooth(self.smooth)

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class."""
        sums = _sums(logits, batch, valid, self.regions)
        above, below = self.smooth
        alarms = self.alpha * (sums.predicted - sums.met)
        misses = self.beta * (sums.true - sums.met)
        loss = 1 - over(sums.met + above, sums.met + alarms + misses + below)
        if self.gamma > 1:
            # The slope of a root at 0 is unbounded, so the loss is limited to 1e-6 from below.
            loss = jnp.maximum(loss, 1e-6) ** (1 / self.gamma)
        return _class_mean(loss, sums, self.class_weights, absent=self.absent)


@dataclasses.dataclass(frozen=True)
class LovaszSoftmax(Unordered):
    """The Lovasz extension of one minus the intersection over union, the mean over true classes.

    The errors of a class, 1 - p at its pixels and p elsewhere, are sorted in descending order, and
    each is multiplied by the increase of 1 - IoU if it and all larger errors are mistakes. Source:
    Berman, Rannen Triki, Blaschko, CVPR 2018, arXiv:1705.08790, equations 8 to 9 and algorithm 1;
    classes without a true pixel are left out, as in the authors' code.

    Sorting the pixels of a region for each class costs several times as much as other losses on a
    CPU, and with `regions="batch"` devices exchange all probabilities. `regions="image"` avoids the
    exchange.

    Attributes:
        weight: Factor in the total loss.
        class_weights: One weight per class in the mean, or a rule; empty = all ones.
        regions: Whether pixels are ranked over the batch or within each image.
    """

    weight: float = 1.0
    class_weights: ClassWeights = ()
    regions: Regions = "batch"

    def __post_init__(self) -> None:
        """Rejects invalid weights."""
        check_weights(self.weight, self.class_weights)

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class."""
        target = targets(logits, batch, valid)
        likely = jax.nn.softmax(in_float32(logits))
        error = jnp.where(target, 1 - likely, likely)
        count = 1 if self.regions == "batch" else logits.shape[0]

        def ranked(array: jax.Array) -> jax.Array:  # (B, H, W, K) -> (N, K, pixels)
            return jnp.moveaxis(array.reshape(count, -1, array.shape[-1]), 1, 2)

        seen = jnp.broadcast_to(valid[..., None], error.shape)
        error, true = ranked(jnp.where(seen, error, 0.0)), ranked(target)
        # Non-negative floats have the order of their bits. Invalid pixels come last, where they do
        # not change the rank of others.
        bits = jax.lax.bitcast_convert_type(jax.lax.stop_gradient(error), jnp.int32)
        last = 2**31 - 1
        share = _jaccard_steps(jnp.where(ranked(seen), last - 1 - bits, last), true)
        total = true.sum(-1)
        loss = (error * share).sum(-1)  # (N, K)
        weights = jnp.where(total > 0, weights_of(self.class_weights, logits.shape[-1]), 0.0)
        return over((weights * loss).sum(), weights.sum())


def _jaccard_steps(key: jax.Array, true: jax.Array) -> jax.Array:
    """The increase of 1 - IoU by each pixel in the order of the keys, (N, K, pixels)."""
    place = jax.lax.broadcasted_iota(jnp.int32, key.shape, 2)
    coded = jax.lax.platform_dependent(
        key, 2 * place + true, cpu=_sorted_as_one, default=_sorted_beside
    )
    truth = coded & 1
    left = true.sum(-1, keepdims=True, dtype=jnp.int32) - jnp.cumsum(truth, -1)
    union = left + place + 1  # remaining true pixels plus all mistakes so far
    loss = 1 - left / union
    steps = jnp.diff(loss, axis=-1, prepend=0.0)
    back: jax.Array = jax.lax.platform_dependent(
        coded >> 1, steps, cpu=_put, default=_sorted_beside
    )
    return back


def _sorted_beside(key: jax.Array, values: jax.Array) -> jax.Array:
    """Values in the order of their keys; on accelerators faster than a gather."""
    return jax.lax.sort((key, values), dimension=2, num_keys=1)[1]


def _sorted_as_one(key: jax.Array, values: jax.Array) -> jax.Array:
    """The same on a CPU, which sorts one array five times faster than two together.

    Args:
        key: (N, K, pixels) int32, not negative.
        values: (N, K, pixels) int32, not negative; they break ties of the keys.
    """
    with jax.enable_x64(True):
        both = (key.astype(jnp.int64) << 32) | values.astype(jnp.int64)
        return jax.lax.sort(both, dimension=2, is_stable=False).astype(jnp.int32)


def _put(place: jax.Array, values: jax.Array) -> jax.Array:
    """Values at their places in the last axis."""
    return jnp.put_along_axis(jnp.zeros_like(values), place, values, axis=2, inplace=False)


class _Sums(NamedTuple):
    """I, P and T of every region and class, (N, K), and whether a region has a valid pixel."""

    met: jax.Array
    predicted: jax.Array
    true: jax.Array
    counted: jax.Array  # (N, 1) bool


def _sums(logits: jax.Array, batch: Batch, valid: jax.Array, regions: Regions) -> _Sums:
    target = targets(logits, batch, valid)
    likely = jnp.where(valid[..., None], jax.nn.softmax(in_float32(logits)), 0.0)
    axes = (1, 2) if regions == "image" else (0, 1, 2)

    def total(array: jax.Array) -> jax.Array:
        return array.sum(axes, dtype=jnp.float32).reshape(-1, array.shape[-1])

    return _Sums(
        met=total(jnp.where(target, likely, 0.0)),
        predicted=total(likely),
        true=total(target),
        counted=total(valid[..., None]) > 0,
    )


def _class_mean(
    loss: jax.Array, sums: _Sums, class_weights: ClassWeights, *, absent: bool
) -> jax.Array:
    """The weighted mean of (N, K) over the classes of all regions that are included."""
    counted = sums.counted if absent else sums.true > 0
    weights = jnp.where(counted, weights_of(class_weights, loss.shape[-1]), 0.0)
    return over((weights * loss).sum(), weights.sum())


def _check_smooth(smooth: tuple[float, float]) -> None:
    for value in smooth:
        check_between("smooth", value, 0, math.inf)
