"""What the catalogue says of a network is what one can work out by hand."""

import functools

import pytest

from jaxseg.cli import catalogue
from jaxseg.cli import main as cli
from jaxseg.errors import UserError
from jaxseg.models.deeplab import DeepLabV3
from jaxseg.models.refined_pspnet import RefinedPSPNet
from jaxseg.models.two_networks import TwoNetworks
from jaxseg.models.unet import UNet


def test_a_paper_is_the_first_citation() -> None:
    assert catalogue._paper(TwoNetworks) == "Hoffman 2016"
    assert catalogue._paper(DeepLabV3) == "Chen 2017 arXiv:1706.05587"


def test_a_config_on_the_embedded_dataset_stands_for_the_network() -> None:
    assert catalogue._configs()[RefinedPSPNet] == "refined_pspnet"
    assert catalogue._configs()[DeepLabV3] == "deeplab"


def test_strides_are_those_of_the_coarsest_features() -> None:
    assert catalogue.output_stride(UNet(2)) == 16
    assert catalogue.output_stride(DeepLabV3(2)) == 8
    assert catalogue.output_stride(DeepLabV3(2, output_stride=16)) == 16


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
    rows = catalogue.layers(UNet(2, features=4), bands=3, size=32)
    assert rows[0] == ("", "UNet", (1, 32, 32, 2), 0)
    assert ("encoder2", "DoubleConv", (1, 16, 16, 8), 0) in rows
    assert ("encoder2/conv1", "Conv", (1, 16, 16, 8), 9 * 4 * 8) in rows
    whole = catalogue.layers(UNet(1), bands=3, size=32)
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
