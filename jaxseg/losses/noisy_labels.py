"""Losses that choose which labels to trust, with two networks that check each other.

They are for `jaxseg.models.two_networks.TwoNetworks(answer="first")`. The step puts the logits of
the second network into the batch as `second_logits`, and the completed share (0..1) of the run as
`progress`. No gradient flows through selections. Shapes and conventions: `jaxseg.losses.loss`;
`jaxseg.losses.pixels.SymmetricCrossEntropy` is robust to wrong labels too and needs one network.
"""

import dataclasses

import jax
import jax.numpy as jnp

from jaxseg.errors import UserError
from jaxseg.losses.loss import (
    check_between,
    in_float32,
    negative_log_likelihood,
    nth_largest,
    ordered_bits,
    over,
    targets,
)
from jaxseg.scenes.scene import Batch


@dataclasses.dataclass(frozen=True)
class CoTeaching:
    """Each network learns from the labels that the other one trusts.

    Networks learn wrong labels late. If `forget` is a number, each network is trained on the share
    R of the batch's valid pixels for which the other network has the smallest cross-entropy; R
    falls from 1 to 1 - `forget` between the shares `start` and `ramp` of the run. A class that is
    rare, or whose labels are mostly wrong, may be left out entirely and is then never learned.

    If `forget` is None, the other network's probability of the label has to reach its mean over the
    batch's pixels of that label (multiplied by a factor that grows from 0 to 1 over the same part
    of the run): no class is left out, and the share of wrong labels need not be known.

    Source: Han et al., Co-teaching, NeurIPS 2018, arXiv:1804.06872, algorithm 1, on pixels; the
    thresholds are those of Northcutt, Jiang, Chuang, Confident Learning, JAIR 2021,
    arXiv:1911.00068, computed on a batch instead of a dataset. Differences: the paper leaves out
    labels from the first step, so `start` is our addition, and so is co-teaching by confident
    learning. The authors' code of co-teaching divides the mean by the count once more; this loss
    does not.

    Attributes:
        weight: Factor in the total loss.
        forget: Share (0..1) of the pixels left out in the end, about the share of wrong labels;
            None = pixels below the mean probability of their class.
        ramp: Share (0..1] of the run after which the full share is left out.
        start: Share [0..1) of the run during which nothing is left out: networks at an early stage
            would leave out difficult labels instead of wrong ones.
    """

    weight: float = 1.0
    forget: float | None = None
    ramp: float = 0.2
    start: float = 0.0

    def __post_init__(self) -> None:
        """Rejects shares outside 0..1."""
        check_between("weight", self.weight, 0, float("inf"))
        if self.forget is not None:
            check_between("forget", self.forget, 0, 1)
        check_between("ramp", self.ramp, 0, 1, above=True)
        check_between("start", self.start, 0, 1)
        if self.start >= self.ramp:
            raise UserError(f"start {self.start} must be below ramp {self.ramp}.")

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class; the sum of both networks' losses."""
        target = targets(logits, batch, valid)
        losses = [
            negative_log_likelihood(answer, target, valid) for answer in _answers(logits, batch)
        ]
        part = jnp.clip((batch["progress"] - self.start) / (self.ramp - self.start), 0.0, 1.0)
        total: jax.Array = jnp.float32(0)
        for own, other in (losses, losses[::-1]):
            easy = valid & self._easy(jax.lax.stop_gradient(other), target, valid, part)
            total += over(jnp.where(easy, own, 0.0).sum(), easy.sum().astype(jnp.float32))
        return total

    def _easy(
        self, loss: jax.Array, target: jax.Array, valid: jax.Array, part: jax.Array
    ) -> jax.Array:
        """(B, H, W) bool: the labels that one network trusts."""
        if self.forget is not None:
            wanted = jnp.ceil((1 - self.forget * part) * valid.sum()).astype(jnp.int32)
            return loss <= _smallest(loss, valid, wanted)
        believed = jnp.exp(-loss)
        each = jnp.where(target, believed[..., None], 0.0).sum((0, 1, 2))  # (K,)
        mean = over(each, target.sum((0, 1, 2)).astype(jnp.float32))
        return believed >= part * jnp.where(target, mean, 0.0).sum(-1)


