"""The jitted step: the same numbers on every mesh, compiled once."""

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.small_network import Small
from numpy.typing import NDArray

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.losses.distillation import Distillation, Teacher
from jaxseg.losses.pixels import CrossEntropy, EdgeWeightedCrossEntropy
from jaxseg.losses.presence import Presence
from jaxseg.models.deeplab import DeepLabV3
from jaxseg.models.unet import UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import windows as pipeline
from jaxseg.run import completion, soundness, step
from jaxseg.scenes.scene import IGNORE, Sample
from jaxseg.sharding import MeshShape
from jaxseg.transforms.augmentation import Dihedral, Noise
from jaxseg.transforms.hyperspectral import RemoveBands
from jaxseg.transforms.radiometry import Standardize
from jaxseg.transforms.transform import preprocess

STEPS = 10
BATCH = 16
STANDARDIZE = Standardize((80.0, 90.0, 80.0), (40.0, 30.0, 50.0))


@pytest.fixture(scope="module")
def config(tiny: Path) -> Config:
    return dataclasses.replace(
        configs.load_config(str(tiny / "config.py")),
        preprocess=(STANDARDIZE,),
        optimizer=Optimizer(name="sgd", learning_rate=1e-3, schedule="constant"),
        num_steps=STEPS,
    )


@pytest.fixture(scope="module")
def batches(config: Config) -> list[Sample]:
    data = dataclasses.replace(config.data, batch_size=BATCH)
    found = pipeline.training_batches(
        data,
        seed=0,
        positions=list(range(BATCH)),
        first=0,
        last=STEPS,
        inputs=completion.inputs_of(config),
    )
    return list(found)


def run(
    config: Config, batches: list[Sample], shape: MeshShape, devices: int
) -> tuple[list[float], Any, int]:
    """Losses, final parameters on the host, and the number of compilations."""
    mesh = sharding.make_mesh(shape, jax.devices()[:devices])
    state = step.init_state(config, 3, mesh)
    start = jax.device_get(state.params)
    placements = jax.tree.map(lambda leaf: leaf.sharding, step.abstract_state(config, 3, mesh))
    train_step = jax.jit(
        step.make_train_step(config, mesh),
        donate_argnums=0,
        in_shardings=(placements, sharding.batch_sharding(mesh)),
        out_shardings=(placements, sharding.replicated(mesh)),
    )
    losses = []
    for batch in batches:
        state, metrics = train_step(state, sharding.place_batch(mesh, batch))
        losses.append(float(metrics["loss"]))
    params = jax.device_get(state.params)
    # Losses of different batches say nothing about it.
    assert distance(start, params) > 1e-6, "nothing was trained"
    return losses, params, train_step._cache_size()


def distance(one: Any, other: Any) -> float:
    """Norm of the difference relative to the norm, over all parameters."""
    leaves = list(zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))
    difference = sum(float(((a - b).astype(np.float64) ** 2).sum()) for a, b in leaves)
    return float(
        np.sqrt(difference / sum(float((a.astype(np.float64) ** 2).sum()) for a, _ in leaves))
    )


MODELS = {
    "unet": UNet(num_classes=3, features=4),
    "small": Small(num_classes=3, features=16),
    "deeplab": DeepLabV3(num_classes=3, backbone="resnet18", output_stride=16, dropout=0.1),
}


@pytest.fixture(
    scope="module",
    params=["small", *(pytest.param(n, marks=pytest.mark.slow) for n in ("unet", "deeplab"))],
)
def reference(
    request: pytest.FixtureRequest, config: Config, batches: list[Sample]
) -> tuple[Config, list[float], Any]:
    """Ten steps of SGD on one device."""
    # DeepLab's image pooling normalises over sixteen numbers here, so that a rounding of the
    # parameters becomes forty times as large in the loss: shorter steps keep it small.
    rate = {"small": 1e-3, "unet": 3e-4, "deeplab": 1e-5}[request.param]
    config = dataclasses.replace(
        config,
        model=MODELS[request.param],
        optimizer=dataclasses.replace(config.optimizer, learning_rate=rate),
    )
    losses, params, compilations = run(config, batches, MeshShape(), 1)
    assert compilations == 1
    return config, losses, params


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(MeshShape(data=8), marks=pytest.mark.slow, id="data"),
        pytest.param(MeshShape(data=1, fsdp=8), marks=pytest.mark.slow, id="fsdp"),
        pytest.param(MeshShape(data=2, space=4), marks=pytest.mark.slow, id="space"),
        pytest.param(MeshShape(data=1, fsdp=4, space=2), marks=pytest.mark.slow, id="fsdp, space"),
        pytest.param(MeshShape(2, 2, 2), id="all"),
    ],
)
def test_ten_steps_on_eight_devices_equal_one_device(
    reference: tuple[Config, list[float], Any], batches: list[Sample], shape: MeshShape
) -> None:
    config, losses, params = reference
    sharded_losses, sharded_params, compilations = run(config, batches, shape, 8)
    np.testing.assert_allclose(sharded_losses, losses, rtol=1e-5)
    assert distance(params, sharded_params) < 1e-4
    assert compilations == 1


