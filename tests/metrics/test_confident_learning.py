"""Confident learning on pixels: worked by hand, and against the authors' code (cleanlab 2.9.0)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from jaxseg.metrics.confident_learning import (
    UNDOUBTED,
    Doubted,
    doubted,
    estimated_joint,
    self_confidence,
    thresholds_of,
)


def of_pixels(
    probabilities: NDArray[np.float32], label: NDArray[np.int64], counted: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.int64], Doubted]:
    """Thresholds, counts and doubts of (N, K) pixels as one image of a row."""
    image = (jnp.asarray(probabilities)[None, None], label[None, None], counted[None, None])
    total, count = map(np.asarray, self_confidence(*image))
    thresholds = thresholds_of(total, count)
    return thresholds, count, doubted(*image, jnp.asarray(thresholds))


def drawn() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Probabilities (240, 4) and labels of which a part looks wrong."""
    random = np.random.default_rng(0)
    label = np.arange(240) % 4
    random.shuffle(label)
    logits = random.normal(0, 1, (240, 4))
    logits[np.arange(240), label] += 1.2
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return chances.astype(np.float32), label


def test_labels_are_doubted_by_the_threshold_of_the_other_class() -> None:
    chances = np.array([[0.9, 0.1], [0.7, 0.3], [0.3, 0.7], [0.4, 0.6], [0.45, 0.55]], np.float32)
    label = np.array([0, 0, 0, 1, 1])
    thresholds, count, found = of_pixels(chances, label, np.ones(5, bool))
    assert thresholds == pytest.approx([1.9 / 3, 1.15 / 2])
    assert count.tolist() == [3, 2]
    # The third pixel reaches 0.575 for class 1; nothing is said of the last one, 0.55.
    assert found.suggested.ravel().tolist() == [UNDOUBTED, UNDOUBTED, 1, UNDOUBTED, UNDOUBTED]
    assert found.joint.tolist() == [[2, 1], [0, 1]]
    assert found.doubt.ravel() == pytest.approx([0.1, 0.3, 0.7, 0.4, 0.45])
    shares = estimated_joint(np.asarray(found.joint), count)
    np.testing.assert_allclose(shares, [[0.4, 0.2], [0.0, 0.4]])


def test_a_pixel_that_is_not_counted_changes_nothing() -> None:
    chances, label = drawn()
    counted = np.ones(240, bool)
    counted[::3] = False
    _, count, found = of_pixels(chances, label, counted)
    other = np.where(counted, label, 255)
    kept = of_pixels(chances[counted], label[counted], np.ones(160, bool))
    assert count.tolist() == kept[1].tolist()
    assert found.joint.tolist() == kept[2].joint.tolist()
    again = of_pixels(chances, other, counted)[2]
    assert again.suggested.tolist() == found.suggested.tolist()
    assert (np.asarray(found.suggested).ravel()[~counted] == UNDOUBTED).all()
    assert (np.asarray(found.doubt).ravel()[~counted] == 0).all()


def test_a_class_without_labels_is_never_suggested() -> None:
    chances = np.array([[0.2, 0.1, 0.7], [0.6, 0.2, 0.2], [0.3, 0.6, 0.1]], np.float32)
    thresholds, count, found = of_pixels(chances, np.array([0, 0, 1]), np.ones(3, bool))
    assert np.isinf(thresholds[2])
    assert found.suggested.ravel()[0] == UNDOUBTED
    shares = estimated_joint(np.asarray(found.joint), count)
    assert shares.sum() == pytest.approx(1)
    assert shares[2].sum() == 0


def test_thresholds_joint_and_doubts_are_those_of_the_authors_code() -> None:
    chances, label = drawn()
    thresholds, count, found = jax.tree.map(
        np.asarray, of_pixels(chances, label, np.ones(240, bool))
    )
    np.testing.assert_allclose(
        thresholds, [0.44223374, 0.44828683, 0.4648526, 0.46037266], rtol=1e-5
    )
    assert found.joint.tolist() == [[29, 8, 7, 1], [4, 27, 7, 3], [6, 6, 27, 3], [2, 8, 3, 30]]
    wrong = np.flatnonzero(found.suggested.ravel() != UNDOUBTED)
    assert wrong[:12].tolist() == [0, 1, 6, 12, 14, 16, 19, 21, 24, 27, 31, 37]
    assert (len(wrong), wrong.sum()) == (58, 6845)
    np.testing.assert_allclose(
        found.doubt.ravel()[:5],
        [0.7130897, 0.73291653, 0.4721545, 0.49653494, 0.27103353],
        rtol=1e-5,
    )
    # Theirs is rounded to whole labels.
    np.testing.assert_allclose(
        estimated_joint(found.joint, count)[0],
        [0.1625, 0.04583333, 0.0375, 0.00416667],
        atol=0.5 / 240,
    )
