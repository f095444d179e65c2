"""Thresholds: what they decide, and that they are the best there are."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import jaccard_score

from jaxseg.metrics.thresholds import PIXELS, fit, sample


def shifted(seed: int, bias: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Two classes, one of which is rare, and probabilities that favour the other."""
    random = np.random.default_rng(seed)
    label = (random.random(4000) < 0.2).astype(np.int64)
    logit = np.where(label, 1.0, -1.0) + random.standard_normal(4000) - bias
    chance = 1 / (1 + np.exp(-logit))
    return np.stack([1 - chance, chance], -1), label


@pytest.mark.parametrize("bias", [-1.5, 0.0, 1.5])
def test_for_two_classes_it_is_the_threshold_with_the_best_mean_iou(bias: float) -> None:
    chances, label = shifted(0, bias)
    found = fit(chances, label)

    def score(threshold: float) -> float:
        decided = (chances[:, 1] > threshold).astype(int)
        return float(jaccard_score(label, decided, average="macro"))

    best = max(score(threshold) for threshold in np.linspace(0.02, 0.98, 97))
    assert sum(found.values) == pytest.approx(1)
    assert found.after == pytest.approx(score(found.values[1]), abs=1e-9)
    assert found.after > best - 0.005
    assert found.before == pytest.approx(score(0.5), abs=1e-9)


def test_where_the_most_probable_class_is_best_nothing_changes() -> None:
    label = np.random.default_rng(0).integers(0, 3, 500)
    found = fit(np.eye(3)[label] * 0.7 + 0.1, label)
    assert found.values == (1 / 3,) * 3
    assert (found.before, found.after) == (1, 1)


def test_three_classes_are_decided_by_the_ratio_to_their_thresholds() -> None:
    random = np.random.default_rng(1)
    label = random.integers(0, 3, 3000)
    logits = 1.5 * np.eye(3)[label] + random.standard_normal((3000, 3)) + (2.0, 0.0, -1.0)
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    found = fit(chances, label)
    decided = (chances / found.values).argmax(-1)
    assert found.after == pytest.approx(jaccard_score(label, decided, average="macro"), abs=1e-9)
    assert found.after > found.before + 0.05
    assert found.values[0] > found.values[1] > found.values[2]


def test_pixels_that_are_not_counted_decide_nothing() -> None:
    chances, label = shifted(0, 1.0)
    more = np.concatenate([chances, chances[:, ::-1]])
    ignored = np.concatenate([label, np.full_like(label, -1)])
    assert fit(more, ignored) == fit(chances, label)


def test_a_sample_holds_pixels_of_the_whole_window_once() -> None:
    places = np.arange(2 * 90 * 70).reshape(2, 90, 70)
    counted = places % 3 > 0
    logits, label = sample(
        jnp.asarray(places[..., None], jnp.float32), jnp.asarray(places % 5), jnp.asarray(counted)
    )
    taken = np.asarray(logits[..., 0], np.int64)
    assert PIXELS * 0.99 < taken.shape[1] <= PIXELS
    assert len(np.unique(taken)) == taken.size
    rows, columns = np.divmod(taken[0], 70)
    assert (np.bincount(rows, minlength=90) > 0).mean() > 0.95
    assert (np.bincount(columns, minlength=70) > 0).mean() > 0.95
    np.testing.assert_array_equal(label, np.where(taken % 3 > 0, taken % 5, -1))
