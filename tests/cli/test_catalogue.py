"""What the catalogue says of a network is what one can work out by hand."""

import functools

import pytest

from jaxseg.cli import catalogue
from jaxseg.cli import main as cli
from jaxseg.cli.catalogue import Card
from jaxseg.errors import UserError
from jaxseg.models import structure
from jaxseg.models.deeplab import DeepLabV3
from jaxseg.models.refined_pspnet import RefinedPSPNet
from jaxseg.models.two_networks import TwoNetworks
from jaxseg.models.unet import UNet
from jaxseg.system.console import make_console


def test_a_paper_is_the_first_citation() -> None:
    assert catalogue._paper(TwoNetworks) == "Hoffman 2016"
    assert catalogue._paper(DeepLabV3) == "Chen 2017 arXiv:1706.05587"


PAPERS = {
    "AttentionUNet": "Oktay 2018 arXiv:1804.03999",
    "CHWSUNet": "Yu 2024",
    "ComplexUNet": "Trabelsi 2018 arXiv:1705.09792",
    "DeepLabV3": "Chen 2017 arXiv:1706.05587",
    "DeepLabV3Plus": "Chen 2018 arXiv:1802.02611",
    "DomainPrompted": "Fang 2024 arXiv:2312.12478",
    "GridAttentionUNet": "Oktay 2018 arXiv:1804.03999",
    "LecturePSPNet": "Zhao 2017 arXiv:1612.01105",
    "LinkNet": "Chaurasia 2017 arXiv:1707.03718",
    "MultiscaleSAR": "Duan 2018",
    "OriginalUNet": "Ronneberger 2015 arXiv:1505.04597",
    "PSPNet": "Zhao 2017 arXiv:1612.01105",
    "PrithviLinear": "Szwarcman 2024 arXiv:2412.02732",
    "PrithviUNet": "Szwarcman 2024 arXiv:2412.02732",
    "ReSCNet": "Fu 2024",
    "RefinedPSPNet": "Zhang 2022",
    "ResNetUNet": "Ronneberger 2015 arXiv:1505.04597",
    "TwoNetworks": "Hoffman 2016",
    "UNet": "Ronneberger 2015 arXiv:1505.04597",
    "UNet3Plus": "Huang 2020 arXiv:2004.08790",
    "UNetPlusPlus": "Zhou 2018 arXiv:1807.10165",
}


def test_every_network_and_nothing_else_is_listed_by_its_name_with_its_paper() -> None:
    found = catalogue.networks()
    assert list(found) == sorted(PAPERS)
    assert {name: kind.__name__ for name, kind in found.items()} == {n: n for n in PAPERS}
    assert {name: catalogue._paper(kind) for name, kind in found.items()} == PAPERS


class Sourced:
    """A class.

    Source: Nobody, Anybody, A Title of 1999
    words, Somewhere 2001, doi:10.1/2024.77, arXiv:0102.03456; checked. More.

    Not this of 2030.
    """


class Unsourced:
    """A class without, in a file without."""


def test_a_citation_ends_where_its_first_part_ends() -> None:
    assert catalogue._source(Sourced).startswith("Nobody, Anybody, A Title of 1999 words, Some")  # type: ignore[arg-type]
    assert catalogue._source(Sourced).endswith("arXiv:0102.03456")  # type: ignore[arg-type]
    assert catalogue._paper(Sourced) == "Nobody 1999 arXiv:0102.03456"  # type: ignore[arg-type]
    assert catalogue._source(Unsourced) == ""  # type: ignore[arg-type]
    assert catalogue._paper(Unsourced) == "-"  # type: ignore[arg-type]


