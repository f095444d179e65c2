"""Frozen parts in the training step: devices, slices, statistics, averages, and a resume."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from fixtures import painted
from fixtures.small_network import Small

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.models.parts.normalisation import Normalisation
from jaxseg.optimizer import Optimizer
from jaxseg.run import beginning, normalisations, single_values, step
from jaxseg.run.checkpoint import Checkpoints
from jaxseg.scenes.scene import Sample
from jaxseg.scenes.sensor import Sensor
from jaxseg.sharding import MeshShape

FROZEN = Optimizer(
    learning_rate=0.05,
    schedule="constant",
    weight_decay=0.5,
    clip=1.0,
    ema=0.9,
    frozen=("conv1/*", "norm1/*"),
)
LATER = dataclasses.replace(FROZEN, unfreeze=2, factors=(("conv1/*", 0.5),))


ONE = MeshShape(1)


def config_of(
    kind: Optimizer, accumulate: int = 1, norm: Normalisation = Normalisation()
) -> Config:
    """A network of one normalisation on 16 windows of 16 x 16 pixels of two bands."""
    whole = painted.config()
    return dataclasses.replace(
        whole,
        model=Small(3, features=8),
        data=dataclasses.replace(whole.data, crop=16, batch_size=16),
        optimizer=kind,
        accumulate=accumulate,
        norm=norm,
        num_steps=6,
        sensor=Sensor(("answer", "class")),
    )


def mesh_of(shape: MeshShape = ONE) -> jax.sharding.Mesh:
    return sharding.make_mesh(shape, jax.devices()[: shape.data * shape.fsdp * shape.space])


@functools.cache
def batch_of(number: int) -> Sample:
    random = np.random.default_rng(number)
    shape = (16, 16, 16)
    return {
        "image": random.normal(number, 2.0, (*shape, 2)).astype(np.float32),
        "label": random.integers(0, 3, shape).astype(np.uint8),
        "valid": np.ones(shape, bool),
    }


@functools.cache
def stepper(kind: Optimizer, accumulate: int, norm: Normalisation, shape: MeshShape) -> Any:
    """The compiled step."""
    config, mesh = config_of(kind, accumulate, norm), mesh_of(shape)
    return step.jit_train_step(config, mesh, step.abstract_state(config, 2, mesh))


@functools.cache
def start_of(kind: Optimizer, norm: Normalisation = Normalisation()) -> Any:
    """The first state, on the host."""
    return jax.device_get(step.init_state(config_of(kind, norm=norm), 2, mesh_of()))


def trained(
    kind: Optimizer,
    numbers: range,
    shape: MeshShape = ONE,
    state: Any = None,
    accumulate: int = 1,
    norm: Normalisation = Normalisation(),
) -> tuple[Any, Any]:
    """State and metrics on the host after the steps of these numbers."""
    mesh, metrics = mesh_of(shape), None
    state = jax.tree.map(np.copy, start_of(kind, norm) if state is None else state)
    state = jax.device_put(state, sharding.state_shardings(mesh, state))
    for number in numbers:
        run = stepper(kind, accumulate, norm, shape)
        state, metrics = run(state, sharding.place_batch(mesh, batch_of(number)))
    return jax.device_get((state, metrics))


@pytest.fixture(autouse=True)
def _every_array_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `fsdp`, those of this small network, too."""
    monkeypatch.setattr(sharding, "SMALL", 16)


def alike(one: Any, other: Any) -> None:
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), one, other)


