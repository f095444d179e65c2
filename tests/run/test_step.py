"""The jitted step: the same numbers on every mesh, compiled once."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import chex
import flax.linen as nn
import jax
import numpy as np
import pytest
from fixtures.pixel_step import distance
from fixtures.small_network import Small

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.losses.pixels import CrossEntropy, EdgeWeightedCrossEntropy
from jaxseg.losses.presence import Presence
from jaxseg.models.deeplab import DeepLabV3
from jaxseg.models.unet import UNet
from jaxseg.optimizer import Optimizer
from jaxseg.pipeline import windows as pipeline
from jaxseg.run import completion, step
from jaxseg.scenes.scene import Sample
from jaxseg.sharding import MeshShape
from jaxseg.transforms.augmentation import Noise
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


@pytest.mark.slow  # it compiles a whole step twice
def test_another_seed_needs_no_other_program(config: Config, batches: list[Sample]) -> None:
    """And gives what it gives as a constant: noise is drawn by it."""
    config = dataclasses.replace(config, augment=(Noise(1.0),), seed=7)
    mesh = sharding.make_mesh(MeshShape(), jax.devices()[:1])
    batch = sharding.place_batch(mesh, batches[0])

    def loss(config: Config, **seed: object) -> float:
        jitted = step.jit_train_step(config, mesh, step.abstract_state(config, 3, mesh))
        state = step.init_state(config, 3, mesh)
        texts.append(jitted.lower(state, batch, **seed).as_text())
        return float(jitted(state, batch, **seed)[1]["loss"])

    texts: list[str] = []
    given = [loss(config, seed=np.uint32(7)), loss(config, seed=np.uint32(8))]
    assert texts[0] == texts[1]
    assert given[0] == loss(config)
    assert given[0] != given[1]


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
