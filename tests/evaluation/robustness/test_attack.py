"""An attack stays in its ball, never helps the network, and without a radius changes no bit."""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.shallow import Shallow

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.evaluation.robustness import attack as attacks
from jaxseg.run.measured import counted_pixels
from jaxseg.scenes.scene import IGNORE, Batch
from jaxseg.sharding import MeshShape

KEY = jax.random.key(1)


class Pointwise(nn.Module):
    """Sees single pixels."""

    num_classes: int = 3

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """Logits (B, H, W, K)."""
        return nn.Dense(self.num_classes)(nn.tanh(nn.Dense(8)(image)))


def of(model: nn.Module) -> tuple[Config, Any, Batch, Any]:
    config = dataclasses.replace(configs.load_config("unet"), model=model)
    mesh = sharding.make_mesh(MeshShape(), jax.devices()[:1])
    random = np.random.default_rng(0)
    label = random.integers(0, 3, (2, 12, 10)).astype(np.uint8)
    label[:, :2] = IGNORE
    valid = np.ones(label.shape, bool)
    valid[:, :, :3] = False
    image = random.normal(size=(*label.shape, 4)) + label[..., None] % 3
    batch = {"label": label, "valid": valid, "image": np.where(valid[..., None], image, 0)}
    batch = {name: jnp.asarray(array) for name, array in batch.items()}
    batch["image"] = batch["image"].astype(jnp.float32)
    start = jax.jit(functools.partial(model.init, train=False))
    variables = start(jax.random.key(0), batch["image"])
    return config, variables, batch, jax.jit(attacks.make_attack(config, mesh))


@functools.partial(jax.jit, static_argnums=0)
def answers(model: nn.Module, variables: Any, image: jax.Array) -> Any:
    return model.apply(variables, image, train=False)


def loss(config: Config, variables: Any, batch: Batch, target: int = -1) -> np.ndarray:
    logits: Any = answers(config.model, variables, batch["image"])
    losses = attacks.nll(logits, attacks.wanted_classes(batch, jnp.int32(target)))
    counted = counted_pixels(batch)
    return np.asarray(jnp.where(counted, losses, 0).sum((1, 2)) / counted.sum((1, 2)))


@pytest.fixture(scope="module")
def shallow() -> Any:
    return of(Shallow())


def run(
    given: Any, epsilon: float, target: int = -1, steps: int = 5, by_pixel: bool = False
) -> Any:
    _, variables, batch, attack = given
    numbers = jnp.float32(epsilon), jnp.int32(steps), jnp.int32(target), jnp.bool(by_pixel)
    return attack(variables, batch, KEY, *numbers)


@pytest.mark.parametrize(("target", "by_pixel"), [(-1, False), (-1, True), (2, False)])
def test_it_stays_in_its_ball_and_never_helps(shallow: Any, target: int, by_pixel: bool) -> None:
    config, variables, batch, _ = shallow
    sign, before = (1 if target < 0 else -1), loss(config, variables, batch, target)
    for epsilon in (0.01, 0.1, 0.5):
        found = run(shallow, epsilon, target, by_pixel=by_pixel)
        change = np.asarray(found["image"] - batch["image"])
        assert np.abs(change).max() <= epsilon + 1e-6
        assert not change[~np.asarray(batch["valid"])].any()
        after = loss(config, variables, found, target)
        assert by_pixel or (sign * (after - before) > 0).all()
    assert (sign * (after - before) > 0.02).all()
    assert np.abs(change).max() > 0.49
    logits: Any = answers(config.model, variables, found["image"])
    wanted = attacks.wanted_classes(batch, jnp.int32(target))
    right = ((logits.argmax(-1) == wanted) & counted_pixels(batch)).sum()
    clean: Any = answers(config.model, variables, batch["image"])
    right_before = ((clean.argmax(-1) == wanted) & counted_pixels(batch)).sum()
    assert sign * (right_before - right) > 0


def test_without_a_radius_no_bit_changes(shallow: Any) -> None:
    _, _, batch, _ = shallow
    for target in (-1, 0):
        found = run(shallow, 0.0, target)
        np.testing.assert_array_equal(found["image"], batch["image"])


def test_more_steps_are_stronger_and_all_numbers_share_one_program(shallow: Any) -> None:
    config, variables, batch, _ = shallow
    mesh = sharding.make_mesh(MeshShape(), jax.devices()[:1])
    attack, traced = attacks.make_attack(config, mesh), []

    def counted(*given: Any) -> Batch:
        traced.append(given)
        return attack(*given)

    given = config, variables, batch, jax.jit(counted)
    one, ten = (loss(config, variables, run(given, 0.3, steps=n)).mean() for n in (1, 10))
    assert ten > one
    assert (run(given, 0.1, target=1, by_pixel=True)["image"] != batch["image"]).any()
    assert len(traced) == 1


def test_pixels_that_do_not_count_have_no_gradient() -> None:
    given = of(Pointwise())
    config, variables, batch, _ = given

    def total(image: jax.Array) -> Any:
        return loss_of(config, variables, batch | {"image": image})

    def loss_of(config: Config, variables: Any, batch: Batch) -> Any:
        logits: Any = answers(config.model, variables, batch["image"])
        losses = attacks.nll(logits, attacks.wanted_classes(batch, jnp.int32(-1)))
        return jnp.where(counted_pixels(batch), losses, 0).sum()

    ignored = np.asarray(batch["label"] == IGNORE)
    slope = np.asarray(jax.jit(jax.grad(total))(batch["image"]))
    assert not slope[ignored].any()
    # Of a network that sees single pixels, the attack leaves them where it began: no step follows.
    start = run(given, 0.2, steps=1)["image"]
    later = run(given, 0.2, steps=7)["image"]
    np.testing.assert_array_equal(np.asarray(start)[ignored], np.asarray(later)[ignored])
    assert (np.asarray(start) != np.asarray(later)).any()
