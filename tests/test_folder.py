"""Tests of `jaxseg.datasets.folder`: what is read, what is refused, and how splits are made."""

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tyro
from numpy.typing import NDArray
from PIL import Image
from rasterio.transform import from_origin

from jaxseg.batch import IGNORE, Source, Window
from jaxseg.border_weights import touching
from jaxseg.datasets.folder import Folder
from jaxseg.errors import UserError

pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),  # rasterio's use of affine
]

H, W = 20, 30
ALL = Window(0, 0, H, W)
Array = NDArray[np.generic]


def tiff(path: Path, pixels: Array, **profile: object) -> Path:
    """(H, W) or (H, W, C) as a GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands = pixels[..., None] if pixels.ndim == 2 else pixels
    height, width, count = bands.shape
    shape = {"height": height, "width": width, "count": count, "dtype": bands.dtype}
    with rasterio.open(path, "w", driver="GTiff", **shape, **profile) as file:
        file.write(np.moveaxis(bands, -1, 0))
    return path


def png(path: Path, pixels: Array, palette: list[int] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels, mode="P") if palette else Image.fromarray(pixels)
    if palette:
        picture.putpalette(palette)
    picture.save(path)
    return path


def ids(*values: int, dtype: str = "uint8") -> Array:
    """A mask whose columns cycle through the values."""
    return np.tile(np.resize(np.array(values), W), (H, 1)).astype(dtype)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Folder]:
    """Writes one scene unless files are there already, and makes the source."""

    def make(**fields: Any) -> Folder:
        if not (tmp_path / "images").exists():
            tiff(tmp_path / "images" / "a.tif", np.ones((H, W, 3), np.uint8))
        if not (tmp_path / "masks").exists():
            tiff(tmp_path / "masks" / "a.tif", ids(0, 1))
        usual: dict[str, Any] = {
            "images": str(tmp_path / "images"),
            "masks": str(tmp_path / "masks"),
            "classes": ("ground", "house"),
            "fractions": (1.0, 0.0, 0.0),
        }
        return Folder(**usual | fields)

    return make


Make = Callable[..., Folder]


def read(source: Folder, split: str = "train", index: int = 0, window: Window = ALL) -> Any:
    return source.scenes(split).read(index, window)


# What is read.


@pytest.mark.parametrize("bands", [1, 3, 10])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_an_image_arrives_in_its_own_numbers(
    folder: Make, tmp_path: Path, dtype: str, bands: int
) -> None:
    pixels = np.random.default_rng(0).integers(1, 99, (H, W, bands)).astype(dtype)
    tiff(tmp_path / "images" / "a.tif", pixels)
    source = folder()
    sample = read(source, window=Window(3, 4, 10, 12))
    np.testing.assert_array_equal(sample["image"], pixels[3:13, 4:16])
    assert sample["image"].dtype == dtype
    assert sample["label"].dtype == np.uint8
    assert sample["valid"].all()
    assert len(source.sensor.bands) == bands
    assert isinstance(source, Source)
    assert source.rgb(pixels).shape == (H, W, 3)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
def test_mask_values_become_class_ids_whatever_their_type(
    folder: Make, tmp_path: Path, dtype: str
) -> None:
    tiff(tmp_path / "masks" / "a.tif", ids(7, 100, 3, dtype=dtype))
    source = folder(classes=("a", "b"), ids=(100, 7), ignore_ids=(3,))
    expected = ids(1, 0, IGNORE)
    np.testing.assert_array_equal(read(source)["label"], expected)


def test_negative_and_nan_mask_values(folder: Make, tmp_path: Path) -> None:
    mask = ids(-1, 0, 1, dtype="float32")
    mask[0, :] = np.nan
    tiff(tmp_path / "masks" / "a.tif", mask)
    label = read(folder(ignore_ids=(-1,)))["label"]
    assert (label[0] == IGNORE).all()
    np.testing.assert_array_equal(label[1:], ids(IGNORE, 0, 1)[1:])


def test_a_masks_own_nodata_value_is_ignored(folder: Make, tmp_path: Path) -> None:
    tiff(tmp_path / "masks" / "a.tif", ids(0, 1, 2), nodata=0)
    np.testing.assert_array_equal(read(folder(ids=(1, 2)))["label"], ids(IGNORE, 0, 1))


def test_a_nodata_value_that_is_a_class_has_to_be_decided(folder: Make, tmp_path: Path) -> None:
    tiff(tmp_path / "masks" / "a.tif", ids(0, 1), nodata=0)
    with pytest.raises(UserError, match=r"a\.tif tags 0 as nodata.*'ground'.*mask_nodata keep"):
        folder().scenes("train")
    np.testing.assert_array_equal(read(folder(mask_nodata="keep"))["label"], ids(0, 1))


COLORS = ((226, 169, 41), (60, 16, 152))


@pytest.mark.parametrize("kind", ["rgb", "palette", "rgba"])
def test_colours_become_class_ids(folder: Make, tmp_path: Path, kind: str) -> None:
    table = np.array([*COLORS, (0, 0, 0)], np.uint8)
    numbers = ids(1, 0, 2)
    path = tmp_path / "masks" / "a.png"
    if kind == "palette":
        png(path, numbers, palette=table.ravel().tolist())
    elif kind == "rgb":
        png(path, table[numbers])
    else:
        opacity = np.where(np.arange(H) < 5, 0, 255)[:, None, None] * np.ones((H, W, 1))
        png(path, np.concatenate([table[numbers], opacity], -1).astype(np.uint8))
    source = folder(mask_colors=COLORS, ignore_colors=((0, 0, 0),))
    expected = ids(1, 0, IGNORE)
    if kind == "rgba":
        expected[:5] = IGNORE
    np.testing.assert_array_equal(read(source)["label"], expected)
    assert source.colors == COLORS


def test_a_palette_mask_may_hold_ids(folder: Make, tmp_path: Path) -> None:
    png(tmp_path / "masks" / "a.png", ids(0, 1), palette=[9, 9, 9, 8, 8, 8])
    np.testing.assert_array_equal(read(folder())["label"], ids(0, 1))


def test_a_black_and_white_colour_mask_may_be_stored_as_gray(folder: Make, tmp_path: Path) -> None:
    png(tmp_path / "masks" / "a.png", ids(0, 255))
    source = folder(mask_colors=((255, 255, 255), (0, 0, 0)))
    np.testing.assert_array_equal(read(source)["label"], ids(1, 0))


def test_what_is_not_finite_or_nodata_is_invalid(folder: Make, tmp_path: Path) -> None:
    pixels = np.ones((H, W, 2), np.float32)
    pixels[0, :, 0] = np.nan
    pixels[1, :, 1] = np.inf
    pixels[2, :, 0] = -9999
    pixels[3] = -9999
    tiff(tmp_path / "images" / "a.tif", pixels, nodata=-9999)
    valid = read(folder())["valid"].all(1)
    np.testing.assert_array_equal(valid[:6], [False, False, False, False, True, True])
    valid = read(folder(nodata_where="all_bands"))["valid"].all(1)
    np.testing.assert_array_equal(valid[:6], [False, False, True, False, True, True])


def test_the_nodata_field_replaces_the_tag(folder: Make, tmp_path: Path) -> None:
    pixels = np.full((H, W, 1), 5, np.uint16)
    pixels[0], pixels[1] = 0, 7
    tiff(tmp_path / "images" / "a.tif", pixels, nodata=7)
    np.testing.assert_array_equal(read(folder())["valid"][:3, 0], [True, False, True])
    np.testing.assert_array_equal(read(folder(nodata=0.0))["valid"][:3, 0], [False, True, True])


def test_transparent_pixels_are_invalid_and_opacity_is_no_band(
    folder: Make, tmp_path: Path
) -> None:
    pixels = np.full((H, W, 4), 255, np.uint8)
    pixels[:3, :, 3] = 0
    png(tmp_path / "images" / "a.png", pixels)
    source = folder()
    sample = read(source)
    assert source.sensor.bands == ("red", "green", "blue")
    assert sample["image"].shape == (H, W, 3)
    assert not sample["valid"][:3].any()
    assert sample["valid"][3:].all()
    infrared = folder(band_numbers=(4, 1), band_names=("nir", "red"))
    assert read(infrared)["image"].shape == (H, W, 2)
    assert read(infrared)["valid"].all()
    assert infrared.sensor.bands == ("nir", "red")


def test_band_names_and_their_picture(folder: Make, tmp_path: Path) -> None:
    pixels = np.stack([np.full((H, W), number, np.uint16) for number in (2, 3, 4, 8)], -1)
    path = tiff(tmp_path / "images" / "a.tif", pixels)
    assert folder().sensor.bands == ("band1", "band2", "band3", "band4")
    assert folder().rgb(pixels)[0, 0].tolist() == [2, 3, 4]
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("B02", "B03", "B04", "B08")
    assert folder().sensor.bands == ("B02", "B03", "B04", "B08")
    assert folder().rgb(pixels)[0, 0].tolist() == [4, 3, 2]
    picked = folder(band_numbers=(4, 2))
    assert picked.sensor.bands == ("B08", "B03")
    assert read(picked)["image"][0, 0].tolist() == [8, 3]


def test_object_ids_are_read_beside_masks_or_instead(folder: Make, tmp_path: Path) -> None:
    objects = np.zeros((H, W), np.uint16)
    objects[2:5, 2:5], objects[8:12, 3:9] = 1, 40_000
    png(tmp_path / "objects" / "a.png", objects)
    beside = read(folder(instances=str(tmp_path / "objects")))
    assert beside["instance"].dtype == np.int32
    np.testing.assert_array_equal(beside["instance"], objects)
    np.testing.assert_array_equal(beside["label"], ids(0, 1))
    instead = read(folder(masks="", instances=str(tmp_path / "objects")))
    np.testing.assert_array_equal(instead["label"], objects > 0)


def test_suffixes_select_and_match(folder: Make, tmp_path: Path) -> None:
    for stem in ("a", "b"):
        tiff(tmp_path / "images" / f"{stem}.tif", np.ones((H, W, 1), np.uint8))
        png(tmp_path / "images" / f"{stem}_mask.png", ids(0, 1))
    together = str(tmp_path / "images")
    source = folder(masks=together, mask_suffix="_mask")
    assert [Path(source.scenes("train").name(i)).name for i in (0, 1)] == ["a.tif", "b.tif"]


def test_patterns_search_folders_below(folder: Make, tmp_path: Path) -> None:
    for stem in ("a", "b"):
        tiff(tmp_path / "images" / stem / f"{stem}.tif", np.ones((H, W, 1), np.uint8))
        png(tmp_path / "masks" / stem / f"{stem}.png", ids(0, 1))
    source = folder(
        images=str(tmp_path / "images" / "**" / "*.tif"),
        masks=str(tmp_path / "masks" / "**" / "*.png"),
    )
    assert len(source.scenes("train")) == 2


def test_scenes_and_sources_can_be_pickled(folder: Make) -> None:
    source = folder()
    sample = read(source)
    for copy in (pickle.loads(pickle.dumps(source)).scenes("train"), source.scenes("train")):
        again = pickle.loads(pickle.dumps(copy)).read(0, ALL)
        for field in ("image", "label", "valid"):
            np.testing.assert_array_equal(again[field], sample[field])


def test_many_threads_read_what_one_reads(folder: Make, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for index in range(6):
        pixels = random.integers(1, 255, (H, W, 3)).astype(np.uint8)
        png(tmp_path / "images" / f"{index}.png", pixels)
        tiff(tmp_path / "masks" / f"{index}.tif", random.integers(0, 2, (H, W)).astype(np.uint8))
    scenes = folder().scenes("train")
    jobs = [
        (int(i), Window(int(y), int(x), 8, 8))
        for i, y, x in random.integers(0, (6, 12, 22), (200, 3))
    ]
    with ThreadPoolExecutor(8) as threads:
        parallel = list(threads.map(lambda job: scenes.read(*job), jobs))
    for job, sample in zip(jobs, parallel, strict=True):
        for field, pixels in scenes.read(*job).items():
            np.testing.assert_array_equal(pixels, sample[field])


# How splits are made.


def stems(source: Folder, split: str) -> list[str]:
    scenes = source.scenes(split)
    return [Path(scenes.name(index)).stem for index in range(len(scenes))]


def write_ten(tmp_path: Path) -> None:
    for index in range(10):
        png(tmp_path / "images" / f"s{index}.png", np.ones((H, W, 3), np.uint8))
        png(tmp_path / "masks" / f"s{index}.png", ids(0, 1))


def test_fractions_take_neighbouring_files(folder: Make, tmp_path: Path) -> None:
    write_ten(tmp_path)
    source = folder(fractions=(0.6, 0.2, 0.2))
    assert stems(source, "train") == [f"s{index}" for index in range(6)]
    assert stems(source, "validation") == ["s6", "s7"]
    assert stems(source, "test") == ["s8", "s9"]


@pytest.mark.parametrize("axis", ["columns", "rows"])
def test_strips_are_disjoint_and_cover_every_scene(folder: Make, tmp_path: Path, axis: str) -> None:
    place = np.arange(H * W, dtype=np.float32).reshape(H, W)
    tiff(tmp_path / "images" / "a.tif", place)
    seen = []
    source = folder(split_by=axis, fractions=(0.5, 0.3, 0.2))
    for split in ("train", "validation", "test"):
        scenes = source.scenes(split)
        height, width = scenes.size(0)
        whole = scenes.read(0, Window(0, 0, height, width))["image"]
        part = scenes.read(0, Window(1, 2, 2, 3))["image"]
        np.testing.assert_array_equal(part, whole[1:3, 2:5])
        seen.append(whole.ravel())
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), place.ravel())


@pytest.mark.parametrize("marked", [False, True])
def test_folders_hold_splits_under_their_usual_names(
    folder: Make, tmp_path: Path, *, marked: bool
) -> None:
    for name in ("train", "val"):
        for kind, pixels in (("images", np.ones((H, W, 3), np.uint8)), ("masks", ids(0, 1))):
            parts = (name, kind) if marked else (kind, name)
            png(tmp_path.joinpath(*parts) / "same.png", pixels)
    paths = {}
    if marked:
        paths = {kind: f"{tmp_path}/{{split}}/{kind}" for kind in ("images", "masks")}
    source = folder(split_by="folders", **paths)
    for split, name in (("train", "train"), ("validation", "val")):
        assert name in Path(source.scenes(split).name(0)).parts
    with pytest.raises(UserError, match=r"no folder .*test.* for the test split"):
        source.scenes("test")


def test_lists_name_stems_or_files(folder: Make, tmp_path: Path) -> None:
    write_ten(tmp_path)
    (tmp_path / "train.txt").write_text("s3\nimages/s1.png\n\n")
    (tmp_path / "val.txt").write_text("s4\n")
    (tmp_path / "test.txt").write_text("s5\ns77\n")
    source = folder(split_by="lists", lists=str(tmp_path))
    assert stems(source, "train") == ["s3", "s1"]
    assert stems(source, "validation") == ["s4"]
    with pytest.raises(UserError, match=r"test\.txt, line 2: there is no scene 's77'"):
        source.scenes("test")
    (tmp_path / "val.txt").unlink()
    with pytest.raises(UserError, match=r"has no validation\.txt or val\.txt"):
        folder(split_by="lists", lists=str(tmp_path)).scenes("validation")


# What is refused.


def test_a_value_that_is_no_class_is_told_with_its_place(folder: Make, tmp_path: Path) -> None:
    mask = ids(0, 1)
    mask[6, 9] = 17
    png(tmp_path / "masks" / "a.png", mask)
    message = r"a\.png: value 17 is no class \(first at row 6, column 9; 1 pixel.*ignore_ids"
    with pytest.raises(UserError, match=message):
        read(folder(), window=Window(5, 5, 10, 10))
    assert read(folder(), window=Window(7, 0, 10, 10))["label"].max() == 1


def test_a_colour_that_is_no_class_is_told_with_its_place(folder: Make, tmp_path: Path) -> None:
    mask = np.array(COLORS, np.uint8)[ids(0, 1)]
    mask[6, 9] = (1, 2, 3)
    png(tmp_path / "masks" / "a.png", mask)
    with pytest.raises(UserError, match=r"colour \(1, 2, 3\) is no class \(first at row 6, col"):
        read(folder(mask_colors=COLORS))


def test_a_fraction_is_no_class(folder: Make, tmp_path: Path) -> None:
    tiff(tmp_path / "masks" / "a.tif", ids(0, 1, dtype="float32") * np.float32(0.5))
    with pytest.raises(UserError, match=r"0\.5 is no whole number"):
        read(folder())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"classes": ("one",)}, "classes names 1"),
        ({"classes": ("a", "a")}, "twice"),
        ({"ids": (1, 2, 3)}, "ids has 3 entries for 2 classes"),
        ({"ids": (1, 1)}, "Mask value 1 is given twice"),
        ({"ignore_ids": (1,)}, "Mask value 1 is given twice"),
        ({"ids": (0, 2**30)}, r"2\*\*24 or more apart"),
        ({"mask_colors": ((1, 2, 3),)}, "mask_colors has 1 entries"),
        ({"mask_colors": ((1, 2, 3), (1, 2, 256))}, "0 to 255"),
        ({"mask_colors": COLORS, "ignore_colors": COLORS[:1]}, r"\(226, 169, 41\) is given twice"),
        ({"mask_colors": COLORS, "ids": (1, 2)}, "empty one of them"),
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
        (0.25, np.float32, r"a\.tif: 0\.25 is no object id \(row 3, column 5; 1 pixel"),
        (-7, np.int16, r"a\.tif: -7 is no object id \(row 3, column 5; 1 pixel"),
        (2**31, np.uint32, r"a\.tif: 2\.14748e\+09 is no object id"),
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


def test_touching_objects_are_separated_alike_in_every_window(folder: Make, tmp_path: Path) -> None:
    objects = np.zeros((H, W), np.uint16)
    objects[1:5, 1:5], objects[1:5, 5:9], objects[5:9, 1:9] = 1, 2, 3
    png(tmp_path / "objects" / "a.png", objects)
    source = folder(masks="", instances=str(tmp_path / "objects"), separate_touching=True)
    whole = read(source)
    expected = (objects > 0) & ~touching(objects.astype(np.int32))
    np.testing.assert_array_equal(whole["label"], expected)
    np.testing.assert_array_equal(whole["instance"], objects)
    scenes = source.scenes("train")
    for y, x in ((0, 0), (3, 4), (4, 5), (5, 1)):
        part = scenes.read(0, Window(y, x, 4, 4))["label"]
        np.testing.assert_array_equal(part, expected[y : y + 4, x : x + 4])
    with pytest.raises(UserError, match="separate_touching needs instances"):
        folder(separate_touching=True)


def test_the_command_line_sets_every_kind_of_field(folder: Make) -> None:
    default = folder(mask_colors=COLORS, ignore_colors=((0, 0, 0),))
    flags = "--classes a b c --ids 1 2 5 --ignore-ids -1 0 --mask-colors --ignore-colors"
    flags += " --split-by columns --fractions 0.5 0.25 0.25 --nodata -9999 --band-numbers 3 2"
    source = tyro.cli(Folder, args=flags.split(), default=default)
    assert source.classes == ("a", "b", "c")
    assert (source.ids, source.ignore_ids, source.mask_colors) == ((1, 2, 5), (-1, 0), ())
    assert (source.split_by, source.fractions) == ("columns", (0.5, 0.25, 0.25))
    assert (source.nodata, source.band_numbers, source.images) == (-9999, (3, 2), default.images)
    colors = ["--mask-colors", "1", "2", "3", "4", "5", "6"]
    assert tyro.cli(Folder, args=colors, default=default).mask_colors == ((1, 2, 3), (4, 5, 6))


# The real sets beside the checkout.

DATA = Path(__file__).parents[2] / "shared" / "data"

DUBAI = {
    "images": "optical_dubai/images",
    "masks": "optical_dubai/masks",
    "classes": ("water", "land", "road", "building", "vegetation", "unlabeled"),
    "mask_colors": (
        (226, 169, 41),
        (132, 41, 246),
        (110, 193, 228),
        (60, 16, 152),
        (254, 221, 58),
        (155, 155, 155),
    ),
    "ignore_colors": ((0, 0, 0),),
    "fractions": (0.5, 0.25, 0.25),
}
STRZEGOM = {
    "images": "sentinel2_strzegom/images",
    "masks": "sentinel2_strzegom/masks",
    "classes": (
        "conifer",
        "mixed",
        "urban",
        "crops",
        "soil",
        "grass",
        "road",
        "water",
        "growing",
        "quarry",
    ),
    "ids": tuple(range(1, 11)),
    "split_by": "columns",
}
NUCLEI = {
    "images": "nuclei_dsb2018/images",
    "masks": "",
    "instances": "nuclei_dsb2018/instances",
    "classes": ("background", "nucleus"),
}
FLOODS = {
    "images": "sar_sen1floods11/S1",
    "masks": "sar_sen1floods11/labels",
    "image_suffix": "_S1Hand",
    "mask_suffix": "_LabelHand",
    "classes": ("land", "water"),
    "ignore_ids": (-1,),
    "fractions": (0.6, 0.2, 0.2),
}
CAMVID = {
    "images": "camvid_subset/{split}/images",
    "masks": "camvid_subset/{split}/masks",
    "classes": (
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "person",
        "bicyclist",
    ),
    "ignore_ids": (11,),
    "split_by": "folders",
}
FRACTURES = {
    "images": "antarctic_fractures/images",
    "masks": "antarctic_fractures/masks",
    "classes": ("none", "fracture"),
    "ids": (0, 255),
    "nodata": 0.0,
    "split_by": "rows",
}


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("fields", "bands", "dtype", "scenes", "ignored", "invalid"),
    [
        (DUBAI, 3, "uint8", (18, 9, 9), True, False),
        (STRZEGOM, 10, "uint16", (2, 2, 2), True, False),
        (NUCLEI, 3, "uint8", (12, 2, 3), False, False),
        (FLOODS, 2, "float32", (3, 1, 1), True, True),
        (CAMVID, 3, "uint8", (15, 5), True, False),
        (FRACTURES, 1, "uint16", (2, 2, 2), False, True),
    ],
    ids=["dubai", "strzegom", "nuclei", "floods", "camvid", "fractures"],
)
def test_a_real_set_is_read(
    fields: dict[str, Any],
    bands: int,
    dtype: str,
    scenes: tuple[int, ...],
    *,
    ignored: bool,
    invalid: bool,
) -> None:
    name = fields["images"].partition("/")[0]
    if not (DATA / name).is_dir():
        pytest.skip(f"{DATA / name} is absent: the real sets lie beside the checkout")
    places = {
        kind: str(DATA / fields[kind])
        for kind in ("images", "masks", "instances")
        if fields.get(kind)
    }
    source = Folder(**fields | places)
    labels, some_invalid = set(), False
    for split, count in zip(("train", "validation", "test"), scenes, strict=False):
        opened = source.scenes(split)
        assert len(opened) == count
        for index in range(count):
            height, width = opened.size(index)
            sample = opened.read(index, Window(0, 0, height, width))
            assert sample["image"].shape == (height, width, bands)
            assert sample["image"].dtype == dtype
            assert np.isfinite(sample["image"][sample["valid"].astype(bool)]).all()
            labels |= set(np.unique(sample["label"]).tolist())
            some_invalid |= not sample["valid"].all()
            assert ("instance" in sample) == ("instances" in fields)
    assert labels <= {*range(len(source.classes)), IGNORE}
    assert len(labels - {IGNORE}) >= len(source.classes) - 1  # one date of Strzegom has no grass
    assert (IGNORE in labels) == ignored
    assert some_invalid == invalid


@pytest.mark.real_data
def test_a_forgotten_colour_of_dubai_is_told() -> None:
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is absent: the real sets lie beside the checkout")
    places = {kind: str(DATA / str(DUBAI[kind])) for kind in ("images", "masks")}
    source = Folder(**DUBAI | places | {"ignore_colors": ()})  # type: ignore[arg-type]
    scenes = source.scenes("validation")
    windows = [(index, Window(0, 0, *scenes.size(index))) for index in range(len(scenes))]
    with pytest.raises(UserError, match=r"\.png: colour \(0, 0, 0\) is no class"):
        _ = [scenes.read(index, window) for index, window in windows]
