"""Gates follow their formulas: by channel from the image's means, by pixel from its channels."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.networks import applied, initialised

from jaxseg.models.parts.attention import ScSE, SqueezeExcite
from jaxseg.models.parts.layers import Conv


@pytest.fixture(scope="module")
def features() -> jax.Array:
    return jax.random.normal(jax.random.key(0), (2, 3, 5, 32)) + 1


def variables_of(module: Any, features: jax.Array) -> Any:
    """Initial ones, with biases that are not zero."""
    variables = initialised(module, features)
    return jax.tree.map(lambda leaf: leaf + 0.3 * jnp.cos(jnp.arange(leaf.shape[-1])), variables)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def by_channel(params: Any, x: np.ndarray) -> np.ndarray:
    """Hu et al., equations 2 and 3, with biases."""
    w1, w2 = (np.asarray(params[name]["kernel"])[0, 0] for name in ("squeeze", "excite"))
    b1, b2 = (np.asarray(params[name]["bias"]) for name in ("squeeze", "excite"))
    z = x.mean(axis=(1, 2))
    return x * sigmoid(np.maximum(z @ w1 + b1, 0) @ w2 + b2)[:, None, None]


def test_channels_are_weighed_by_the_images_means(features: jax.Array) -> None:
    module = SqueezeExcite(Conv)
    variables = variables_of(module, features)
    expected = by_channel(variables["params"], np.asarray(features))
    np.testing.assert_allclose(applied(module, variables, features), expected, atol=1e-5)


def test_concurrent_gates_are_a_sum_of_both(features: jax.Array) -> None:
    module = ScSE(Conv)
    variables = variables_of(module, features)
    params, x = variables["params"], np.asarray(features)
    spatial = params["spatial"]
    by_pixel = x * sigmoid(x @ np.asarray(spatial["kernel"])[0, 0] + np.asarray(spatial["bias"]))
    expected = by_channel(params["channel"], x) + by_pixel
    np.testing.assert_allclose(applied(module, variables, features), expected, atol=1e-5)


def test_gates_without_weights_let_half_pass_each(features: jax.Array) -> None:
    module = ScSE(Conv)
    variables = jax.tree.map(jnp.zeros_like, initialised(module, features))
    np.testing.assert_allclose(applied(module, variables, features), features, atol=1e-6)


def test_the_channel_gate_knows_no_place_and_the_spatial_one_nothing_else(
    features: jax.Array,
) -> None:
    channel, both = SqueezeExcite(Conv), ScSE(Conv)
    variables = variables_of(both, features)
    of_channel = {"params": variables["params"]["channel"]}
    shuffled = features[:, ::-1, jnp.array([3, 0, 4, 1, 2])]
    out, moved = (applied(both, variables, x) for x in (features, shuffled))
    chex.assert_trees_all_close(moved, out[:, ::-1, jnp.array([3, 0, 4, 1, 2])], atol=1e-5)
    # Another pixel changes this one only through the channel gate.
    other = features.at[:, 0, 0].add(1)
    before, after = (
        (applied(both, variables, x) - applied(channel, of_channel, x))[:, 1:]
        for x in (features, other)
    )
    chex.assert_trees_all_close(before, after, atol=1e-5)
    change = applied(channel, of_channel, other) - applied(channel, of_channel, features)
    assert np.abs(change[:, 1:]).max() > 1e-4


@pytest.mark.parametrize(
    ("channels", "reduction", "inside"), [(64, 16, 4), (64, 2, 32), (8, 16, 1)]
)
def test_the_layer_between_is_reduced_but_never_empty(
    channels: int, reduction: int, inside: int
) -> None:
    module = SqueezeExcite(Conv, reduction)
    variables = initialised(module, jnp.ones((1, 2, 2, channels)))
    chex.assert_shape(variables["params"]["squeeze"]["kernel"], (1, 1, channels, inside))
    chex.assert_shape(variables["params"]["excite"]["kernel"], (1, 1, inside, channels))
