"""Windows of a folder's files: what is invalid, ignored, an object; and where a fault is told."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures.folder_files import ALL, COLORS, Array, H, Make, W, ids, png, read, tiff

from jaxseg.datasets import leakage
from jaxseg.errors import UserError
from jaxseg.losses.border_weights import touching
from jaxseg.scenes.scene import IGNORE, Window

pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),  # rasterio's use of affine
]

LAST = {"split_by": "columns", "fractions": (0.5, 0.2, 0.3)}
"""Of 30 columns, test has those from 21 on."""


def test_all_kinds_of_files_are_read_at_the_same_place(folder: Make, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    image = random.integers(1, 99, (H, W, 2)).astype(np.uint16)
    mask = random.integers(0, 2, (H, W)).astype(np.uint8)
    objects = random.integers(0, 9, (H, W)).astype(np.uint16)
    tiff(tmp_path / "images" / "a.tif", image, nodata=5)
    tiff(tmp_path / "masks" / "a.tif", mask)
    tiff(tmp_path / "objects" / "a.tif", objects)
    source = folder(instances=str(tmp_path / "objects"), **LAST)
    sample = read(source, "test", window=Window(3, 2, 11, 6))
    part = (slice(3, 14), slice(23, 29))
    np.testing.assert_array_equal(sample["image"], image[part])
    np.testing.assert_array_equal(sample["valid"], (image[part] != 5).all(-1))
    np.testing.assert_array_equal(sample["label"], mask[part])
    np.testing.assert_array_equal(sample["instance"], objects[part])
    scenes = source.scenes("test")
    assert scenes.size(0) == (H, 9)
    assert (len(scenes), Path(scenes.name(0)).name) == (1, "a.tif")


def test_nodata_in_all_bands_counts_the_bands_that_are_read(folder: Make, tmp_path: Path) -> None:
    pixels = np.full((H, W, 3), 7, np.uint8)
    pixels[0], pixels[1], pixels[2] = (0, 0, 7), (0, 0, 0), (7, 0, 7)
    tiff(tmp_path / "images" / "a.tif", pixels, nodata=0)
    everywhere = {"nodata_where": "all_bands"}
    assert read(folder(**everywhere))["valid"][:3, 0].tolist() == [True, False, True]
    two = read(folder(band_numbers=(1, 2), **everywhere))["valid"]
    assert two[:3, 0].tolist() == [False, False, True]
    assert read(folder())["valid"][:4, 0].tolist() == [False, False, False, True]


def test_a_pixel_is_valid_where_numbers_and_mask_say_so(folder: Make, tmp_path: Path) -> None:
    pixels = np.full((H, W, 4), 255, np.uint8)
    pixels[0, :, 3] = 0  # transparent
    pixels[1, :, 0] = 9  # nodata, by the user
    png(tmp_path / "images" / "a.png", pixels)
    assert read(folder(nodata=9.0))["valid"][:3, 0].tolist() == [False, False, True]


def test_numbers_that_are_not_finite_are_invalid_even_where_nodata_has_to_be_in_all_bands(
    folder: Make, tmp_path: Path
) -> None:
    pixels = np.ones((H, W, 2), np.float64)
    pixels[0, :, 0], pixels[1, :, 1], pixels[2, :, 0] = np.nan, -np.inf, 0
    tiff(tmp_path / "images" / "a.tif", pixels)
    found = read(folder(nodata=0.0, nodata_where="all_bands"))["valid"]
    assert found[:4, 0].tolist() == [False, False, True, True]


def test_a_colour_has_no_meaning_only_if_all_of_its_parts_are_nodata(
    folder: Make, tmp_path: Path
) -> None:
    blue, white = (0, 0, 255), (255, 255, 255)
    table = np.array([blue, white, (0, 0, 0)], np.uint8)
    tiff(tmp_path / "masks" / "a.tif", table[ids(0, 1, 2)], nodata=0)
    label = read(folder(mask_colors=(blue, white)))["label"]
    np.testing.assert_array_equal(label, ids(0, 1, IGNORE))


def test_a_mask_of_ids_in_a_palette_says_nothing_by_its_colours(
    folder: Make, tmp_path: Path
) -> None:
    png(tmp_path / "masks" / "a.png", ids(0, 1), palette=[*COLORS[1], *COLORS[0]])
    np.testing.assert_array_equal(read(folder())["label"], ids(0, 1))
    by_color = read(folder(mask_colors=COLORS))["label"]
    np.testing.assert_array_equal(by_color, ids(1, 0))


@pytest.mark.parametrize(
    ("value", "dtype", "fields", "message"),
    [
        (17, np.uint8, {}, "value 17 is not a class"),
        (-17, np.int16, {}, "value -17 is not a class"),
        (2.5, np.float32, {}, r"2\.5 is not a whole number"),
        ((1, 2, 3), np.uint8, {"mask_colors": COLORS}, r"colour \(1, 2, 3\) is not a class"),
    ],
)
def test_a_fault_of_a_mask_is_told_at_its_place_in_the_file(
    folder: Make, tmp_path: Path, value: Any, dtype: type, fields: dict[str, Any], message: str
) -> None:
    mask = ids(0, 1).astype(dtype)
    if fields:
        mask = np.array(COLORS, np.uint8)[mask]
    mask[6, 25] = mask[7, 22] = mask[15, 25] = value
    tiff(tmp_path / "masks" / "a.tif", mask)
    told = rf"masks/a\.tif: {message} \(first at row 6, column 25; 2 pixel\(s\)"
    if value == 2.5:
        told = rf"masks/a\.tif: {message}, so not a class \(first at row 6, column 25; 2 pixel\(s\)"
    with pytest.raises(UserError, match=told):
        read(folder(**fields, **LAST), "test", window=Window(4, 1, 10, 8))


def test_an_error_lists_what_the_window_of_a_mask_holds(folder: Make, tmp_path: Path) -> None:
    mask = np.zeros((H, W), np.uint8)
    mask[:4], mask[4] = 255, 7
    tiff(tmp_path / "masks" / "a.tif", mask)
    with pytest.raises(UserError, match=r"0: 450, 255: 120, 7: 30\. .*\.ids 0 7 255\."):
        read(folder())
    mask = np.resize(np.arange(200, dtype=np.uint8), (H, W))
    tiff(tmp_path / "masks" / "a.tif", mask)
    with pytest.raises(UserError, match=r"and 188 more\. .*\.instances instead of masks"):
        read(folder())


def test_objects_of_any_type_are_ids_and_what_means_nothing_is_none(
    folder: Make, tmp_path: Path
) -> None:
    objects = np.full((H, W), 2**31 - 1, np.float64)
    objects[0], objects[1], objects[2], objects[3] = np.nan, -1, 0, 5
    tiff(tmp_path / "objects" / "a.tif", objects, nodata=-1)
    sample = read(folder(masks="", instances=str(tmp_path / "objects")))
    assert sample["instance"].dtype == np.int32
    assert sample["instance"][:5, 0].tolist() == [0, 0, 0, 5, 2**31 - 1]
    assert sample["label"][:5, 0].tolist() == [0, 0, 0, 1, 1]
    assert sample["label"].dtype == np.uint8


def test_a_fault_of_an_object_map_is_told_at_its_place_in_the_file(
    folder: Make, tmp_path: Path
) -> None:
    objects = np.ones((H, W), np.int16)
    objects[3, 25] = objects[5, 24] = -2
    tiff(tmp_path / "objects" / "a.tif", objects)
    source = folder(instances=str(tmp_path / "objects"), **LAST)
    told = r"a\.tif: -2 is not an object id \(row 3, column 25; 2 pixel\(s\) in this window"
    with pytest.raises(UserError, match=told):
        read(source, "test", window=Window(2, 1, 10, 8))


def two_touching() -> Array:
    """Objects 1 and 2 side by side, and 3 below with a gap; the borders are columns 20 and 21."""
    objects = np.zeros((H, W), np.uint16)
    objects[2:8, 15:21], objects[2:8, 21:27], objects[10:13, 15:27] = 1, 2, 3
    return objects


def test_touching_pixels_become_the_first_class_where_a_mask_has_a_label(
    folder: Make, tmp_path: Path
) -> None:
    objects, mask = two_touching(), np.full((H, W), 1, np.uint8)
    mask[4] = 9
    png(tmp_path / "objects" / "a.png", objects)
    tiff(tmp_path / "masks" / "a.tif", mask)
    fields = {"instances": str(tmp_path / "objects"), "ignore_ids": (9,)}
    label = read(folder(**fields, separate_touching=True))["label"]
    border = touching(objects.astype(np.int32))
    assert border.any()
    expected = np.where(border, 0, 1)
    expected[4] = IGNORE
    np.testing.assert_array_equal(label, expected)
    plain = np.full((H, W), 1)
    plain[4] = IGNORE
    np.testing.assert_array_equal(read(folder(**fields))["label"], plain)


@pytest.mark.parametrize(
    "window", [ALL, Window(1, 14, 9, 8), Window(3, 16, 4, 5), Window(3, 21, 4, 5)]
)
def test_windows_agree_with_the_whole_about_what_touches(
    folder: Make, tmp_path: Path, window: Window
) -> None:
    objects = two_touching()
    png(tmp_path / "objects" / "a.png", objects)
    source = folder(masks="", instances=str(tmp_path / "objects"), separate_touching=True)
    expected = (objects > 0) & ~touching(objects.astype(np.int32))
    y, x, height, width = window
    part = read(source, window=window)
    np.testing.assert_array_equal(part["label"], expected[y : y + height, x : x + width])
    np.testing.assert_array_equal(part["instance"], objects[y : y + height, x : x + width])


@pytest.mark.parametrize("axis", ["columns", "rows"])
def test_what_lies_in_another_strip_touches_nothing(
    folder: Make, tmp_path: Path, axis: str
) -> None:
    objects = two_touching()  # test begins with object 2
    first = (slice(None), slice(21, None))
    if axis == "rows":
        objects = np.zeros((H, W), np.uint16)
        objects[8:14, 3:9], objects[14:20, 3:9] = 1, 2
        first = (slice(14, None), slice(None))
    png(tmp_path / "objects" / "a.png", objects)
    source = folder(
        masks="",
        instances=str(tmp_path / "objects"),
        separate_touching=True,
        split_by=axis,
        fractions=(0.5, 0.2, 0.3),
    )
    size = source.scenes("test").size(0)
    label = read(source, "test", window=Window(0, 0, *size))["label"]
    np.testing.assert_array_equal(label, objects[first] > 0)


def test_a_picture_of_validity_says_where_an_image_has_data(folder: Make, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    image = random.integers(1, 9, (H, W, 3)).astype(np.uint8)
    seen = random.integers(0, 2, (H, W)).astype(np.uint8) * 255
    tiff(tmp_path / "images" / "a.tif", image, nodata=5)
    png(tmp_path / "view" / "a_view.png", seen)
    source = folder(validity=str(tmp_path / "view"), validity_suffix="_view", **LAST)
    sample = read(source, "test", window=Window(3, 2, 11, 6))
    part = (slice(3, 14), slice(23, 29))
    expected = (image[part] != 5).all(-1) & (seen[part] > 0)
    np.testing.assert_array_equal(sample["valid"], expected)
    assert Path(source.scenes("test").files(0)[-1]).name == "a_view.png"
    png(tmp_path / "view" / "a_view.png", seen[:-1])
    with pytest.raises(UserError, match=r"a_view\.png has 19 x 30 pixels, its image .*a\.tif"):
        folder(validity=str(tmp_path / "view"), validity_suffix="_view").scenes("train")


def test_blocks_of_scenes_are_the_scenes_of_a_split(folder: Make, tmp_path: Path) -> None:
    pixels = np.arange(H * W, dtype=np.uint16).reshape(H, W)
    tiff(tmp_path / "images" / "a.tif", pixels)
    tiff(tmp_path / "masks" / "a.tif", ids(0, 1))
    source = folder(split_by="blocks", block=5, guard=0, fractions=(0.5, 0.25, 0.25))
    seen = []
    for split, count in (("train", 12), ("validation", 6), ("test", 6)):
        scenes = source.scenes(split)
        assert len(scenes) == count
        for number in range(count):
            assert scenes.size(number) == (5, 5)
            seen.append(scenes.read(number, Window(0, 0, 5, 5))["image"])
    assert sorted(np.concatenate(seen).ravel()) == list(range(H * W))
    leakage.check_splits(source)  # different parts of one file may be in two splits
    other = dataclasses.replace(source, split_seed=1)
    with pytest.raises(UserError, match=r"split_seed 0 -> 1"):
        leakage.refuse_trained_pixels(source, other, "test")


def test_a_split_by_blocks_may_leave_a_scene_without_a_part(folder: Make, tmp_path: Path) -> None:
    for name in "abcd":
        tiff(tmp_path / "images" / f"{name}.tif", np.ones((H, W), np.uint8))
        tiff(tmp_path / "masks" / f"{name}.tif", ids(0, 1))
    source = folder(split_by="blocks", block=30, fractions=(0.5, 0.25, 0.25))
    names = [
        {source.scenes(split).name(n)[-5] for n in range(len(source.scenes(split)))}
        for split in ("train", "validation", "test")
    ]
    assert [len(each) for each in names] == [2, 1, 1]
    assert set.union(*names) == set("abcd")
