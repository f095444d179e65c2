"""A finished run gets new classes: how the run begins, what it keeps, and what is refused."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures import painted

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.datasets.stages import Stage
from jaxseg.errors import UserError
from jaxseg.losses.distillation import Distillation
from jaxseg.losses.incremental import LocalPOD, UnbiasedCrossEntropy, UnbiasedDistillation
from jaxseg.losses.pixels import CrossEntropy
from jaxseg.models.parts.layers import BatchNorm, Conv
from jaxseg.run import beginning, checkpoint, new_classes, program, training
from jaxseg.run.evaluator import Evaluator
from jaxseg.transforms.radiometry import Standardize
from jaxseg.weights.new_classes import Incremental


class Small(nn.Module):
    """One convolution and a classifier."""

    num_classes: int
    features: int = 6

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """Logits (B, H, W, K)."""
        x = Conv(self.features, kernel_size=1, name="block")(image)
        x = nn.relu(BatchNorm(use_running_average=not train, name="norm")(x))
        return Conv(self.num_classes, kernel_size=1, use_bias=True, name="head")(x)


CODE = (Small, painted.Painted)


def first_stage() -> Config:
    plain = dataclasses.replace(painted.seven_steps(), num_steps=60, eval_every=60, save_every=60)
    source = Stage(painted.Painted(), new=("land",))
    return dataclasses.replace(
        plain,
        model=Small(2),
        data=dataclasses.replace(plain.data, source=source),
        preprocess=(Standardize(),),
        optimizer=dataclasses.replace(plain.optimizer, learning_rate=0.05),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that knows land from all else."""
    folder = tmp_path_factory.mktemp("first") / "run"
    training.train(first_stage(), folder)
    return folder


def second_stage(run: Path, **changes: Any) -> Config:
    first = first_stage()
    source = Stage(painted.Painted(), new=("water", "ice"), old=("land",))
    stage = dataclasses.replace(
        first,
        model=Small(4),
        data=dataclasses.replace(first.data, source=source),
        loss={
            "ce": UnbiasedCrossEntropy(),
            "distillation": UnbiasedDistillation(),
            "pod": LocalPOD(layers=("block",)),
        },
        incremental=Incremental(str(run), pretuning=20),
    )
    return dataclasses.replace(stage, **changes)


def completed(config: Config) -> Config:
    config = new_classes.with_old_radiometry(config, CODE)
    sensor = dataclasses.replace(config.data.source.sensor, typical=((0.0, 1.0, 2.0),) * 2)
    return dataclasses.replace(config, sensor=sensor)


def started(config: Config) -> tuple[Any, str]:
    mesh = sharding.make_mesh(config.mesh)
    return beginning.initialised(completed(config), mesh, CODE)


def test_pretuning_changes_the_classifiers_of_background_and_new_classes_alone(
    finished: Path,
) -> None:
    config = second_stage(finished)
    old = checkpoint.reopen(finished, config.mesh, code=CODE)[1]
    state, origin = started(config)
    plain, _ = started(dataclasses.replace(config, incremental=Incremental(str(finished))))
    assert "2 new class(es), pre-tuned for 20 steps (loss " in origin
    for found in (state, plain):
        chex.assert_trees_all_equal(found.params["block"], old.params["block"])
        chex.assert_trees_all_equal(found.batch_stats, old.batch_stats)
        kernel = found.params["head"]["kernel"]
        np.testing.assert_array_equal(kernel[..., 1], old.params["head"]["kernel"][..., 1])
        assert int(found.step) == 0
    tuned, copied = (found.params["head"]["kernel"] for found in (state, plain))
    assert (copied[..., 2] == copied[..., 0]).all()
    assert not np.allclose(tuned[..., 2], tuned[..., 3])
    again, _ = started(config)
    chex.assert_trees_all_equal(again.params, state.params)  # a function of the config
    drawn = dataclasses.replace(config.incremental, importance=False)
    random, _ = started(dataclasses.replace(config, incremental=drawn))
    assert not np.allclose(random.params["head"]["kernel"], tuned)


