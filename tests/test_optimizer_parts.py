"""Parts of a network: patterns over names, factors of the learning rate, freezing for a time."""

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fixtures import painted
from fixtures.networks import shapes

from jaxseg import config_text
from jaxseg.config import Config, override, shortened
from jaxseg.errors import UserError
from jaxseg.models import ResNetUNet
from jaxseg.optimizer import (
    Optimizer,
    check_parts,
    frozen_modules,
    held,
    layer_decay,
    make_optimizer,
    parts,
)

SGD = Optimizer(name="sgd", learning_rate=0.1, schedule="constant", weight_decay=0.5)
ADAMW = Optimizer(learning_rate=0.1, schedule="poly", weight_decay=0.5)
PARAMS = {
    "encoder": {
        "conv": {"kernel": jnp.ones((2, 2))},
        "norm": {"scale": jnp.ones(2), "bias": jnp.zeros(2)},
    },
    "head": {"kernel": jnp.full((2, 2), 3.0)},
}


def followed(kind: Optimizer, steps: int, *, alone: str = "") -> list[Any]:
    """Parameters before each step and after the last, and the state, by gradients of the step."""
    params = PARAMS if not alone else {alone: PARAMS[alone]}
    tx = make_optimizer(kind, 10)
    state, found = tx.init(params), []
    for step in range(steps):
        found.append((params, state))
        gradients = jax.tree.map(lambda leaf, step=step: jnp.cos(leaf + step), params)
        holds = jax.grad(
            lambda p, step=step: sum(jax.tree.leaves(jax.tree.map(jnp.sum, held(kind, p, step))))
        )(params)
        gradients = jax.tree.map(jnp.multiply, gradients, holds)
        updates, state = tx.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return [*found, (params, state)]


@pytest.mark.parametrize("kind", [SGD, ADAMW], ids=lambda kind: kind.name)
def test_a_factor_is_one_of_the_learning_rate_alone(kind: Optimizer) -> None:
    slow = dataclasses.replace(kind, factors=(("encoder/norm/*", 0.5), ("encoder*", 0.25)))
    (_, _), (plain, _) = followed(kind, 1)
    (start, _), (found, _) = followed(slow, 1)
    moved, expected = (
        jax.tree.map(lambda new, old: np.asarray(new - old), after, start)
        for after in (found, plain)
    )
    for name, factor in (("conv", 0.25), ("norm", 0.5)):
        jax.tree.map(
            lambda one, other, factor=factor: np.testing.assert_allclose(
                one, factor * other, rtol=1e-4
            ),
            moved["encoder"][name],
            expected["encoder"][name],
        )
    np.testing.assert_array_equal(moved["head"]["kernel"], expected["head"]["kernel"])


@pytest.mark.parametrize("kind", [SGD, ADAMW], ids=lambda kind: kind.name)
def test_a_frozen_part_has_no_decay_and_no_moments_and_the_rest_does_not_notice(
    kind: Optimizer,
) -> None:
    frozen = dataclasses.replace(kind, frozen=("encoder/*",))
    after, state = followed(frozen, 3)[-1]
    jax.tree.map(np.testing.assert_array_equal, after["encoder"], PARAMS["encoder"])
    alone, expected = followed(kind, 3, alone="head")[-1]
    np.testing.assert_array_equal(after["head"]["kernel"], alone["head"]["kernel"])
    sizes = [leaf.size for leaf in jax.tree.leaves(state)]
    assert sizes == [leaf.size for leaf in jax.tree.leaves(expected)]


@pytest.mark.parametrize("kind", [SGD, ADAMW], ids=lambda kind: kind.name)
def test_after_unfreezing_a_part_learns_like_one_that_begins_there(kind: Optimizer) -> None:
    """With the rate of the whole run's step, and Adam's own count."""
    kind = dataclasses.replace(kind, frozen=("encoder/*",), unfreeze=2)
    run = followed(kind, 5)
    for params, state in run[:3]:
        jax.tree.map(np.testing.assert_array_equal, params["encoder"], PARAMS["encoder"])
        moments = [leaf for leaf in jax.tree.leaves(state) if leaf.ndim]
        assert sum(not np.any(leaf) for leaf in moments) >= 3  # conv, scale, bias
    # By hand: the plain rule from step 2 on.
    rate = 0.1 if kind.name == "sgd" else None
    kernel, first, second = 1.0, 0.0, 0.0
    for number, step in enumerate((2, 3, 4)):
        gradient = np.cos(kernel + step)
        if rate is not None:
            first = 0.9 * first + gradient + 0.5 * kernel
            kernel -= rate * first
        else:
            first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
            m, v = first / (1 - 0.9 ** (number + 1)), second / (1 - 0.999 ** (number + 1))
            kernel -= 0.1 * (1 - step / 10) ** 0.9 * (m / (np.sqrt(v) + 1e-8) + 0.5 * kernel)
        found = run[step + 1][0]["encoder"]["conv"]["kernel"]
        np.testing.assert_allclose(found, kernel, rtol=1e-4)
    alone = followed(dataclasses.replace(kind, frozen=(), unfreeze=None), 5, alone="head")
    np.testing.assert_array_equal(run[-1][0]["head"]["kernel"], alone[-1][0]["head"]["kernel"])