def test_a_line_says_size_work_stride_sight_paper_and_config(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cards = {
        "One": Card("One", 1_234_567, 7.66e9, 16, 204, "Somebody 2015 arXiv:1505.04597", "one"),
        "Two": Card("Two", 50_000, 1e8, 8, None, "-", "-"),
    }
    asked = []

    def card(kind: str, *, bands: int, classes: int, size: int) -> Card:
        asked.append((bands, classes, size))
        return cards[kind]

    monkeypatch.setattr(catalogue, "networks", lambda: {name: name for name in cards})
    monkeypatch.setattr(catalogue, "card", card)
    catalogue.print_catalogue(make_console(), bands=4, classes=5, size=128)
    said = capsys.readouterr().out
    lines = {line.split()[0]: line.split()[1:] for line in said.splitlines() if line.split()}
    assert lines["One"] == ["1.2M", "7.7", "16", "204", "Somebody", "2015", "1505.04597", "one"]
    assert lines["Two"] == ["0.1M", "0.1", "8", "global", "-", "-"]
    assert asked == [(4, 5, 128)] * 2
    assert "4 bands, 5 classes" in said
    assert "128 x 128" in said


def test_a_network_may_be_called_by_its_signs(capsys: pytest.CaptureFixture[str]) -> None:
    assert catalogue.network("unet++").__name__ == "UNetPlusPlus"
    assert catalogue.network("U-Net 3Plus").__name__ == "UNet3Plus"
    assert catalogue.network("TWO_NETWORKS").__name__ == "TwoNetworks"
    catalogue.print_layers(make_console(), "unet", bands=3, classes=1, size=32)
    said = capsys.readouterr().out
    assert "UNet on an image of 32 x 32 x 3, 1 classes" in said
    (line,) = [line for line in said.splitlines() if "bottleneck" in line]
    assert line.split() == ["bottleneck", "DoubleConv", "2", "x", "2", "x", "512"]
    conv = next(line.split() for line in said.splitlines() if line.split()[:1] == ["conv1"])
    assert conv == ["conv1", "Conv", "32", "x", "32", "x", "32", "864"]


def test_a_config_on_the_embedded_dataset_stands_for_the_network() -> None:
    assert catalogue._configs()[RefinedPSPNet] == "refined_pspnet"
    assert catalogue._configs()[DeepLabV3] == "deeplab"


def test_strides_are_those_of_the_coarsest_features() -> None:
    assert structure.output_stride(UNet(2)) == 16
    assert structure.output_stride(DeepLabV3(2)) == 8
    assert structure.output_stride(DeepLabV3(2, output_stride=16)) == 16


def test_the_work_of_a_unet_is_that_of_its_multiplications() -> None:
    model = functools.partial(catalogue.card, UNet, bands=3, classes=1)
    small, large = model(size=64), model(size=128)
    assert small.parameters == 7_763_041
    assert small.paper == "Ronneberger 2015 arXiv:1505.04597"
    assert small.config == "unet"
    assert large.flop == pytest.approx(4 * small.flop, rel=0.05)
    pixels = 128 * 128
    products = 2 * pixels * 9 * 32 * 32 * 4  # the 3x3 from 32 to 32: at full size, twice
    assert large.flop > products


def test_layers_say_path_shape_and_own_parameters() -> None:
    rows = structure.layers(UNet(2, features=4), bands=3, size=32)
    assert rows[0] == ("", "UNet", (1, 32, 32, 2), 0)
    assert ("encoder2", "DoubleConv", (1, 16, 16, 8), 0) in rows
    assert ("encoder2/conv1", "Conv", (1, 16, 16, 8), 9 * 4 * 8) in rows
    whole = structure.layers(UNet(1), bands=3, size=32)
    assert sum(count for *_, count in whole) == 7_763_041


def test_a_network_is_found_by_any_spelling_of_its_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert catalogue.network("deeplabv3") is catalogue.network("DeepLab-V3") is DeepLabV3
    with pytest.raises(UserError, match=r"No network resnet; there are .*UNet"):
        catalogue.network("resnet")
    cli.main(["models", "unet", "--size", "64", "--classes", "3"])
    said = capsys.readouterr().out
    assert "7,763,107 parameters" in said
    assert "arXiv:1505.04597" in said
    assert max(map(len, said.splitlines())) <= 100
