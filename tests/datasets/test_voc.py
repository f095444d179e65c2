"""Tests of `jaxseg.datasets.voc` on a tiny folder of VOC's layout."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxseg.datasets.voc import CLASSES, COLORS, VOC
from jaxseg.errors import UserError
from jaxseg.losses.border_weights import Separation
from jaxseg.pipeline.windows import Data, read_window
from jaxseg.scenes.scene import IGNORE, Window

SIZES = {"2007_000032": (40, 50), "2007_000039": (36, 30), "2007_000063": (30, 44), "9": (20, 20)}


def write_devkit(root: Path) -> Path:
    """Two training images, one for validation, and one more in trainaug."""
    year = root / "VOCdevkit" / "VOC2012"
    for part in ("JPEGImages", "SegmentationClass", "SegmentationClassAug"):
        (year / part).mkdir(parents=True)
    lists = year / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    names = list(SIZES)
    for index, (name, (height, width)) in enumerate(SIZES.items()):
        rows = np.arange(height)[:, None] * np.ones(width)
        image = np.stack([rows * 4, rows * 0 + 20 * index, rows * 2], -1).astype(np.uint8)
        Image.fromarray(image).save(year / "JPEGImages" / f"{name}.jpg", quality=95)
        label = np.full((height, width), index, np.uint8)
        label[:, :3] = IGNORE
        Image.fromarray(label).save(year / "SegmentationClassAug" / f"{name}.png")
        if name != "9":
            picture = Image.fromarray(label, mode="P")
            picture.putpalette([part for color in COLORS for part in color])
            picture.save(year / "SegmentationClass" / f"{name}.png")
    (lists / "train.txt").write_text("\n".join(names[:2]) + "\n")
    (lists / "val.txt").write_text(names[2] + "\n")
    (lists / "trainaug.txt").write_text("\n".join([names[0], names[1], names[3]]) + "\n")
    return root / "VOCdevkit"


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    return write_devkit(tmp_path)


def source(devkit: Path, **fields: object) -> VOC:
    return VOC(path=str(devkit), data_dir=str(devkit.parent / "built"), **fields)  # type: ignore[arg-type]


def test_images_and_masks_arrive_in_the_order_of_the_list(devkit: Path) -> None:
    scenes = source(devkit).scenes("train")
    assert [scenes.name(i) for i in range(len(scenes))] == ["2007_000032", "2007_000039"]
    assert [scenes.size(i) for i in range(2)] == [(40, 50), (36, 30)]
    sample = scenes.read(1, Window(4, 0, 30, 20))
    assert sample["image"].shape == (30, 20, 3)
    assert sample["image"].dtype == sample["label"].dtype == np.uint8
    assert (sample["label"][:, :3] == IGNORE).all()
    assert (sample["label"][:, 3:] == 1).all()
    assert sample["valid"].all()
    expected = np.arange(4, 34)[:, None] * 4
    assert abs(sample["image"][..., 0].astype(int) - expected).max() < 8  # JPEG


def test_test_is_validation_and_aug_adds_training_images(devkit: Path) -> None:
    augmented = source(devkit, augmented=True)
    assert len(augmented.scenes("train")) == 3
    assert augmented.scenes("train").size(2) == (20, 20)
    for split in ("validation", "test"):
        assert [augmented.scenes(split).name(0), len(augmented.scenes(split))] == ["2007_000063", 1]


def test_connected_regions_are_the_objects_of_the_edge_weighted_loss(devkit: Path) -> None:
    label = np.zeros((36, 30), np.uint8)
    label[5:20, 5:10], label[5:20, 13:18], label[5:20, 18:22], label[22:, :] = 7, 7, 9, IGNORE
    mask = devkit / "VOC2012" / "SegmentationClass" / "2007_000039.png"
    picture = Image.fromarray(label, mode="P")
    picture.putpalette([part for color in COLORS for part in color])
    picture.save(mask)
    data = Data(source=source(devkit), crop=30)
    window = Window(0, 0, 36, 30)
    sample = read_window(data.source.scenes("train"), 1, window, data, (Separation(),))
    assert sample["separation"][10, 11] == 2 + 2  # two pixels to either side
    assert sample["separation"][10, 17] == 0 + 1  # the last one of its class
    assert sample["label"][30, 3] == IGNORE


def test_the_built_files_are_used_again_until_the_folder_changes(devkit: Path) -> None:
    source(devkit).scenes("train")
    built = sorted(devkit.parent.glob("built/voc_segmentation/*"))
    source(devkit).scenes("validation")
    assert sorted(devkit.parent.glob("built/voc_segmentation/*")) == built
    mask = devkit / "VOC2012" / "SegmentationClass" / "2007_000032.png"
    Image.fromarray(np.full((40, 50), 7, np.uint8)).save(mask)
    assert (source(devkit).scenes("train").read(0, Window(0, 0, 40, 50))["label"] == 7).all()


def test_the_inner_folder_may_be_named_too(devkit: Path) -> None:
    assert len(source(devkit / "VOC2012").scenes("train")) == 2


def test_scenes_can_be_pickled(devkit: Path) -> None:
    scenes = source(devkit).scenes("train")
    copy = pickle.loads(pickle.dumps(scenes))
    window = Window(0, 0, 40, 50)
    np.testing.assert_array_equal(copy.read(0, window)["image"], scenes.read(0, window)["image"])


def test_classes_and_colours_are_the_challenges() -> None:
    assert len(CLASSES) == len(COLORS) == 21
    known = {"background": (0, 0, 0), "aeroplane": (128, 0, 0), "tvmonitor": (0, 64, 128)}
    assert {name: COLORS[CLASSES.index(name)] for name in known} == known


def test_an_incomplete_folder_is_told(devkit: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no .*JPEGImages.*path has to be the folder"):
        source(tmp_path / "nothing").scenes("train")
    (devkit / "VOC2012" / "JPEGImages" / "2007_000039.jpg").unlink()
    with pytest.raises(UserError, match=r"2007_000039\.jpg, which a list names"):
        source(devkit).scenes("train")
    shutil.rmtree(devkit / "VOC2012" / "SegmentationClassAug")
    with pytest.raises(UserError, match="SegmentationClassAug"):
        source(devkit, augmented=True).scenes("train")


def test_a_bad_file_is_named_and_leaves_no_half_built_set(devkit: Path) -> None:
    mask = devkit / "VOC2012" / "SegmentationClass" / "2007_000039.png"
    sound = mask.read_bytes()
    Image.fromarray(np.full((36, 30), 33, np.uint8)).save(mask)
    with pytest.raises(UserError, match=r"2007_000039\.png: value 33 at row 0, column 0"):
        source(devkit).scenes("train")
    Image.fromarray(np.zeros((36, 31), np.uint8)).save(mask)
    with pytest.raises(UserError, match="36 x 31 pixels"):
        source(devkit).scenes("train")
    Image.fromarray(np.zeros((36, 30, 3), np.uint8)).save(mask)
    with pytest.raises(UserError, match="holds colours"):
        source(devkit).scenes("train")
    mask.write_bytes(sound[: len(sound) // 2])
    with pytest.raises(UserError, match=r"Cannot read .*2007_000039\.png"):
        source(devkit).scenes("train")
    mask.write_bytes(sound)
    jpeg = devkit / "VOC2012" / "JPEGImages" / "2007_000032.jpg"
    jpeg.write_bytes(jpeg.read_bytes()[:300])
    with pytest.raises(UserError, match=r"2007_000032\.jpg"):
        source(devkit).scenes("train")


def test_an_unknown_split_is_refused(devkit: Path) -> None:
    with pytest.raises(UserError, match="'dev'"):
        source(devkit).scenes("dev")


@pytest.mark.parametrize("value", [21, 22, 200, 254])
def test_values_that_are_neither_a_class_nor_void_are_refused(devkit: Path, value: int) -> None:
    mask = devkit / "VOC2012" / "SegmentationClass" / "2007_000039.png"
    label = np.zeros((36, 30), np.uint8)
    label[:, 0], label[4, 7], label[5, 2] = IGNORE, value, value
    Image.fromarray(label).save(mask)
    with pytest.raises(UserError, match=rf"value {value} at row 4, column 7 is not a class of VOC"):
        source(devkit).scenes("train")


def test_the_last_class_and_void_are_taken(devkit: Path) -> None:
    mask = devkit / "VOC2012" / "SegmentationClass" / "2007_000039.png"
    label = np.full((36, 30), 20, np.uint8)
    label[0] = IGNORE
    Image.fromarray(label).save(mask)
    found = source(devkit).scenes("train").read(1, Window(0, 0, 36, 30))["label"]
    np.testing.assert_array_equal(found, label)
    Image.fromarray(label.astype(np.uint16)).save(mask)
    with pytest.raises(UserError, match="holds colours, not ids"):
        source(devkit).scenes("train")


def test_masks_are_those_of_the_list_that_is_trained_on(devkit: Path) -> None:
    """Of the larger list in training alone; VOC's own for validation."""
    year = devkit / "VOC2012"
    for folder, value in (("SegmentationClass", 4), ("SegmentationClassAug", 9)):
        for name, size in SIZES.items():
            if folder.endswith("Aug") or name != "9":
                label = np.full(size, value, np.uint8)
                Image.fromarray(label).save(year / folder / f"{name}.png")
    found = {}
    for augmented in (False, True):
        for split in ("train", "validation", "test"):
            scenes = source(devkit, augmented=augmented).scenes(split)
            found[augmented, split] = int(scenes.read(0, Window(0, 0, 1, 1))["label"][0, 0])
    assert {key for key, value in found.items() if value == 9} == {(True, "train")}


