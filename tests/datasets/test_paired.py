"""Two sensors over the same ground."""

from pathlib import Path

import numpy as np
import pytest

from jaxseg.datasets.landscape.source import Landscape
from jaxseg.datasets.mislabelled import Mislabelled
from jaxseg.datasets.paired import Paired, Stacked, without_side
from jaxseg.errors import UserError
from jaxseg.pipeline.windows import Data, read_window
from jaxseg.scenes.scene import Window


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
