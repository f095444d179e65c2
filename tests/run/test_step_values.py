"""What a step computes, against the same by hand."""

import dataclasses
from pathlib import Path
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.pixel_step import (
    STEPS,
    Shown,
    Step,
    alone,
    compiled,
    cross_entropy,
    drawn,
    logits_of,
    small_config,
)

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.losses.pixels import CrossEntropy
from jaxseg.run import soundness, step
from jaxseg.scenes.scene import IGNORE
from jaxseg.sharding import MeshShape
from jaxseg.transforms.augmentation import Noise
from jaxseg.transforms.hyperspectral import RemoveBands
from jaxseg.transforms.radiometry import Standardize


@pytest.fixture(scope="module")
def small(tiny: Path) -> Config:
    return small_config(tiny)


@pytest.fixture(scope="module")
def plain(small: Config) -> tuple[Step, step.TrainState]:
    return compiled(small)


def test_a_step_follows_the_gradient_of_the_weighted_loss_at_its_rate(
    plain: tuple[Step, step.TrainState],
) -> None:
    one, state = plain
    batch = drawn()

    def loss(params: Any) -> jax.Array:
        log_p = jax.nn.log_softmax(batch["image"] @ params["kernel"][0, 0] + params["bias"])
        return -2 * jnp.take_along_axis(log_p, batch["label"][..., None].astype(int), -1).mean()

    for number, rate in ((0, 0.1), (1, 0.09)):
        conv = jax.device_get(state.params)["Conv_0"]
        gradient = jax.grad(loss)(conv)
        state, metrics = one(state, batch)
        expected = jax.tree.map(lambda p, g, rate=rate: p - rate * g, conv, gradient)
        chex.assert_trees_all_close(state.params["Conv_0"], expected, rtol=1e-4, atol=1e-6)
        assert int(state.step) == number + 1
        assert metrics["learning_rate"] == pytest.approx(rate)
        assert metrics["loss/progress"] == pytest.approx(number / STEPS)
        squares = sum((np.asarray(leaf) ** 2).sum() for leaf in jax.tree.leaves(gradient))
        assert metrics["grad_norm"] == pytest.approx(np.sqrt(squares), rel=1e-4)
        assert metrics["loss"] == pytest.approx(2 * metrics["loss/ce"])
        assert metrics["loss/ce"] == pytest.approx(float(loss(conv)) / 2, rel=1e-5)


def test_running_statistics_move_with_every_step(plain: tuple[Step, step.TrainState]) -> None:
    one, state = plain
    batch = drawn()
    new, _ = one(state, batch)
    mean = batch["image"].astype(np.float64).mean((0, 1, 2))
    np.testing.assert_allclose(new.batch_stats["BatchNorm_0"]["mean"], mean / 2, rtol=1e-4)


def test_the_training_confusion_is_that_of_the_logits_of_this_step(
    plain: tuple[Step, step.TrainState],
) -> None:
    one, state = plain
    batch = drawn()
    _, metrics = one(state, batch)
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (batch["label"], logits_of(state, batch["image"]).argmax(-1)), 1)
    np.testing.assert_array_equal(metrics["confusion"], expected)


def test_a_pixel_without_a_label_teaches_as_little_as_one_without_data(
    plain: tuple[Step, step.TrainState],
) -> None:
    one, state = plain
    batch = drawn()
    some = np.zeros((4, 8, 8), bool)
    some[:, :3], some[1] = True, True
    label = np.where(some, IGNORE, batch["label"]).astype(np.uint8)
    unlabelled, metrics = one(state, batch | {"label": label})
    blank, expected = one(state, batch | {"valid": ~some})
    mean = cross_entropy(logits_of(state, batch["image"]), batch["label"])[~some].mean()
    for found in (metrics, expected):
        assert found["loss/ce"] == pytest.approx(mean, rel=1e-5)
        assert found["confusion"].sum() == (~some).sum()
    np.testing.assert_array_equal(metrics["confusion"], expected["confusion"])
    chex.assert_trees_all_close(unlabelled.params["Conv_0"], blank.params["Conv_0"], atol=1e-6)


def test_labels_and_masks_of_another_size_than_the_image_are_refused(
    plain: tuple[Step, step.TrainState],
) -> None:
    one, state = plain
    for name in ("image", "valid"):
        batch = drawn()
        with pytest.raises(AssertionError):
            one(state, batch | {name: batch[name][:, :4]})


