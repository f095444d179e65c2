"""Tests of `jaxseg.datasets.folder.source`: what is read, and how splits are made."""

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tyro
from fixtures.folder_files import ALL, COLORS, H, Make, W, ids, png, read, tiff, write_ten

from jaxseg.datasets.folder.source import Folder
from jaxseg.errors import UserError
from jaxseg.losses.border_weights import touching
from jaxseg.scenes.scene import IGNORE, Source, Window

pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),  # rasterio's use of affine
]


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
    with pytest.raises(UserError, match=r"a\.tif tags 0 as nodata.*'ground'.*mask-nodata keep"):
        folder().scenes("train")
    np.testing.assert_array_equal(read(folder(mask_nodata="keep"))["label"], ids(0, 1))


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
    hide = {"mask_nodata": "hide"} if kind == "rgba" else {}
    source = folder(mask_colors=COLORS, ignore_colors=((0, 0, 0),), **hide)
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


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (("x",), (0, 0, 0)),
        (("x", "y"), (0, 0, 0)),
        (("x", "y", "z"), (0, 1, 2)),
        (("nir", "Blue", "GREEN", "red"), (3, 2, 1)),
        (("red", "green", "x", "y"), (0, 1, 2)),  # no blue
        (("B08", "b02", "B03", "B04"), (3, 2, 1)),
        (("B4", "B3", "B2"), (0, 1, 2)),
        (("B8", "B2", "B3", "B4"), (3, 2, 1)),
        (("B2", "B03", "B4"), (0, 1, 2)),  # of two spellings, so none
        (("B04", "B03", "B02", "red", "green", "blue"), (3, 4, 5)),
    ],
)
def test_a_picture_has_red_green_and_blue_by_name_or_the_first_bands(
    folder: Make, tmp_path: Path, names: tuple[str, ...], chosen: tuple[int, ...]
) -> None:
    count = len(names)
    tiff(tmp_path / "images" / "a.tif", np.ones((H, W, count), np.uint16))
    image = np.arange(2 * count, dtype=np.uint16).reshape(2, 1, count)
    shown = folder(band_names=names).rgb(image)
    assert shown.dtype == np.float32
    np.testing.assert_array_equal(shown, image[..., chosen])


def test_colours_of_maps_are_those_given_for_them_else_the_masks_else_distinct(
    folder: Make,
) -> None:
    names = tuple("abcdefghijkl")
    assert folder(map_colors=COLORS[::-1], mask_colors=COLORS).colors == COLORS[::-1]
    assert folder(mask_colors=COLORS).colors == COLORS
    hues = folder(classes=names).colors
    assert len(set(hues)) == len(hues) == len(names)
    apart = np.abs(np.array(hues)[:, None] - np.array(hues)).sum(-1)
    assert apart[~np.eye(len(names), dtype=bool)].min() > 40
    assert folder(classes=names[:3]).colors == hues[:3]
    # As in every map that was drawn so far.
    assert hues[:3] == ((242, 61, 61), (41, 78, 166), (167, 242, 61))


def test_counts_of_classes_are_kept_for_these_files_and_settings(
    folder: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    png(tmp_path / "objects" / "a.png", np.ones((H, W), np.uint16))
    objects = {"instances": str(tmp_path / "objects")}
    before = folder(**objects).counts_file()
    assert before.parent == tmp_path / "cache" / "jaxseg" / "class_counts"
    assert before.suffix == ".json"
    assert folder(**objects).counts_file() == before
    seen = {before, folder(**objects, nodata=3.0).counts_file(), folder().counts_file()}
    assert len(seen) == 3
    for number, name in enumerate(("images/a.tif", "masks/a.tif", "objects/a.png"), start=1):
        path = tmp_path / name
        os.utime(path, (number, number))
        seen.add(folder(**objects).counts_file())
        path.write_bytes(path.read_bytes() + b"0")  # another size at the same time
        os.utime(path, (number, number))
        seen.add(folder(**objects).counts_file())
        assert len(seen) == 3 + 2 * number
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert tmp_path / "home" / ".cache" / "jaxseg" in folder().counts_file().parents


def test_the_first_training_image_says_what_all_are(folder: Make, tmp_path: Path) -> None:
    for split, bands in (("train", 2), ("val", 2)):
        tiff(tmp_path / "images" / split / "b.tif", np.ones((H, W, bands), np.uint16))
        tiff(tmp_path / "masks" / split / "b.tif", ids(0, 1))
    tiff(tmp_path / "images" / "train" / "a.tif", np.ones((H, W, 3), np.uint16))
    tiff(tmp_path / "masks" / "train" / "a.tif", ids(0, 1))
    source = folder(split_by="folders")
    assert len(source.sensor.bands) == 3
    with pytest.raises(UserError, match=r"train/b\.tif has 2 band\(s\) .*train/a\.tif has 3"):
        source.scenes("train")
    with pytest.raises(UserError, match=r"val/b\.tif has 2 band\(s\) .*train/a\.tif has 3"):
        source.scenes("validation")


def test_a_split_is_indexed_once(folder: Make) -> None:
    source = folder()
    assert source.scenes("train") is source.scenes("train")


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


# How splits are made.


def stems(source: Folder, split: str) -> list[str]:
    scenes = source.scenes(split)
    return [Path(scenes.name(index)).stem for index in range(len(scenes))]


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
