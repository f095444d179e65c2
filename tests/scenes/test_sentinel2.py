"""Which Sentinel-2 product a file is, by its tags and its names, each alone and against another."""

import pytest

from jaxseg.scenes.sentinel2 import baseline, is_spectral


def product(number: str, satellite: str = "A", level: str = "2A") -> str:
    """The name of a product of processing baseline `number`, such as 0509."""
    when = "20230704T101031"
    return f"S2{satellite}_MSIL{level}_{when}_N{number}_R022_T33UVR_{when}.SAFE"


@pytest.mark.parametrize("tag", ["PRODUCT_URI", "PRODUCT_URI_1C"])
def test_each_tag_that_names_the_product_tells_its_baseline(tag: str) -> None:
    assert baseline("tile.tif", {tag: product("0509")}) == 5.09
    assert baseline("tile.tif", {tag: product("0301", level="1C")}) == 3.01


@pytest.mark.parametrize("path", ["{}", "/data/{}/GRANULE/tile.jp2", "{}.tif"])
def test_so_does_a_name_anywhere_in_the_path(path: str) -> None:
    assert baseline(path.format(product("0400")), {}) == 4.0


def test_a_tag_counts_more_than_the_path_and_the_files_own_product_more_than_its_origin() -> None:
    old, new = product("0301"), product("0509")
    assert baseline(new, {"PRODUCT_URI": old}) == 3.01
    assert baseline(new, {"PRODUCT_URI_1C": old}) == 3.01
    assert baseline("tile.tif", {"PRODUCT_URI_1C": old, "PRODUCT_URI": new}) == 5.09
    assert baseline(new, {"PRODUCT_URI": "not known"}) == 5.09


def test_the_baselines_own_tag_tells_it_where_no_product_is_named() -> None:
    assert baseline("tile.tif", {"PROCESSING_BASELINE": "05.11"}) == 5.11
    assert baseline(product("0301"), {"PROCESSING_BASELINE": "05.11"}) == 3.01


@pytest.mark.parametrize("told", ["5.11", "05.1", "05.111", "05-11", "new", "", " 05.11"])
def test_a_tag_that_is_no_baseline_tells_nothing(told: str) -> None:
    assert baseline("tile.tif", {"PROCESSING_BASELINE": told}) is None


@pytest.mark.parametrize("satellite", "ABCD")
@pytest.mark.parametrize("level", ["1C", "2A"])
def test_all_satellites_and_both_levels_are_known(satellite: str, level: str) -> None:
    assert baseline(product("0510", satellite, level), {}) == 5.10


@pytest.mark.parametrize(
    "name",
    [
        "tile.tif",
        "B04_N0509_R022.tif",
        product("0509", "E"),
        product("0509", level="1B"),
        product("509"),
        product("0509").replace("20230704T", "2023T"),
        "S3A_OL_1_EFR_20230704T101031_N0509_R022",
    ],
)
def test_other_names_tell_nothing(name: str) -> None:
    assert baseline(name, {}) is None


def test_bands_that_measure_no_reflectance_are_known_by_how_their_names_begin() -> None:
    for band in ("SCL", "scl_20m", "AOT", "WVP", "CLD", "SNW", "QA60", "MSK_CLDPRB", "TCI_R"):
        assert not is_spectral(band), band
    for band in ("B04", "b8a", "B01", "red", "NIR", "band1", "my SCL"):
        assert is_spectral(band), band
