"""Adapters see the network's features from coarse to fine, and prediction does not see them."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.networks import applied, drawn, shapes

from jaxseg.errors import UserError
from jaxseg.export.folding import Folded
from jaxseg.losses.distillation import captured, capturing
from jaxseg.models.parts.aligned import Aligned
from jaxseg.models.parts.normalisation import Normalisation
from jaxseg.models.unet import UNet

LAYERS = ("bottleneck", "decoder4", "decoder2")
MODEL = Aligned(3, network=UNet(num_classes=0, features=2), layers=LAYERS)
IMAGE = jnp.asarray(np.random.default_rng(0).standard_normal((2, 37, 50, 2)), jnp.float32)


@pytest.fixture(scope="module")
def variables() -> Any:
    return drawn(shapes(MODEL, bands=2))


@pytest.fixture(scope="module")
def found(variables: Any) -> Any:
    """Outputs of the network's layers and of adapters in a training step."""
    layers = tuple(f"{part}/{layer}" for part in ("student", "aligned") for layer in LAYERS)
    _, updates = applied(
        MODEL,
        variables,
        IMAGE,
        train=True,
        mutable=["batch_stats", "intermediates"],
        **capturing(layers),
    )
    return captured(updates, layers)


def test_the_prediction_is_that_of_the_network_alone(variables: Any) -> None:
    alone = {kind: values["student"] for kind, values in variables.items()}
    network = UNet(num_classes=3, features=2)
    expected = applied(network, alone, IMAGE, train=False)
    without = {kind: {"student": values} for kind, values in alone.items()}
    predicted = applied(MODEL, without, IMAGE, train=False)  # needs no adapters
    np.testing.assert_allclose(predicted, expected, rtol=1e-5, atol=1e-5)


def test_no_adapter_is_in_an_exported_program(variables: Any) -> None:
    folded = Folded(MODEL, variables, IMAGE, Normalisation())
    held = {np.shape(value) for value in jax.make_jaxpr(folded)(IMAGE).consts}
    kernels, adapters = (
        {leaf.shape for leaf in jax.tree.leaves(part) if leaf.ndim == 4}
        for part in (variables["params"]["student"]["encoder2"], variables["params"]["aligned"])
    )
    assert kernels <= held
    assert not adapters & held


def test_an_adapter_has_the_shape_of_its_layer_and_sees_the_coarser_one(
    variables: Any, found: Any
) -> None:
    for layer in LAYERS:
        chex.assert_equal_shape([found[f"aligned/{layer}"], found[f"student/{layer}"]])
    kernels = {layer: variables["params"]["aligned"][layer]["conv"]["kernel"] for layer in LAYERS}
    widths = {layer: kernel.shape[2:] for layer, kernel in kernels.items()}
    assert widths == {"bottleneck": (32, 32), "decoder4": (16 + 32, 16), "decoder2": (4 + 16, 4)}


def test_the_coarsest_adapter_is_a_convolution_a_normalisation_and_a_relu(
    variables: Any, found: Any
) -> None:
    own = np.asarray(found["student/bottleneck"], np.float64)
    parts = variables["params"]["aligned"]["bottleneck"]
    x = own @ np.asarray(parts["conv"]["kernel"][0, 0], np.float64)
    x = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)
    expected = np.maximum(x * parts["norm"]["scale"] + parts["norm"]["bias"], 0)
    np.testing.assert_allclose(found["aligned/bottleneck"], expected, rtol=1e-3, atol=1e-4)


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

    slope = jax.jit(jax.grad(difference))(variables["params"])
    for layer in LAYERS:
        assert np.abs(slope["aligned"][layer]["conv"]["kernel"]).max() > 0
    assert np.abs(slope["student"]["encoder1"]["conv1"]["kernel"]).max() > 0
    assert not np.abs(slope["student"]["head"]["kernel"]).any()


def test_a_layer_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="no layer neck to align"):
        shapes(MODEL.clone(layers=("neck",)), bands=2)
