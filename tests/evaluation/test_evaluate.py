"""What an evaluation of a run holds, and on which data it is refused."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures import painted

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.config_text import Code
from jaxseg.errors import UserError
from jaxseg.evaluation import baseline, pictured
from jaxseg.evaluation import evaluate as assessment
from jaxseg.evaluation.gaussian import GaussianClassifier
from jaxseg.metrics.boundaries import BoundaryTotal, Tolerance
from jaxseg.run import step
from jaxseg.run.evaluator import Evaluation, Evaluator
from jaxseg.run.kept import keep_calibration, keep_pixels
from jaxseg.scenes.scene import IGNORE, Origin
from jaxseg.sharding import MeshShape
from jaxseg.transforms.hyperspectral import RemoveBands


@pytest.fixture
def reopened(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A run of the network that answers what is painted; records how it was opened."""
    config = painted.config(preprocess=(RemoveBands(bands=(2,)),))
    asked: dict[str, Any] = {"config": config}

    def reopen(
        workdir: Path, shape: MeshShape, which: str, code: Code
    ) -> tuple[Config, step.TrainState]:
        asked.update(workdir=workdir, shape=shape, which=which)
        config: Config = asked["config"]
        state = step.init_state(config, 2, sharding.make_mesh(shape))
        return config, state.replace(step=jnp.int32(7))  # type: ignore[attr-defined, no-any-return]

    monkeypatch.setattr(assessment.checkpoint, "reopen", reopen)
    return asked


def test_an_assessment_holds_all_there_is_to_say_about_a_split(reopened: dict[str, Any]) -> None:
    shape = MeshShape(data=8)
    found = assessment.evaluate(
        Path("run"),
        "train",
        which="5",
        mesh_shape=shape,
        measures=[BoundaryTotal(Tolerance(3.0), Tolerance(4.0))],
    )
    assert (reopened["workdir"], reopened["which"], reopened["shape"]) == (Path("run"), "5", shape)
    assert (found.split, found.step) == ("train", 7)
    assert found.source == painted.Painted()
    mesh = sharding.make_mesh(MeshShape(), jax.devices()[:1])
    config = reopened["config"]
    state = step.init_state(config, 2, mesh)
    own = Evaluator(config, mesh, "train", confidence=True)
    expected = own(state)
    np.testing.assert_array_equal(found.network.confusion, expected.confusion)
    np.testing.assert_array_equal(found.intervals.low["iou"], own.intervals(expected).low["iou"])
    borders, objects, warping = found.measures
    assert (borders.tolerance_pixels, borders.rim_pixels) == (3.0, 4)  # type: ignore[attr-defined]
    assert objects.true.sum() > 0  # type: ignore[attr-defined]
    assert warping.counts[:, 0].sum() > 0  # type: ignore[attr-defined]
    # The temperature is that of the validation split, whatever is evaluated.
    validation = Evaluator(config, mesh, "validation", confidence=True)
    fitted = validation.calibration(state).best_temperature()
    assert found.calibration is not None
    assert found.calibration.temperature == pytest.approx(fitted, rel=1e-3)
    other = own.calibration(state).best_temperature()
    assert found.calibration.temperature != pytest.approx(other, rel=1e-3)
    before, after = found.reliability
    assert after.nll < before.nll
    for tiles, numbers in (
        (found.worst, pictured.worst(expected, own.scene)),
        (found.median, pictured.median(expected, own.scene)),
        *(
            (found.halves[kind], numbers)
            for kind, numbers in pictured.halves(expected, own.scene).items()
        ),
    ):
        assert [tile.name for tile in tiles] == [tile.name for tile in own.tiles(state, numbers)]
    assert sorted(tile.name for tile in found.scenes) == ["split 0 scene 0", "split 0 scene 1"]
    assert (found.cover.side, found.cover.shared, found.one_window) == (8, 0, False)
    assert found.variant == ""
    assert found.wishart is None
    assert found.baseline is not None
    np.testing.assert_array_equal(
        found.baseline.confusion, evaluated_pixels(config, "train").confusion
    )


