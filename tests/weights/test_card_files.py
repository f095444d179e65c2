"""Files in the form of those that cards describe load by the name of the card."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from fixtures import published, torch_files
from fixtures.networks import drawn, shapes
from fixtures.published import Tensors
from flax.traverse_util import flatten_dict

from jaxseg.errors import UserError
from jaxseg.models import DeepLabV3, LinkNet, PrithviUNet, ResNetUNet
from jaxseg.weights import card as cards
from jaxseg.weights import exported, pretrained
from jaxseg.weights.families import names_of
from jaxseg.weights.pretrained import Pretrained
from jaxseg.weights.tables.prithvi import PRITHVI_ENCODER


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generated files have checksums of their own, which cards are given here."""
    plain = cards.card

    def card(name: str) -> cards.Card:
        return dataclasses.replace(plain(name), sha256=DIGESTS.get(name, plain(name).sha256))

    monkeypatch.setattr(pretrained, "card", card)
    DIGESTS.clear()


DIGESTS: dict[str, str] = {}


def saved(name: str, content: Any, folder: Path) -> Pretrained:
    """The file as torch.save writes it, named as the card's."""
    file = torch_files.save(content, folder / cards.card(name).file)
    DIGESTS[name] = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    return Pretrained(str(file), name=name)


def kernel(tensor: np.ndarray) -> np.ndarray:
    return tensor.transpose(2, 3, 1, 0)


def backbone_is(found: Any, state: Tensors) -> None:
    """The first, a middle and the last tensor of the encoder are where they belong."""
    params, stats = found["params"]["backbone"], found["batch_stats"]["backbone"]
    second = params["layer2_0"]
    np.testing.assert_array_equal(
        second["project"]["kernel"], kernel(state["layer2.0.downsample.0.weight"])
    )
    np.testing.assert_array_equal(second["norm2"]["scale"], state["layer2.0.bn2.weight"])
    last = max(name for name in state if name.startswith("layer4") and ".conv" in name)
    _, block, conv, _ = last.split(".")
    np.testing.assert_array_equal(params[f"layer4_{block}"][conv]["kernel"], kernel(state[last]))
    np.testing.assert_array_equal(
        stats[f"layer4_{block}"]["norm1"]["var"], state[f"layer4.{block}.bn1.running_var"]
    )


@pytest.mark.parametrize(
    ("name", "model", "classes"),
    [
        ("ssl4eo-s12-resnet18-s2-moco", ResNetUNet(4, "resnet18"), 0),
        ("ssl4eo-l-resnet18-etm-toa-simclr", ResNetUNet(4, "resnet18"), 0),
        ("ssl4eo-s12-resnet50-s1-moco", DeepLabV3(4), 1000),
        ("satlas-resnet50-s2-ms-mi", DeepLabV3(4), 0),
        ("imagenet-torchvision-resnet18", LinkNet(4, backbone="resnet18"), 1000),
        ("imagenet-timm-resnet34-a1", LinkNet(4, backbone="resnet34"), 1000),
    ],
)
def test_a_resnet_becomes_the_encoder_with_the_bands_of_the_data(
    tmp_path: Path, name: str, model: Any, classes: int
) -> None:
    card = cards.card(name)
    state = published.resnet(card.backbone, len(card.bands), classes)
    weights = saved(name, state, tmp_path)
    bands = card.bands[::-1]
    found = weights.into(model, shapes(model, len(bands)), bands)
    first = kernel(state["conv1.weight"])[:, :, ::-1]
    np.testing.assert_array_equal(found["params"]["backbone"]["conv1"]["kernel"], first)
    backbone_is(found, state)


