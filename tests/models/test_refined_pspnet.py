"""Refined PSPNet: its gates, its pyramid, and what its decoder takes of where."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.networks import applied, drawn, initialised, shapes

from jaxseg.models.parts.layers import Conv
from jaxseg.models.refined_pspnet import ChannelAttention, RefinedPSPNet


def test_attention_weighs_channels_by_mean_and_maximum() -> None:
    attention = ChannelAttention(Conv)
    x = np.random.default_rng(0).standard_normal((2, 6, 5, 9)).astype(np.float32)
    variables = initialised(attention, x)
    squeeze, excite = (variables["params"][name] for name in ("squeeze", "excite"))
    assert squeeze["kernel"].shape == (1, 1, 9, 8)

    def layers(pooled: Any) -> Any:
        hidden = np.maximum(pooled @ squeeze["kernel"][0, 0] + squeeze["bias"], 0)
        return hidden @ excite["kernel"][0, 0] + excite["bias"]

    gate = 2 / (1 + np.exp(-(layers(x.mean((1, 2))) + layers(x.max((1, 2))))))
    np.testing.assert_allclose(
        applied(attention, variables, x), x * gate[:, None, None], rtol=1e-4, atol=1e-5
    )


def test_a_band_that_the_gate_shuts_has_no_influence_on_the_backbone() -> None:
    model = RefinedPSPNet(3, backbone="resnet18", features=8)
    image = np.random.default_rng(0).standard_normal((1, 40, 33, 4)).astype(np.float32)
    variables = drawn(shapes(model, bands=4))
    gate = variables["params"]["band_gate"]
    # Shut for good, and deaf to the band itself, whose statistics would reach the other gates.
    gate["excite"]["bias"] = jnp.array([0.0, 0, -1e9, 0])
    gate["squeeze"]["kernel"] = gate["squeeze"]["kernel"].at[:, :, 2].set(0)
    apply = jax.jit(functools.partial(model.apply, train=False))
    logits = apply(variables, image)
    for band, reaches in ((1, True), (2, False)):
        other = image.copy()
        other[..., band] += 1.0
        assert bool(np.abs(apply(variables, other) - logits).max() > 1e-4) == reaches


@pytest.mark.parametrize("stride", [8, 16])
def test_the_decoder_works_at_a_quarter_of_the_image_at_any_output_stride(stride: Any) -> None:
    model = RefinedPSPNet(5, backbone="resnet18", output_stride=stride, features=16)
    image = jax.ShapeDtypeStruct((1, 100, 64, 9), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    _, kept = jax.eval_shape(
        lambda v, x: model.apply(v, x, train=False, capture_intermediates=True), variables, image
    )
    for name in ("decoder1", "decoder2"):
        assert kept["intermediates"][name]["__call__"][0].shape == (1, 25, 16, 16)
    assert variables["params"]["decoder1"]["kernel"].shape == (3, 3, 16 + 48, 16)


def test_a_thin_network_is_in_proportion() -> None:
    model = RefinedPSPNet(3, backbone="resnet18", width=16, features=8)
    params = shapes(model, bands=9)["params"]
    assert params["layer1_project"]["kernel"].shape == (1, 1, 16, 48)
    assert params["layer2_project"]["kernel"].shape == (1, 1, 32, 8)
    assert params["pyramid_project"]["kernel"].shape == (1, 1, 2 * 128, 8)