def test_a_run_is_assessed_on_other_data_of_its_classes(reopened: dict[str, Any]) -> None:
    other = painted.Painted(sizes=((8, 8), (16, 24)))
    found = assessment.evaluate(Path("run"), source=other, baseline=False)
    assert found.split == "test"
    assert found.source == other
    assert reopened["which"] == "best"
    seen = other.scenes("test").arrays
    pixels = sum((a["valid"] & (a["label"] != IGNORE)).sum() for a in seen)
    assert found.network.confusion.sum() == pixels
    assert len(found.network.margins) == 1 + 6
    assert found.baseline is found.wishart is None
    renamed = dataclasses.replace(other, classes=("land", "ice", "water"))
    with pytest.raises(
        UserError, match=r"classes land, ice, water; the network was trained on land, w"
    ):
        assessment.evaluate(Path("run"), source=renamed)


def test_other_windows_count_the_same_pixels_and_leave_the_temperature_as_it_is(
    reopened: dict[str, Any],
) -> None:
    plain = assessment.evaluate(Path("run"), baseline=False)
    other = assessment.evaluate(Path("run"), baseline=False, tile=4, overlap=0.5)
    assert (other.cover.side, other.cover.shared) == (4, 2)
    assert other.variant == "-tile-4-overlap-0.5"
    # The network of these tests looks at single pixels: nothing depends on windows.
    np.testing.assert_array_equal(other.network.confusion, plain.network.confusion)
    assert other.calibration == plain.calibration
    assert [t.name for t in other.scenes] == [t.name for t in plain.scenes]
    np.testing.assert_array_equal(other.scenes[0].prediction, plain.scenes[0].prediction)
    whole = assessment.evaluate(Path("run"), baseline=False, tile=20)
    assert (whole.one_window, whole.variant) == (True, "-tile-20")
    with pytest.raises(UserError, match="--tile -1: give rows and columns"):
        assessment.evaluate(Path("run"), tile=-1)
    with pytest.raises(UserError, match="--overlap 1: give the share"):
        assessment.evaluate(Path("run"), overlap=1.0)


@dataclasses.dataclass(frozen=True)
class Gone(painted.Painted):
    """Data that were there once."""

    def scenes(self, split: str) -> Any:
        """Nothing is left."""
        raise UserError("there is no D/images")


def test_a_run_whose_data_are_gone_is_assessed_on_other_data(
    reopened: dict[str, Any], tmp_path: Path
) -> None:
    other = painted.Painted(sizes=((8, 8), (16, 24)))
    (tmp_path / "checkpoints/7").mkdir(parents=True)
    config, there = reopened["config"], assessment.evaluate(tmp_path, source=other)
    data = dataclasses.replace(config.data, source=Gone())
    reopened["config"] = dataclasses.replace(config, data=data)
    never = assessment.evaluate(tmp_path, source=other)
    assert never.calibration is never.classifiers is never.baseline is None
    assert [note.partition(":")[0] for note in never.notes] == [
        "No temperature",
        "No classifier of single pixels",
    ]
    assert all("there is no D/images" in note for note in never.notes)
    np.testing.assert_array_equal(never.network.confusion, there.network.confusion)
    assert never.reliability[0].nll == never.reliability[1].nll == there.reliability[0].nll
    with pytest.raises(UserError, match="no D/images"):
        assessment.evaluate(tmp_path)

    assert there.calibration is not None
    assert there.classifiers is not None
    assert there.baseline is not None
    keep_calibration(tmp_path, 7, there.calibration)
    keep_pixels(tmp_path, 7, there.classifiers.arrays())
    kept = assessment.evaluate(tmp_path, source=other)
    assert kept.notes == ()
    assert kept.calibration == there.calibration
    assert kept.reliability[1].nll == there.reliability[1].nll
    assert kept.baseline is not None
    np.testing.assert_array_equal(kept.baseline.confusion, there.baseline.confusion)