def test_slices_of_a_batch_count_and_teach_like_the_whole(
    small: Config, plain: tuple[Step, step.TrainState]
) -> None:
    sliced, state = compiled(dataclasses.replace(small, accumulate=2))
    batch = drawn()
    whole, expected = plain[0](state, batch)
    new, metrics = sliced(state, batch)
    for found in (metrics, expected):
        found.pop(soundness.LARGEST)  # a running variance, and those are not equal
    chex.assert_trees_all_close(metrics, expected, rtol=1e-5)
    np.testing.assert_array_equal(metrics["confusion"], expected["confusion"])
    chex.assert_trees_all_close(new.params, whole.params, rtol=1e-5, atol=1e-7)
    # Slices are images 0 and 2, then 1 and 3: so every device keeps its own ones. Running
    # statistics see one slice after the other.
    mean = np.zeros(2)
    for piece in (batch["image"][::2], batch["image"][1::2]):
        mean = 0.5 * mean + 0.5 * piece.astype(np.float64).mean((0, 1, 2))
    np.testing.assert_allclose(new.batch_stats["BatchNorm_0"]["mean"], mean, rtol=1e-4)


def test_slices_move_no_image_between_devices(small: Config) -> None:
    config = dataclasses.replace(small, accumulate=2)
    mesh = sharding.make_mesh(MeshShape(data=8))
    state = step.init_state(config, 2, mesh)
    batch = sharding.place_batch(mesh, drawn(16))
    text = jax.jit(step.make_train_step(config, mesh)).lower(state, batch).compile().as_text()
    assert "all-reduce" in text  # gradients are summed
    for moved in ("all-to-all", "collective-permute", "all-gather"):
        assert moved not in text


class Drawing(nn.Module):
    """Logits that are nothing but dropout, of a parameter for each place."""

    num_classes: int = 3

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:  # noqa: D102
        shape = (*image.shape[1:3], self.num_classes)
        table = self.param("table", nn.initializers.ones, shape)
        return nn.Dropout(0.5, deterministic=not train)(jnp.zeros_like(image[..., :1]) + table)


@dataclasses.dataclass(frozen=True)
class Ramp:
    """Linear in the logits, and different wherever one of them is another."""

    weight: float = 1.0

    def __call__(self, logits: jax.Array, batch: step.Batch, valid: jax.Array) -> jax.Array:  # noqa: D102
        return (logits * jnp.arange(1, logits.size + 1).reshape(logits.shape)).mean()


def test_every_step_draws_its_own_augmentation_and_dropout(small: Config) -> None:
    standardize = (Standardize((1.0, 1.0), (0.5, 0.5)),)
    loss = {"dropout": Ramp(), "image": Shown("image")}
    config = dataclasses.replace(small, model=Drawing(), preprocess=standardize, loss=loss)
    later = dataclasses.replace(config, augment=(Noise(1.0),))
    both = dataclasses.replace(later, augment_raw=(Noise(1.0),))

    one, state = compiled(both)
    _, first = one(state, drawn())
    _, again = one(state, drawn())
    _, second = one(state.replace(step=jnp.int32(1)), drawn())  # type: ignore[attr-defined]
    _, seeded = compiled(dataclasses.replace(both, seed=1))[0](state, drawn())
    for name in ("loss/dropout", "loss/image"):
        assert first[name] == again[name]
        assert first[name] != second[name]
        assert first[name] != seeded[name]

    nothing = 2 * (float(drawn()["image"].mean()) - 1)
    after = float(compiled(later)[0](state, drawn())[1]["loss/image"]) - nothing
    # What the later augmentation draws does not depend on the raw one, whose noise is standardised.
    before = (float(first["loss/image"]) - nothing - after) / 2
    _, alone = compiled(dataclasses.replace(both, augment=()))[0](state, drawn())
    assert (float(alone["loss/image"]) - nothing) / 2 == pytest.approx(before, abs=1e-5)
    assert min(abs(before), abs(after), abs(before - after)) > 1e-3


@dataclasses.dataclass(frozen=True)
class Flat:
    """The mean of the logits."""

    weight: float = 1.0

    def __call__(self, logits: jax.Array, batch: step.Batch, valid: jax.Array) -> jax.Array:  # noqa: D102
        return logits.mean()


def test_every_slice_draws_its_own_dropout(small: Config) -> None:
    config = dataclasses.replace(small, model=Drawing(), loss={"mean": Flat()}, accumulate=2)
    one, state = compiled(config)
    new, _ = one(state, drawn(2))
    # What is dropped has no gradient: of the two slices in neither, one or both.
    moved = np.asarray(new.params["table"]) - 1
    assert len(np.unique(np.round(moved / np.abs(moved).max(), 3))) == 3


class Heads(nn.Module):
    """One convolution, and everything that a network may sow."""

    num_classes: int = 3

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:  # noqa: D102
        logits = nn.Conv(self.num_classes, (1, 1))(image)
        if train:
            self.sow("aux_logits", "a", 2 * logits)
            self.sow("aux_logits", "b", 3 * logits)
            self.sow("second_logits", "c", 4 * logits)
            self.sow("regularizers", "d", jnp.float32(0.25))
            self.sow("regularizers", "e", jnp.float32(0.5))
        return logits