@pytest.mark.slow
def test_a_residual_network_evaluates_alike_where_parameters_and_rows_are_cut(
    config: Config, batches: list[Sample]
) -> None:
    model = DeepLabV3(num_classes=3, backbone="resnet18", output_stride=16)
    config = dataclasses.replace(config, model=model)
    confusions = []
    for shape, devices in ((MeshShape(), 1), (MeshShape(data=1, fsdp=4, space=2), 8)):
        mesh = sharding.make_mesh(shape, jax.devices()[:devices])
        variables = step.inference_variables(step.init_state(config, 3, mesh))
        evaluate = jax.jit(step.make_eval_step(config, mesh))
        results = evaluate(variables, sharding.place_batch(mesh, batches[0]))
        confusions.append(np.asarray(results["confusion"]))
    assert np.abs(confusions[1] - confusions[0]).sum() <= 2  # rounding may turn a pixel
    assert np.count_nonzero(confusions[0]) > 3


def test_fsdp_stores_a_part_of_every_large_parameter(config: Config) -> None:
    averaged = dataclasses.replace(config.optimizer, ema=0.9)
    config = dataclasses.replace(config, model=UNet(num_classes=3, features=16), optimizer=averaged)
    mesh = sharding.make_mesh(MeshShape(data=1, fsdp=8))
    state = step.init_state(config, 3, mesh)
    for tree in (state.params, state.opt_state, state.ema):
        whole = sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
        mine = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(tree))
        assert mine < 0.2 * whole


@pytest.mark.parametrize("shape", [MeshShape(data=8), MeshShape(data=1, fsdp=8)])
def test_a_step_writes_its_state_where_the_last_one_was(
    config: Config, batches: list[Sample], shape: MeshShape
) -> None:
    """All of it, the average and the moments included: memory for one state is enough."""
    model = Small(num_classes=3, features=2048)  # kernels that fsdp divides
    averaged = dataclasses.replace(config.optimizer, name="adamw", ema=0.9)
    config = dataclasses.replace(config, model=model, optimizer=averaged)
    mesh = sharding.make_mesh(shape)
    abstract = step.abstract_state(config, 3, mesh)
    jitted = step.jit_train_step(config, mesh, abstract)
    compiled = jitted.lower(abstract, sharding.place_batch(mesh, batches[0])).compile()
    mine = sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(abstract)
    )
    assert compiled.memory_analysis().alias_size_in_bytes == mine


def test_initial_parameters_do_not_depend_on_the_mesh(config: Config) -> None:
    one = step.init_state(config, 3, sharding.make_mesh(MeshShape(), jax.devices()[:1]))
    eight = step.init_state(config, 3, sharding.make_mesh(MeshShape(data=2, fsdp=4)))
    chex.assert_trees_all_equal(jax.device_get(one.params), jax.device_get(eight.params))


def test_accumulated_slices_give_the_gradient_of_the_whole_batch(
    config: Config, batches: list[Sample]
) -> None:
    # Without batch normalisation the two are the same number, although a slice has fewer pixels
    # that count than another one, or none.
    class Linear(nn.Module):
        num_classes: int = 3

        @nn.compact
        def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
            return nn.Conv(self.num_classes, (3, 3))(image)

    losses_of_means = {
        "ce": CrossEntropy(class_weights=(1.0, 5.0, 0.2)),
        "edges": EdgeWeightedCrossEntropy(weight=0.5),
    }
    plain = dataclasses.replace(config, model=Linear(), augment=(), loss=losses_of_means)
    uneven = []
    for batch in batches[:3]:
        valid = batch["valid"].copy()
        valid[::4] = False  # the first slice of four
        valid[1, 5:] = False
        uneven.append(batch | {"valid": valid})
    mesh = MeshShape()
    losses, params, _ = run(plain, uneven, mesh, 1)
    sliced = dataclasses.replace(plain, accumulate=4)
    sliced_losses, sliced_params, _ = run(sliced, uneven, mesh, 1)
    np.testing.assert_allclose(sliced_losses, losses, rtol=1e-5)
    chex.assert_trees_all_close(sliced_params, params, rtol=1e-4, atol=1e-6)