def test_satlas_own_files_hold_the_encoder_beside_a_pyramid(tmp_path: Path) -> None:
    name, model = "satlas-resnet50-s2-rgb-si", DeepLabV3(4)
    state = published.resnet("resnet50", 3)
    beside = {
        "intermediates.0.fpn.inner_blocks.0.0.weight": np.ones((128, 256, 1, 1), np.float32),
        "heads.0.layers.0.0.weight": np.ones((128, 128, 3, 3), np.float32),
    }
    weights = saved(name, published.behind("backbone.resnet.", state) | beside, tmp_path)
    found = weights.into(model, shapes(model, 4), ("B", "G", "R", "NIR"), (490, 560, 665, 842))
    backbone_is(found, state)


def test_a_network_for_fields_comes_out_of_a_checkpoint_of_lightning(tmp_path: Path) -> None:
    name, model = "ftw-prue-b3-ccby", ResNetUNet(3, "efficientnet-b3")
    trained = drawn(shapes(model, 8))
    state = published.behind("model.", exported(model, trained))
    state["criterion.class_weights"] = np.array([0.05, 0.2, 0.75], np.float32)
    content = {
        "epoch": 99,
        "state_dict": state,
        "hyper_parameters": {"model": "unet", "backbone": "efficientnet-b3", "num_filters": 64},
    }
    weights = saved(name, content, tmp_path)
    assert weights.read_part == "all"
    found = weights.into(model, shapes(model, 8), cards.card(name).bands)
    jax.tree.map(np.testing.assert_array_equal, found["params"], trained["params"])
    with pytest.raises(UserError, match="needs the same bands"):
        weights.into(model, shapes(model, 3), ("R", "G", "B"))


def test_prithvis_encoder_comes_out_of_its_autoencoder(tmp_path: Path) -> None:
    name, model = "prithvi-eo-v2-tiny-tl", PrithviUNet(3)
    trained = drawn(shapes(model, 6))
    whole = exported(model, trained)
    inner = [
        n for n in names_of(flatten_dict(shapes(model, 6)), PRITHVI_ENCODER.encoder).values() if n
    ]
    state = {f"encoder.{n}": whole[f"encoder.{n}"] for n in inner}
    state |= {"decoder.mask_token": np.zeros((1, 1, 512), np.float32)}
    weights = saved(name, state, tmp_path)
    bands = ("swir 2", "swir 1", "nir", "red", "green", "blue")
    found = weights.into(model, shapes(model, 6), bands)["params"]["backbone"]
    expected = trained["params"]["backbone"]
    np.testing.assert_array_equal(
        found["block11"]["qkv"]["kernel"], expected["block11"]["qkv"]["kernel"]
    )
    first = np.asarray(expected["patch_embed"]["kernel"])[:, :, ::-1]
    np.testing.assert_array_equal(found["patch_embed"]["kernel"], first)


def test_what_a_card_states_is_not_given_twice(tmp_path: Path) -> None:
    model = ResNetUNet(4, "resnet18")
    double = Pretrained(name="imagenet-torchvision-resnet18", trained_bands=("R", "G", "B"))
    with pytest.raises(UserError, match=r"leave --config.pretrained.trained-bands"):
        double.into(model, shapes(model, 3), ("R", "G", "B"))
    assert not Pretrained().given
    assert Pretrained(name="imagenet-torchvision-resnet18").given
    assert Pretrained(name="ukis-csmask-4b-l1c").told == "ukis-csmask-4b-l1c (all)"


def test_centres_that_the_config_gives_match_bands_without_names(tmp_path: Path) -> None:
    name, model = "imagenet-torchvision-resnet18", ResNetUNet(4, "resnet18")
    state = published.resnet("resnet18", 3)
    plain = saved(name, state, tmp_path)
    with pytest.raises(UserError, match="none of the data's bands"):
        plain.into(model, shapes(model, 2), ("band1", "band2"))
    near = dataclasses.replace(plain, wavelengths=(665.0, 560.0))
    found = near.into(model, shapes(model, 2), ("band1", "band2"))["params"]["backbone"]
    first = kernel(state["conv1.weight"])
    expected = first[:, :, :2] + first[:, :, 2:] / 2  # no band is near blue: it is shared
    np.testing.assert_allclose(found["conv1"]["kernel"], expected, atol=1e-6)
