"""Products, sums and extremes along axes are the same in onnxruntime."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.in_onnx import check

X = np.random.default_rng(0).standard_normal((2, 4, 5, 3)).astype(np.float32)
M = np.random.default_rng(1).standard_normal((7, 4)).astype(np.float32)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: jnp.dot(x, M[:3]),
        lambda x: jnp.einsum("Hh,bhwc->bHwc", M, x),
        lambda x: jnp.einsum("bhwc,bhwd->bcd", x, x),
        lambda x: jnp.einsum("bhwc,bhvc->bhwv", x, x),
        lambda x: x.sum((1, 2)),
        lambda x: x.mean((1, 2), keepdims=True) + x,
        lambda x: x.max(-1),
        lambda x: x.min(1),
        lambda x: jnp.prod(x, axis=2),
        lambda x: x.argmax(-1).astype(jnp.float32),
        lambda x: x.argmin(1).astype(jnp.float32),
        lambda x: (x > 0).all(-1).astype(jnp.float32),
        lambda x: (x > 1).any((1, 2)).astype(jnp.float32),
        lambda x: jnp.cumsum(x, axis=1),
        lambda x: jax.nn.softmax(x, axis=-1),
        lambda x: jax.nn.logsumexp(x, axis=-1),
        lambda x: jnp.linalg.norm(x, axis=-1),
    ],
)
def test_what_is_added_up(function: Any) -> None:
    check(function, X)
