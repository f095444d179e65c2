"""A hundred random cases of every metric against scikit-learn, scikit-image, or the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.special
import skimage.measure
import skimage.metrics
import skimage.morphology
import sklearn.calibration
import sklearn.metrics
from numpy.typing import NDArray

from jaxseg.metrics.boundaries import BoundaryTotal
from jaxseg.metrics.calibration import BINS, CalibrationTotal, measure
from jaxseg.metrics.objects import THRESHOLDS, ObjectTotal, match_objects
from jaxseg.metrics.scores import confusion_matrix, scores_of

CASES = 100
K = 4


def blobs(random: np.random.Generator, size: int = 24) -> NDArray[np.uint8]:
    """A map of classes in patches, as labels are."""
    coarse = scipy.ndimage.gaussian_filter(random.normal(size=(K, size, size)), (0, 1.5, 1.5))
    return coarse.argmax(0).astype(np.uint8)


def pair(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
    """A prediction that resembles the label, the label, and what is counted."""
    random = np.random.default_rng(seed)
    label = blobs(random)
    prediction = np.where(random.random(label.shape) < 0.8, label, blobs(random))
    return prediction, label, random.random(label.shape) < 0.9


def test_the_confusion_matrix_family_is_scikit_learns() -> None:
    count = jax.jit(confusion_matrix, static_argnames="num_classes")
    for seed in range(CASES):
        prediction, label, counted = pair(seed)
        found = scores_of(np.asarray(count(prediction, label, counted, num_classes=K)), "abcd")
        true, said = label[counted], prediction[counted]
        options = {"labels": range(K), "average": None, "zero_division": np.nan}
        for ours, theirs in (
            (
                found.iou,
                sklearn.metrics.jaccard_score(true, said, **options | {"zero_division": 0}),
            ),
            (found.f1, sklearn.metrics.f1_score(true, said, **options)),
            (found.precision, sklearn.metrics.precision_score(true, said, **options)),
            (found.recall, sklearn.metrics.recall_score(true, said, **options)),
            (found.overall_accuracy, sklearn.metrics.accuracy_score(true, said)),
            (found.average_accuracy, sklearn.metrics.balanced_accuracy_score(true, said)),
            (found.kappa, sklearn.metrics.cohen_kappa_score(true, said)),
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_boundary_f1_is_the_definition_by_all_distances() -> None:
    for seed in range(CASES):
        prediction, label, counted = pair(seed)
        tolerance = (1.0, 1.5, 2.0, 3.7)[seed % 4]
        total = BoundaryTotal.of(K, tolerance=tolerance)
        total.add(prediction, label, counted)
        expected = []
        for k in range(K):
            said, true = (border_points(classes, k, counted) for classes in (prediction, label))
            apart = np.linalg.norm(said[:, None] - true[None], axis=-1) <= tolerance
            precision, recall = apart.any(1).mean(), apart.any(0).mean()
            expected.append(2 * precision * recall / (precision + recall))
        np.testing.assert_allclose(total.f1(), expected, rtol=1e-12)


def border_points(
    classes: NDArray[np.uint8], k: int, counted: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Pixels of class k with a counted neighbour of another class, looked at one by one."""
    points = []
    for y, x in np.argwhere((classes == k) & counted):
        for row, column in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            inside = 0 <= row < classes.shape[0] and 0 <= column < classes.shape[1]
            if inside and counted[row, column] and classes[row, column] != k:
                points.append((y, x))
                break
    return np.array(points)


def test_boundary_iou_is_that_of_masks_less_their_erosion() -> None:
    for seed in range(CASES):
        prediction, label, _ = pair(seed)
        rim = 1 + seed % 4
        total = BoundaryTotal.of(K, rim=rim)
        total.add(prediction, label, np.ones(label.shape, bool))
        square = skimage.morphology.footprint_rectangle((2 * rim + 1, 2 * rim + 1))
        for k in range(K):
            masks = [classes == k for classes in (prediction, label)]
            # What lies beyond the edge is no border: eroded as if the mask went on.
            said, true = (
                m
                & ~skimage.morphology.erosion(np.pad(m, rim, constant_values=True), square)[
                    rim:-rim, rim:-rim
                ]
                for m in masks
            )
            assert total.iou()[k] == pytest.approx((said & true).sum() / (said | true).sum())


def test_objects_match_as_by_brute_force() -> None:
    for seed in range(CASES):
        prediction, label, counted = pair(seed)
        total = ObjectTotal.of(K)
        total.add(prediction, label, counted)
        for k in range(K):
            said, true = (
                skimage.measure.label((classes == k) & counted, connectivity=1)
                for classes in (prediction, label)
            )
            said_masks = [said == i for i in range(1, said.max() + 1)]
            true_masks = [true == i for i in range(1, true.max() + 1)]
            iou = np.array(
                [[(a & b).sum() / (a | b).sum() for b in true_masks] for a in said_masks]
            )
            assert total.true[k] == len(true_masks)
            assert total.predicted[k] == len(said_masks)
            for matched, threshold in zip(total.matched[k], THRESHOLDS, strict=True):
                assert matched == (iou > threshold).sum()
            quality = iou[iou > 0.5].sum() / (0.5 * (len(said_masks) + len(true_masks)))
            assert total.panoptic_quality()[k] == pytest.approx(quality)


def test_the_rand_score_is_scikit_images() -> None:
    for seed in range(CASES):
        random = np.random.default_rng(seed)
        true = random.integers(0, 5, (16, 16)) * (random.random((16, 16)) < 0.8)
        said = np.where(random.random((16, 16)) < 0.7, 10 * true, random.integers(0, 4, (16, 16)))
        error, _, _ = skimage.metrics.adapted_rand_error(true, said, ignore_labels=(0,))
        both, of_said, of_true = match_objects(said, true).pairs
        assert 2 * both / (of_said + of_true) == pytest.approx(1 - error, rel=1e-12)


def test_calibration_is_scikit_learns() -> None:
    counting = jax.jit(measure)
    for seed in range(CASES):
        random = np.random.default_rng(seed)
        logits = random.normal(0, 2, (2, 16, 16, K)).astype(np.float32)
        label = random.integers(0, K, (2, 16, 16)).astype(np.uint8)
        counted = random.random(label.shape) < 0.8
        temperature = np.float32(random.uniform(0.5, 3))
        total = CalibrationTotal()
        total.add(counting(logits, label, counted, temperature))
        for part, t in zip(total.reliability(), (1.0, temperature), strict=True):
            true = label[counted]
            exact = scipy.special.softmax(logits[counted].astype(np.float64) / t, axis=-1)
            assert part.nll == pytest.approx(sklearn.metrics.log_loss(true, exact), rel=1e-5)
            p = np.asarray(jax.nn.softmax(jnp.asarray(logits) / t))[counted]
            events = [(p.max(1), p.argmax(1) == true), *((p[:, k], true == k) for k in range(K))]
            for row, (confidence, right) in enumerate(events):
                share, mean = sklearn.calibration.calibration_curve(right, confidence, n_bins=BINS)
                pixels = np.bincount(
                    np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], confidence), minlength=BINS
                )
                np.testing.assert_array_equal(part.pixels[row], pixels)
                weights = pixels[pixels > 0] / len(right)
                assert part.ece()[row] == pytest.approx(
                    (weights * np.abs(share - mean)).sum(), abs=1e-6
                )