@dataclasses.dataclass(frozen=True)
class CrossModalSelection:
    """The networks of two sensors weight each label by how much both trust it.

    For each sensor d, c_d is the probability of the label and u_d = 1 - entropy / log K the
    confidence of the prediction. Both are combined: c~_d = (c_d + c_1 c_2) / 2, likewise u~. In
    each class the top share r of c~ has weight 1, r = 1 - progress / ramp (1 - rho), and pixels
    below the threshold have weight c~ / threshold. The loss of each sensor is the weighted mean of
    its cross-entropy. The consistency term is the cross-entropy to the other sensor's prediction;
    its weight changes from 1 to the other sensor's u~ during the ramp.

    Source: Liu et al., CromSS: Cross-modal pre-training with noisy labels, IEEE TGRS 2025,
    arXiv:2405.01217. Differences: labels are not smoothed with a prior.

    Attributes:
        weight: Factor in the total loss.
        rho: Share (0..1] of each class that has weight 1 in the end.
        ramp: Share (0..1] of the run over which it falls to `rho`.
        consistency: Factor of the consistency term.
    """

    weight: float = 1.0
    rho: float = 0.5
    ramp: float = 0.5
    consistency: float = 0.5

    def __post_init__(self) -> None:
        """Rejects shares outside 0..1."""
        check_between("weight", self.weight, 0, float("inf"))
        check_between("rho", self.rho, 0, 1, above=True)
        check_between("ramp", self.ramp, 0, 1, above=True)
        check_between("consistency", self.consistency, 0, float("inf"))

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class; the sum of both sensors' losses."""
        answers = _answers(logits, batch)
        target = targets(answers[0], batch, valid)
        constants = [jax.lax.stop_gradient(jax.nn.softmax(answer)) for answer in answers]
        believed = [jnp.where(target, p, 0.0).sum(-1) for p in constants]
        sure = [_confidence(p) for p in constants]
        part = jnp.minimum(batch["progress"] / self.ramp, 1.0)
        keep = 1 - part * (1 - self.rho)
        total: jax.Array = jnp.float32(0)
        for own in (0, 1):
            answer, other = answers[own], constants[1 - own]
            label_trust = (believed[own] + believed[0] * believed[1]) / 2
            weight = _class_weights(label_trust, target, keep)
            loss = negative_log_likelihood(answer, target, valid)
            total += over((weight * loss).sum(), weight.sum())
            if self.consistency:
                trust = (sure[1 - own] + sure[0] * sure[1]) / 2
                trust = jnp.where(valid, 1 - part + part * trust, 0.0)
                follow = -(other * jax.nn.log_softmax(answer)).sum(-1)
                total += self.consistency * over((trust * follow).sum(), trust.sum())
        return total


def _answers(logits: jax.Array, batch: Batch) -> list[jax.Array]:
    if "second_logits" not in batch:
        raise UserError(
            "This loss needs two networks. Use "
            'TwoNetworks(network=..., answer="first") of jaxseg.models.two_networks as the model.'
        )
    return [in_float32(logits), in_float32(batch["second_logits"])]


def _confidence(probability: jax.Array) -> jax.Array:
    """(B, H, W): 1 - entropy / log K."""
    entropy = -(probability * jnp.log(jnp.maximum(probability, 1e-12))).sum(-1)
    return 1 - entropy / jnp.log(float(probability.shape[-1]))


def _class_weights(trust: jax.Array, target: jax.Array, keep: jax.Array) -> jax.Array:
    """(B, H, W): 1 for the top share `keep` of each class, else trust / threshold; invalid 0."""
    count = target.sum((0, 1, 2))  # (K,)
    wanted = jnp.ceil(keep * count).astype(jnp.int32)
    threshold = _thresholds(trust, target, wanted)  # (K,)
    own = jnp.where(target, threshold, 0.0).sum(-1)
    return jnp.where(target.any(-1), jnp.clip(over(trust, own), 0.0, 1.0), 0.0)


def _smallest(values: jax.Array, valid: jax.Array, wanted: jax.Array) -> jax.Array:
    """The largest of the `wanted` smallest valid values, which must not be negative: ()."""
    count = valid.sum().astype(jnp.int32)
    return _thresholds(values, valid[..., None], (count - wanted + 1)[None])[0]


def _thresholds(values: jax.Array, target: jax.Array, wanted: jax.Array) -> jax.Array:
    """(K,) the `wanted`-th largest of each class's values, which must not be negative."""
    bits = nth_largest(ordered_bits(values), target, wanted)
    return jax.lax.bitcast_convert_type(bits, jnp.float32)
