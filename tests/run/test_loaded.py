"""A finished run that is asked from Python gives what evaluation counts."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fixtures.places import FIXTURES
from fixtures.tiny_folder import write_folder

import jaxseg
from jaxseg.errors import UserError
from jaxseg.pipeline import windows as pipeline
from jaxseg.run import checkpoint
from jaxseg.run.evaluator import Evaluator
from jaxseg.run.loaded import Run
from jaxseg.scenes import IGNORE, ScaleError, Window
from jaxseg.sharding import MeshShape, make_mesh


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run beside the images it was trained on."""
    folder = tmp_path_factory.mktemp("loaded")
    write_folder(folder)
    shutil.copytree(FIXTURES / "run_0_1_0", folder / "run")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return jaxseg.load_run(folder / "run")


IMAGE = np.random.default_rng(0).integers(1, 255, (32, 48, 3), np.uint8)


def test_a_run_knows_what_it_was(run: Run) -> None:
    assert run.step == 3
    assert run.classes == ("ground", "disc", "square")
    assert len(run.sensor.bands) == 3
    assert run.temperature == 1.0
    assert run.config.num_steps == 3


def test_one_image_or_many_any_kind_of_number(run: Run) -> None:
    logits = run.logits(IMAGE)
    assert logits.shape == (32, 48, 3)
    assert logits.dtype == np.float32
    many = run.logits(np.stack([IMAGE, IMAGE]).astype(np.float64))
    np.testing.assert_allclose(many[1], logits, atol=1e-5)
    np.testing.assert_array_equal(run.predict(IMAGE), logits.argmax(-1))
    assert run.predict(IMAGE).dtype == np.uint8
    assert run.predict(np.stack([IMAGE])).shape == (1, 32, 48)


def test_no_data_is_nan_or_a_mask_and_stays_so(run: Run) -> None:
    holed = IMAGE.astype(np.float32)
    holed[3, 5, 1] = np.nan
    mask = np.ones(IMAGE.shape[:2], bool)
    mask[3, 5] = False
    wild = IMAGE.copy()
    wild[3, 5] = 255
    by_nan, by_mask = run.predict(holed), run.predict(wild, mask)
    assert by_nan[3, 5] == by_mask[3, 5] == IGNORE
    assert (by_nan == IGNORE).sum() == 1
    np.testing.assert_allclose(run.logits(holed), run.logits(wild, mask), atol=1e-5)


def test_probabilities_are_calibrated_by_the_evaluation_of_this_step(
    folder: Path, run: Run
) -> None:
    plain = run.probabilities(IMAGE)
    np.testing.assert_allclose(plain.sum(-1), 1, atol=1e-5)
    file = folder / "run/evaluation/calibration.json"
    file.parent.mkdir()
    try:
        fitted = {"step": 3, "temperature": 4.0, "thresholds": [0.2, 0.8]}
        file.write_text(json.dumps(fitted))
        warm = jaxseg.load_run(folder / "run")
        assert (warm.thresholds, warm.name) == ((0.2, 0.8), "run")
        logits = warm.logits(IMAGE) / 4
        expected = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        np.testing.assert_allclose(warm.probabilities(IMAGE), expected, atol=1e-5)
        file.write_text(json.dumps(fitted | {"step": 2}))  # of another checkpoint
        other = jaxseg.load_run(folder / "run")
        assert (other.temperature, other.thresholds) == (1.0, ())
        file.write_text("{")
        with pytest.raises(UserError, match="evaluate the run again"):
            jaxseg.load_run(folder / "run")
    finally:
        shutil.rmtree(file.parent)


def test_the_answer_is_the_one_that_evaluation_counts(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    config, state = checkpoint.reopen(Path("run"), MeshShape())
    evaluator = Evaluator(config, make_mesh(MeshShape()), "test")
    [tile] = evaluator.tiles(state, [0])
    side = config.data.evaluation_crop
    scenes = config.data.source.scenes("test")
    sample = pipeline.read_window(scenes, 0, Window(0, 0, side, side), config.data)
    answer = run.predict(sample["image"], sample["valid"].astype(bool))
    height, width = tile.prediction.shape
    np.testing.assert_array_equal(answer[:height, :width], tile.prediction)


def test_the_sensor_is_compared_where_it_is_given(run: Run) -> None:
    run.predict(IMAGE)
    same = dataclasses.replace(run.sensor, typical=())
    run.predict(IMAGE, sensor=same)
    with pytest.raises(ScaleError, match="The image"):
        run.predict(IMAGE.astype(np.float32) / 255 / 255, sensor=same)


@pytest.mark.parametrize(
    ("image", "valid", "said"),
    [
        (np.zeros((8, 8, 4)), None, r"Image of shape \(8, 8, 4\): this run reads \(H, W, 3\)"),
        (np.zeros((8, 8)), None, r"Image of shape \(8, 8\)"),
        (np.zeros((0, 8, 3)), None, r"Image of shape \(0, 8, 3\)"),
        (np.zeros((8, 8, 3), complex), None, "type complex128"),
        (np.zeros((8, 8, 3)), np.ones((8, 7), bool), r"Mask of shape \(8, 7\)"),
        (np.zeros((8, 8, 3)), np.ones((8, 8)), "type float64"),
    ],
)
def test_what_does_not_fit_is_explained(
    run: Run, image: np.ndarray, valid: np.ndarray | None, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        run.logits(image, valid)


def test_a_folder_that_is_not_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder checkpoints"):
        jaxseg.load_run(tmp_path)
