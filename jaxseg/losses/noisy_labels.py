"""Losses that choose which labels to believe, with two networks that watch each other.

They are for `jaxseg.models.two_networks.TwoNetworks(answer="first")`, whose second answer the step
puts into the batch as `second_logits`, beside `progress`, the part (0..1) of the run that is done.
Selections are constants to the gradient. Shapes and conventions: `jaxseg.losses.loss`;
`SymmetricCrossEntropy` there withstands wrong labels too and needs one network only.
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
    """Each network learns from the labels that the other one believes.

    Labels that are wrong are learned late. With a number as `forget`, the share R of the batch's
    valid pixels with the smallest cross-entropy of one network is what the other is trained on; R
    falls from 1 to 1 - `forget` between the parts `start` and `ramp` of the run. A class that is
    rare, or whose labels are mostly wrong, may be left out whole and is never learned then.

    With None, one network's probability of the label has to reach the mean that it has over the
    batch's pixels of that label (a part of it that grows from 0 to 1 meanwhile): no class is left
    out, and nobody has to know how many labels are wrong.

    Source: Han et al., Co-teaching, NeurIPS 2018, arXiv:1804.06872, algorithm 1, on pixels; the
    thresholds are those of Northcutt, Jiang, Chuang, Confident Learning, JAIR 2021,
    arXiv:1911.00068, of a batch in place of a data set. Differences: the paper starts to leave out
    at once, `start` is ours, and so is co-teaching by confident learning. Where the authors' code
    of co-teaching divides the mean by the count once more, this does not.

    Attributes:
        weight: Factor in the total loss.
        forget: Share (0..1) of the pixels left out in the end, about the share of wrong labels;
            None = what is below its class's mean probability.
        ramp: Part (0..1] of the run at which all of it is left out.
        start: Part [0..1) of the run until which nothing is: networks that know little yet leave
            out what is difficult, not what is wrong.
    """

    weight: float = 1.0
    forget: float | None = None
    ramp: float = 0.2
    start: float = 0.0

    def __post_init__(self) -> None:
        """Refuses shares outside of 0..1."""
        check_between("weight", self.weight, 0, float("inf"))
        if self.forget is not None:
            check_between("forget", self.forget, 0, 1)
        check_between("ramp", self.ramp, 0, 1, above=True)
        check_between("start", self.start, 0, 1)
        if self.start >= self.ramp:
            raise UserError(f"start {self.start} has to be below ramp {self.ramp}.")

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
        """(B, H, W) bool: what one network believes."""
        if self.forget is not None:
            wanted = jnp.ceil((1 - self.forget * part) * valid.sum()).astype(jnp.int32)
            return loss <= _smallest(loss, valid, wanted)
        believed = jnp.exp(-loss)
        each = jnp.where(target, believed[..., None], 0.0).sum((0, 1, 2))  # (K,)
        mean = over(each, target.sum((0, 1, 2)).astype(jnp.float32))
        return believed >= part * jnp.where(target, mean, 0.0).sum(-1)


@dataclasses.dataclass(frozen=True)
class CrossModalSelection:
    """Two sensors' networks weigh each label by how much both believe it.

    For each sensor d, c_d is the probability of the label and u_d = 1 - entropy / log K the
    confidence of the prediction. Both look at each other: c~_d = (c_d + c_1 c_2) / 2, likewise u~.
    In each class the top share r of c~ is kept whole, r = 1 - progress / ramp (1 - rho), and what
    is below the threshold weighs c~ / threshold. So the loss of each sensor is the weighted mean of
    its cross-entropy; consistency is the cross-entropy to the other sensor's prediction, weighted
    by that one's u~, which replaces 1 while ramping.

    Source: Liu et al., CromSS: Cross-modal pre-training with noisy labels, IEEE TGRS 2025,
    arXiv:2405.01217. Differences: labels are not smoothed with a prior.

    Attributes:
        weight: Factor in the total loss.
        rho: Share (0..1] of each class that is kept whole in the end.
        ramp: Part (0..1] of the run over which the share falls.
        consistency: Factor of the consistency.
    """

    weight: float = 1.0
    rho: float = 0.5
    ramp: float = 0.5
    consistency: float = 0.5

    def __post_init__(self) -> None:
        """Refuses shares outside of 0..1."""
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
    """(B, H, W): 1 for the top share `keep` of each class, trust / threshold below; 0 invalid."""
    count = target.sum((0, 1, 2))  # (K,)
    wanted = jnp.ceil(keep * count).astype(jnp.int32)
    threshold = _thresholds(trust, target, wanted)  # (K,)
    own = jnp.where(target, threshold, 0.0).sum(-1)
    return jnp.where(target.any(-1), jnp.clip(over(trust, own), 0.0, 1.0), 0.0)


def _smallest(values: jax.Array, valid: jax.Array, wanted: jax.Array) -> jax.Array:
    """The largest of the `wanted` smallest valid values, none of which is negative: ()."""
    count = valid.sum().astype(jnp.int32)
    return _thresholds(values, valid[..., None], (count - wanted + 1)[None])[0]


def _thresholds(values: jax.Array, target: jax.Array, wanted: jax.Array) -> jax.Array:
    """(K,) the `wanted`-th largest of the values of each class, none of which is negative."""
    bits = nth_largest(ordered_bits(values), target, wanted)
    return jax.lax.bitcast_convert_type(bits, jnp.float32)