class Present(nn.Module):
    """One convolution, and what its mean says of the image."""

    num_classes: int = 3

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:  # noqa: D102
        logits = nn.Conv(self.num_classes, (3, 3))(image)
        present = nn.Dense(self.num_classes)(image.mean((1, 2)))
        if not self.is_initializing():
            self.sow("class_logits", "mean", present)
        return logits


@pytest.mark.parametrize(("shape", "devices"), [(MeshShape(), 1), (MeshShape(2, 2, 2), 8)])
def test_what_the_image_holds_is_trained_with_its_weight(
    config: Config, batches: list[Sample], shape: MeshShape, devices: int
) -> None:
    presence = Presence(weight=0.25, class_weights=(0.5, 2.0, 1.0))
    config = dataclasses.replace(
        config, model=Present(), augment=(), loss=config.loss | {"presence": presence}
    )
    mesh = sharding.make_mesh(shape, jax.devices()[:devices])
    state = step.init_state(config, 3, mesh)
    batch = {name: array.copy() for name, array in batches[0].items()}
    batch["valid"][0] = False  # does not count
    batch["label"][1] = 1  # holds a single class
    dense = jax.device_get(state.params)["Dense_0"]
    placed = sharding.place_batch(mesh, batch)
    state, metrics = jax.jit(step.make_train_step(config, mesh))(state, placed)

    image = np.asarray(preprocess(batch["image"], batch["valid"], config.preprocess))
    logits = image.mean((1, 2)) @ dense["kernel"] + dense["bias"]
    counted = batch["valid"] & (batch["label"] != 255)
    each = zip(batch["label"], counted, strict=True)
    present = [[bool((label[ok] == c).any()) for c in range(3)] for label, ok in each]
    assert present[1] == [False, True, False]
    wrong = np.log1p(np.exp(np.where(present, -logits, logits)))[counted.any((1, 2))]
    wrong = (wrong * [0.5, 2.0, 1.0]).mean()
    assert float(metrics["loss/presence"]) == pytest.approx(wrong, rel=1e-5)
    total = sum(loss.weight * float(metrics[f"loss/{name}"]) for name, loss in config.loss.items())
    assert float(metrics["loss"]) == pytest.approx(total, rel=1e-5)
    moved = jax.device_get(state.params)["Dense_0"]["kernel"] - dense["kernel"]
    assert np.abs(moved).min() > 0


def test_bfloat16_trains_and_keeps_parameters_in_float32(
    config: Config, batches: list[Sample]
) -> None:
    model = Small(num_classes=3, features=4, dtype="bfloat16")
    losses, params, _ = run(dataclasses.replace(config, model=model), batches, MeshShape(), 1)
    assert losses[-1] < losses[0]
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}


def test_the_moving_average_follows_the_parameters(config: Config, batches: list[Sample]) -> None:
    config = dataclasses.replace(
        config,
        model=Small(3),
        optimizer=dataclasses.replace(config.optimizer, ema=0.9, learning_rate=0.1),
    )
    mesh = sharding.make_mesh(MeshShape(), jax.devices()[:1])
    state = step.init_state(config, 3, mesh)
    average = jax.device_get(state.params)
    train_step = jax.jit(step.make_train_step(config, mesh))
    for number, batch in enumerate(batches[:4]):
        state, _ = train_step(state, sharding.place_batch(mesh, batch))
        decay = min(0.9, (1 + number) / (10 + number))
        average = jax.tree.map(
            lambda a, p, decay=decay: decay * a + (1 - decay) * np.asarray(p), average, state.params
        )
    chex.assert_trees_all_close(jax.device_get(state.ema), average, rtol=1e-5, atol=1e-6)
    assert step.inference_variables(state)["params"] is state.ema


