"""An encoder is taken out of any file that holds one; other networks are recognised."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.networks import shapes
from fixtures.unet_weights import lists

from jaxseg.errors import UserError
from jaxseg.models.deeplab import DeepLabV3
from jaxseg.models.deeplab_plus import DeepLabV3Plus
from jaxseg.models.linknet import LinkNet
from jaxseg.models.parts.resnet import ResNet
from jaxseg.models.pspnet import LecturePSPNet, PSPNet
from jaxseg.models.refined_pspnet import RefinedPSPNet
from jaxseg.models.resnet_unet import ResNetUNet
from jaxseg.models.unet_plus_plus import UNetPlusPlus
from jaxseg.weights import pretrained

__all__ = ["lists"]  # a fixture


def test_a_classification_resnet_becomes_deeplabs_encoder(golden: Callable[[str], Any]) -> None:
    reference = golden("deeplabv3_tv_r50_21_aux").state
    prefix = "backbone."
    resnet = {k.removeprefix(prefix): v for k, v in reference.items() if k.startswith(prefix)}
    resnet |= {"fc.weight": np.zeros((1000, 2048), "f"), "fc.bias": np.zeros(1000, "f")}
    alone = pretrained.load(ResNet("resnet50"), resnet)
    model = DeepLabV3(4)
    image = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    shapes = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)
    from_resnet = pretrained.merge(model, shapes, resnet, part="encoder")
    from_deeplab = pretrained.merge(model, shapes, reference, part="encoder")
    for kind in ("params", "batch_stats"):
        jax.tree.map(np.testing.assert_array_equal, alone[kind], from_resnet[kind]["backbone"])
        jax.tree.map(np.testing.assert_array_equal, alone[kind], from_deeplab[kind]["backbone"])
    assert isinstance(from_deeplab["params"]["head"]["kernel"], jax.ShapeDtypeStruct)
    with pytest.raises(UserError, match="holds only an encoder"):
        pretrained.load(model, resnet)


def filled(variables: Any) -> Any:
    """Variables of which every leaf has a number of its own, which costs no random numbers."""
    leaves, tree = jax.tree.flatten(variables)
    values = [np.full(leaf.shape, number / 64, np.float32) for number, leaf in enumerate(leaves)]
    return jax.tree.unflatten(tree, values)


@functools.cache
def written(model: Any, reference: str = "") -> dict[str, np.ndarray]:
    """The state dict of a network filled so."""
    return pretrained.exported(model, filled(shapes(model, 3)), reference=reference)


def resnet18(names: str = "{}") -> dict[str, np.ndarray]:
    """A classification ResNet-18, each name as the pattern has it."""
    classifier = {"fc.weight": np.zeros((10, 512), "f"), "fc.bias": np.zeros(10, "f")}
    state = written(ResNet("resnet18")) | classifier
    return {names.format(name): tensor for name, tensor in state.items()}


NARROW = ResNetUNet(2, "resnet18", (8, 8, 8, 8, 8))

WITH_A_RESNET = [
    ResNetUNet(3, "resnet18", (8, 8, 8, 8, 8)),
    UNetPlusPlus(3, "resnet18", (8, 8, 8, 8, 8)),
    LinkNet(3),
    LecturePSPNet(3),
    RefinedPSPNet(3, "resnet18", features=16),
    DeepLabV3(3, "resnet18", features=16),
    DeepLabV3Plus(3, "resnet18", features=16),
]


@pytest.mark.parametrize("model", WITH_A_RESNET, ids=lambda model: type(model).__name__)
def test_an_encoder_is_taken_out_of_any_file_that_holds_one(
    model: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = {"module.queue": np.zeros((8, 2), "f"), "module.queue_ptr": np.zeros(1, int)}
    moco = resnet18("module.encoder_q.{}") | queue
    moco |= {name.replace("_q", "_k"): v + 1 for name, v in moco.items() if "encoder" in name}
    fpn = resnet18("model.backbone.body.{}") | {"model.backbone.fpn.0.weight": np.zeros(3, "f")}
    ours = shapes(model, 3)
    for state in (resnet18(), moco, fpn):
        found = pretrained.merge(model, ours, state, part="encoder")
        kernel = found["params"]["backbone"]["layer4_1"]["conv2"]["kernel"]
        expected = resnet18()["layer4.1.conv2.weight"].transpose(2, 3, 1, 0)
        np.testing.assert_array_equal(kernel, expected)
        assert isinstance(found["params"]["head"]["kernel"], jax.ShapeDtypeStruct)
    said = capsys.readouterr().out
    assert "the network is module.encoder_q.*; not used: module.queue, module.queue_ptr" in said
    assert "module.encoder_k.* would fit, too" in said
    assert "not used: model.backbone.fpn.0.weight." in said
    for source, reference in (
        (NARROW, "smp"),
        (LinkNet(2), "linknet-base"),
        (LinkNet(2), "linknet"),
    ):
        state = {f"model.{name}": tensor for name, tensor in written(source, reference).items()}
        found = pretrained.merge(model, ours, state, part="encoder")
        theirs = filled(shapes(source, 3))
        for kind in ("params", "batch_stats"):
            jax.tree.map(
                np.testing.assert_array_equal, found[kind]["backbone"], theirs[kind]["backbone"]
            )


def test_a_file_of_another_network_is_recognised_and_the_remedy_stated() -> None:
    def said(model: Any, state: Any, part: Any = "all") -> str:
        with pytest.raises(UserError) as error:
            pretrained.merge(model, shapes(model, 3), state, part=part)
        return str(error.value)

    unet, state = NARROW, written(NARROW)
    encoder = 'use `part="encoder"` (--config.pretrained.part encoder)'
    text = said(DeepLabV3(2, "resnet18", features=16), state)
    assert text.startswith(
        f"These look like the weights of smp's Unet on resnet18: choose ResNetUNet, or {encoder}.\n"
    )
    text = said(ResNetUNet(2, "resnet34", (8, 8, 8, 8, 8)), state, "encoder")
    assert "smp's Unet on resnet18: choose that backbone instead of resnet34." in text
    text = said(DeepLabV3(2, "resnet34", features=16), state, "encoder")
    assert "smp's Unet on resnet18: choose that backbone instead of resnet34." in text
    odd = {n.replace("decoder", "middle"): v for n, v in state.items()}
    assert "These weights hold a resnet18 and other parts" in said(unet, odd)
    assert "PSPNet's deep stem" in said(PSPNet(2, "resnet18"), resnet18(), "encoder")
    attention = ResNetUNet(2, "resnet18", (8, 8, 8, 8, 8), attention="scse")
    assert 'Choose attention="scse" if its decoder has' in said(attention, state)
    torch7 = LinkNet(2, form="torch7")
    assert 'Choose form="torch7" if its decoders have biases' in said(torch7, written(LinkNet(2)))
    assert "holds only an encoder, resnet18, but" in said(unet, resnet18())
    refined = RefinedPSPNet(2, "resnet18", features=16)
    assert "No reference implementation of RefinedPSPNet is known" in said(refined, resnet18())


@pytest.mark.parametrize(
    ("case", "model", "said"),
    [
        (
            DeepLabV3(2, "resnet18", features=16, first_rate="own", align_corners=True),
            DeepLabV3(2, "resnet18", features=16),
            "smp's DeepLabV3, which has first_rate='own', align_corners=True; this network has "
            "first_rate='before', align_corners=False.",
        ),
        (
            DeepLabV3(2),
            DeepLabV3(2, output_stride=16, multi_grid=(1, 2, 4)),
            "torchvision's DeepLabV3, which has output_stride=8, multi_grid=(1, 1, 1); this",
        ),
        (DeepLabV3Plus(2), DeepLabV3Plus(2), "VainF's DeepLabV3+. Its output stride, 8 or 16"),
        (
            DeepLabV3Plus(2),
            DeepLabV3Plus(2, first_rate="own", align_corners=True, low_first=False),
            "which has first_rate='before', align_corners=False, low_first=True; this network",
        ),
        (PSPNet(2), PSPNet(2), "code with the same names that does not align them"),
        (LecturePSPNet(2), LecturePSPNet(2), "before PyTorch 0.4, its code aligned corners"),
        (LinkNet(2), LinkNet(2), ""),
    ],
    ids=["smp", "torchvision", "vainf", "form", "semseg", "lextal", "linknet"],
)
def test_weights_do_not_silently_load_into_another_form(
    case: Any, model: Any, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrained.merge(model, shapes(model, 3), written(case))
    assert said in " ".join(capsys.readouterr().out.split())
