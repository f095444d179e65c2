"""Prithvi's encoder and its two networks give what terratorch gives."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from fixtures.networks import applied

from jaxseg.models.parts.vit import PrithviViT
from jaxseg.models.prithvi import PrithviLinear, PrithviUNet
from jaxseg.weights import pretrained

CLOSE = 1e-5
"""Of the largest number of the reference."""


@pytest.mark.parametrize(
    ("case", "backbone"),
    [
        ("prithvi_tiny_encoder", "prithvi_eo_tiny"),  # 6 x 4 patches: positions are interpolated
        ("prithvi_v2_tiny_encoder", "prithvi_eo_v2_tiny"),  # 14 x 14, as in pretraining
    ],
)
def test_the_encoder_gives_the_references_features(
    golden: Callable[[str], Any], case: str, backbone: Any
) -> None:
    reference = golden(case)
    model = PrithviViT(backbone)
    variables = pretrained.load(model, reference.state)
    found = applied(model, variables, reference.image, train=False)
    for name, expected in reference.outputs.items():
        actual = found[int(name.removeprefix("block"))]
        assert actual.shape == expected.shape
        assert np.abs(actual - expected).max() <= CLOSE * np.abs(expected).max(), name


@pytest.mark.parametrize(
    ("case", "model"),
    [
        ("prithvi_tiny_unet_3", PrithviUNet(3, "prithvi_eo_tiny", features=(64, 48, 32, 24))),
        ("prithvi_tiny_linear_3", PrithviLinear(3, "prithvi_eo_tiny")),
    ],
)
def test_a_network_of_terratorch_gives_the_references_logits(
    golden: Callable[[str], Any], case: str, model: Any
) -> None:
    reference = golden(case)
    variables = pretrained.load(model, reference.state)
    assert sum(x.size for x in jax.tree.leaves(variables["params"])) == reference.parameters
    logits = applied(model, variables, reference.image, train=False)
    expected = reference.outputs["out"]
    assert logits.shape == expected.shape
    assert np.abs(logits - expected).max() <= CLOSE * np.abs(expected).max()