def test_all_that_a_network_sows_is_in_the_total_with_its_weight(small: Config) -> None:
    loss = {
        "ce": CrossEntropy(weight=2.0),
        "two": CrossEntropy(weight=3.0, class_weights=(1.0, 2.0, 4.0)),
        "second": Shown("second_logits"),
    }
    config = dataclasses.replace(small, model=Heads(), loss=loss, aux_weight=0.3)
    one, state = compiled(config)
    batch = drawn()
    batch["label"][0] = IGNORE
    _, metrics = one(state, batch)
    logits = logits_of(state, batch["image"])
    assert metrics["loss/second"] == pytest.approx(4 * logits.mean(), rel=1e-4)

    def weighed(times: int) -> float:
        """The weighted sum of the losses of so many times the logits."""
        each = cross_entropy(times * logits[1:], batch["label"][1:])
        weights = np.array([1.0, 2.0, 4.0])[batch["label"][1:]]
        return float(2 * each.mean() + 3 * (weights * each).sum() / weights.sum())

    assert metrics["loss/aux0"] == pytest.approx(weighed(2), rel=1e-5)
    assert metrics["loss/aux1"] == pytest.approx(weighed(3), rel=1e-5)
    assert metrics["loss/regularizers"] == pytest.approx(0.75)
    total = weighed(1) + 0.3 * (weighed(2) + weighed(3)) + 0.75
    assert metrics["loss"] == pytest.approx(total, rel=1e-5)


def test_evaluation_answers_the_most_probable_class_of_the_preprocessed_image(
    small: Config,
) -> None:
    config = dataclasses.replace(small, preprocess=(Standardize((1.0, -1.0), (2.0, 0.5)),))
    mesh = alone()
    state = step.init_state(config, 2, mesh)
    batch = drawn()
    batch["valid"][0, :2], batch["label"][1, :, 3] = False, IGNORE
    evaluate = jax.jit(step.make_eval_step(config, mesh))
    variables = step.inference_variables(state)
    found = jax.device_get(evaluate(variables, sharding.place_batch(mesh, batch)))
    image = (batch["image"] - [1.0, -1.0]) / [2.0, 0.5]
    image[~batch["valid"]] = 0
    logits = logits_of(state, image)
    np.testing.assert_array_equal(found["prediction"], logits.argmax(-1))
    assert found["prediction"].dtype == np.uint8
    assert found.keys() == {"prediction", "confusion", "margins"}
    counted = batch["valid"] & (batch["label"] != IGNORE)
    for number in range(4):
        confusion = np.zeros((3, 3), int)
        seen = batch["label"][number][counted[number]], logits[number].argmax(-1)[counted[number]]
        np.add.at(confusion, seen, 1)
        rows, columns = confusion.sum(1), confusion.sum(0)
        assert rows.tolist() != columns.tolist()
        np.testing.assert_array_equal(found["margins"][number], [np.diag(confusion), rows, columns])
    measured = jax.device_get(evaluate(variables, sharding.place_batch(mesh, batch), 2.0))
    nll = [cross_entropy(logits / t, batch["label"] % 3)[counted].sum() for t in (1, 2)]
    np.testing.assert_allclose(measured["at"].sum(0), nll, rtol=1e-4)
    np.testing.assert_array_equal(measured["confusion"], found["confusion"])


def test_a_fresh_state_is_a_function_of_the_seed_and_has_the_bands_that_the_network_sees(
    small: Config,
) -> None:
    mesh = alone()

    def fresh(**changes: Any) -> step.TrainState:
        return step.init_state(dataclasses.replace(small, **changes), 2, mesh)

    state, other, larger = (
        fresh(),
        fresh(seed=1),
        fresh(data=dataclasses.replace(small.data, crop=128)),
    )
    assert int(state.step) == 0
    assert state.ema is None
    assert state.params["Conv_0"]["kernel"].shape == (1, 1, 2, 3)
    assert (state.params["Conv_0"]["kernel"] != other.params["Conv_0"]["kernel"]).any()
    chex.assert_trees_all_equal(state.params, larger.params)
    removed = fresh(preprocess=(RemoveBands(bands=(1,)),))
    assert removed.params["Conv_0"]["kernel"].shape == (1, 1, 1, 3)
    averaged = dataclasses.replace(small.optimizer, ema=0.9)
    following = fresh(optimizer=averaged)
    chex.assert_trees_all_equal(following.ema, following.params)
    abstract = step.abstract_state(dataclasses.replace(small, optimizer=averaged), 2, mesh)
    chex.assert_trees_all_equal_shapes_and_dtypes(abstract, following)
    assert all(
        leaf.sharding == real.sharding
        for leaf, real in zip(jax.tree.leaves(abstract), jax.tree.leaves(following), strict=True)
    )
    assert step.count_parameters(state.params) == 2 * 3 + 3 + 2 * 2