def same(one: Any, other: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize(
    ("accumulate", "shape"),
    [(2, ONE), (1, MeshShape(8)), (2, MeshShape(2, 2, 2))],
    ids=str,
)
def test_what_is_frozen_stays_to_the_bit_and_the_rest_learns_alike_on_any_devices(
    accumulate: int, shape: MeshShape
) -> None:
    start = start_of(FROZEN)
    found, _ = trained(FROZEN, range(3), shape, accumulate=accumulate)
    for name in ("conv1", "norm1"):
        same(found.params[name], start.params[name])
        same(found.ema[name], start.params[name])
    same(found.batch_stats, start.batch_stats)
    assert np.abs(found.params["head"]["kernel"] - start.params["head"]["kernel"]).max() > 0.05
    alike(found, trained(FROZEN, range(3))[0])


def test_a_step_is_that_of_the_head_alone_on_features_as_in_an_evaluation() -> None:
    start, batch, model = start_of(FROZEN), batch_of(0), config_of(FROZEN).model

    def loss(head: Any) -> jax.Array:
        variables = {"params": start.params | {"head": head}, "batch_stats": start.batch_stats}
        logits = model.apply(variables, batch["image"], train=False)
        label = batch["label"].astype(np.int32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()

    value, gradient = jax.jit(jax.value_and_grad(loss))(start.params["head"])
    _, metrics = trained(FROZEN, range(1))
    np.testing.assert_allclose(metrics["loss"], value, rtol=1e-5)
    np.testing.assert_allclose(metrics["grad_norm"], optax.tree.norm(gradient), rtol=1e-4)


def test_the_gradient_of_what_is_never_trained_is_not_computed() -> None:
    work = []
    for kind in (FROZEN, LATER):
        abstract = step.abstract_state(config_of(kind), 2, mesh_of())
        run = step.jit_train_step(config_of(kind), mesh_of(), abstract)
        lowered = run.lower(abstract, sharding.place_batch(mesh_of(), batch_of(0)))
        work.append(lowered.cost_analysis()["flops"])
    # The kernel's gradient takes as much as the convolution itself.
    assert work[1] - work[0] > 2 * 16 * 16**2 * 9 * 2 * 8 * 0.8


def moments_of(state: Any) -> list[Any]:
    """Those of the part that is trained later."""
    (inner,) = (s for s in state.opt_state if hasattr(s, "inner_states"))
    later = inner.inner_states[True].inner_state.inner_state
    return [leaf for leaf in jax.tree.leaves(later) if leaf.ndim]


@pytest.mark.parametrize("shape", [ONE, MeshShape(1, 8)], ids=str)
def test_a_part_that_is_freed_learns_and_measures_from_its_step_on(shape: MeshShape) -> None:
    frozen, before = trained(FROZEN, range(2))[0], trained(LATER, range(2), shape)[0]
    alike((before.params, before.ema), (frozen.params, frozen.ema))
    same(before.params["conv1"], frozen.params["conv1"])
    same(before.batch_stats, frozen.batch_stats)
    # Two of a kernel, the scales and the offsets.
    assert len(moments_of(before)) == 6
    assert not any(np.any(leaf) for leaf in moments_of(before))
    placements = sharding.state_shardings(mesh_of(shape), before)
    whole = [place.is_fully_replicated for place in jax.tree.leaves(placements.params["conv1"])]
    assert whole == [shape.fsdp == 1]

    after, _ = trained(LATER, range(2, 3), shape, before)
    plain = dataclasses.replace(FROZEN, frozen=())
    fresh = start_of(plain).replace(
        step=before.step, params=before.params, batch_stats=before.batch_stats, ema=before.ema
    )
    expected, _ = trained(plain, range(2, 3), state=fresh)
    alike(after.batch_stats, expected.batch_stats)
    assert np.abs(after.batch_stats["norm1"]["mean"]).max() > 1e-2
    moved, whole = (
        state.params["conv1"]["kernel"] - before.params["conv1"]["kernel"]
        for state in (after, expected)
    )
    np.testing.assert_allclose(moved, 0.5 * whole, rtol=1e-2, atol=1e-4)


def test_a_resume_before_or_after_unfreezing_is_equal_to_the_bit(tmp_path: Path) -> None:
    config, mesh = config_of(LATER), mesh_of()
    part, _ = trained(LATER, range(1))
    for first, then in ((1, 3), (3, 4)):
        placed = jax.device_put(part, sharding.replicated(mesh))
        with Checkpoints(tmp_path / str(first)) as checkpoints:
            checkpoints.save(placed, config, None)
            checkpoints.wait()
            state, skipped = checkpoints.restore_newest(step.abstract_state(config, 2, mesh))
        assert not skipped
        assert int(state.step) == first
        part, _ = trained(LATER, range(first, then), state=jax.device_get(state))
    same(part, trained(LATER, range(4))[0])


def test_the_summary_counts_parts_and_only_where_there_are_any(tmp_path: Path) -> None:
    state = start_of(FROZEN)
    said = beginning.summary(config_of(FROZEN), state, mesh_of(), tmp_path, "")
    # 3 x 3 x 2 kernels of 8 features; 8 scales, 8 offsets; 8 x 3 weights and 3 biases.
    assert said["training"] == "conv1/* frozen 144; the rest x 1 27; norm1/* frozen 16"
    said = beginning.summary(config_of(Optimizer()), state, mesh_of(), tmp_path, "")
    assert "training" not in said


def test_a_wrong_pattern_is_refused_before_anything_is_computed() -> None:
    wrong = config_of(Optimizer(frozen=("encoder/*",)))
    with pytest.raises(UserError, match=r"encoder/\* matches no parameter.*conv1/\* \(1\)"):
        step.abstract_state(wrong, 2, mesh_of())


def test_frozen_random_numbers_are_noted() -> None:
    config = config_of(FROZEN)
    (said,) = normalisations.notes(config, {"norm1": {"scale": 0}})
    assert said.startswith("--config.optimizer.frozen without trained weights")
    started = dataclasses.replace(config, init_from="runs/a")
    assert normalisations.notes(started, {"norm1": {"scale": 0}}) == []


class Foreign(nn.Module):
    """A network with Flax's normalisation."""

    num_classes: int = 3

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """(B, H, W, C) -> (B, H, W, K)."""
        y = nn.BatchNorm(use_running_average=not train, name="norm1")(image)
        return nn.Conv(self.num_classes, (1, 1), name="head")(y)


def test_flaxs_own_normalisation_in_a_frozen_part_is_refused() -> None:
    kind = Optimizer(frozen=("norm1/*",))
    foreign = dataclasses.replace(config_of(kind), model=Foreign())
    abstract = step.abstract_state(foreign, 2, mesh_of())
    run = step.jit_train_step(foreign, mesh_of(), abstract)
    said = "norm1 is Flax's own, whose statistics --config.optimizer.frozen cannot freeze"
    with single_values.watched(foreign.norm), pytest.raises(UserError, match=said):
        run.lower(abstract, sharding.place_batch(mesh_of(), batch_of(0)))


@pytest.mark.parametrize("kind", ["ghost", "group"])
def test_parts_are_frozen_whatever_is_normalised_together(kind: Any) -> None:
    norm = Normalisation(kind, size=2 if kind == "ghost" else 0, groups=2)
    start, (found, _) = start_of(FROZEN, norm), trained(FROZEN, range(1), norm=norm)
    same(found.params["norm1"], start.params["norm1"])
    same(found.batch_stats, start.batch_stats)
