"""Two sensors over the same ground."""

from pathlib import Path

import numpy as np
import pytest
from fixtures.array_source import ArraySource, arrays

from jaxseg.datasets.landscape.source import Landscape
from jaxseg.datasets.mislabelled import Mislabelled
from jaxseg.datasets.paired import Paired, Stacked, without_side
from jaxseg.errors import UserError
from jaxseg.pipeline.windows import Data, read_window
from jaxseg.scenes.scene import Window
from jaxseg.scenes.sensor import Sensor


@pytest.fixture(scope="module")
def sensors(tmp_path_factory: pytest.TempPathFactory) -> tuple[Landscape, Landscape]:
    folder = str(tmp_path_factory.mktemp("landscape"))
    sar = Landscape(modality="sar", tiles=(2, 1, 1), data_dir=folder)
    return sar, Landscape(modality="optical", tiles=(2, 1, 1), data_dir=folder)


WINDOW = Window(8, 16, 32, 24)


def test_side_images_come_with_the_training_split_alone(
    sensors: tuple[Landscape, Landscape],
) -> None:
    pair = Paired(*sensors)
    assert pair.sensor.bands == ("VV", "VH")
    sample = pair.scenes("train").read(1, WINDOW)
    optical = sensors[1].scenes("train").read(1, WINDOW)
    np.testing.assert_array_equal(sample["side"], optical["image"])
    np.testing.assert_array_equal(sample["side_valid"], optical["valid"])
    own = sensors[0].scenes("test").read(0, WINDOW)
    assert pair.scenes("test").read(0, WINDOW).keys() == own.keys()


def test_evaluation_never_opens_the_side(sensors: tuple[Landscape, Landscape]) -> None:
    missing = Landscape(modality="optical", tiles=(-1, 0, 0))  # cannot be opened
    Paired(sensors[0], missing).scenes("test")
    with pytest.raises(UserError, match="tiles must be"):
        Paired(sensors[0], missing).scenes("train")


def test_without_side_no_split_opens_it(sensors: tuple[Landscape, Landscape]) -> None:
    missing = Landscape(modality="optical", tiles=(-1, 0, 0))  # cannot be opened
    wrong = Mislabelled(Paired(sensors[0], missing), share=0.3)
    assert without_side(wrong) == Mislabelled(sensors[0], share=0.3)
    assert "side" not in without_side(wrong).scenes("train").read(0, WINDOW)
    assert without_side(Stacked(*sensors)) == Stacked(*sensors)


def test_a_window_beyond_the_scene_has_no_side_either(
    sensors: tuple[Landscape, Landscape],
) -> None:
    pair = Paired(*sensors)
    sample = read_window(pair.scenes("train"), 0, Window(0, 0, 300, 256), Data(pair, pad=True))
    assert sample["side"].shape == (300, 256, 4)
    assert not sample["side_valid"][256:].any()
    assert not sample["side"][256:].any()


def test_stacked_sensors_are_one_image(sensors: tuple[Landscape, Landscape]) -> None:
    both = Stacked(*sensors)
    assert both.sensor.bands == ("VV", "VH", "B", "G", "R", "NIR")
    sample = both.scenes("test").read(0, WINDOW)
    parts = [sensor.scenes("test").read(0, WINDOW) for sensor in sensors]
    np.testing.assert_array_equal(sample["image"][..., :2], parts[0]["image"])
    np.testing.assert_array_equal(sample["image"][..., 2:], parts[1]["image"])
    np.testing.assert_array_equal(sample["valid"], parts[0]["valid"] & parts[1]["valid"])
    assert both.rgb(sample["image"]).shape == (32, 24, 3)


def test_other_ground_is_refused(sensors: tuple[Landscape, Landscape], tmp_path: Path) -> None:
    other = Landscape(modality="optical", tiles=(2, 1, 1), seed=1, data_dir=str(tmp_path))
    with pytest.raises(UserError, match="labels differ, so they do not show the same ground"):
        Paired(sensors[0], other).scenes("train").read(0, WINDOW)
    fewer = Landscape(modality="optical", tiles=(1, 1, 1), data_dir=str(tmp_path))
    with pytest.raises(UserError, match="has 2 scenes and its side 1"):
        Paired(sensors[0], fewer).scenes("train")


# On arrays: what comes from which of the two.

