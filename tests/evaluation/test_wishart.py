"""The Wishart classifier is the textbook's, and `evaluate` counts it on polarimetric sources."""

import dataclasses
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.polsar_folder import labelled
from numpy.typing import NDArray

from jaxseg.config import Config
from jaxseg.datasets.landscape.sensors import wishart
from jaxseg.datasets.one_scene import SceneSplit
from jaxseg.datasets.polsar import LabelledPolsar
from jaxseg.errors import UserError
from jaxseg.evaluation import baseline
from jaxseg.evaluation.wishart import RIDGE, WishartClassifier
from jaxseg.models.unet import UNet
from jaxseg.physics import polsar
from jaxseg.pipeline.windows import Data
from jaxseg.scenes.scene import IGNORE
from jaxseg.scenes.sensor import Sensor
from jaxseg.transforms.polsar import CoherencyFeatures

POWER = np.array([[0.2, 0.01, 0.01], [0.02, 0.15, 0.03], [0.02, 0.01, 0.1]], np.float32)


def drawn(
    looks: int, count: int = 3000, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    labels = np.random.default_rng(seed).integers(0, 3, count).astype(np.uint8)
    return wishart(POWER[labels], looks, np.random.default_rng(seed + 1)), labels


def fitted(looks: int = 4) -> WishartClassifier:
    classifier = WishartClassifier(3)
    classifier.fit(*drawn(looks))
    return classifier


def test_the_class_is_that_of_the_least_wishart_distance() -> None:
    classifier = fitted()
    pixels, _ = drawn(4, seed=5)
    matrices = np.asarray(polsar.matrices(jnp.asarray(pixels))).astype(np.complex128)
    distances = []
    for centre in classifier.centres():
        trace = np.trace(np.linalg.inv(centre) @ matrices, axis1=1, axis2=2).real
        distances.append(np.log(np.linalg.det(centre).real) + trace)
    np.testing.assert_array_equal(classifier.predict(pixels), np.argmin(distances, axis=0))


def test_classes_are_told_apart_the_better_the_more_looks_there_are() -> None:
    rates = []
    for looks in (1, 4, 16):
        pixels, labels = drawn(looks, seed=5)
        rates.append((fitted(looks).predict(pixels) == labels).mean())
    assert rates[0] > 0.75
    assert rates[0] < rates[1] < rates[2]
    assert rates[2] > 0.99


def test_equal_powers_are_told_apart_by_their_phases() -> None:
    mean = np.zeros((2, 9), np.float32)
    mean[:, :3] = 0.1
    mean[:, 3] = (0.07, -0.07)
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 2000).astype(np.uint8)
    root = np.linalg.cholesky(np.asarray(polsar.matrices(jnp.asarray(mean))))[labels]
    z = random.standard_normal((2, 8, 2000, 3, 1)) / np.sqrt(2)
    k = (root @ (z[0] + 1j * z[1]))[..., 0]
    looks = (k[..., :, None] * k[..., None, :].conj()).mean(0)
    pixels = np.asarray(polsar.bands_of(jnp.asarray(looks)))
    classifier = WishartClassifier(2)
    classifier.fit(pixels, labels)
    assert (classifier.predict(pixels) == labels).mean() > 0.95


def test_covariance_and_coherency_give_the_same_map() -> None:
    pixels, labels = drawn(4)
    c3 = np.asarray(polsar.c3_from_t3(jnp.asarray(pixels)))
    other = WishartClassifier(3)
    other.fit(c3, labels)
    assert (other.predict(c3) == fitted().predict(pixels)).mean() > 0.999


def test_batches_ignored_pixels_and_absent_classes_change_nothing() -> None:
    pixels, labels = drawn(4)
    parts = WishartClassifier(5)
    for start in range(0, len(labels), 101):
        parts.fit(pixels[start : start + 101], labels[start : start + 101])
    parts.fit(100 * pixels, np.full(len(labels), IGNORE, np.uint8))
    np.testing.assert_allclose(parts.centres()[:3], fitted().centres(), rtol=1e-9)
    predicted = parts.predict(pixels.reshape(30, 100, 9))
    assert predicted.shape == (30, 100)
    np.testing.assert_array_equal(predicted.ravel(), fitted().predict(pixels))


def test_one_pixel_of_one_look_is_enough_for_a_centre() -> None:
    pixels, _ = drawn(1, count=3)
    classifier = WishartClassifier(3)
    classifier.fit(pixels, np.arange(3))
    np.testing.assert_array_equal(classifier.predict(pixels), np.arange(3))