def test_pretuned_classes_fit_the_new_labels_better_than_the_background(finished: Path) -> None:
    config = second_stage(finished)
    longer = dataclasses.replace(config.incremental, pretuning=100)
    _, origin = started(dataclasses.replace(config, incremental=longer))
    found = re.search(r"loss ([\d.]+) to ([\d.]+),", origin)
    assert found is not None
    assert float(found[2]) < 0.9 * float(found[1])


def test_the_run_trains_beside_the_old_network_and_continues(
    finished: Path, tmp_path: Path
) -> None:
    config = second_stage(finished, num_steps=7)
    state = training.train(config, tmp_path / "whole", code=CODE)
    stored = checkpoint.config_of(tmp_path / "whole", CODE)
    theirs = checkpoint.config_of(finished, CODE)
    assert stored.preprocess == theirs.preprocess  # what was left open is the old run's
    teacher = program.teacher_of(stored, CODE)
    assert teacher is not None
    assert teacher.layers == ("block",)
    batch = teacher.answering(
        teacher.seeing({"image": jnp.ones((1, 4, 4, 2)), "valid": jnp.ones((1, 4, 4), bool)}),
        teacher.variables,
    )
    assert batch["teacher_logits"].shape == (1, 4, 4, 2)
    assert batch["teacher/block"].shape == (1, 4, 4, 6)
    third = dataclasses.replace(config, num_steps=9)
    longer = training.train(third, tmp_path / "whole", code=CODE)
    assert (int(state.step), int(longer.step)) == (7, 9)


@pytest.mark.slow
def test_the_losses_keep_the_old_class_that_plain_labels_make_it_forget(
    finished: Path, tmp_path: Path
) -> None:
    config = second_stage(finished, num_steps=60, eval_every=60, save_every=60)
    found = {}
    for name, losses in {"plain": {"ce": CrossEntropy()}, "kept": config.loss}.items():
        stage = dataclasses.replace(config, loss=losses)
        state = training.train(stage, tmp_path / name, code=CODE)
        stage = checkpoint.config_of(tmp_path / name, CODE)
        scores = Evaluator(stage, sharding.make_mesh(stage.mesh), "test")(state).scores
        found[name] = dict(zip(scores.classes, scores.iou, strict=True))
    assert found["plain"]["land"] < 0.1
    assert found["kept"]["land"] > 0.9
    assert min(found["kept"][name] for name in ("water", "ice")) > 0.9


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": Small(4, features=5)}, "they may differ in the number of classes alone"),
        ({"preprocess": ()}, "another radiometry"),
        ({"init_from": "elsewhere"}, r"leave --config\.init-from"),
        (
            {"source": Stage(painted.Painted(), new=("ice",), old=("water", "land"))},
            "has the classes other, land; this run has other, water, land, ice",
        ),
    ],
)
def test_a_run_that_cannot_follow_is_refused(
    finished: Path, changes: dict[str, Any], said: str
) -> None:
    config = second_stage(finished)
    if source := changes.pop("source", None):
        changes["data"] = dataclasses.replace(config.data, source=source)
    with pytest.raises(UserError, match=said):
        started(dataclasses.replace(config, **changes))


def test_a_classifier_that_cannot_be_pretuned_and_a_second_teacher_are_refused(
    finished: Path,
) -> None:
    config = second_stage(finished)
    other = dataclasses.replace(config.incremental, layer="norm")
    with pytest.raises(UserError, match="a convolution of 1 x 1 pixel"):
        started(dataclasses.replace(config, incremental=other))
    both = config.loss | {"side": Distillation("elsewhere", logits=1.0)}
    with pytest.raises(UserError, match="leave the Distillation loss out"):
        program.teacher_of(dataclasses.replace(config, loss=both), ())
