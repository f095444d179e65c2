"""What computes each number by itself means the same in onnxruntime, not-a-numbers included."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.in_onnx import check
from jax import lax

X = np.random.default_rng(0).uniform(0.1, 2, (2, 3, 4)).astype(np.float32)
SIGNED = (X - 1) * 3


@pytest.mark.parametrize(
    "function",
    [
        jnp.sqrt, lax.rsqrt, jnp.log, jnp.log1p, jnp.log10, jnp.square, lambda x: x**3,
        lambda x: x**0.3, lambda x: 1 / x,
    ],
)  # fmt: skip
def test_functions_of_positive_numbers(function: Any) -> None:
    check(function, X)


@pytest.mark.parametrize(
    "function",
    [
        jnp.abs, jnp.exp, jnp.expm1, jnp.tanh, jax.nn.sigmoid, lax.erf, lax.erfc, jnp.sign,
        jnp.floor, jnp.ceil, jnp.sin, jnp.cos, jnp.arctan, jax.nn.relu, lambda x: -x,
        lambda x: jnp.clip(x, -1, 1), lambda x: jnp.minimum(x, 0.5) - jnp.maximum(x, 0.1),
        lambda x: lax.stop_gradient(x) + lax.optimization_barrier(x),
    ],
)  # fmt: skip
def test_functions_of_any_number(function: Any) -> None:
    check(function, SIGNED)


@pytest.mark.parametrize(
    "condition",
    [
        lambda x: x > 0, lambda x: x >= 0, lambda x: x < 0,
        lambda x: x <= 0, lambda x: x == x[:, :1],
        lambda x: x != x[:, :1], lambda x: (x > 0) & (x < 1), lambda x: (x < 0) | (x > 1),
        lambda x: ~(x > 0), lambda x: (x > 0) ^ (x > 1), jnp.isfinite, jnp.isnan,
    ],
)  # fmt: skip
def test_conditions_choose(condition: Any) -> None:
    x = SIGNED.copy()
    x[0, 0, 0], x[1, 2, 3] = np.inf, np.nan
    check(lambda x: jnp.where(condition(x), 1.0, jnp.nan_to_num(x)), x)


def test_whole_numbers_and_back() -> None:
    check(lambda x: (x > 0).astype(jnp.int32).astype(jnp.float32) + x.astype(jnp.int32), SIGNED)
