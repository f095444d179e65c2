"""Labels by the old network, where the labels of new classes say nothing: those of PLOP.

Where the label is background, or an old class, the network of the K old classes is asked. With its
probabilities q, its class k = argmax q and its entropy u = -sum_j q_j log q_j,

    label'     k where u <= m_k, the median entropy of pixels of this class k; ignored elsewhere
    factor     nu, the share of the image's background pixels that have a label'; 1 without any
    loss       sum over pixels with a label or label' of nu -log p(label'), over all valid pixels

so that few certain old pixels do not leave an image to its new classes.

Source: Douillard et al., PLOP: Learning without Forgetting for Continual Semantic Segmentation,
CVPR 2021, arXiv:2011.11390; compared with the loop of arthurdouillard/CVPR2021_PLOP (`entropy` with
the adaptive factor). Differences, our choice: medians are those of the batch, not of a pass over
all training images; a pixel at the median is certain; an image without background has factor 1, 0
there.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from jaxseg.losses.incremental import old_classes
from jaxseg.losses.loss import (
    OfTheWhole,
    check_between,
    in_float32,
    negative_log_likelihood,
    over,
    targets,
)
from jaxseg.scenes.scene import Batch


@dataclasses.dataclass(frozen=True)
class PseudoLabels(OfTheWhole):
    """Cross-entropy whose background is labelled by the old network; see the file.

    It takes the place of another cross-entropy, and needs `Config.incremental`.

    Attributes:
        weight: Factor in the total loss.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        """Rejects a negative weight."""
        check_between("weight", self.weight, 0, math.inf)

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class.

        Raises:
            UserError: The old network is missing, or all classes are old.
        """
        logits, old = in_float32(logits), old_classes(logits, batch)
        log_q = jax.nn.log_softmax(jax.lax.stop_gradient(in_float32(batch["teacher_logits"])))
        answer = log_q.argmax(-1)
        entropy = -(jnp.exp(log_q) * log_q).sum(-1)
        background = valid & (batch["label"] < old)
        median = medians(entropy, answer, background, old)
        most = jnp.where(answer[..., None] == jnp.arange(old), median, 0.0).sum(-1)
        certain = background & (entropy <= most)
        label = jnp.where(certain, answer, batch["label"])
        used = valid & (certain | ~background)
        among = background.sum((1, 2))
        factor = jnp.where(among > 0, over(certain.sum((1, 2)), among), 1.0)
        target = targets(logits, batch | {"label": label}, used)
        pixel = factor[:, None, None] * negative_log_likelihood(logits, target, used)
        return over(pixel.sum(), valid.sum())


def medians(values: jax.Array, groups: jax.Array, mask: jax.Array, count: int) -> jax.Array:
    """(count,) the lower median of the values of each group, 0 of an empty one; one sort for all.

    Args:
        values: (B, H, W) float32.
        groups: (B, H, W) int, 0 to count - 1.
        mask: (B, H, W) bool, what counts.
        count: Number of groups.
    """
    outside = jnp.where(mask, groups, count).ravel()
    _, ordered = jax.lax.sort((outside, values.ravel()), num_keys=2)
    sizes = (outside[:, None] == jnp.arange(count)).sum(0)
    middle = jnp.cumsum(sizes) - sizes + jnp.maximum(sizes - 1, 0) // 2
    return jnp.where(sizes > 0, ordered[jnp.minimum(middle, ordered.size - 1)], 0.0)
