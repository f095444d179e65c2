"""What `jaxseg.datasets.folder.source` refuses, and what it says then."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures.folder_files import COLORS, H, Make, W, ids, png, read, tiff, write_ten
from rasterio.transform import from_origin

from jaxseg.datasets.folder.source import Folder
from jaxseg.errors import UserError
from jaxseg.scenes.scene import Window

pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),  # rasterio's use of affine
]


def test_a_value_that_is_no_class_is_told_with_its_place(folder: Make, tmp_path: Path) -> None:
    mask = ids(0, 1)
    mask[6, 9] = 17
    png(tmp_path / "masks" / "a.png", mask)
    message = r"a\.png: value 17 is not a class \(first at row 6, column 9; 1 pixel.*ignore_ids"
    with pytest.raises(UserError, match=message):
        read(folder(), window=Window(5, 5, 10, 10))
    assert read(folder(), window=Window(7, 0, 10, 10))["label"].max() == 1


def test_a_colour_that_is_no_class_is_told_with_its_place(folder: Make, tmp_path: Path) -> None:
    mask = np.array(COLORS, np.uint8)[ids(0, 1)]
    mask[6, 9] = (1, 2, 3)
    png(tmp_path / "masks" / "a.png", mask)
    with pytest.raises(UserError, match=r"colour \(1, 2, 3\) is not a class \(first at row 6, col"):
        read(folder(mask_colors=COLORS))


def test_a_fraction_is_no_class(folder: Make, tmp_path: Path) -> None:
    tiff(tmp_path / "masks" / "a.tif", ids(0, 1, dtype="float32") * np.float32(0.5))
    with pytest.raises(UserError, match=r"0\.5 is not a whole number"):
        read(folder())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": ("one",)}, "classes names 1"),
        ({"classes": ("a", "a")}, "twice"),
        ({"classes": tuple(map(str, range(255)))}, "classes names 255: give 2 to 254"),
        ({"map_colors": COLORS[:1]}, "map_colors has 1 entries for 2 classes"),
        ({"map_colors": ((0, 0, 0), (-1, 0, 0))}, "0 to 255"),
        ({"mask_colors": COLORS, "ignore_colors": ((0, 0, 300),)}, "0 to 255"),
        ({"mask_colors": COLORS[:1] * 2}, r"\(226, 169, 41\) is given twice"),
        ({"mask_colors": COLORS, "ignore_ids": (1,)}, "leave one of them empty"),
        ({"masks": "", "instances": "x", "classes": ("a", "b", "c")}, "masks is empty"),
        ({"fractions": (-0.1, 0.6, 0.5)}, "none below 0"),
        ({"fractions": (0.5, 0.2, 0.2)}, "together 1"),
        ({"fractions": (0.5, 0.25, 0.2501)}, "together 1"),
        ({"multiply": 0.0}, r"multiply 0\.0: give a finite factor"),
        ({"multiply": float("inf")}, "multiply inf: give a finite factor"),
        ({"multiply": float("nan")}, "multiply nan: give a finite factor"),
        ({"ids": (1, 2, 3)}, "ids has 3 entries for 2 classes"),
        ({"ids": (1, 1)}, "Mask value 1 is given twice"),
        ({"ignore_ids": (1,)}, "Mask value 1 is given twice"),
        ({"ids": (0, 2**30)}, r"2\*\*24 or more apart"),
        ({"mask_colors": ((1, 2, 3),)}, "mask_colors has 1 entries"),
        ({"mask_colors": ((1, 2, 3), (1, 2, 256))}, "0 to 255"),
        ({"mask_colors": COLORS, "ignore_colors": COLORS[:1]}, r"\(226, 169, 41\) is given twice"),
        ({"mask_colors": COLORS, "ids": (1, 2)}, "leave one of them empty"),
        ({"ignore_colors": ((0, 0, 0),)}, "needs mask_colors"),
        ({"masks": ""}, "masks is empty"),
        ({"fractions": (0.5, 0.5, 0.5)}, "together 1"),
        ({"band_numbers": (0,)}, "count from 1"),
    ],
)
def test_contradicting_fields_are_refused(
    folder: Make, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        folder(**fields)


def test_shares_may_be_rounded_and_fields_be_at_their_limits(folder: Make) -> None:
    folder(fractions=(0.333_333_3, 0.333_333_3, 0.333_333_3))
    folder(classes=tuple(map(str, range(254))), added=0)
    folder(masks="", instances="x", mask_colors=((0, 0, 0), (255, 255, 255)))


def read_with_bands(source: Folder) -> None:
    """Everything that looks at files."""
    _ = source.sensor.bands
    read(source)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"images": "nowhere"}, "images: there is no nowhere"),
        ({"images": "nowhere/*.tif"}, r"images: no file matches nowhere/\*\.tif"),
        ({"mask_suffix": "_m"}, r"masks.* holds no image file whose stem ends in '_m'"),
        ({"band_numbers": (1, 9)}, r"a\.tif has 3 band"),
        ({"band_names": ("x",)}, "band_names has 1 entries, but 3"),
        ({"mask_colors": COLORS}, "colour"),
        ({"fractions": (0.4, 0.6, 0.0)}, "leave none to train"),
    ],
)
def test_fields_that_do_not_fit_the_files_are_refused(
    folder: Make, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_with_bands(folder(**fields))


def test_an_unknown_split_is_refused(folder: Make) -> None:
    with pytest.raises(UserError, match="'dev'"):
        folder().scenes("dev")


def test_an_empty_folder_is_refused(folder: Make, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "notes.txt").write_text("none")
    with pytest.raises(UserError, match="holds no image file"):
        folder().scenes("train")


def test_missing_partners_are_named(folder: Make, tmp_path: Path) -> None:
    write_ten(tmp_path)
    (tmp_path / "masks" / "s3.png").unlink()
    with pytest.raises(UserError, match=r"1 of 10 files of images have no partner.*s3\.png"):
        folder().scenes("train")
    (tmp_path / "images" / "s3.png").unlink()
    png(tmp_path / "masks" / "s33.png", ids(0, 1))
    with pytest.raises(UserError, match=r"1 of 10 files of masks have no partner.*s33\.png"):
        folder().scenes("train")


def test_two_files_of_one_stem_are_refused(folder: Make, tmp_path: Path) -> None:
    png(tmp_path / "images" / "a.png", np.ones((H, W, 3), np.uint8))
    tiff(tmp_path / "images" / "a.tif", np.ones((H, W, 3), np.uint8))
    with pytest.raises(UserError, match=r"a\.png and .*a\.tif have the same stem"):
        folder().scenes("train")


def test_different_bands_or_types_are_refused(folder: Make, tmp_path: Path) -> None:
    for name, pixels in (("a", np.ones((H, W, 3), np.uint8)), ("b", np.ones((H, W, 3), np.uint16))):
        tiff(tmp_path / "images" / f"{name}.tif", pixels)
        tiff(tmp_path / "masks" / f"{name}.tif", ids(0, 1))
    with pytest.raises(UserError, match=r"b\.tif has 3 band.* of uint16, .*a\.tif has 3 of uint8"):
        folder().scenes("train")


def test_a_mask_of_another_size_is_refused(folder: Make, tmp_path: Path) -> None:
    tiff(tmp_path / "masks" / "a.tif", ids(0, 1)[1:])
    with pytest.raises(UserError, match=r"masks/a\.tif has 19 x 30 pixels, its image .* 20 x 30"):
        folder().scenes("train")


def test_masks_of_the_wrong_kind_are_refused(folder: Make, tmp_path: Path) -> None:
    tiff(tmp_path / "masks" / "a.tif", np.ones((H, W, 3), np.uint8))
    with pytest.raises(UserError, match="has 3 bands; a mask of ids has one"):
        folder().scenes("train")
    tiff(tmp_path / "masks" / "a.tif", ids(0, 1, dtype="uint16"))
    with pytest.raises(UserError, match="colour masks are RGB or palette"):
        folder(mask_colors=COLORS).scenes("train")


def test_a_palette_image_is_refused(folder: Make, tmp_path: Path) -> None:
    png(tmp_path / "images" / "a.png", ids(0, 1), palette=[9, 9, 9, 8, 8, 8])
    with pytest.raises(UserError, match="Convert it to RGB"):
        folder().scenes("train")


@pytest.mark.parametrize("dtype", ["complex64", "complex_int16"])
def test_a_complex_image_is_refused(folder: Make, tmp_path: Path, dtype: str) -> None:
    pixels = np.full((H, W, 2), 3 + 4j, np.complex64)
    tiff(tmp_path / "images" / "a.tif", pixels, dtype=dtype)
    with pytest.raises(UserError, match=r"a\.tif holds complex values.* amplitudes"):
        folder().scenes("train")


@pytest.mark.parametrize(
    ("crs", "shift", "message"),
    [
        ("EPSG:32633", 0.5, None),
        ("EPSG:32633", 5.0, "lies 0.5 pixels off its image"),
        ("EPSG:32634", 0.0, "is in EPSG:32634, its image"),
    ],
)
def test_a_mask_of_another_place_is_refused(
    folder: Make, tmp_path: Path, crs: str, shift: float, message: str | None
) -> None:
    here, there = from_origin(5000, 9000, 10, 10), from_origin(5000 + shift, 9000, 10, 10)
    tiff(
        tmp_path / "images" / "a.tif",
        np.ones((H, W, 1), np.uint8),
        crs="EPSG:32633",
        transform=here,
    )
    tiff(tmp_path / "masks" / "a.tif", ids(0, 1), crs=crs, transform=there)
    if message is None:
        assert len(folder().scenes("train")) == 1
    else:
        with pytest.raises(UserError, match=message):
            folder().scenes("train")


def test_the_scale_is_the_first_images(folder: Make, tmp_path: Path) -> None:
    assert folder().sensor.gsd is None
    place = {"crs": "EPSG:32633", "transform": from_origin(5000, 9000, 2.5, 2.5)}
    tiff(tmp_path / "images" / "a.tif", np.ones((H, W, 1), np.uint8), **place)
    assert folder().sensor.gsd == pytest.approx(2.5)


def test_a_damaged_image_is_named(folder: Make, tmp_path: Path) -> None:
    path = png(tmp_path / "images" / "a.png", np.ones((H, W, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"Cannot read .*a\.png"):
        read(folder())


@pytest.mark.parametrize(
    ("value", "dtype", "message"),
    [
        (0.25, np.float32, r"a\.tif: 0\.25 is not an object id \(row 3, column 5; 1 pixel"),
        (-7, np.int16, r"a\.tif: -7 is not an object id \(row 3, column 5; 1 pixel"),
        (2**31, np.uint32, r"a\.tif: 2\.14748e\+09 is not an object id"),
    ],
)
def test_objects_have_to_be_whole_numbers(
    folder: Make, tmp_path: Path, value: float, dtype: type, message: str
) -> None:
    objects = np.ones((H, W), dtype)
    objects[3, 5] = value
    tiff(tmp_path / "objects" / "a.tif", objects)
    with pytest.raises(UserError, match=message):
        read(folder(instances=str(tmp_path / "objects")))


def test_an_object_map_of_another_size_is_refused(folder: Make, tmp_path: Path) -> None:
    png(tmp_path / "objects" / "a.png", np.ones((H, W + 1), np.uint16))
    with pytest.raises(UserError, match=rf"objects/a\.png has {H} x {W + 1} pixels, its image"):
        read(folder(instances=str(tmp_path / "objects")))
