"""Kernels follow the bands of the data; networks and bands that do not fit are refused."""

import dataclasses

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.models import DeepLabV3, ResNetUNet, UNet
from jaxseg.weights import card as cards
from jaxseg.weights import card_fit

S2 = cards.card("ssl4eo-s12-resnet18-s2-moco")
RGB = cards.card("imagenet-torchvision-resnet18")
SAR = cards.card("ssl4eo-s12-resnet50-s1-moco")
CLOUDS = cards.card("ukis-csmask-4b-l1c")
FIELDS = cards.card("ftw-prue-b3-ccby")
ETM = cards.card("ssl4eo-l-resnet18-etm-toa-moco")


def test_the_same_bands_are_taken_in_the_order_of_the_data() -> None:
    names = [f"b{name[1:].lower().rjust(2, '0')}" for name in S2.bands][::-1]
    np.testing.assert_array_equal(card_fit.shares(S2, names, (), "encoder"), np.eye(13)[::-1])
    order = [2, 0, 3, 1]
    waves = [(492.4, 559.8, 664.6, 832.8)[place] for place in order]  # those of Sentinel-2A
    found = card_fit.shares(CLOUDS, ["one", "two", "three", "four"], waves, "all")
    np.testing.assert_array_equal(found, np.eye(4)[order])


def test_centres_go_before_names() -> None:
    landsat = cards.card("ssl4eo-l-resnet18-tm-toa-moco")  # its B4 is near infrared
    assert card_fit.partners(landsat, ["B3", "B4"], (560, 665)) == [1, 2]
    assert card_fit.partners(landsat, ["B3", "B4"], ()) == [2, 3]
    assert card_fit.partners(landsat, ["B3", "B4"], (560, 0)) == [2, 3]


def test_one_band_has_one_partner() -> None:
    assert card_fit.partners(S2, ["a", "b", "c"], (842, 850, 900)) == [7, None, None]
    assert card_fit.partners(RGB, ["red", "Red", "B"], ()) == [None, None, 2]


def test_trained_bands_of_one_centre_are_told_apart_by_their_names() -> None:
    assert card_fit.partners(ETM, list(ETM.bands), ETM.wavelengths) == list(range(9))
    assert card_fit.partners(FIELDS, list(FIELDS.bands), FIELDS.wavelengths) == list(range(8))
    with pytest.raises(UserError, match="The whole network needs the same bands"):
        card_fit.shares(FIELDS, ["B4", "B3", "B2", "B8"] * 2, FIELDS.wavelengths, "all")


def test_a_whole_network_needs_all_bands_and_an_encoder_shares_them() -> None:
    bands, waves = ["blue", "green", "red"], (490.0, 560.0, 665.0)
    with pytest.raises(UserError, match="any order"):
        card_fit.shares(CLOUDS, bands, waves, "all")
    found = card_fit.shares(CLOUDS, bands, waves, "encoder")
    assert found.shape == (3, 4)
    np.testing.assert_allclose(found.sum(0), 1)
    np.testing.assert_allclose(found[:, :3], np.eye(3))
    named = card_fit.shares(RGB, ["R", "G", "B", "NIR"], (), "encoder")
    np.testing.assert_array_equal(named, np.eye(4)[:, :3])


def test_data_without_any_trained_band_are_refused() -> None:
    for card, bands in ((S2, ["VV", "VH"]), (SAR, ["R", "G", "B"]), (RGB, ["band1", "band2"])):
        with pytest.raises(UserError, match="none of the data's bands") as error:
            card_fit.shares(card, bands, (), "encoder")
        assert "band-names" in str(error.value)
    with pytest.raises(UserError, match=r"wavelengths has 2 entries for 3 band\(s\)"):
        card_fit.shares(RGB, ["R", "G", "B"], (490, 560), "encoder")


def test_another_network_is_refused_before_anything_is_fetched() -> None:
    with pytest.raises(UserError, match=r"encoder resnet18; this DeepLabV3 has resnet50\. Use "):
        card_fit.refuse_network(S2, DeepLabV3(3), "encoder")
    with pytest.raises(UserError, match="UNet has none that can be chosen"):
        card_fit.refuse_network(S2, UNet(3), "encoder")
    clouds = ResNetUNet(5, "efficientnet-b4")
    with pytest.raises(UserError, match=r"3 classes \(clear, cloud, shadow\).*with 5"):
        card_fit.refuse_network(CLOUDS, clouds, "all")
    card_fit.refuse_network(CLOUDS, clouds, "encoder")
    card_fit.refuse_network(CLOUDS, dataclasses.replace(clouds, num_classes=3), "all")
