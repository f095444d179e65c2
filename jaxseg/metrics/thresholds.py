"""Thresholds of classes: the most probable class is not always the decision that scores best.

With a threshold t_k for each class, the class of a pixel is

    argmax_k  p_k / t_k

All equal it is the most probable class; for two classes it is "p_1 > t_1", the usual threshold. The
thresholds are those with the best mean IoU on a sample of pixels of the validation split, found by
coordinate ascent, one class at a time. They sum to 1.

The rule and the search are our choice; with two classes they are the threshold that maximises the
mean IoU.
"""

from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

PIXELS = 1024
"""Of each window, spread evenly."""

_STEPS = np.exp2(np.arange(-16, 17) / 8)
"""Factors by which a threshold is changed at a time: 1/4 to 4."""

_ROUNDS = 4

_GOLDEN = 0.6180339887498949


class Thresholds(NamedTuple):
    """What was fitted.

    Attributes:
        values: (K,) threshold of each class; they sum to 1.
        before: Mean IoU of the sample by the most probable class.
        after: The same by the thresholds.
    """

    values: tuple[float, ...]
    before: float
    after: float


def sample(logits: jax.Array, label: jax.Array, counted: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Some pixels of each window: logits (B, N, K), and labels (B, N), -1 where not counted.

    Args:
        logits: (B, H, W, K).
        label: (B, H, W) class ids where `counted` is True.
        counted: (B, H, W) bool.
    """
    batch, height, width, classes = logits.shape
    # Multiples of the golden ratio are spread evenly and on no column in particular.
    shares = np.arange(1, min(PIXELS, height * width) + 1) * _GOLDEN % 1
    places = np.unique((shares * height * width).astype(np.int64))
    known = jax.numpy.where(counted, label.astype(np.int32), -1).reshape(batch, -1)
    return logits.reshape(batch, -1, classes)[:, places], known[:, places]


def fit(probabilities: NDArray[np.floating], label: NDArray[np.integer]) -> Thresholds:
    """The thresholds with the best mean IoU of a sample.

    Args:
        probabilities: (N, K), which sum to 1.
        label: (N,) class ids; pixels of negative ones are left out.
    """
    known = label >= 0
    chances, truth = probabilities[known].astype(np.float64), label[known].astype(np.int64)
    classes = probabilities.shape[1]
    values = np.full(classes, 1 / classes)
    before = best = _miou(chances, truth, values)
    for _ in range(_ROUNDS):
        reached = best
        for number in range(classes):
            # Only the decision between this class and the best of the others changes.
            ratios = chances / values
            own = chances[:, number].copy()
            ratios[:, number] = -1
            other, rival = ratios.argmax(1), ratios.max(1)
            candidates = np.unique(np.clip(values[number] * _STEPS, 1e-3, 1 - 1e-3))
            scores = [
                _of_decision(np.where(own / t > rival, number, other), truth, classes)
                for t in candidates
            ]
            place = int(np.argmax(scores))
            if scores[place] > best + 1e-6:
                best, values[number] = scores[place], candidates[place]
        values /= values.sum()
        if best <= reached:
            break
    if not best > before:
        values = np.full(classes, 1 / classes)
    return Thresholds(tuple(float(value) for value in values), before, best)


def _miou(
    chances: NDArray[np.float64], truth: NDArray[np.int64], values: NDArray[np.float64]
) -> float:
    return _of_decision((chances / values).argmax(1), truth, chances.shape[1])


def _of_decision(found: NDArray[np.int64], truth: NDArray[np.int64], classes: int) -> float:
    """Mean IoU of the classes that occur; NaN without a pixel."""
    confusion = np.bincount(truth * classes + found, minlength=classes**2)
    confusion = confusion.reshape(classes, classes)
    right = np.diagonal(confusion)
    union = confusion.sum(0) + confusion.sum(1) - right
    occurs = union > 0
    return float((right[occurs] / union[occurs]).mean()) if occurs.any() else float("nan")
