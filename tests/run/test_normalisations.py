"""Each choice of normalisation in the training step: devices, padded windows, and where it fits."""

import dataclasses
import functools
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures import painted
from fixtures.small_network import Small

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.losses.distillation import Teacher
from jaxseg.models import UNet
from jaxseg.models.parts.inner import InnerLogits, without_outer
from jaxseg.models.parts.layers import BatchNorm, Conv
from jaxseg.models.parts.normalisation import Normalisation
from jaxseg.optimizer import Optimizer
from jaxseg.prediction import predict as mapping
from jaxseg.prediction.network import TileNetwork
from jaxseg.prediction.tiling import Grid
from jaxseg.run import beginning, normalisations, single_values, step
from jaxseg.run.loaded import Run
from jaxseg.scenes.scene import Sample
from jaxseg.scenes.sensor import Sensor
from jaxseg.sharding import MeshShape
from jaxseg.transforms.transform import preprocess
from jaxseg.weights import exported, load
from jaxseg.weights.pretrained import merge

SGD = Optimizer(name="sgd", learning_rate=0.1, schedule="constant")
GHOST = Normalisation("ghost")
KINDS = {
    "global": Normalisation(),
    "ghost": GHOST,
    "group": Normalisation("group", groups=2),
    "frozen": Normalisation("frozen"),
}
COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "reduce-scatter", "collective-permute")


@pytest.fixture(scope="module")
def config() -> Config:
    """A network of one normalisation on 16 windows of 16 x 16 pixels of two bands."""
    whole = painted.config()
    return dataclasses.replace(
        whole,
        model=Small(3, features=4),
        data=dataclasses.replace(whole.data, crop=16, batch_size=16),
        optimizer=SGD,
        sensor=Sensor(("answer", "class")),
    )


def batch_of(config: Config) -> Sample:
    """Windows that differ in brightness."""
    random = np.random.default_rng(0)
    shape = (config.data.batch_size, config.data.crop, config.data.crop)
    each = np.arange(shape[0])[:, None, None, None]
    return {
        "image": (random.standard_normal((*shape, 2)) + each).astype(np.float32),
        "label": random.integers(0, 3, shape).astype(np.uint8),
        "valid": np.ones(shape, bool),
    }


def mesh_of(shape: MeshShape) -> jax.sharding.Mesh:
    count = shape.data * shape.fsdp * shape.space
    return sharding.make_mesh(shape, jax.devices()[:count])


def stepped(config: Config, batch: Sample, shape: MeshShape = MeshShape(1)) -> Any:
    """State and metrics after one step."""
    mesh = mesh_of(shape)
    run = step.jit_train_step(config, mesh, step.abstract_state(config, 2, mesh))
    state = started(config.model, config.norm)
    return jax.device_get(run(state, sharding.place_batch(mesh, batch)))


@functools.cache
def started(model: nn.Module, how: Normalisation) -> step.TrainState:
    """The state before the first step, on the host."""
    config = dataclasses.replace(painted.config(), model=model, norm=how, optimizer=SGD)
    state: step.TrainState = jax.device_get(step.init_state(config, 2, mesh_of(MeshShape(1))))
    return state


def communicates(config: Config, shape: MeshShape, *, running: bool = True) -> int:
    """Collectives of the compiled step, with or without what only running statistics need."""
    mesh = mesh_of(shape)
    state, place = step.abstract_state(config, 2, mesh), sharding.batch_sharding(mesh)
    batch = {
        name: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=place)
        for name, array in batch_of(config).items()
    }

    def run(state: Any, batch: Any) -> Any:
        after, metrics = step.make_train_step(config, mesh)(state, batch)
        return (after if running else after.replace(batch_stats={})), metrics

    program = jax.jit(run).lower(state, batch).compile().as_text()
    return len(re.findall(rf" ({'|'.join(COLLECTIVES)})(-start)?\(", program))


def test_only_the_whole_batch_needs_communication_to_be_normalised(config: Config) -> None:
    """On eight devices; running statistics of ghost groups travel with the gradients."""
    count = {
        kind: communicates(dataclasses.replace(config, norm=how), MeshShape(8))
        for kind, how in KINDS.items()
    }
    assert count["group"] == count["frozen"]  # which has none
    assert count["ghost"] <= count["frozen"]
    assert count["global"] > count["ghost"]
    ghost = dataclasses.replace(config, norm=GHOST)
    assert communicates(ghost, MeshShape(8), running=False) == count["frozen"]


def test_windows_cut_into_rows_are_measured_by_the_devices_that_share_them(config: Config) -> None:
    """With `space`, a group's devices communicate, and no more than if they were alone."""
    ghost = dataclasses.replace(config, norm=GHOST)
    alone, among = (
        communicates(ghost, shape, running=False)
        for shape in (MeshShape(1, 1, 4), MeshShape(2, 1, 4))
    )
    frozen = dataclasses.replace(config, norm=Normalisation("frozen"))
    both = [
        communicates(frozen, shape, running=False)
        for shape in (MeshShape(1, 1, 4), MeshShape(2, 1, 4))
    ]
    assert alone > both[0]
    assert among - both[1] == alone - both[0]


