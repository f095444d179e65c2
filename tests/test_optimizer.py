"""Schedules, decay mask and clipping."""

import dataclasses
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxseg.errors import UserError
from jaxseg.optimizer import Optimizer, learning_rate, make_optimizer


def test_poly_falls_as_a_power_of_what_is_left() -> None:
    rate = learning_rate(Optimizer(learning_rate=0.1, schedule="poly", power=0.9), 100)
    for step in (0, 10, 50, 99):
        assert float(rate(step)) == pytest.approx(0.1 * (1 - step / 100) ** 0.9, rel=1e-5)


def test_cosine_halves_in_the_middle() -> None:
    rate = learning_rate(Optimizer(learning_rate=0.2, schedule="cosine"), 100)
    assert float(rate(50)) == pytest.approx(0.1, rel=1e-5)


def test_warm_up_rises_to_the_peak_and_then_the_schedule_begins() -> None:
    rate = learning_rate(Optimizer(learning_rate=0.1, schedule="cosine", warmup=10), 110)
    rising = [float(rate(step)) for step in range(11)]
    assert all(a < b for a, b in pairwise(rising))
    assert rising[0] > 0
    assert rising[10] == pytest.approx(0.1, rel=1e-5)
    assert float(rate(110)) == pytest.approx(0.0, abs=1e-6)


def test_a_warm_up_longer_than_the_run_is_refused() -> None:
    with pytest.raises(UserError, match="Warm-up of 50 steps in a run of 50"):
        learning_rate(Optimizer(warmup=50), 50)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_only_kernels_decay(name: str) -> None:
    params = {"kernel": jnp.ones((3, 3)), "bias": jnp.ones(3), "scale": jnp.ones(3)}
    kind = Optimizer(name=name, learning_rate=0.1, schedule="constant", weight_decay=0.5)  # type: ignore[arg-type]
    tx = make_optimizer(kind, 10)
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = tx.update(zeros, tx.init(params), params)
    assert np.all(np.asarray(updates["kernel"]) == pytest.approx(-0.05))
    assert np.all(np.asarray(updates["bias"]) == 0)
    assert np.all(np.asarray(updates["scale"]) == 0)


def test_clipping_limits_the_global_norm() -> None:
    kind = Optimizer(
        name="sgd", learning_rate=1.0, schedule="constant", momentum=0, weight_decay=0, clip=1.0
    )
    tx = make_optimizer(kind, 10)
    params = {"kernel": jnp.zeros((2, 2))}
    updates, _ = tx.update({"kernel": jnp.full((2, 2), 30.0)}, tx.init(params), params)
    assert float(jnp.linalg.norm(updates["kernel"])) == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("warmup", [0, 10])
def test_poly_reaches_nothing_with_the_last_step_of_the_run(warmup: int) -> None:
    kind = Optimizer(learning_rate=0.1, schedule="poly", power=2.0, warmup=warmup)
    rate = learning_rate(kind, 110)
    halfway = (warmup + 110) // 2
    assert float(rate(warmup)) == pytest.approx(0.1, rel=1e-5)
    assert float(rate(halfway)) == pytest.approx(0.1 * 0.5**2, rel=1e-5)
    assert float(rate(109)) > 0
    assert float(rate(110)) == pytest.approx(0.0, abs=1e-9)


def test_a_constant_rate_stays_at_the_peak_after_its_warm_up() -> None:
    rate = learning_rate(Optimizer(learning_rate=0.2, schedule="constant", warmup=4), 10)
    found = [float(rate(step)) for step in (0, 1, 2, 3, 4, 9)]
    assert found == pytest.approx([0.05, 0.0875, 0.125, 0.1625, 0.2, 0.2], rel=1e-5)


def test_a_warm_up_may_leave_one_step() -> None:
    learning_rate(Optimizer(warmup=49), 50)
    with pytest.raises(UserError, match=r"Warm-up of 50 steps in a run of 50: give 0 to 49"):
        learning_rate(Optimizer(warmup=50), 50)


def followed(kind: Optimizer, gradients: tuple[float, ...]) -> list[float]:
    """A single parameter from 1.0 on."""
    tx = make_optimizer(kind, 100)
    params = {"kernel": jnp.ones((1, 1))}
    state, found = tx.init(params), []
    for gradient in gradients:
        updates, state = tx.update({"kernel": jnp.full((1, 1), gradient)}, state, params)
        params = optax.apply_updates(params, updates)
        found.append(float(params["kernel"][0, 0]))
    return found


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_follows_a_mean_of_the_gradients_with_the_decay_inside(nesterov: bool) -> None:
    kind = Optimizer(
        name="sgd",
        learning_rate=0.1,
        schedule="poly",
        power=1,
        momentum=0.5,
        nesterov=nesterov,
        weight_decay=0.01,
    )
    value, velocity, expected = 1.0, 0.0, []
    for number, gradient in enumerate((1.0, -2.0, 0.5)):
        slope = gradient + 0.01 * value
        velocity = 0.5 * velocity + slope
        value -= 0.1 * (1 - number / 100) * (slope + 0.5 * velocity if nesterov else velocity)
        expected.append(value)
    assert followed(kind, (1.0, -2.0, 0.5)) == pytest.approx(expected, rel=1e-5)


def test_adamw_takes_steps_of_the_rate_and_decays_beside_them() -> None:
    kind = Optimizer(name="adamw", learning_rate=0.1, schedule="poly", power=1, weight_decay=0.5)
    value, first, second, expected = 1.0, 0.0, 0.0, []
    for number, gradient in enumerate((3.0, -1.0)):
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        m, v = first / (1 - 0.9 ** (number + 1)), second / (1 - 0.999 ** (number + 1))
        value -= 0.1 * (1 - number / 100) * (m / (np.sqrt(v) + 1e-8) + 0.5 * value)
        expected.append(value)
    assert followed(kind, (3.0, -1.0)) == pytest.approx(expected, rel=1e-4)


def test_a_gradient_below_the_limit_is_not_touched_and_without_a_limit_none_is() -> None:
    plain = Optimizer(
        name="sgd", learning_rate=0.1, schedule="constant", momentum=0, weight_decay=0
    )
    assert followed(plain, (30.0,)) == pytest.approx([-2.0])
    clipped = dataclasses.replace(plain, clip=2.0)
    assert followed(clipped, (1.5, 30.0)) == pytest.approx([0.85, 0.65])


@pytest.mark.parametrize(
    ("wrong", "allowed"),
    [
        ({"learning_rate": 0.0}, "above 0"),
        ({"learning_rate": float("nan")}, "above 0"),
        ({"power": -1.0}, "above 0"),
        ({"warmup": -1}, "0 or more"),
        ({"momentum": 1.0}, "0 or more and below 1"),
        ({"weight_decay": -1e-4}, "0 or more"),
        ({"clip": 0.0}, "above 0"),
        ({"ema": 1.0}, "above 0 and below 1"),
    ],
    ids=str,
)
def test_numbers_with_which_nothing_is_trained_are_refused_with_their_range(
    wrong: dict[str, Any], allowed: str
) -> None:
    (name,) = wrong
    flag = name.replace("_", "-")
    with pytest.raises(
        UserError, match=rf"config\.optimizer\.{flag} is .*: it must be {allowed}\."
    ):
        Optimizer(**wrong)
