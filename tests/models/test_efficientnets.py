"""Networks on an EfficientNet answer as their references do, and their weights go both ways."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest

from jaxseg.models import DeepLabV3Plus, ResNetUNet, UNetPlusPlus
from jaxseg.models.parts.efficientnet import EfficientNet
from jaxseg.weights import pretrained

PLUS = {
    "features": 64,
    "atrous_rates": (12, 24, 36),
    "separable": True,
    "pyramid_conv": True,
    "low_first": False,
    "first_rate": "own",
    "align_corners": True,
}
REFERENCES: dict[str, nn.Module] = {
    "smp_unet_b0_2": ResNetUNet(2, "efficientnet-b0"),
    "smp_unet_b5_2": ResNetUNet(2, "efficientnet-b5"),
    "smp_unetplusplus_b2_1": UNetPlusPlus(1, "efficientnet-b2", (64, 48, 32, 24, 8)),
    "smp_deeplabv3plus_b3_3": DeepLabV3Plus(3, "efficientnet-b3", **PLUS),
    "smp_deeplabv3plus_b0_os8_2": DeepLabV3Plus(2, "efficientnet-b0", output_stride=8, **PLUS),
}
UNUSED = ("encoder._conv_head.", "encoder._bn1.")
every_reference = pytest.mark.parametrize(
    "case",
    [
        case if case == "smp_unet_b0_2" else pytest.param(case, marks=pytest.mark.slow)
        for case in sorted(REFERENCES)
    ],
)


@every_reference
def test_imported_weights_give_the_references_logits_and_go_back(
    golden: Callable[[str], Any], case: str
) -> None:
    reference, model = golden(case), REFERENCES[case]
    variables = pretrained.load(model, reference.state)
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, reference.image)
    expected = reference.outputs["out"]
    assert np.abs(logits - expected).max() <= 1e-4 * max(1, np.abs(expected).max())

    state = pretrained.exported(model, variables)
    assert state.keys() == reference.state.keys()
    for name, tensor in state.items():
        assert tensor.shape == reference.state[name].shape
        if not name.startswith(UNUSED):
            np.testing.assert_array_equal(tensor, reference.state[name])


def test_a_classifiers_file_becomes_the_encoder(golden: Callable[[str], Any]) -> None:
    whole = golden("smp_unet_b0_2").state
    classifier = {
        name.removeprefix("encoder."): value
        for name, value in whole.items()
        if name.startswith("encoder.")
    }
    classifier |= {"_fc.weight": np.zeros((1000, 1280)), "_fc.bias": np.zeros(1000)}
    alone = pretrained.load(EfficientNet("efficientnet-b0"), classifier)
    image = jax.ShapeDtypeStruct((1, 32, 32, 4), np.float32)
    model = ResNetUNet(7, "efficientnet-b0")
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    merged = pretrained.merge(model, shapes, classifier, part="encoder")
    for kind in ("params", "batch_stats"):
        jax.tree.map(np.testing.assert_array_equal, merged[kind]["backbone"], alone[kind])
    assert isinstance(merged["params"]["head"]["kernel"], jax.ShapeDtypeStruct)
