"""Runs of earlier versions open: what they name has moved, and what they hold has not changed."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from fixtures.places import FIXTURES
from fixtures.tiny_folder import write_folder

from jaxseg import config_text
from jaxseg.config import Config
from jaxseg.datasets import IndianPines
from jaxseg.datasets.one_scene import SceneSplit
from jaxseg.errors import UserError
from jaxseg.evaluation.evaluate import evaluate
from jaxseg.losses import CrossEntropy, Distillation, Presence
from jaxseg.run import checkpoint, training
from jaxseg.run.step import inference_variables
from jaxseg.sharding import MeshShape
from jaxseg.transforms import preprocess

STORED: dict[str, Any] = json.loads((FIXTURES / "stored_classes_0_1_0.json").read_text())


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of version 0.1.0 (its paths are relative) beside the images it was trained on."""
    write_folder(tmp_path)
    shutil.copytree(FIXTURES / "run_0_1_0", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return Path("run")


@pytest.mark.parametrize("name", sorted(STORED))
def test_every_class_that_a_run_of_0_1_0_may_hold_is_found(name: str) -> None:
    value = config_text.from_json(STORED[name])
    assert type(value).__name__ == STORED[name]["class"].rpartition(".")[2]
    again = json.loads(json.dumps(config_text.to_json(value)))
    assert config_text.from_json(again) == value


def test_a_run_of_0_1_0_answers_as_it_did(run: Path) -> None:
    config, state = checkpoint.reopen(run, MeshShape(), "latest")
    image = np.random.default_rng(0).uniform(1, 255, (1, 48, 64, 3)).astype(np.float32)
    seen = preprocess(image, np.ones((1, 48, 64), bool), config.preprocess)  # type: ignore[arg-type]
    logits = jax.jit(lambda v, x: config.model.apply(v, x, train=False))(
        inference_variables(state), seen
    )
    stored = np.load(run / "logits.npy")
    np.testing.assert_allclose(np.asarray(logits)[:, ::8, ::8], stored, atol=1e-4)


def test_a_checkpoint_is_chosen_without_its_arrays(run: Path) -> None:
    config, step = checkpoint.chosen(run)
    assert step == 3
    assert config == checkpoint.config_of(run)
    shutil.rmtree(run / "checkpoints/3/state")
    assert checkpoint.chosen(run, "latest") == (config, 3)
    with pytest.raises(UserError, match="give best, latest or one of"):
        checkpoint.chosen(run, "4")
    shutil.rmtree(run / "checkpoints/3/config")
    with pytest.raises(UserError, match=r"Checkpoint 3 in run cannot be read: .* with --step"):
        checkpoint.chosen(run, "3")
    with pytest.raises(UserError, match="is not a run"):
        checkpoint.chosen(run / "checkpoints")


@pytest.mark.slow
def test_a_run_of_0_1_0_is_evaluated_and_continued(run: Path) -> None:
    assert evaluate(run, baseline=False).step == 3
    config = checkpoint.config_of(run)
    state = training.train(
        dataclasses.replace(config, num_steps=4, mesh=MeshShape(data=4, space=2)), run
    )
    assert int(state.step) == 4


def old(**changes: Any) -> Any:
    """A config as 0.1.0 stored it."""
    return STORED["config lecture_pspnet"] | changes


def test_what_were_fields_of_the_config_are_losses() -> None:
    config: Config = config_text.from_json(old(class_weight=0.5, presence_weights=[1.0] * 10))
    assert config.loss == {"ce": CrossEntropy(), "presence": Presence(0.5, (1.0,) * 10)}
    other = {"model": STORED["config unet"]["model"]}  # whose network says nothing of the kind
    assert set(config_text.from_json(old(**other)).loss) == {"ce"}
    taught = old(distillation=old()["distillation"] | {"run": "runs/optical", "logits": 0.5})
    assert config_text.from_json(taught).loss["distillation"] == Distillation(
        "runs/optical", logits=0.5
    )


def test_what_were_fields_of_a_source_are_its_split() -> None:
    stored = STORED["class jaxseg.datasets.indian_pines.IndianPines"]
    stored |= {"split": "pixels", "block": 20, "guard": 1, "seed": 3}
    assert config_text.from_json(stored) == IndianPines(
        split=SceneSplit("pixels", (0.4, 0.1, 0.5), 20, 1, 3)
    )
