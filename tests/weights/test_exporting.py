"""Exported weights are those of a reference that computes the same, or there are none."""

import json
from typing import Any

import jax
import numpy as np
import pytest
from fixtures.networks import shapes
from fixtures.places import GOLDENS

from jaxseg.errors import UserError
from jaxseg.models.deeplab import DeepLabV3
from jaxseg.models.deeplab_plus import DeepLabV3Plus
from jaxseg.models.linknet import LinkNet
from jaxseg.models.pspnet import PSPNet
from jaxseg.models.refined_pspnet import RefinedPSPNet
from jaxseg.models.resnet_unet import ResNetUNet
from jaxseg.models.unet import UNet
from jaxseg.models.unet_plus_plus import UNetPlusPlus
from jaxseg.weights import exported
from jaxseg.weights.pretrained import merge


def ones(model: Any, bands: int = 3) -> Any:
    return jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes(model, bands))


@pytest.mark.parametrize(
    ("case", "model", "unused"),
    [
        ("smp_unet_r18_scse_2", ResNetUNet(2, "resnet18", attention="scse"), "attention1"),
        pytest.param(
            "smp_unetplusplus_r50_scse_4",
            UNetPlusPlus(4, "resnet50", attention="scse"),
            "attention1",
            marks=pytest.mark.slow,
        ),
        ("pspnet_semseg_r50_21", PSPNet(21, aux_head=False), "aux"),
    ],
)
def test_tensors_that_a_reference_does_not_use_are_written_so_that_it_loads_strictly(
    case: str, model: Any, unused: str
) -> None:
    facts = json.loads((GOLDENS / f"{case}.json").read_text())
    theirs = {
        name: tuple(shape)
        for name, shape in facts["state_dict"]
        if not name.endswith("num_batches_tracked")
    }
    bands = facts["input_shape_nchw"][1]
    variables = ones(model, bands)
    state = exported(model, variables)
    assert {name: tensor.shape for name, tensor in state.items()} == theirs
    zeros = [name for name, tensor in state.items() if not tensor.any()]
    assert zeros
    assert all(unused in name for name in zeros)
    again = merge(model, shapes(model, bands), state)
    jax.tree.map(np.testing.assert_array_equal, again, variables)


def test_the_names_are_those_of_the_reference_that_is_asked_for() -> None:
    model = DeepLabV3(2)
    variables = ones(model)
    torchvision, vainf = (exported(model, variables, reference=r) for r in ("", "vainf"))
    assert {name.replace("classifier.", "classifier.classifier.", 1) for name in torchvision} == (
        vainf.keys()
    )
    assert exported(DeepLabV3(2, output_stride=16), variables).keys() == vainf.keys()
    for state in (torchvision, vainf):
        again = merge(model, shapes(model, 3), state)
        jax.tree.map(np.testing.assert_array_equal, again, variables)
    with pytest.raises(UserError, match="no reference 'mmseg': choose torchvision or vainf or smp"):
        exported(model, variables, reference="mmseg")
    with pytest.raises(UserError, match=r"smp's DeepLabV3 has first_rate='own', align_corners=T"):
        exported(model, variables, reference="smp")


@pytest.mark.parametrize(
    ("model", "lacks"),
    [
        (
            DeepLabV3(2, "resnet18"),
            "torchvision's DeepLabV3 has backbone='resnet50' or 'resnet101'",
        ),
        (DeepLabV3(2, multi_grid=(1, 2, 4)), r"VainF's DeepLabV3 has multi_grid=\(1, 1, 1\)"),
        (DeepLabV3Plus(2, decoder_convs=2), r"VainF's DeepLabV3\+ has decoder_convs=1"),
        (UNet(2, 4, skips=False), "brain-segmentation-pytorch's UNet has skips=True"),
        (LinkNet(2, form="torch7"), "e-lab's LinkNetBase has form='pytorch'"),
        (LinkNet(2, "resnet34"), "e-lab's LinkNet has backbone='resnet18'"),
        (PSPNet(2, "resnet18"), "semseg's PSPNet has backbone='resnet50'"),
        (UNetPlusPlus(2, "resnet18", deep_supervision=True), "has deep_supervision=False"),
        (RefinedPSPNet(2, "resnet18"), "RefinedPSPNet has no reference implementation"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_variant_that_no_reference_has_is_refused_by_name(model: Any, lacks: str) -> None:
    with pytest.raises(UserError, match=lacks):
        exported(model, {})


def test_the_closest_names_are_given_where_that_is_asked_for() -> None:
    model = DeepLabV3(2, "resnet18", features=8)
    variables = ones(model)
    state = exported(model, variables, strict=False)
    assert "classifier.0.convs.0.0.weight" in state
    again = merge(model, shapes(model, 3), state)
    jax.tree.map(np.testing.assert_array_equal, again, variables)