def test_evaluation_counts_what_is_valid_and_labelled(
    config: Config, batches: list[Sample]
) -> None:
    config = dataclasses.replace(config, model=Small(3))
    mesh = sharding.make_mesh(MeshShape(), jax.devices()[:1])
    state = step.init_state(config, 3, mesh)
    batch = {name: array.copy() for name, array in batches[0].items()}
    batch["valid"][0] = False
    batch["label"][1] = 255
    results = jax.jit(step.make_eval_step(config, mesh))(
        step.inference_variables(state), sharding.place_batch(mesh, batch)
    )
    right, reference, predicted = np.moveaxis(np.asarray(results["margins"]), 1, 0)
    for pixels in (reference, predicted):
        assert pixels.sum(1).tolist() == [0, 0, *[32 * 32] * (BATCH - 2)]
    confusion = np.asarray(results["confusion"])
    np.testing.assert_array_equal(np.diag(confusion), right.sum(0))
    np.testing.assert_array_equal(confusion.sum(1), reference.sum(0))
    np.testing.assert_array_equal(confusion.sum(0), predicted.sum(0))
    chex.assert_shape(results["prediction"], (BATCH, 32, 32))


def test_a_batch_that_the_mesh_cannot_cut_is_refused() -> None:
    mesh = sharding.make_mesh(MeshShape(data=4, space=2))
    with pytest.raises(ValueError, match=r"Batch of 6 over 4 devices.*--config.data.batch-size 8"):
        sharding.check_batch(mesh, 6, 32)
    with pytest.raises(ValueError, match="33 rows over 2 devices"):
        sharding.check_batch(mesh, 8, 33)
    with pytest.raises(ValueError, match=r"their product 8"):
        sharding.make_mesh(MeshShape(data=3))


class Pixel(nn.Module):
    """A 1 x 1 convolution; beside it, running statistics that no logit depends on."""

    num_classes: int = 3

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:  # noqa: D102
        nn.BatchNorm(use_running_average=not train, momentum=0.5)(image)
        return nn.Conv(self.num_classes, (1, 1))(image)


@dataclasses.dataclass(frozen=True)
class Shown:
    """Not trained: the mean of what a loss finds in the batch under a name."""

    entry: str
    weight: float = 0.0

    def __call__(self, logits: jax.Array, batch: step.Batch, valid: jax.Array) -> jax.Array:  # noqa: D102
        return batch[self.entry].astype(jnp.float32).mean()


@pytest.fixture(scope="module")
def small(config: Config) -> Config:
    """Steps that compile in a moment: two bands, 8 x 8 pixels, plain gradient descent."""
    sgd = Optimizer(name="sgd", learning_rate=0.1, schedule="poly", power=1.0, momentum=0.0)
    return dataclasses.replace(
        config,
        model=Pixel(),
        data=dataclasses.replace(config.data, crop=8, batch_size=4),
        preprocess=(),
        augment=(),
        loss={"ce": CrossEntropy(weight=2.0), "progress": Shown("progress")},
        optimizer=dataclasses.replace(sgd, weight_decay=0.0),
    )


def drawn(count: int = 4) -> Sample:
    """A batch of two bands, the brighter the later its image comes."""
    random = np.random.default_rng(0)
    image = random.standard_normal((count, 8, 8, 2)) + np.arange(count)[:, None, None, None]
    return {
        "image": image.astype(np.float32),
        "label": random.integers(0, 3, (count, 8, 8)).astype(np.uint8),
        "valid": np.ones((count, 8, 8), bool),
    }


def alone() -> jax.sharding.Mesh:
    return sharding.make_mesh(MeshShape(), jax.devices()[:1])


Step = Callable[..., tuple[step.TrainState, dict[str, Any]]]


def compiled(config: Config, teacher: Teacher | None = None) -> tuple[Step, step.TrainState]:
    """`(state, batch) -> (state, metrics)` on the host, and the state to start from."""
    mesh = alone()
    jitted = jax.jit(step.make_train_step(config, mesh, teacher))
    more = () if teacher is None else (teacher.variables,)

    def one(state: step.TrainState, batch: Sample) -> tuple[step.TrainState, dict[str, Any]]:
        placed = sharding.place_batch(mesh, batch)
        found: tuple[step.TrainState, dict[str, Any]] = jax.device_get(jitted(state, placed, *more))
        return found

    return one, step.init_state(config, 2, mesh)


@pytest.fixture(scope="module")
def plain(small: Config) -> tuple[Step, step.TrainState]:
    return compiled(small)


def logits_of(state: step.TrainState, image: Any) -> NDArray[np.float32]:
    conv = jax.device_get(state.params)["Conv_0"]
    return np.asarray(image) @ conv["kernel"][0, 0] + conv["bias"]


def cross_entropy(logits: Any, label: Any) -> Any:
    """(...) of logits (..., K)."""
    log_p = np.asarray(jax.nn.log_softmax(logits))
    return -np.take_along_axis(log_p, np.asarray(label, int)[..., None], -1)[..., 0]


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
