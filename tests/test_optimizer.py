"""Schedules, decay mask and clipping."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
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
