"""DeepLabs answer as their references do, and their rates are those of the papers where asked."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.networks import shapes

from jaxseg.cli import catalogue
from jaxseg.models.deeplab import DeepLabV3
from jaxseg.models.deeplab_plus import DeepLabV3Plus
from jaxseg.models.parts.resnet import ResNet
from jaxseg.weights import pretrained

SMP = {"first_rate": "own", "align_corners": True, "dropout": 0.5}
SMP_PLUS = SMP | {"separable": True, "pyramid_conv": True, "low_first": False}

REFERENCES = {
    "deeplabv3_tv_r50_21_aux": DeepLabV3(21, aux_head=True),
    "smp_deeplabv3_r18_2": DeepLabV3(2, backbone="resnet18", **SMP),
    "deeplabv3plus_vainf_r50_21_os16": DeepLabV3Plus(21),
    "smp_deeplabv3plus_r50_3": DeepLabV3Plus(3, atrous_rates=(12, 24, 36), **SMP_PLUS),
    "smp_deeplabv3plus_r18_os8_2": DeepLabV3Plus(
        2, backbone="resnet18", output_stride=8, atrous_rates=(6, 12, 18), features=64, **SMP_PLUS
    ),
}
every_reference = pytest.mark.parametrize("case", sorted(REFERENCES))


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.slow) if case == "smp_deeplabv3plus_r50_3" else case
        for case in sorted(REFERENCES)  # its encoder and its head are those of two others
    ],
)
def test_imported_weights_give_the_references_logits(
    golden: Callable[[str], Any], case: str
) -> None:
    reference, model = golden(case), REFERENCES[case]
    variables = pretrained.load(model, reference.state)
    logits, sown = jax.jit(lambda v, x: model.apply(v, x, train=False, mutable=["aux_logits"]))(
        variables, reference.image
    )
    actual = {"out": logits} | dict(zip(("aux",), jax.tree.leaves(sown), strict=False))
    assert actual.keys() == reference.outputs.keys()
    for name, expected in reference.outputs.items():
        assert np.abs(actual[name] - expected).max() <= 1e-4 * max(1, np.abs(expected).max())


@every_reference
def test_export_gives_the_references_state_dict_back(
    golden: Callable[[str], Any], case: str
) -> None:
    reference, model = golden(case), REFERENCES[case]
    state = pretrained.exported(model, pretrained.load(model, reference.state))
    counters = {name for name in reference.state if name.endswith("num_batches_tracked")}
    assert state.keys() == reference.state.keys() - counters
    for name, tensor in state.items():
        np.testing.assert_array_equal(tensor, reference.state[name])


def test_deeplabv3_reads_vainfs_names_of_torchvisions_network(
    golden: Callable[[str], Any],
) -> None:
    model, reference = DeepLabV3(21), golden("deeplabv3_tv_r50_21_aux").state
    vainf = {
        name.replace("classifier.", "classifier.classifier.", 1): value
        for name, value in reference.items()
        if not name.startswith("aux_classifier")
    }
    expected = pretrained.load(model, reference)
    jax.tree.map(np.testing.assert_array_equal, pretrained.load(model, vainf), expected)


def test_a_pyramid_may_have_any_number_of_rates() -> None:
    for kind in (DeepLabV3, DeepLabV3Plus):
        for rates in ((), (12,), (3, 6, 9, 12)):
            model = kind(2, backbone="resnet18", atrous_rates=rates)
            pyramid = shapes(model, bands=3)["params"]["pyramid"]
            assert {f"atrous{i}" for i in range(1, 1 + len(rates))} == {
                name for name in pyramid if name.startswith("atrous") and "norm" not in name
            }
            assert pyramid["project"]["kernel"].shape == (1, 1, 256 * (2 + len(rates)), 256)


def test_image_pooling_can_be_left_out() -> None:
    whole = DeepLabV3(2, backbone="resnet18", width=16, features=32)
    with_it, without = (
        shapes(model, bands=3)["params"]["pyramid"]
        for model in (whole, whole.clone(image_pooling=False))
    )
    assert with_it.keys() - without.keys() == {"image", "image_norm"}
    assert with_it["project"]["kernel"].shape == (1, 1, 5 * 32, 32)
    assert without["project"]["kernel"].shape == (1, 1, 4 * 32, 32)


@pytest.mark.parametrize("deep_stem", [False, True])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_a_thin_resnet_has_a_quarter_of_the_channels_everywhere(
    backbone: Any, deep_stem: bool
) -> None:
    usual, thin = (
        shapes(ResNet(backbone, deep_stem=deep_stem, width=width), bands=3)["params"]
        for width in (64, 16)
    )
    channels = jax.tree.map(lambda one, other: one.shape[-1] / other.shape[-1], usual, thin)
    assert set(jax.tree.leaves(channels)) == {4.0}


def test_the_papers_decoder_has_two_separable_convolutions() -> None:
    model = DeepLabV3Plus(2, separable=True, decoder_convs=2, low_first=False)
    params = shapes(model, bands=3)["params"]
    assert params["decoder1"]["depthwise"]["kernel"].shape == (3, 3, 1, 256 + 48)
    assert params["decoder2"]["point"]["kernel"].shape == (1, 1, 256, 256)
    assert "pyramid_conv" not in params


@pytest.mark.slow
def test_the_catalogue_knows_paper_stride_and_sight_of_deeplabv3plus() -> None:
    card = catalogue.card(DeepLabV3Plus, bands=3, classes=21, size=512)
    assert card.paper == "Chen 2018 arXiv:1802.02611"
    assert (card.parameters, card.stride, card.sight) == (39_761_845, 16, None)


@pytest.mark.parametrize(
    ("backbone", "stride", "multi_grid", "layer3", "layer4"),
    [
        ("resnet50", 32, (1, 1, 1), (2, (1, 1, 1, 1, 1, 1)), (2, (1, 1, 1))),
        ("resnet50", 8, (1, 1, 1), (1, (1, 2, 2, 2, 2, 2)), (1, (2, 4, 4))),
        ("resnet50", 16, (1, 1, 1), (2, (1, 1, 1, 1, 1, 1)), (1, (1, 2, 2))),
        ("resnet50", 8, (1, 2, 4), (1, (2, 2, 2, 2, 2, 2)), (1, (4, 8, 16))),
        ("resnet50", 16, (1, 2, 4), (2, (1, 1, 1, 1, 1, 1)), (1, (2, 4, 8))),
        ("resnet18", 16, (1, 2, 4), (2, (1, 1)), (1, (2, 4))),
    ],
)
def test_atrous_rates_are_torchvisions_or_with_multi_grid_the_papers(
    backbone: Any, stride: Any, multi_grid: Any, layer3: Any, layer4: Any
) -> None:
    plan = ResNet(backbone, stride, multi_grid).rates()
    assert plan[2:] == [layer3, layer4]


@pytest.mark.parametrize(
    ("first_rate", "layer3", "layer4"),
    [("own", (2, 2), (4, 4)), ("one", (1, 2), (1, 4)), ("before", (1, 2), (2, 4))],
)
def test_the_first_block_of_an_atrous_layer_has_the_rate_asked_for(
    first_rate: Any, layer3: Any, layer4: Any
) -> None:
    plan = ResNet("resnet18", 8, first_rate=first_rate).rates()
    assert plan[2:] == [(1, layer3), (1, layer4)]


@pytest.mark.parametrize(("stride", "cells"), [(8, 12), (16, 6)])
def test_features_have_the_output_stride(stride: Any, cells: int) -> None:
    model = ResNet("resnet50", stride)
    image = jax.ShapeDtypeStruct((1, 96, 96, 3), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    features = jax.eval_shape(lambda v, x: model.apply(v, x, train=False), variables, image)
    assert [leaf.shape for leaf in features] == [
        (1, 48, 48, 64),
        (1, 24, 24, 256),
        (1, 12, 12, 512),
        (1, cells, cells, 1024),
        (1, cells, cells, 2048),
    ]


def test_the_auxiliary_head_leaves_no_logits_among_the_initial_variables() -> None:
    model = DeepLabV3(2, backbone="resnet18", aux_head=True)
    variables = shapes(model, bands=3)
    assert set(variables) == {"params", "batch_stats"}
    assert "aux_head" in variables["params"]