def test_the_gradient_of_a_frozen_part_is_not_clipped_with_the_rest() -> None:
    kind = dataclasses.replace(SGD, clip=1e-3, frozen=("encoder/*",), unfreeze=3)
    alone = dataclasses.replace(SGD, clip=1e-3)
    found, expected = followed(kind, 2)[-1][0], followed(alone, 2, alone="head")[-1][0]
    np.testing.assert_array_equal(found["head"]["kernel"], expected["head"]["kernel"])


def test_modules_are_frozen_if_all_of_their_own_parameters_are() -> None:
    every = frozen_modules(Optimizer(frozen=("encoder/*",)), PARAMS)
    assert every == {("encoder", "conv"), ("encoder", "norm")}
    assert frozen_modules(Optimizer(frozen=("*/scale", "*/kernel")), PARAMS) == {
        ("encoder", "conv"),
        ("head",),
    }


def test_factors_fall_towards_the_first_block_whose_pattern_may_be_all_that_is_left() -> None:
    vit = layer_decay(0.5, ("encoder/*", *(f"encoder/block{i}/*" for i in range(12))))
    assert vit[0] == ("encoder/block11/*", 0.5)
    assert vit[-1] == ("encoder/*", 0.5**13)
    params = shapes(ResNetUNet(3, backbone="resnet18"), 3)["params"]
    stages = ("backbone/*", *(f"backbone/layer{number}_*" for number in range(1, 5)))
    kind = Optimizer(factors=layer_decay(0.5, stages))
    check_parts(kind, params)
    # The stem of torchvision's ResNet-18: a kernel of 7 x 7 x 3 x 64, 64 scales, 64 offsets.
    stem = 7 * 7 * 3 * 64 + 2 * 64
    assert f"backbone/* x 0.03125 {stem:,};" in parts(kind, params)
    assert "backbone/layer4_* x 0.5 8,393,728;" in parts(kind, params)
    with pytest.raises(UserError, match=r"layer_decay of 1.5: it must be above 0 and 1 or less"):
        layer_decay(1.5, stages)


def test_parts_are_counted_by_what_becomes_of_them() -> None:
    kind = Optimizer(frozen=("encoder/conv/*",), factors=(("encoder/*", 0.1),))
    assert parts(kind, PARAMS) == "encoder/conv/* frozen 4; encoder/* x 0.1 4; the rest x 1 4"
    later = dataclasses.replace(kind, unfreeze=7)
    assert parts(later, PARAMS).startswith("encoder/conv/* frozen until step 7, then x 0.1 4;")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            Optimizer(frozen=("encodr/*",)),
            r"frozen: encodr/\* matches no parameter. Perhaps you mean encoder/\*. "
            r"There are \(arrays\): encoder/\* \(3\), head/\* \(1\); such as encoder/conv/kernel",
        ),
        (Optimizer(factors=(("tail", 0.1),)), r"factors: tail matches no parameter"),
        (
            Optimizer(factors=(("encoder/*", 0.1), ("encoder/norm/*", 0.2))),
            r"all that encoder/norm/\* matches is matched by patterns before it",
        ),
        (Optimizer(frozen=("encoder/*", "head/*")), r"freezes all 4 arrays"),
    ],
    ids=["misspelt", "absent", "shadowed", "everything"],
)
def test_patterns_that_change_nothing_are_refused_with_the_names_there_are(
    kind: Optimizer, said: str
) -> None:
    with pytest.raises(UserError, match=said):
        check_parts(kind, PARAMS)


def test_everything_may_be_frozen_for_a_time() -> None:
    check_parts(Optimizer(frozen=("*",), unfreeze=1), PARAMS)
    check_parts(Optimizer(), {})


def test_settings_that_say_nothing_are_refused() -> None:
    with pytest.raises(UserError, match=r"factors is 0 for a/\*: it must be above 0. .*frozen"):
        Optimizer(factors=(("a/*", 0),))
    with pytest.raises(UserError, match=r"unfreeze 5 without frozen parts"):
        Optimizer(unfreeze=5)
    with pytest.raises(UserError, match=r"unfreeze is 0: it must be 1 or more"):
        Optimizer(frozen=("a",), unfreeze=0)
    with pytest.raises(UserError, match=r"unfreeze 10 in a run of 10: give 1 to 9, or None"):
        make_optimizer(Optimizer(frozen=("a",), unfreeze=10), 10)


def test_flags_name_parts_and_a_run_stores_them() -> None:
    flags = ["--config.optimizer.frozen", "conv1/*", "norm1/*", "--config.optimizer.unfreeze", "30"]
    flags += ["--config.optimizer.factors", "head/*", "0.1", "conv*", "2"]
    config = override(painted.config(), flags, "train.py")
    kind = config.optimizer
    assert kind.frozen == ("conv1/*", "norm1/*")
    assert kind.factors == (("head/*", 0.1), ("conv*", 2.0))
    again = config_text.from_json(
        json.loads(json.dumps(config_text.to_json(config))), config_text.classes_in(config)
    )
    assert isinstance(again, Config)
    assert again.optimizer == kind
    short = dataclasses.replace(config, num_steps=config.num_steps // 10)
    assert shortened(config, short, [])[0].optimizer.unfreeze == 3
    single = dataclasses.replace(config, num_steps=1)
    assert shortened(config, single, [])[0].optimizer.unfreeze is None