def test_single_pixels_are_fitted_to_what_the_run_was_trained_on(reopened: dict[str, Any]) -> None:
    config = reopened["config"]
    other = painted.Painted(sizes=((8, 8), (16, 24)))
    found = assessment.evaluate(Path("run"), source=other).classifiers
    data = dataclasses.replace(config.data, source=other)
    elsewhere = dataclasses.replace(config, data=data)
    assert found is not None
    own, others = (baseline.fitted(c).gaussian.count.tolist() for c in (config, elsewhere))
    assert found.gaussian.count.tolist() == own != others


@dataclasses.dataclass(frozen=True)
class Blocks(painted.Painted):
    """One scene, cut by a seed."""

    path: str = "a"
    seed: int = 0

    def origin(self) -> Origin:
        """One scene, of which the seed decides who trains."""
        return Origin(self.path, {"seed": self.seed}, whole=False)


def test_a_run_is_not_assessed_on_pixels_that_it_was_trained_on(reopened: dict[str, Any]) -> None:
    config = reopened["config"]
    data = dataclasses.replace(config.data, source=Blocks())
    reopened["config"] = dataclasses.replace(config, data=data)
    with pytest.raises(UserError, match=r"may have been trained on .*seed 0 -> 1"):
        assessment.evaluate(Path("run"), source=Blocks(seed=1))


def evaluated_pixels(config: Config, split: str) -> Evaluation:
    """The Gaussians of single pixels, fitted to the training pixels of the same config."""
    return baseline.evaluated(config, split, baseline.fitted(config))[0]


def pixels(split: str, steps: slice) -> tuple[np.ndarray, np.ndarray]:
    """Counted pixels and labels of a split, of some bands."""
    arrays = painted.Painted().scenes(split).arrays
    seen = [a["valid"] & (a["label"] != IGNORE) for a in arrays]
    return (
        np.concatenate([a["image"][ok][:, steps] for a, ok in zip(arrays, seen, strict=True)]),
        np.concatenate([a["label"][ok] for a, ok in zip(arrays, seen, strict=True)]),
    )


def test_the_baseline_is_fitted_on_training_pixels_as_the_network_sees_them() -> None:
    confusions = []
    for steps, bands in (((RemoveBands(bands=(2,)),), slice(0, 1)), ((), slice(0, 2))):
        config = painted.config(preprocess=steps)
        found = evaluated_pixels(config, "test")
        classifier = GaussianClassifier(3)
        classifier.fit(*pixels("train", bands))
        values, label = pixels("test", bands)
        expected = np.zeros((3, 3), int)
        np.add.at(expected, (label, classifier.predict(values)), 1)
        np.testing.assert_array_equal(found.confusion, expected)
        np.testing.assert_array_equal(found.margins[:, 0].sum(0), np.diag(expected))
        np.testing.assert_array_equal(found.margins[:, 1].sum(0), expected.sum(1))
        np.testing.assert_array_equal(found.margins[:, 2].sum(0), expected.sum(0))
        assert len(found.margins) == 10
        assert found.scores.overall_accuracy == np.trace(expected) / expected.sum()
        confusions.append(expected)
    assert (confusions[0] != confusions[1]).any()


def test_of_a_large_training_split_some_windows_are_enough_for_the_baseline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(baseline, "BASELINE_SIDE", 7)
    monkeypatch.setattr(baseline, "BASELINE_WINDOWS", 3)
    fitted: list[int] = []
    fit = GaussianClassifier.fit

    def counting(self: GaussianClassifier, values: Any, labels: Any) -> None:
        fitted.append(len(labels))
        fit(self, values, labels)

    monkeypatch.setattr(GaussianClassifier, "fit", counting)
    evaluated_pixels(painted.config(), "test")
    # Of 3 x 2 and 2 x 3 windows the first, one in the middle and the last.
    assert fitted == [7 * 7 - 3, 6 * 5 - 2, 2 * 2 - 1]
