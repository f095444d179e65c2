"""Losses of a network that learns new classes and shall not forget the old ones.

Class 0 is the background, 1 to K - 1 are old, K to K + N - 1 are new. The teacher is the network of
the K old classes; it sees the images of the network that is trained (`Config.incremental`). Labels
know new classes only, so background means "background or old" to the labels, and "background or
new" to the teacher. With logits z of the network, q the teacher's probabilities and
lse = log sum exp:

    labels    log p'(0) = lse(z_0 .. z_{K-1}) - lse(z),     log p'(c) = z_c - lse(z) for new c
    teacher   log p'(0) = lse(z_0, z_K .. ) - lse(z),       log p'(k) = z_k - lse(z) for old k

Source: Cermelli et al., Modeling the Background for Incremental Learning in Semantic Segmentation
(MiB), CVPR 2020, arXiv:2002.00718, and Douillard et al., PLOP: Learning without Forgetting for
Continual Semantic Segmentation, CVPR 2021, arXiv:2011.11390. Checked against the outputs of
fcdl94/MiB and arthurdouillard/CVPR2021_PLOP: the three losses agree to 2e-7. PLOP's labels by the
old network are `jaxseg.losses.pseudo_labels`.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from jaxseg.errors import UserError
from jaxseg.losses.distillation import valid_on_grid
from jaxseg.losses.loss import OfTheWhole, check_between, in_float32, over, targets
from jaxseg.scenes.scene import Batch

SCALES = (1, 2, 4)
"""Parts along each side into which Local POD cuts a map."""


@dataclasses.dataclass(frozen=True)
class UnbiasedCrossEntropy:
    """Cross-entropy to which background means "background or old": the mean of -log p'(label).

    Labels of old classes, if there are any, count as background.

    Attributes:
        weight: Factor in the total loss.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        """Rejects a negative weight."""
        check_between("weight", self.weight, 0, math.inf)

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class."""
        return unbiased_cross_entropy(logits, batch, valid, old=old_classes(logits, batch))


def unbiased_cross_entropy(
    logits: jax.Array, batch: Batch, valid: jax.Array, *, old: int
) -> jax.Array:
    """The mean of -log p'(label) over valid pixels.

    Args:
        logits: (B, H, W, K + N).
        batch: Holds `label`.
        valid: (B, H, W) bool.
        old: K.
    """
    logits = in_float32(logits)
    new = jnp.where(targets(logits, batch, valid), logits, 0.0)[..., old:].sum(-1)
    either = jax.nn.logsumexp(logits[..., :old], -1)
    log_p = jnp.where(batch["label"] >= old, new, either) - jax.nn.logsumexp(logits, -1)
    return over(-jnp.where(valid, log_p, 0.0).sum(), valid.sum())


@dataclasses.dataclass(frozen=True)
class UnbiasedDistillation(OfTheWhole):
    """The old network's probabilities, to which new classes are background.

    The mean over all pixels with data, labelled or not, of -(1/K) sum_k q_k log p'_k.

    Attributes:
        weight: Factor in the total loss; 10 for Pascal VOC and 100 for ADE20K in the paper.
    """

    weight: float = 10.0

    def __post_init__(self) -> None:
        """Rejects a negative weight."""
        check_between("weight", self.weight, 0, math.inf)

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class."""
        logits, old = in_float32(logits), old_classes(logits, batch)
        probabilities = jax.lax.stop_gradient(jax.nn.softmax(batch["teacher_logits"]))
        either = jnp.concatenate((logits[..., :1], logits[..., old:]), -1)
        background = jax.nn.logsumexp(either, -1, keepdims=True)
        log_p = jnp.concatenate((background, logits[..., 1:old]), -1)
        log_p -= jax.nn.logsumexp(logits, -1, keepdims=True)
        pixel = -(probabilities * log_p).sum(-1) / old
        mask = batch["valid"]
        return over(jnp.where(mask, pixel, 0.0).sum(), mask.sum())


