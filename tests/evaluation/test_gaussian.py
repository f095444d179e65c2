"""The baseline is the textbook's classifier, in one pass, for many bands and for rare classes."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

from jaxseg.errors import UserError
from jaxseg.evaluation import gaussian as gaussian_baseline
from jaxseg.evaluation.gaussian import GaussianClassifier
from jaxseg.scenes.scene import IGNORE

Pixels = tuple[NDArray[np.float32], NDArray[np.uint8]]


def drawn(bands: int, counts: tuple[int, ...], seed: int = 0) -> Pixels:
    """Pixels of Gaussian classes with their own means and full covariances, shuffled."""
    random = np.random.default_rng(seed)
    pixels = []
    for count in counts:
        mixing = random.normal(size=(bands, bands)) / np.sqrt(bands)
        pixels.append(random.normal(size=(count, bands)) @ mixing + random.normal(size=bands))
    labels = np.repeat(np.arange(len(counts), dtype=np.uint8), counts)
    order = random.permutation(len(labels))
    return np.concatenate(pixels)[order].astype(np.float32), labels[order]


@pytest.mark.parametrize("bands", [1, 4, 13])
def test_the_classes_are_those_of_the_most_probable_gaussian(bands: int) -> None:
    pixels, labels = drawn(bands, (600, 300, 100))
    classifier = GaussianClassifier(3, prior_pixels=0, ridge=0)
    classifier.fit(pixels, labels)
    logs = []
    for k in range(3):
        own = pixels[labels == k].astype(np.float64)
        covariance = np.cov(own, rowvar=False, ddof=0)
        density = multivariate_normal(own.mean(axis=0), covariance)
        logs.append(density.logpdf(pixels) + np.log(len(own) / len(pixels)))
    np.testing.assert_array_equal(classifier.predict(pixels), np.argmax(logs, axis=0))


def test_the_boundary_of_two_known_gaussians_is_found() -> None:
    # For means 0 and 1 and variance 1 the optimum is 1/2 + log(p0 / p1) = 1/2 + log 3.
    random = np.random.default_rng(1)
    labels = (np.arange(400_000) % 4 == 3).astype(np.uint8)
    pixels = random.normal(size=(len(labels), 1)) + labels[:, None]
    classifier = GaussianClassifier(2)
    classifier.fit(pixels, labels)
    line = np.linspace(0, 3, 3001)[:, None]
    boundary = line[np.argmax(classifier.predict(line)), 0]
    assert boundary == pytest.approx(0.5 + np.log(3), abs=0.03)


def test_equal_means_are_told_apart_by_their_variances() -> None:
    random = np.random.default_rng(2)
    labels = np.repeat(np.array([0, 1], np.uint8), 100_000)
    pixels = random.normal(size=(200_000, 1)) * np.where(labels == 0, 1.0, 3.0)[:, None]
    classifier = GaussianClassifier(2)
    classifier.fit(pixels, labels)
    edge = np.sqrt(2 * np.log(3) / (1 - 1 / 9))  # where the two densities are equal
    probes = np.array([[-edge - 0.1], [-edge + 0.1], [0.0], [edge - 0.1], [edge + 0.1]])
    np.testing.assert_array_equal(classifier.predict(probes), [1, 0, 0, 0, 1])


def test_the_fit_does_not_depend_on_how_the_pixels_come_in_batches() -> None:
    pixels, labels = drawn(5, (400, 50, 3))
    pixels += 30_000.0  # raw sensor numbers: large beside their spread
    whole, parts = GaussianClassifier(3), GaussianClassifier(3)
    whole.fit(pixels, labels)
    for start in range(0, len(labels), 7):
        parts.fit(pixels[start : start + 7], labels[start : start + 7])
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(parts.covariance(), whole.covariance(), rtol=1e-6, atol=1e-9)


def test_a_later_fit_changes_a_prediction_already_made() -> None:
    classifier = GaussianClassifier(2)
    classifier.fit(np.array([[0.0], [0.2]]), np.array([0, 0]))
    assert classifier.predict(np.array([[5.0]])) == 0
    classifier.fit(np.array([[5.0], [5.2]]), np.array([1, 1]))
    assert classifier.predict(np.array([[5.0]])) == 1


def test_a_class_without_a_pixel_is_never_predicted() -> None:
    pixels, labels = drawn(4, (50, 50))
    classifier = GaussianClassifier(9)
    classifier.fit(pixels, labels * 5)
    assert set(np.unique(classifier.predict(pixels))) == {0, 5}


@pytest.mark.parametrize("few", [1, 2, 20])
def test_a_class_with_fewer_pixels_than_bands_is_still_found(few: int) -> None:
    random = np.random.default_rng(3)
    pixels = random.normal(size=(3000 + few, 60))
    pixels[3000:] += 4.0
    labels = np.repeat(np.array([0, 1], np.uint8), (3000, few))
    classifier = GaussianClassifier(2)
    classifier.fit(pixels, labels)
    fresh = random.normal(size=(200, 60)) + np.repeat([[0.0], [4.0]], 100, axis=0)
    assert (classifier.predict(fresh) == np.repeat([0, 1], 100)).mean() > 0.99


def test_two_hundred_bands_of_which_some_are_constant_or_copies_are_no_problem() -> None:
    pixels, labels = drawn(200, (900, 900))
    pixels[:, 7] = 3.0
    pixels[:, 8] = pixels[:, 9]
    classifier = GaussianClassifier(2)
    classifier.fit(pixels, labels)
    assert (classifier.predict(pixels) == labels).mean() > 0.99


def test_ignored_pixels_teach_nothing() -> None:
    pixels, labels = drawn(3, (60, 40))
    classifier, without = GaussianClassifier(2), GaussianClassifier(2)
    classifier.fit(
        np.concatenate([pixels, pixels + 9]), np.concatenate([labels, labels * 0 + IGNORE])
    )
    without.fit(pixels, labels)
    np.testing.assert_array_equal(classifier.covariance(), without.covariance())
    assert classifier.count.sum() == 100


def test_an_image_gives_a_map_of_its_shape() -> None:
    pixels, labels = drawn(4, (300, 300))
    classifier = GaussianClassifier(2)
    classifier.fit(pixels, labels)
    predicted = classifier.predict(pixels.reshape(20, 30, 4))
    assert predicted.shape == (20, 30)
    assert predicted.dtype == np.uint8
    np.testing.assert_array_equal(predicted.ravel(), classifier.predict(pixels))
    assert classifier.predict(np.zeros((0, 4))).shape == (0,)


def test_a_big_image_is_predicted_in_parts_that_fit_together() -> None:
    pixels, labels = drawn(1, (50_000, 50_000))
    classifier = GaussianClassifier(2)
    classifier.fit(pixels, labels)
    whole = classifier.predict(pixels)
    np.testing.assert_array_equal(whole[65_000:66_000], classifier.predict(pixels[65_000:66_000]))


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="not seen any labelled"):
        GaussianClassifier(2).predict(np.zeros((1, 3)))
    classifier = GaussianClassifier(2)
    with pytest.raises(ValueError, match="none of the 2 classes"):
        classifier.fit(np.zeros((2, 3)), np.array([0, 2]))
    classifier.fit(np.zeros((2, 3)), np.array([0, 1]))
    with pytest.raises(ValueError, match="4 bands"):
        classifier.predict(np.zeros((1, 4)))
    with pytest.raises(ValueError, match="not finite"):
        classifier.predict(np.array([[0.0, np.nan, 0.0]]))
    exact = GaussianClassifier(2, prior_pixels=0, ridge=0)
    exact.fit(np.arange(8.0).reshape(2, 4), np.array([0, 0]))
    with pytest.raises(UserError, match="too few for a covariance of 4 bands"):
        exact.predict(np.zeros((1, 4)))


def test_covariances_are_drawn_towards_the_pooled_one_as_the_formula_says() -> None:
    pixels, labels = drawn(3, (40, 9))
    # The first band's variance decides the floor for bands that never vary.
    pixels = np.concatenate([pixels * (10, 1, 1), np.full((49, 1), 3.0)], axis=1)
    prior, ridge = 5.0, 1e-2
    classifier = GaussianClassifier(3, prior_pixels=prior, ridge=ridge)
    classifier.fit(pixels, labels)
    own = [pixels[labels == k].astype(np.float64) for k in (0, 1)]
    scatter = [(p - p.mean(0)).T @ (p - p.mean(0)) for p in own]
    pooled = (scatter[0] + scatter[1]) / 49
    variances = np.diag(pooled)
    found = classifier.covariance()
    for k, count in enumerate((40, 9)):
        expected = (scatter[k] + prior * pooled) / (count + prior)
        expected += ridge * np.diag(variances + 1e-6 * variances.max())
        np.testing.assert_allclose(found[k], expected, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(classifier.mean[:2], [p.mean(0) for p in own], rtol=1e-12)
    assert classifier.count.tolist() == [40, 9, 0]
    # Without a number of pixels it is that of the bands.
    usual = GaussianClassifier(3, ridge=ridge)
    usual.fit(pixels, labels)
    four = GaussianClassifier(3, prior_pixels=4, ridge=ridge)
    four.fit(pixels, labels)
    np.testing.assert_array_equal(usual.covariance(), four.covariance())


def test_a_rare_class_is_predicted_less_than_its_likelihood_alone_would() -> None:
    random = np.random.default_rng(4)
    labels = np.repeat(np.array([0, 1], np.uint8), (9900, 100))
    pixels = random.normal(size=(10_000, 1)) + 2.0 * labels[:, None]
    classifier = GaussianClassifier(2)
    classifier.fit(pixels, labels)
    assert classifier.predict(np.array([[2.0], [5.0]])).tolist() == [0, 1]


def test_labels_at_both_ends_of_the_classes_are_taken_and_others_refused() -> None:
    for labels, message in ((np.array([-1, 0]), r"\[.*-1.*\]"), (np.array([0, 3]), r"\[.*3.*\]")):
        classifier = GaussianClassifier(3)
        with pytest.raises(ValueError, match=f"Labels {message} are none of the 3 classes"):
            classifier.fit(np.zeros((2, 1)), labels)
    classifier = GaussianClassifier(3)
    classifier.fit(np.arange(6.0)[:, None], np.array([0, 0, 2, 2, IGNORE, IGNORE]))
    assert classifier.count.tolist() == [2, 0, 2]
    with pytest.raises(ValueError, match="2 bands, and the classifier was fitted to 1"):
        classifier.fit(np.zeros((2, 2)), np.array([0, 1]))
    with pytest.raises(ValueError, match="not finite"):
        classifier.fit(np.array([[np.inf]]), np.array([0]))


def test_parts_of_a_prediction_meet_without_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, labels = drawn(2, (40, 40))
    classifier = GaussianClassifier(2)
    classifier.fit(pixels, labels)
    whole = classifier.predict(pixels)
    monkeypatch.setattr(gaussian_baseline, "_PIXELS_AT_A_TIME", 7)
    np.testing.assert_array_equal(classifier.predict(pixels), whole)