LABEL = (np.indices((6, 8)).sum(0) % 3).astype(np.uint8)
FIRST = ArraySource(
    tuple(arrays(LABEL, seed=seed, instance=LABEL.astype(np.int32)) for seed in (1, 2)),
    names=("one", "two"),
)
SECOND = ArraySource(
    tuple(arrays(LABEL, bands=3, seed=seed) for seed in (3, 4)),
    classes=("x", "y", "z"),
    colors=((0, 0, 0),) * 3,
    sensor=Sensor(("u", "v", "w")),
    names=("three", "four"),
)
PART = Window(1, 2, 4, 5)
CUT = (slice(1, 5), slice(2, 7))


def test_the_side_is_read_at_the_same_place_of_the_same_scene() -> None:
    pair = Paired(FIRST, SECOND)
    scenes = pair.scenes("train")
    assert (len(scenes), scenes.name(1), scenes.size(1)) == (2, "two", (6, 8))
    sample = scenes.read(1, PART)
    for field in ("image", "label", "valid", "instance"):
        np.testing.assert_array_equal(sample[field], FIRST.stored[1][field][CUT])
    np.testing.assert_array_equal(sample["side"], SECOND.stored[1]["image"][CUT])
    np.testing.assert_array_equal(sample["side_valid"], SECOND.stored[1]["valid"][CUT])
    for split in ("validation", "test"):
        assert pair.scenes(split).read(1, PART).keys() == FIRST.stored[1].keys()
    assert (pair.classes, pair.colors, pair.sensor) == (FIRST.classes, FIRST.colors, FIRST.sensor)
    image = FIRST.stored[0]["image"]
    np.testing.assert_array_equal(pair.rgb(image), FIRST.rgb(image))


def test_stacked_images_hold_the_first_ones_bands_first_and_are_valid_where_both_are() -> None:
    both = Stacked(FIRST, SECOND)
    for split in ("train", "test"):
        scenes = both.scenes(split)
        assert (len(scenes), scenes.name(0), scenes.size(0)) == (2, "one", (6, 8))
        sample = scenes.read(0, PART)
        one, other = FIRST.stored[0], SECOND.stored[0]
        np.testing.assert_array_equal(sample["image"][..., :2], one["image"][CUT])
        np.testing.assert_array_equal(sample["image"][..., 2:], other["image"][CUT])
        np.testing.assert_array_equal(sample["valid"], (one["valid"] & other["valid"])[CUT])
        np.testing.assert_array_equal(sample["label"], LABEL[CUT])
        assert "side" not in sample
        assert "instance" in sample
    assert both.sensor.bands == ("x", "y", "u", "v", "w")
    assert (both.classes, both.colors) == (FIRST.classes, FIRST.colors)
    image = np.arange(10).reshape(1, 2, 5)
    np.testing.assert_array_equal(both.rgb(image)[..., 0], [[1, 6]])  # the first one's last band


@pytest.mark.parametrize("kind", [Paired, Stacked])
def test_two_that_do_not_show_the_same_ground_are_refused_with_what_differs(
    kind: type[Paired] | type[Stacked],
) -> None:
    fewer = ArraySource(SECOND.stored[:1])
    with pytest.raises(UserError, match="source has 2 scenes and its side 1"):
        kind(FIRST, fewer).scenes("train")
    larger = ArraySource(
        tuple(arrays(np.pad(LABEL, ((0, 0), (0, 3))), bands=3) for _ in range(2)),
        names=("three", "four"),
    )
    with pytest.raises(UserError, match=r"two and four: 6 x 8 and 6 x 11 pixels; .*one grid"):
        kind(FIRST, larger).scenes("train").read(1, PART)
    taller = ArraySource(tuple(arrays(np.pad(LABEL, ((0, 2), (0, 0))), bands=3) for _ in range(2)))
    with pytest.raises(UserError, match="6 x 8 and 8 x 8 pixels"):
        kind(FIRST, taller).scenes("train").read(0, PART)
    other = LABEL.copy()
    other[3, 3] += 1
    other = ArraySource((arrays(LABEL, bands=3), arrays(other, bands=3)), names=("three", "four"))
    scenes = kind(FIRST, other).scenes("train")
    scenes.read(0, PART)
    scenes.read(1, Window(0, 0, 3, 8))  # above the pixel that differs
    with pytest.raises(UserError, match="two and four: their labels differ"):
        scenes.read(1, PART)


def test_a_source_without_a_side_stays_as_it_is() -> None:
    pair = Paired(FIRST, SECOND)
    assert without_side(FIRST) is FIRST
    assert without_side(pair) is FIRST
    assert without_side(Paired(pair, SECOND)) is FIRST
    assert without_side(Mislabelled(pair, share=0.2)) == Mislabelled(FIRST, share=0.2)