@dataclasses.dataclass(frozen=True)
class LocalPOD(OfTheWhole):
    """Features whose means along rows and columns of their parts stay what they were.

    Of each map squared, cut into s x s parts for s = 1, 2, 4, the means of the rows and of the
    columns of every part form one vector; the term of a map is the length of the difference of
    these vectors of network and teacher, averaged over images. Maps are the outputs of `layers`,
    and the logits, where new classes are added to the background. The terms are averaged over maps
    and multiplied by sqrt((K + N) / N).

    As in the authors' code, the length is not squared (in the paper it is), and rows and columns
    that remain where a side is not a multiple of s are left out. Ours: places without data are 0.

    Attributes:
        layers: Paths of modules, as in `Distillation`.
        features: Factor of each of them.
        logits: Factor of the logits.
        weight: Factor in the total loss.
    """

    layers: tuple[str, ...] = ("bottleneck",)
    features: float = 0.01
    logits: float = 0.0005
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Rejects negative factors."""
        for name in ("features", "logits", "weight"):
            check_between(name, getattr(self, name), 0, math.inf)

    @property
    def captures(self) -> tuple[str, ...]:
        """The layers, of network and teacher."""
        return self.layers

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class.

        Raises:
            UserError: A layer of the network is not as large as the teacher's, or too small.
        """
        logits, old = in_float32(logits), old_classes(logits, batch)
        background = logits[..., :1] + logits[..., old:].sum(-1, keepdims=True)
        summed = jnp.concatenate((background, logits[..., 1:old]), -1)
        terms = [self.logits * _change(summed, batch["teacher_logits"], batch["valid"])]
        for layer in self.layers:
            own, other = batch[f"features/{layer}"], batch[f"teacher/{layer}"]
            if own.shape != other.shape or min(own.shape[1:3]) < SCALES[-1]:
                raise UserError(
                    f"Local POD of layer {layer}: {own.shape[1:]} here, {other.shape[1:]} in the "
                    f"old network. Both have to be equal, and {SCALES[-1]} or more pixels a side."
                )
            terms.append(self.features * _change(own, other, batch["valid"]))
        total: jax.Array = sum(terms, jnp.float32(0))
        return math.sqrt(logits.shape[-1] / (logits.shape[-1] - old)) * total / len(terms)


def local_pod(x: jax.Array) -> jax.Array:
    """(B, H, W, C) -> (B, n): means of rows and columns of the parts of each scale."""
    found = []
    for scale in SCALES:
        rows, columns = x.shape[1] // scale, x.shape[2] // scale
        cut = x[:, : rows * scale, : columns * scale]
        parts = cut.reshape(len(x), scale, rows, scale, columns, -1)
        found += [parts.mean(4).reshape(len(x), -1), parts.mean(2).reshape(len(x), -1)]
    return jnp.concatenate(found, -1)


def _change(own: jax.Array, other: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean over images of the length of the difference of `local_pod` of the squares."""
    mask = valid_on_grid(valid, own)[..., None]
    squares = (jnp.where(mask, x, 0.0) ** 2 for x in (own, jax.lax.stop_gradient(other)))
    one, two = map(local_pod, squares)
    # The constant keeps the gradient finite where nothing has changed.
    return jnp.sqrt(((one - two) ** 2).sum(-1) + 1e-12).mean()


def old_classes(logits: jax.Array, batch: Batch) -> int:
    """K, as the teacher has it.

    Raises:
        UserError: There is no teacher, or no new class.
    """
    if "teacher_logits" not in batch:
        raise UserError(
            "This loss needs the network of the old classes: give the folder of its run as "
            "--config.incremental.run."
        )
    old = int(batch["teacher_logits"].shape[-1])
    if old >= logits.shape[-1]:
        raise UserError(
            f"The network has {logits.shape[-1]} classes and the old one {old}: this loss needs "
            "new classes."
        )
    return old