def test_lines_of_a_list_may_hold_more_than_the_name(devkit: Path) -> None:
    lists = devkit / "VOC2012" / "ImageSets" / "Segmentation"
    (lists / "train.txt").write_text("\nJPEGImages/2007_000039.jpg  1\n\n")
    scenes = source(devkit).scenes("train")
    assert [scenes.name(index) for index in range(len(scenes))] == ["2007_000039"]
    (lists / "val.txt").write_text("\n")
    with pytest.raises(UserError, match=r"val\.txt names no image"):
        source(devkit).scenes("train")


def test_another_year_is_another_folder(devkit: Path) -> None:
    with pytest.raises(UserError, match=r"There is no .*VOC2007.*with VOC2007/JPEGImages in it"):
        source(devkit, year="2007").scenes("train")
    (devkit / "VOC2012").rename(devkit / "VOC2007")
    assert len(source(devkit, year="2007").scenes("train")) == 2


def test_counts_lie_with_the_built_files_which_change_with_every_file(devkit: Path) -> None:
    seen = {source(devkit).counts_file(), source(devkit, augmented=True).counts_file()}
    assert len(seen) == 2
    for path in seen:
        assert path.name == "class_counts.json"
        assert path.parent.is_dir()
        assert devkit.parent / "built" in path.parents
    jpeg = devkit / "VOC2012" / "JPEGImages" / "2007_000063.jpg"  # of validation
    os.utime(jpeg, (9, 9))
    seen.add(source(devkit).counts_file())
    assert len(seen) == 3
    jpeg.write_bytes(jpeg.read_bytes() + b"0")
    os.utime(jpeg, (9, 9))
    seen.add(source(devkit).counts_file())
    assert len(seen) == 4


def test_a_photograph_is_its_own_picture(devkit: Path) -> None:
    opened = source(devkit)
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    np.testing.assert_array_equal(opened.rgb(image), image)
    assert opened.rgb(image).dtype == np.float32
    assert opened.sensor.bands == ("red", "green", "blue")
    assert (opened.sensor.unit, opened.sensor.scale) == ("digital number", 1.0)
    assert (opened.classes, opened.colors) == (CLASSES, COLORS)


def test_colours_of_the_challenge_follow_the_bits_of_the_id() -> None:
    known = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128)]
    known += [(0, 128, 128), (128, 128, 128), (64, 0, 0), (192, 0, 0), (64, 128, 0)]
    assert list(COLORS[:11]) == known
    assert COLORS[15] == (192, 128, 128)
    assert COLORS[16] == (0, 64, 0)
    assert len(set(COLORS)) == 21
