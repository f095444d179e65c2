"""What moves numbers moves them to the same place in onnxruntime."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.in_onnx import check, in_onnxruntime
from jax import lax

from jaxseg.export.onnx_graph import NotInOnnxError

X = np.random.default_rng(0).standard_normal((2, 6, 8, 3)).astype(np.float32)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.reshape(x.shape[0], 3, 2, 24),
        lambda x: x.transpose(0, 3, 1, 2),
        lambda x: x[:, 1:5, ::2],
        lambda x: x[:, ::-1, :, ::-1],
        lambda x: x[:, 2],
        lambda x: x[..., 1],
        lambda x: x[:, ::2, ::2],
        lambda x: x[:, np.array([0, 0, 5, 3])],
        lambda x: x[:, 1:4, np.array([7, 0])],
        lambda x: jnp.pad(x, ((0, 0), (1, 2), (0, 3), (0, 0)), constant_values=2.0),
        lambda x: jnp.pad(x, ((0, 0), (0, 2), (0, 3), (0, 0)), mode="edge"),
        lambda x: jnp.pad(x, ((0, 0), (2, 2), (3, 3), (0, 0)), mode="reflect"),
        lambda x: lax.pad(x, 1.0, ((0, 0, 0), (-1, 2, 0), (3, -2, 0), (0, 0, 0))),
        lambda x: jnp.concatenate((x, 2 * x, jnp.ones((x.shape[0], 6, 8, 1))), axis=-1),
        lambda x: sum(jnp.split(x, 3, axis=-1)),
        lambda x: jnp.tile(x, (1, 2, 1, 1)),
        lambda x: jnp.repeat(x, 2, axis=2),
        lambda x: jnp.broadcast_to(x[:, :, None], (x.shape[0], 6, 4, 8, 3)),
        lambda x: jnp.zeros(x.shape) + x,
        lambda x: x + jnp.arange(3.0),
    ],
)
def test_numbers_go_where_jax_puts_them(function: Any) -> None:
    check(function, X)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda x: x[:, (x[0, 0, 0] > 0).astype(int)],
            "places that are computed|batch is computed with",
        ),
        (lambda x: x[:, np.array([0, 1]), np.array([1, 3])], "looked up one by one"),
        (lambda x: lax.pad(x, 0.0, ((0, 0, 0), (0, 0, 1), (0, 0, 0), (0, 0, 0))), "between the"),
        (lambda x: jnp.sort(x, axis=1), "primitive sort of JAX"),
    ],
)
def test_what_has_no_form_is_named(function: Any, message: str) -> None:
    with pytest.raises(NotInOnnxError, match=message):
        in_onnxruntime(function, X)
