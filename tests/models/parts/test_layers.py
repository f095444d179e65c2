"""What the modules all networks share start from, and that each choice reaches the convolution."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.networks import applied, initialised

from jaxseg.models.parts import layers
from jaxseg.models.parts.complex_layers import ComplexBatchNorm
from jaxseg.models.parts.convolution import conv2d, conv_transpose2d
from jaxseg.models.parts.depthwise import depthwise_conv2d


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """Features of four channels."""
    return np.random.default_rng(0).standard_normal((1, 9, 11, 4)).astype(np.float32)


def made(module: Any, image: np.ndarray) -> tuple[Any, Any]:
    """Parameters, biases not zero, and the answer."""
    params = initialised(module, image)["params"]
    params = jax.tree.map(lambda p: p + 0.1 * jnp.cos(jnp.arange(p.shape[-1])), params)
    return params, applied(module, {"params": params}, image)


@pytest.mark.parametrize(
    ("fields", "used"),
    [
        ({}, {"padding": 1}),
        ({"kernel_size": 1}, {"padding": 0}),
        ({"kernel_size": 5, "dilation": 2}, {"padding": 4, "dilation": 2}),
        ({"stride": 2, "padding": 0}, {"padding": 0, "stride": 2}),
        ({"kernel_size": 7, "stride": 2}, {"padding": 3, "stride": 2}),
        ({"kernel_size": 2, "stride": 2, "padding": 0}, {"padding": 0, "stride": 2}),
    ],
    ids=str,
)
def test_a_convolution_has_the_taps_steps_and_borders_asked_for(
    image: np.ndarray, fields: dict[str, int], used: dict[str, int]
) -> None:
    params, y = made(layers.Conv(5, **fields), image)
    size = fields.get("kernel_size", 3)
    assert params.keys() == {"kernel"}
    assert params["kernel"].shape == (size, size, 4, 5)
    expected = conv2d(jnp.asarray(image), params["kernel"], **used)
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_biases_start_at_zero_and_are_added(image: np.ndarray) -> None:
    for module in (layers.Conv(5, use_bias=True), layers.ConvTranspose(5)):
        first = module.init(jax.random.key(0), image)["params"]
        np.testing.assert_array_equal(first["bias"], np.zeros(5))
        params, y = made(module, image)
        without = module.apply({"params": params | {"bias": jnp.zeros(5)}}, image)
        np.testing.assert_allclose(y, without + params["bias"], atol=1e-5)
    assert made(layers.ConvTranspose(5, use_bias=False), image)[0].keys() == {"kernel"}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"kernel_size": 3, "padding": 1, "output_padding": 1},
        {"kernel_size": 4, "stride": 3, "padding": 1},
    ],
    ids=str,
)
def test_a_transposed_convolution_has_the_steps_and_borders_asked_for(
    image: np.ndarray, fields: dict[str, int]
) -> None:
    params, y = made(layers.ConvTranspose(5, use_bias=False, **fields), image)
    used = {"stride": 2, "padding": 0, "output_padding": 0} | fields
    size = used.pop("kernel_size", 2)
    assert params["kernel"].shape == (size, size, 4, 5)
    expected = conv_transpose2d(jnp.asarray(image), params["kernel"], **used)
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize("fields", [{}, {"kernel_size": 5}, {"dilation": 3}], ids=str)
def test_a_separable_convolution_is_depthwise_and_then_of_points(
    image: np.ndarray, fields: dict[str, int]
) -> None:
    params, y = made(layers.SeparableConv(6, **fields), image)
    size, rate = fields.get("kernel_size", 3), fields.get("dilation", 1)
    kernel, point = params["depthwise"]["kernel"], params["point"]["kernel"]
    assert (kernel.shape, point.shape) == ((size, size, 1, 4), (1, 1, 4, 6))
    middle = depthwise_conv2d(jnp.asarray(image), kernel, dilation=rate)
    np.testing.assert_allclose(y, middle @ point[0, 0], atol=1e-5)
    params, y = made(layers.DepthwiseConv(**fields), image)
    expected = depthwise_conv2d(jnp.asarray(image), params["kernel"], dilation=rate)
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize(
    "kind", [layers.Conv, layers.ConvTranspose, layers.SeparableConv, layers.DepthwiseConv]
)
def test_what_is_computed_in_is_what_leaves_and_parameters_stay_in_full(
    image: np.ndarray, kind: Any
) -> None:
    arguments = () if kind is layers.DepthwiseConv else (5,)
    for dtype in ("float32", "bfloat16"):
        params, y = made(kind(*arguments, dtype=dtype), image)
        assert y.dtype == jnp.dtype(dtype)
        assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}


def test_normalisation_is_pytorchs() -> None:
    norm = layers.BatchNorm(use_running_average=False)
    x = np.array([[1.0], [3.0]], np.float32)
    variables = norm.init(jax.random.key(0), x)
    y, moved = norm.apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_allclose(moved["batch_stats"]["mean"], [0.1 * 2], rtol=1e-6)
    np.testing.assert_allclose(moved["batch_stats"]["var"], [0.9 + 0.1 * 1], rtol=1e-6)
    small, _ = norm.apply(variables, x * 1e-3, mutable=["batch_stats"])
    np.testing.assert_allclose(small[1, 0], 1e-3 / np.sqrt(1e-6 + 1e-5), rtol=1e-3)
    np.testing.assert_allclose(y[1, 0], 1, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("fast", [True, False])
def test_normalisation_of_many_values_is_flaxs(dtype: Any, *, fast: bool) -> None:
    random = np.random.default_rng(0)
    x = jnp.asarray(random.standard_normal((2, 5, 4, 3)) * 3 + 1, dtype)
    common: dict[str, Any] = {"use_fast_variance": fast, "dtype": dtype}
    ours = layers.BatchNorm(use_running_average=False, **common)
    theirs = nn.BatchNorm(use_running_average=False, momentum=0.9, epsilon=1e-5, **common)
    variables = jax.tree.map(
        lambda leaf: leaf + random.random(leaf.shape), theirs.init(jax.random.key(0), x)
    )
    found, expected = (norm.apply(variables, x, mutable=["batch_stats"]) for norm in (ours, theirs))
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-6)
    found, expected = (
        norm.clone(use_running_average=True).apply(variables, x) for norm in (ours, theirs)
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", [layers.BatchNorm, ComplexBatchNorm])
def test_a_single_value_is_normalised_as_in_evaluation_and_changes_no_statistics(
    kind: Callable[..., nn.Module],
) -> None:
    x = np.random.default_rng(0).standard_normal((1, 1, 1, 6), np.float32) + 3
    training, evaluation = kind(use_running_average=False), kind(use_running_average=True)
    fresh = training.init(jax.random.key(0), x)
    stats = jax.tree.map(lambda leaf: leaf + 0.25, fresh["batch_stats"])
    variables = {"params": fresh["params"], "batch_stats": stats}
    y, moved = training.apply(variables, x, mutable=["batch_stats"])
    jax.tree.map(np.testing.assert_array_equal, moved["batch_stats"], stats)
    np.testing.assert_array_equal(y, evaluation.apply(variables, x))
    assert np.ptp(np.asarray(y)) > 0.1
    two = np.concatenate((x, x + 1))  # two values are measured
    _, moved = training.apply(variables, two, mutable=["batch_stats"])
    assert np.abs(np.asarray(moved["batch_stats"]["mean"]) - stats["mean"]).min() > 0.01


def test_initial_values_are_he_normal() -> None:
    kernel = layers.he_normal(jax.random.key(0, impl="rbg"), (3, 3, 64, 128))
    assert float(kernel.std()) == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.01)
    assert float(kernel.mean()) == pytest.approx(0, abs=1e-3)
