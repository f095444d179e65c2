"""What is said of data before they are trained, and what is not said of honest data."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp

from jaxseg.datasets.folder.source import Folder
from jaxseg.pipeline import survey as surveys

RANDOM = np.random.default_rng(0)


def noise(bands: int = 3, low: int = 1, high: int = 200, dtype: str = "uint8") -> Any:
    """Twelve scenes of noise, and masks of two classes."""
    images = RANDOM.integers(low, high, (12, bands, 24, 24)).astype(dtype)
    return images, RANDOM.integers(0, 2, (12, 24, 24)).astype(np.uint8)


def source(path: Path, images: Any, masks: Any, **more: Any) -> Folder:
    tags = more.pop("tags", {})
    for kind, arrays in (("images", images), ("masks", masks[:, None])):
        (path / kind).mkdir()
        for number, array in enumerate(arrays):
            profile = {"driver": "GTiff", "height": 24, "width": 24, "dtype": array.dtype}
            own = tags if kind == "images" else {}
            file = path / kind / f"s{number:02}.tif"
            with rasterio.open(file, "w", count=len(array), **profile, **own) as out:
                out.write(array)
                if kind == "images" and len(array) == 4:
                    out.colorinterp = (*out.colorinterp[:3], ColorInterp.alpha)
    return Folder(
        images=str(path / "images"),
        masks=str(path / "masks"),
        classes=("a", "b"),
        fractions=(0.5, 0.25, 0.25),
        **more,
    )


def said(source: Folder) -> str:
    parts = [surveys.survey(source, split) for split in ("train", "validation", "test")]
    known = [part for part in parts if part is not None]
    return "\n".join(surveys.findings(known, source))


def test_of_plain_data_nothing_is_said(tmp_path: Path) -> None:
    assert said(source(tmp_path, *noise())) == ""


def test_scenes_without_data_are_named(tmp_path: Path) -> None:
    images, masks = noise()
    images[1] = 0
    images[2, :, 1:] = 0
    seen = said(source(tmp_path, images, masks, nodata=0))
    assert seen == f"1 of 6 train scene(s) have no data at all, such as {tmp_path}/images/s01.tif."


def test_a_survey_holds_what_is_there(tmp_path: Path) -> None:
    images, masks = noise()
    masks[:6, :12] = 255
    images[:6, :, :, :6] = 0
    found = surveys.survey(source(tmp_path, images, masks, nodata=0, ignore_ids=(255,)), "train")
    assert found is not None
    assert (found.scenes, found.seen, found.whole, found.dtype) == (6, 6, True, "uint8")
    assert found.sizes == ((24, 24), (24, 24))
    assert found.pixels == 6 * 24 * 24
    assert found.invalid == 0.25
    assert found.ignored == 0.5
    kept = masks[:6, 12:, 6:]
    assert found.classes.tolist() == [(kept == 0).sum(), (kept == 1).sum()]
    np.testing.assert_array_equal(found.values[:432], images[0, :, :, 6:].reshape(3, -1).T)
    assert surveys.survey(source_without_test(tmp_path), "test") is None


def source_without_test(path: Path) -> Folder:
    return Folder(
        images=str(path / "images"),
        masks=str(path / "masks"),
        classes=("a", "b"),
        fractions=(0.5, 0.5, 0.0),
    )


def test_classes_that_are_not_trained_are_named_with_the_splits_that_have_them(
    tmp_path: Path,
) -> None:
    images, masks = noise()
    masks[:6] = 0
    masks[6:9] = 0
    assert said(source(tmp_path, images, masks)) == (
        "Class 'b' has no training pixel (but some in test): it cannot be learned."
    )


@pytest.mark.parametrize(
    ("fill", "dtype"),
    [
        (-9999, "int16"),
        (-32768, "int16"),
        (65535, "uint16"),
        (1e20, "float32"),
        (-3.4028235e38, "float32"),
        (-1234.5, "float32"),
    ],
)
def test_fill_values_without_a_tag_are_named_with_their_flag(
    tmp_path: Path, fill: float, dtype: str
) -> None:
    images, masks = noise(low=100, high=4000 if fill != -1234.5 else 400, dtype=dtype)
    images[:, :, :5] = fill
    lines = said(source(tmp_path, images, masks)).splitlines()
    assert len(lines) == 1
    assert f"{fill:.8g} in 21 % of the pixels" in lines[0]
    assert f"--config.data.source.nodata {fill:.8g}." in lines[0]
    (tmp_path / "again").mkdir()
    assert said(source(tmp_path / "again", images, masks, nodata=fill)) == ""


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_fill_value_of_any_split_is_named(tmp_path: Path, split: str) -> None:
    images, masks = noise(low=100, high=4000, dtype="uint16")
    images[slice(6, 9) if split == "validation" else slice(9, 12), :, :5] = 65535
    line = said(source(tmp_path, images, masks))
    assert line.startswith(f"65535 in 21 % of the pixels of the {split} split (band band1)")
    assert "of which the nearest is 399" in line


def test_a_rare_fill_value_is_found_behind_flat_ground_and_in_single_precision(
    tmp_path: Path,
) -> None:
    images, masks = noise(low=100, high=4000, dtype="float32")
    images[:2] = 300  # the first thousand values are one
    images[5, :, :4, :4] = 1e20  # 0.5 % of the training
    images[5, :, 2:4] = 300
    assert said(source(tmp_path, images, masks)).startswith("1e+20 in 0.23 % of the pixels")


@pytest.mark.parametrize("honest", ["saturated", "dark", "mask", "border", "peak", "negative"])
def test_values_that_only_look_like_a_fill_are_not_accused(tmp_path: Path, honest: str) -> None:
    images, masks = noise(low=1, high=255, dtype="int16")
    match honest:
        case "saturated":
            images[:, :, :5] = 255
        case "dark":
            images[:, :, :5] = 0
        case "mask":
            images = 10000 * (images > 100)
        case "border":  # a black border of a scene of reflectance
            images = 300 + 10 * images
            images[:, :, :3] = 0
        case "peak":  # a few bright roofs
            images[:, :, 3, 3] = 3000
        case "negative":  # decibel
            images = -images
    assert said(source(tmp_path, images.astype("int16"), masks)) == ""


def test_opacity_with_many_values_may_be_near_infrared(tmp_path: Path) -> None:
    images, masks = noise(bands=4)
    line = said(source(tmp_path, images, masks))
    assert "s00.tif: band 4 is tagged as opacity and has 18" in line
    assert "--config.data.source.band-numbers 1 2 3 4." in line
    images[:, 3] = 255
    images[:, 3, :4] = 0
    (tmp_path / "opaque").mkdir()
    assert said(source(tmp_path / "opaque", images, masks)) == ""


def test_pixels_hidden_by_the_nodata_value_of_one_band_are_said(tmp_path: Path) -> None:
    images, masks = noise()
    images[:, 1, :6] = 0  # a quarter, in one band
    images[:, :, 20:, :12] = 0  # a twelfth, in all
    line = said(source(tmp_path, images, masks, tags={"nodata": 0}))
    assert line.startswith("33 % of the pixels are invalid, because one of their bands is 0")
    assert "all bands are in 8.3 %" in line
    assert "--config.data.source.nodata-where all_bands." in line
    (tmp_path / "all").mkdir()
    given = source(tmp_path / "all", images, masks, tags={"nodata": 0}, nodata_where="all_bands")
    assert said(given) == ""


def test_each_kind_of_doubt_is_said_once_of_the_first_split_that_has_it(tmp_path: Path) -> None:
    images, masks = noise(bands=4)
    images[:6, 3] = 255
    images[6:, 1, :6] = 0
    line = said(source(tmp_path, images, masks, nodata=0))
    assert line.count("tagged as opacity") == line.count("one of their bands is 0") == 1
    assert "s06.tif: band 4" in line


def test_a_survey_states_reference_systems_and_pixel_sizes(tmp_path: Path) -> None:
    images, masks = noise()
    place = {"crs": "EPSG:32633", "transform": Affine(10, 0, 5e5, 0, -10, 5e6)}
    found = surveys.survey(source(tmp_path, images, masks, tags=place), "test")
    assert found is not None
    assert (found.crs, found.gsds) == (("EPSG:32633",), (10.0, 10.0))


def test_a_split_that_is_mostly_without_data_is_said(tmp_path: Path) -> None:
    images, masks = noise()
    images[:6, :, :13] = 0
    line = said(source(tmp_path, images, masks, nodata=0))
    assert line.startswith("54 % of the pixels of the train split")
