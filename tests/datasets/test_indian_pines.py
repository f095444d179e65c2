"""Indian Pines: one scene, of which each split shows its own labels."""

from pathlib import Path

import numpy as np
import pytest

from jaxseg.datasets.indian_pines import CLASSES, IndianPines
from jaxseg.datasets.one_scene import SceneSplit
from jaxseg.errors import UserError
from jaxseg.pipeline.windows import Data, evaluation_windows
from jaxseg.scenes.scene import IGNORE, Source, Window

WHOLE = Window(0, 0, 145, 145)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Two files of the real names, shapes and types, with fields of 29 x 29 pixels."""
    random = np.random.default_rng(0)
    rows, columns = np.indices((145, 145)) // 29
    ids = (5 * rows + columns) % 17
    np.save(tmp_path / "Indian_pines_gt.npy", ids.astype(np.uint8))
    image = random.integers(900, 9700, (145, 145, 200), np.uint16)
    np.save(tmp_path / "Indian_pines_corrected.npy", image)
    return str(tmp_path)


def labels(source: IndianPines) -> list[np.ndarray]:
    return [
        source.scenes(split).read(0, WHOLE)["label"] for split in ("train", "validation", "test")
    ]


@pytest.mark.parametrize("split", ["blocks", "pixels"])
def test_splits_share_the_image_and_no_label(folder: str, split: str) -> None:
    source = IndianPines(path=folder, split=SceneSplit(split))  # type: ignore[arg-type]
    shown = np.array([label != IGNORE for label in labels(source)])
    assert shown.any((1, 2)).all()
    assert shown.sum(0).max() == 1
    truth = np.load(Path(folder) / "Indian_pines_gt.npy")
    for label in labels(source):
        assert (label[label != IGNORE] + 1 == truth[label != IGNORE]).all()
    images = [source.scenes(name).read(0, WHOLE)["image"] for name in ("train", "test")]
    np.testing.assert_array_equal(images[0], images[1])


def test_it_is_a_source_of_200_bands_that_are_named(folder: str) -> None:
    source = IndianPines(path=folder)
    assert isinstance(source, Source)
    assert len(source.sensor.bands) == len(set(source.sensor.bands)) == 200
    assert len(source.classes) == len(source.colors) == len(CLASSES) == 16
    sample = source.scenes("test").read(0, Window(3, 5, 20, 30))
    assert sample["image"].shape == (20, 30, 200)
    assert source.rgb(sample["image"]).shape == (20, 30, 3)
    data = Data(source=source, crop=64, evaluation_crop=145)
    assert evaluation_windows(source.scenes("test"), data) == [(0, WHOLE)]


def test_a_split_by_pixels_warns(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    IndianPines(path=folder, split=SceneSplit("pixels", seed=41)).scenes("train")
    assert "leaks" in capsys.readouterr().err
    IndianPines(path=folder, split=SceneSplit(seed=41)).scenes("train")
    assert not capsys.readouterr().err


@pytest.mark.parametrize("name", ["Indian_pines_corrected.npy", "Indian_pines_gt.npy"])
def test_a_truncated_file_is_named(folder: str, name: str) -> None:
    path = Path(folder) / name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=rf"Cannot read .*{name}: .*Install .* anew"):
        IndianPines(path=folder).scenes("train")


def test_files_that_are_missing_or_another_scene_are_refused(folder: str) -> None:
    with pytest.raises(UserError, match="Cannot read"):
        IndianPines(path="nowhere").scenes("train")
    with pytest.raises(UserError, match="choose one of train, validation, test"):
        IndianPines(path=folder).scenes("val")
    other = Path(folder) / "other"
    other.mkdir()
    np.save(other / "Indian_pines_corrected.npy", np.zeros((10, 10, 200), np.uint16))
    np.save(other / "Indian_pines_gt.npy", np.zeros((10, 10), np.uint8))
    with pytest.raises(UserError, match="are not Indian Pines"):
        IndianPines(path=str(other)).scenes("train")
