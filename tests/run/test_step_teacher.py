"""A step with a teacher: what it says is trained, where both sensors have data."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.pixel_step import (
    Pixel,
    Step,
    compiled,
    distance,
    drawn,
    logits_of,
    small_config,
)

from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.losses.distillation import Distillation, Teacher
from jaxseg.run import step
from jaxseg.scenes.scene import IGNORE, Sample
from jaxseg.transforms.augmentation import Dihedral
from jaxseg.transforms.radiometry import Standardize
from jaxseg.transforms.transform import preprocess


@pytest.fixture(scope="module")
def small(tiny: Path) -> Config:
    return small_config(tiny)


@pytest.fixture(scope="module")
def plain(small: Config) -> tuple[Step, step.TrainState]:
    return compiled(small)


@pytest.fixture(scope="module")
def taught(small: Config) -> tuple[Step, step.TrainState, Any]:
    """A step with a teacher of one band that sees twice the side image; what the teacher is."""
    rule = Distillation("run", layers=("Conv_0",), features=3.0, logits=0.5, temperature=1.0)
    config = dataclasses.replace(small, loss=small.loss | {"distillation": rule})
    variables = jax.device_get(Pixel().init(jax.random.key(5), jnp.zeros((1, 8, 8, 1)), train=True))
    see = functools.partial(preprocess, steps=(Standardize((0.0,), (0.5,)),))
    return *compiled(config, Teacher(("Conv_0",), Pixel(), see, variables)), variables


def with_side() -> Sample:
    """A batch with side images, some of whose pixels have no data in one sensor or the other."""
    batch = drawn()
    side_valid, valid = np.ones((4, 8, 8), bool), np.ones((4, 8, 8), bool)
    side_valid[0, :5], valid[1, :, :2] = False, False
    batch["label"][2] = IGNORE  # a teacher needs no label
    side = np.random.default_rng(3).standard_normal((4, 8, 8, 1)).astype(np.float32)
    return batch | {"side": side, "valid": valid, "side_valid": side_valid}


def test_what_a_teacher_says_is_in_the_total_with_its_weight(
    taught: tuple[Step, step.TrainState, Any],
) -> None:
    one, state, variables = taught
    batch = with_side()
    new, metrics = one(state, batch)
    both = batch["valid"] & batch["side_valid"]
    ours = logits_of(state, batch["image"])
    conv = variables["params"]["Conv_0"]
    theirs = (2 * batch["side"]) @ conv["kernel"][0, 0] + conv["bias"]
    log_p, log_t = (np.asarray(jax.nn.log_softmax(z)) for z in (ours, theirs))
    divergence = (np.exp(log_t) * (log_t - log_p)).sum(-1)[both].mean()
    squares = ((ours - theirs) ** 2)[both].mean()
    assert metrics["loss/distillation/logits"] == pytest.approx(divergence, rel=1e-4)
    assert metrics["loss/distillation/features"] == pytest.approx(squares, rel=1e-4)
    sum_ = 0.5 * divergence + 3 * squares
    assert metrics["loss/distillation"] == pytest.approx(sum_, rel=1e-4)
    assert metrics["loss"] == pytest.approx(2 * metrics["loss/ce"] + sum_, rel=1e-4)
    # It moves the parameters, too.
    untaught, _ = one(state, batch | {"side_valid": np.zeros_like(both)})
    assert distance(new.params, untaught.params) > 1e-3


def test_where_a_sensor_has_no_data_a_teacher_teaches_nothing(
    taught: tuple[Step, step.TrainState, Any],
) -> None:
    one, state, _ = taught
    batch = with_side()
    _, expected = one(state, batch)
    hidden = batch["side"].copy()
    hidden[~batch["side_valid"] | ~batch["valid"]] = 1e3
    _, metrics = one(state, batch | {"side": hidden})
    chex.assert_trees_all_close(metrics, expected, rtol=1e-5)


def test_side_images_turn_with_the_others(small: Config) -> None:
    class Same(nn.Module):
        """The first band alone."""

        num_classes: int = 3

        @nn.compact
        def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
            return nn.Conv(3, (1, 1), use_bias=False, kernel_init=nn.initializers.ones)(
                image[..., :1]
            )

    rule = Distillation("run", layers=("Conv_0",), features=1.0)
    losses = small.loss | {"distillation": rule}
    config = dataclasses.replace(small, model=Same(), augment=(Dihedral(),), loss=losses)
    variables = Same().init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), train=False)
    teacher = Teacher(("Conv_0",), Same(), lambda image, valid: image, variables)
    one, state = compiled(config, teacher)
    batch = drawn(8)
    side = {"side": batch["image"][..., :1], "side_valid": batch["valid"]}
    _, metrics = one(state, batch | side)
    assert metrics["loss/distillation"] == 0


def test_a_teacher_without_side_images_is_refused(small: Config) -> None:
    rule = Distillation("run", logits=1.0)
    teacher = Teacher((), Pixel(), lambda image, valid: image, {})
    losses = small.loss | {"distillation": rule}
    one, state = compiled(dataclasses.replace(small, loss=losses), teacher)
    with pytest.raises(UserError, match="its data have no side images"):
        one(state, drawn())


def test_without_a_teacher_side_images_are_not_looked_at(
    plain: tuple[Step, step.TrainState],
) -> None:
    one, state = plain
    batch = with_side()
    _, metrics = one(state, batch)
    del batch["side"], batch["side_valid"]
    _, expected = one(state, batch)
    chex.assert_trees_all_equal(metrics, expected)
