"""Cards are complete, and say of their files what their addresses say."""

import dataclasses
import re
from pathlib import Path
from typing import get_args

import pytest

from jaxseg.errors import UserError
from jaxseg.models.parts.encoders import Encoder
from jaxseg.models.parts.vit import SIZES
from jaxseg.weights import card as cards

PLAIN = (cards.FOLDER / "ssl4eo-l-resnet18-tm-toa-moco.toml").read_text()

FAMILIES = {
    "ssl4eo-s12-": 10,
    "ssl4eo-l-": 20,
    "satlas-": 4,
    "ukis-csmask-": 4,
    "ftw-": 10,
    "imagenet-torchvision-": 6,
    "imagenet-timm-": 4,
    "prithvi-": 4,
}


@pytest.mark.parametrize("name", cards.names())
def test_a_card_agrees_with_its_address(name: str) -> None:
    card = cards.card(name)
    if found := re.search(r"-([0-9a-f]{8})\.pth$", card.file):
        assert card.sha256 == found[1]  # publishers put the first digits into the name
    if "/resolve/" in card.address or "/download/" in card.address:
        assert re.search(rf"/(resolve|download)/{re.escape(card.revision)}/", card.address)
    assert card.backbone in (*get_args(Encoder), *SIZES)
    assert re.search(r"arXiv:\d{4}\.\d{5}|doi:", card.citation)


def test_every_family_has_its_cards() -> None:
    for family, count in FAMILIES.items():
        assert sum(name.startswith(family) for name in cards.names()) == count, family
    assert len(cards.names()) == sum(FAMILIES.values())


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('licence = "CC0-1.0"\n', "", "missing or unknown: licence"),
        ('licence = "CC0-1.0"', 'license = "CC0-1.0"', "licence, license"),
        ('licence = "CC0-1.0"', "licence = 1", "licence = 1 is not of the type"),
        ('licence = "CC0-1.0"', 'licence = ""', "empty are licence"),
        ("485.0, ", "485, ", "wavelengths ="),
        ("485.0, ", "", "7 bands, 7 means, 7 deviations"),
        ('unit = "reflectance"', 'unit = "furlong"', "unit = 'furlong'"),
        ('part = "encoder"', 'part = "all"', "has `network` and `classes`"),
        ('sha256 = "1c691b4f"', 'sha256 = "1C69"', "sha256 is not empty"),
        ("https://", "http://", "begins neither with https://"),
        ("0.4]", "0.0]", "not positive"),
        ('unlike = ["B6"]', 'unlike = ["B10"]', "not one of its bands"),
        ('moco"\ntitle', 'simclr"\ntitle', "its name is ssl4eo-l-resnet18-tm-toa-simclr"),
        ("title =", "title", "is not a card"),
    ],
)
def test_a_wrong_card_is_refused(tmp_path: Path, before: str, after: str, said: str) -> None:
    assert before in PLAIN
    file = tmp_path / "ssl4eo-l-resnet18-tm-toa-moco.toml"
    file.write_text(PLAIN.replace(before, after, 1))
    with pytest.raises(UserError, match=re.escape(said)):
        cards.read(file)


def test_a_wrong_name_brings_similar_ones() -> None:
    with pytest.raises(UserError, match=r"Perhaps .*imagenet-torchvision-resnet50"):
        cards.card("imagenet-torchvision-resnet5")


def test_a_card_without_optional_fields_is_an_encoder() -> None:
    card = cards.card("imagenet-torchvision-resnet18")
    assert dataclasses.replace(card, network="", classes=(), unlike=(), note="") == card