@pytest.mark.parametrize("kind", ["ghost", "group"])
def test_groups_are_the_same_on_any_devices(config: Config, kind: str) -> None:
    how = Normalisation("ghost", size=2) if kind == "ghost" else KINDS[kind]
    config = dataclasses.replace(config, norm=how)
    one = stepped(config, batch_of(config))
    for shape in (MeshShape(8), MeshShape(2, 2, 2)):
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
            stepped(config, batch_of(config), shape),
            one,
        )


@pytest.mark.parametrize(
    ("kind", "accumulate", "devices"),
    [*((kind, 1, 1) for kind in KINDS), ("global", 2, 1), ("ghost", 1, 8)],
)
def test_padded_windows_might_as_well_not_be_there(
    config: Config, kind: str, accumulate: int, devices: int
) -> None:
    """Windows without a valid pixel, of whole ghost groups: the step of the batch without them."""
    how = Normalisation("ghost", size=2) if kind == "ghost" else KINDS[kind]
    config = dataclasses.replace(config, norm=how, accumulate=accumulate)
    batch = batch_of(config)
    batch["valid"][4:8] = False
    kept = batch["valid"].any((1, 2))
    found, _ = stepped(config, batch, MeshShape(devices))
    data = dataclasses.replace(config.data, batch_size=int(kept.sum()))
    smaller = dataclasses.replace(config, data=data)
    expected, _ = stepped(smaller, {name: array[kept] for name, array in batch.items()})
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5),
        (found.params, found.batch_stats),
        (expected.params, expected.batch_stats),
    )
    if kind in ("global", "ghost"):
        assert np.abs(found.batch_stats["norm1"]["mean"]).min() > 1e-3


def test_the_size_of_a_ghost_group_is_that_of_a_device_unless_given_or_stored(
    config: Config,
) -> None:
    ghost = dataclasses.replace(config, norm=GHOST, accumulate=2)

    def size(config: Config, shape: MeshShape, stored: Config | None = None) -> int:
        return normalisations.with_group_size(config, mesh_of(shape), stored).norm.size

    assert size(ghost, MeshShape(1)) == 8
    assert size(ghost, MeshShape(2, 2, 2)) == 2  # rows of a window are on both of `space`
    first = normalisations.with_group_size(ghost, mesh_of(MeshShape(4)))
    assert size(ghost, MeshShape(1), first) == 2
    assert size(dataclasses.replace(ghost, norm=Normalisation("ghost", size=4)), MeshShape(1)) == 4
    assert normalisations.with_group_size(config, mesh_of(MeshShape(8))) is config
    said = r"groups of 2 window.*batch of 16, of which each of 8 device.* has 1 at a time"
    with pytest.raises(UserError, match=said):
        size(ghost, MeshShape(8), first)
    with pytest.raises(UserError, match=r"of 3 window.*has 8 at a time .*--config.accumulate 2"):
        size(dataclasses.replace(ghost, norm=Normalisation("ghost", size=3)), MeshShape(1))


def test_what_a_choice_cannot_do_is_said(config: Config) -> None:
    scales = {"norm1": {"scale": jnp.ones(2)}}
    assert normalisations.notes(config, {}) == []
    assert normalisations.notes(dataclasses.replace(config, norm=GHOST), scales) == []
    frozen = dataclasses.replace(config, norm=Normalisation("frozen"))
    (said,) = normalisations.notes(frozen, scales)
    assert "without trained weights" in said
    assert normalisations.notes(dataclasses.replace(frozen, init_from="runs/a"), scales) == []
    (said,) = normalisations.notes(dataclasses.replace(config, norm=GHOST), {"head": {"bias": 0}})
    assert said == "Small has no batch normalisation: --config.norm.kind ghost changes nothing."


class Foreign(nn.Module):
    """A network with Flax's normalisation."""

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """(B, H, W, C) -> the same."""
        y: jax.Array = nn.BatchNorm(use_running_average=not train, name="theirs")(image)
        return y


def test_flaxs_own_normalisation_is_refused_where_it_would_not_do_what_is_asked() -> None:
    def trace() -> None:
        image = jax.ShapeDtypeStruct((2, 8, 8, 2), jnp.float32)
        jax.eval_shape(lambda x: Foreign().init(jax.random.key(0), x, train=True), image)

    with single_values.watched():
        trace()
    said = r"theirs is Flax's own, which does not read --config.norm.kind ghost"
    with single_values.watched(GHOST), pytest.raises(UserError, match=said):
        trace()