def test_a_class_without_a_training_pixel_is_never_predicted_wherever_its_id_lies() -> None:
    pixels, labels = drawn(4)
    two = labels != 1
    classifier = WishartClassifier(3)
    classifier.fit(pixels[two], labels[two])
    predicted = classifier.predict(pixels[two])
    assert set(np.unique(predicted)) == {0, 2}
    assert (predicted == labels[two]).mean() > 0.9


def test_centres_are_the_mean_matrices_with_a_ridge() -> None:
    pixels, labels = drawn(4)
    classifier = fitted()
    for k, centre in enumerate(classifier.centres()):
        mean = pixels[labels == k].astype(np.float64).mean(0, keepdims=True)
        expected = np.asarray(polsar.matrices(jnp.asarray(mean, jnp.float32)))[0]
        expected = expected + RIDGE * mean[0, :3].mean() * np.eye(3)
        np.testing.assert_allclose(centre, expected, rtol=1e-5, atol=1e-9)
        assert classifier.count[k] == (labels == k).sum()


def test_ids_below_0_are_refused_and_those_at_both_ends_taken() -> None:
    pixels, _ = drawn(4, count=4)
    classifier = WishartClassifier(3)
    classifier.fit(pixels, np.array([0, 2, 2, IGNORE]))
    assert classifier.count.tolist() == [1, 0, 2]
    for label in (-1, 3):
        with pytest.raises(ValueError, match="none of the 3 classes"):
            classifier.fit(pixels[:1], np.array([label]))


def test_a_sum_of_many_float32_pixels_keeps_its_digits() -> None:
    pixels = np.full((300_000, 9), 0.1, np.float32)
    classifier = WishartClassifier(1)
    classifier.fit(pixels, np.zeros(len(pixels), np.uint8))
    np.testing.assert_allclose(classifier.total[0] / len(pixels), np.float64(pixels[0]), rtol=1e-9)


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="not seen any labelled"):
        WishartClassifier(2).predict(np.zeros((1, 9)))
    classifier = WishartClassifier(2)
    with pytest.raises(ValueError, match="have 4 bands"):
        classifier.fit(np.zeros((1, 4)), np.zeros(1, int))
    with pytest.raises(ValueError, match="none of the 2 classes"):
        classifier.fit(np.zeros((1, 9)), np.array([2]))
    with pytest.raises(ValueError, match="not finite"):
        classifier.fit(np.full((1, 9), np.nan), np.zeros(1, int))
    classifier.fit(-np.ones((5, 9)), np.zeros(5, int))
    with pytest.raises(UserError, match="class 0 is not positive definite"):
        classifier.predict(np.ones((1, 9)))


@pytest.mark.slow
def test_a_polarimetric_source_is_counted_by_both_classifiers_of_single_pixels(
    tmp_path: Path,
) -> None:
    folder = labelled(tmp_path)
    source = LabelledPolsar(
        path=str(folder / "T3"),
        labels=str(folder / "label.png"),
        classes=("surface", "double bounce", "volume"),
        ids=(1, 2, 3),
        map_colors=((0, 0, 255), (255, 0, 0), (0, 255, 0)),
        split=SceneSplit(fractions=(0.5, 0.1, 0.4), block=8, guard=1),
    )
    config = Config(
        model=UNet(num_classes=3),
        data=Data(source=source, crop=32, batch_size=2),
        preprocess=(CoherencyFeatures(),),
    )
    gaussian, counted = baseline.evaluated(config, "test", baseline.fitted(config))
    assert counted is not None
    label = source.scenes("test").label
    assert counted.confusion.sum() == (label != IGNORE).sum()
    assert counted.scores.overall_accuracy > 0.85
    assert counted.margins.shape == (4, 3, 3)
    assert gaussian.confusion.sum() == counted.confusion.sum()
    assert gaussian.scores.overall_accuracy > 0.7

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Other(LabelledPolsar):
        @property
        def sensor(self) -> Sensor:
            return Sensor(("a", "b"))

    fields = {f.name: getattr(source, f.name) for f in dataclasses.fields(source)}
    other = dataclasses.replace(config, data=Data(source=Other(**fields), crop=32))
    assert baseline.fitted(other).wishart is None


def test_a_class_of_pixels_without_any_power_is_refused() -> None:
    classifier = WishartClassifier(2)
    classifier.fit(np.zeros((5, 9)), np.ones(5, int))
    with pytest.raises(UserError, match=r"class 1 is not positive definite \(5 training"):
        classifier.predict(np.ones((1, 9)))
