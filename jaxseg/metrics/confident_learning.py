"""Confident learning: which labels are probably wrong, by what a network says of them.

    t_k         mean probability of class k over the pixels that are labelled k
    suggested   the most probable of the classes with p_k >= t_k, if there is one
    doubted     the suggested class is not the label, and is more probable than it
    doubt       (1 + max_{k != label} p_k - p_label) / 2, above 1/2 where another class is more
                probable: the normalised margin of the paper, turned round and scaled to 0..1

A threshold for each class makes up for classes of which a network is never, or always, sure. The
counts of (label, suggested class) are the confident joint, from which the shares of wrong labels
are estimated. The probabilities have to be those of a network that has not been trained on the
labels in question: one that has may repeat them.

**Source:** Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset
Labels, JAIR 2021, arXiv:1911.00068, equations 1 to 4 and the off-diagonals of the confident joint,
applied to pixels. Checked against cleanlab 2, the authors' code, which differs in one case: among
several confident classes it takes the most probable of all classes, and the paper the most probable
of the confident ones.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxseg.metrics.scores import confusion_matrix

UNDOUBTED = 255
"""The suggested class of a pixel whose label is not doubted, or that is not counted."""


class Doubted(NamedTuple):
    """What is said of the labels of a batch.

    Attributes:
        suggested: (B, H, W) uint8 class of a doubted pixel, else `UNDOUBTED`.
        doubt: (B, H, W) float32, 0..1; 0 where not counted.
        joint: (K, K) int32 confident joint, rows = label, columns = suggested class.
    """

    suggested: jax.Array
    doubt: jax.Array
    joint: jax.Array


def self_confidence(
    probabilities: jax.Array, label: jax.Array, counted: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Sum of the probability of the label, (K,) float32, and number of pixels, (K,) int32.

    Args:
        probabilities: (B, H, W, K), which sum to 1.
        label: (B, H, W) class ids where `counted` is True.
        counted: (B, H, W) bool.
    """
    own = _of_label(label, counted, probabilities.shape[-1])
    total = jnp.where(own, probabilities, 0.0).sum((0, 1, 2))
    return total, own.sum((0, 1, 2), dtype=jnp.int32)


def doubted(
    probabilities: jax.Array, label: jax.Array, counted: jax.Array, thresholds: jax.Array
) -> Doubted:
    """Which labels are doubted, how much, and what is suggested instead.

    Args:
        probabilities: (B, H, W, K), which sum to 1.
        label: (B, H, W) class ids where `counted` is True.
        counted: (B, H, W) bool.
        thresholds: (K,) mean self-confidence of each class; infinite for a class that no pixel is
            labelled with, which is never suggested.
    """
    classes = probabilities.shape[-1]
    own = _of_label(label, counted, classes)
    believed = jnp.where(own, probabilities, 0.0).sum(-1)
    other = jnp.where(own, 0.0, probabilities).max(-1)
    confident = probabilities >= thresholds
    masked = jnp.where(confident, probabilities, -1.0)
    best = jnp.argmax(masked, -1)
    sure = counted & confident.any(-1)
    wrong = sure & (best != label) & (masked.max(-1) > believed)
    return Doubted(
        suggested=jnp.where(wrong, best, UNDOUBTED).astype(jnp.uint8),
        doubt=jnp.where(counted, (1 + other - believed) / 2, 0.0),
        joint=confusion_matrix(best, label, sure, num_classes=classes),
    )


def thresholds_of(total: NDArray[np.float64], count: NDArray[np.int64]) -> NDArray[np.float32]:
    """(K,) mean self-confidence of each class; infinite where there is none.

    Args:
        total: (K,) sums of `self_confidence`.
        count: (K,) pixels.
    """
    means = np.full(total.shape, np.inf)
    np.divide(total, count, out=means, where=count > 0)
    return means.astype(np.float32)


def estimated_joint(joint: NDArray[np.int64], count: NDArray[np.int64]) -> NDArray[np.float64]:
    """(K, K) estimated shares of all labels, rows = label, columns = true class; they sum to 1.

    Q_ij = C_ij / sum_j C_ij * n_i, divided by its sum: the rows are those of the labels, however
    many of their pixels have a confident class. A row without one is taken to be right.

    Args:
        joint: (K, K) confident joint C.
        count: (K,) labelled pixels n of each class.

    **Source:** equation 3 of the paper.
    """
    rows = joint.sum(1, keepdims=True)
    shares = np.divide(joint, rows, out=np.eye(len(joint)), where=rows > 0)
    found = shares * count[:, None]
    return np.asarray(found / max(1, int(count.sum())))


def _of_label(label: jax.Array, counted: jax.Array, classes: int) -> jax.Array:
    """(B, H, W, K) bool: the class of the label, nothing where not counted."""
    numbers = label.astype(jnp.int32)[..., None]
    return counted[..., None] & (numbers == jnp.arange(classes, dtype=jnp.int32))