def test_a_run_of_groups_and_one_with_running_statistics_do_not_start_from_each_other(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = mesh_of(MeshShape(1))
    grouped = dataclasses.replace(config, norm=KINDS["group"], mesh=MeshShape(1))
    monkeypatch.setattr(sharding, "make_mesh", lambda *_: mesh)
    for mine, theirs, said in (
        (grouped, config, r"the other has some and this config, --config.norm.kind group, none"),
        (config, grouped, r"the other has none, as of kind group, and this config, .*global, some"),
    ):
        other = theirs, step.init_state(theirs, 2, mesh)
        monkeypatch.setattr(beginning.checkpoint, "reopen", lambda *_, other=other, **__: other)
        with pytest.raises(UserError, match=said):
            beginning.initialised(dataclasses.replace(mine, init_from="a"), mesh, ())
    frozen = dataclasses.replace(config, norm=Normalisation("frozen"), init_from="a")
    monkeypatch.setattr(beginning.checkpoint, "reopen", lambda *_, **__: other)
    other = config, step.init_state(config, 2, mesh)
    state, _ = beginning.initialised(frozen, mesh, ())
    assert jax.tree.leaves(state.batch_stats)


def test_weights_without_running_statistics_are_not_exported_and_those_with_them_not_loaded() -> (
    None
):
    model = UNet(2, features=2)
    image = jax.ShapeDtypeStruct((1, 16, 16, 2), jnp.float32)
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    state = exported(model, variables)
    with pytest.raises(UserError, match=r"norm1 has no running .*kind group cannot be exported"):
        exported(model, {"params": variables["params"], "batch_stats": {}})
    with pytest.raises(UserError, match=r"(?s)Unexpected.*With --config.norm.kind group"):
        merge(model, {"params": variables["params"], "batch_stats": {}}, state)
    bare = {name: array for name, array in state.items() if "running" not in name}
    merged = merge(model, {"params": variables["params"]}, bare)
    assert merged.keys() == {"params"}
    assert load(model, state).keys() == {"params", "batch_stats"}


class Quick(InnerLogits):
    """Logits of a pixel, whose `inner` looks at the wanted pixels alone."""

    num_classes: int

    def inner(self, image: jax.Array, margin: int) -> jax.Array:
        """Cut before anything is computed."""
        return self(without_outer(image, margin), train=False)

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """(B, H, W, C) -> logits (B, H, W, K)."""
        x = Conv(4, kernel_size=1, name="conv")(image)
        x = nn.relu(BatchNorm(use_running_average=not train, name="norm1")(x))
        return Conv(self.num_classes, kernel_size=1, name="head")(x)


def test_a_tile_is_seen_whole_where_its_channels_are_measured(config: Config) -> None:
    """A network that could leave out the margin would measure other pixels than in training."""
    grouped = dataclasses.replace(
        config, model=Quick(3), norm=KINDS["group"], preprocess=(), mesh=MeshShape(1)
    )
    run = Run(grouped, 1, step.inference_variables(started(Quick(3), KINDS["group"])), 1.0)
    image = batch_of(config)["image"][:1]
    network = TileNetwork([run], mesh_of(MeshShape(1)), Grid(16, 4, 0))
    found = np.moveaxis(np.asarray(network(image, np.ones((1, 16, 16), bool))), 1, -1)
    expected = run.probabilities(image)[:, 4:12, 4:12]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert mapping._reach([run], (1.0,))[0] is None
    plain = dataclasses.replace(grouped, norm=Normalisation())
    variables = step.inference_variables(started(Quick(3), Normalisation()))
    seen, _ = mapping._reach([Run(plain, 1, variables, 1.0)], (1.0,))
    assert seen is not None
    assert seen.rows == 1


def test_an_evaluation_measures_channels_as_training_does(config: Config) -> None:
    grouped = dataclasses.replace(config, norm=KINDS["group"])
    mesh = mesh_of(MeshShape(1))
    state = step.init_state(grouped, 2, mesh)
    assert state.batch_stats == {}
    batch = sharding.place_batch(mesh, batch_of(grouped))
    variables = step.inference_variables(state)
    results = jax.jit(step.make_eval_step(grouped, mesh))(variables, batch)
    _, metrics = jax.jit(step.make_train_step(grouped, mesh))(state, batch)
    np.testing.assert_array_equal(results["confusion"], metrics["confusion"])
    run, image = Run(grouped, 0, variables, 1.0), np.asarray(batch["image"])
    np.testing.assert_array_equal(run.predict(image), results["prediction"])
    teacher = Teacher((), grouped.model, lambda image, _: image, variables, grouped.norm)
    seen = preprocess(batch["image"], batch["valid"], grouped.preprocess)
    taught = jax.jit(teacher.answering)({"side": seen}, variables)["teacher_logits"]
    np.testing.assert_allclose(taught, run.logits(image), rtol=1e-4, atol=1e-5)


def test_the_log_names_a_group_of_one_window() -> None:
    said = single_values.report({"gate": None}, 8, 2, group=1)
    assert "one value per channel in 1 window" in said
    assert said.endswith("give two windows: --config.norm.size 2.")
