"""Adapters see the network's features from coarse to fine, and prediction does not see them."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.networks import applied, drawn, shapes

from jaxseg.errors import UserError
from jaxseg.losses.distillation import captured, capturing
from jaxseg.models.parts.aligned import Aligned
from jaxseg.models.unet import UNet

LAYERS = ("bottleneck", "decoder4", "decoder2")
MODEL = Aligned(3, network=UNet(num_classes=0, features=2), layers=LAYERS)
IMAGE = jnp.asarray(np.random.default_rng(0).standard_normal((2, 37, 50, 2)), jnp.float32)


@pytest.fixture(scope="module")
def variables() -> Any:
    return drawn(shapes(MODEL, bands=2))


@functools.cache
def in_training(model: Aligned) -> Any:
    """Logits, and outputs of the network's layers and of adapters, of a training step."""
    layers = tuple(f"{part}/{layer}" for part in ("network", "aligned") for layer in LAYERS)
    logits, updates = applied(
        model,
        drawn(shapes(MODEL, bands=2)),
        IMAGE,
        train=True,
        mutable=["batch_stats", "intermediates"],
        **capturing(layers),
    )
    return logits, captured(updates, layers)


def test_the_prediction_is_that_of_the_network_alone(variables: Any) -> None:
    alone = {kind: values["network"] for kind, values in variables.items()}
    network = UNet(num_classes=3, features=2)
    for train in (False, True):
        how = {"train": train, "mutable": ["batch_stats"]}
        expected = applied(network, alone, IMAGE, **how)[0]
        found = applied(MODEL, variables, IMAGE, **how)[0]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_evaluation_does_not_compute_adapters(variables: Any) -> None:
    without = {kind: {"network": values["network"]} for kind, values in variables.items()}
    found = applied(MODEL, without, IMAGE, train=False)
    np.testing.assert_array_equal(found, applied(MODEL, variables, IMAGE, train=False))


def test_an_adapter_has_the_shape_of_its_layer_and_sees_the_coarser_one(variables: Any) -> None:
    _, found = in_training(MODEL)
    for layer in LAYERS:
        chex.assert_equal_shape([found[f"aligned/{layer}"], found[f"network/{layer}"]])
    kernels = {layer: variables["params"]["aligned"][layer]["conv"]["kernel"] for layer in LAYERS}
    widths = {layer: kernel.shape[2:] for layer, kernel in kernels.items()}
    assert widths == {"bottleneck": (32, 32), "decoder4": (16 + 32, 16), "decoder2": (4 + 16, 4)}


def test_the_coarsest_adapter_is_a_convolution_a_normalisation_and_a_relu(variables: Any) -> None:
    _, found = in_training(MODEL)
    own = np.asarray(found["network/bottleneck"], np.float64)
    parts = variables["params"]["aligned"]["bottleneck"]
    x = own @ np.asarray(parts["conv"]["kernel"][0, 0], np.float64)
    x = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)
    expected = np.maximum(x * parts["norm"]["scale"] + parts["norm"]["bias"], 0)
    np.testing.assert_allclose(found["aligned/bottleneck"], expected, rtol=1e-3, atol=1e-4)


def test_recomputed_blocks_give_adapters_the_same_features() -> None:
    (logits, kept), (again, anew) = in_training(MODEL), in_training(MODEL.clone(remat=True))
    np.testing.assert_allclose(again, logits, rtol=1e-4, atol=1e-4)
    chex.assert_trees_all_close(anew, kept, rtol=1e-4, atol=1e-4)


def test_features_are_aligned_by_what_the_finer_adapters_say(variables: Any) -> None:
    """The gradient of the finest difference reaches every adapter, and the network."""

    def difference(params: Any) -> jax.Array:
        _, updates = MODEL.apply(
            variables | {"params": params},
            IMAGE,
            train=True,
            mutable=["batch_stats", "intermediates"],
            **capturing(("aligned/decoder2",)),
        )
        return (captured(updates, ("aligned/decoder2",))["aligned/decoder2"] ** 2).mean()

    found = jax.jit(jax.grad(difference))(variables["params"])
    for layer in LAYERS:
        assert np.abs(found["aligned"][layer]["conv"]["kernel"]).max() > 0
    assert np.abs(found["network"]["encoder1"]["conv1"]["kernel"]).max() > 0
    assert not np.abs(found["network"]["head"]["kernel"]).any()


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="no layer neck to align"):
        shapes(MODEL.clone(layers=("neck",)), bands=2)
