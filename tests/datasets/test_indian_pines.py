"""Indian Pines: one scene, of which each split shows its own labels."""

import dataclasses
import importlib.util
import types
from pathlib import Path

import numpy as np
import pytest

from jaxseg.datasets import indian_pines
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
    assert list(evaluation_windows(source.scenes("test"), data)) == [(0, WHOLE)]


def test_a_split_by_pixels_warns(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    IndianPines(path=folder, split=SceneSplit("pixels", seed=41)).scenes("train")
    assert "leaks" in capsys.readouterr().err
    IndianPines(path=folder, split=SceneSplit(seed=41)).scenes("train")
    assert not capsys.readouterr().err


@pytest.mark.parametrize("name", ["Indian_pines_corrected.npy", "Indian_pines_gt.npy"])
def test_a_truncated_file_is_named(folder: str, name: str) -> None:
    path = Path(folder) / name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=rf"Cannot read .*{name}: .*Reinstall .*"):
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


def shown(source: IndianPines) -> np.ndarray:
    """(3, 145, 145), which labels each split shows."""
    return np.array([label != IGNORE for label in labels(source)])


def test_every_setting_of_the_split_reaches_it(folder: str) -> None:
    pixels = IndianPines(path=folder, split=SceneSplit("pixels", (0.2, 0.3, 0.5)))
    drawn = shown(pixels)
    shares = drawn.sum((1, 2)) / drawn.sum()
    np.testing.assert_allclose(shares, (0.2, 0.3, 0.5), atol=0.001)
    other = shown(dataclasses.replace(pixels, split=SceneSplit("pixels", (0.2, 0.3, 0.5), seed=1)))
    assert (drawn != other).any()


def test_numbers_are_those_of_the_files_and_pixels_without_an_id_have_no_label(folder: str) -> None:
    source = IndianPines(path=folder, split=SceneSplit("pixels", (1.0, 0.0, 0.0)))
    sample = source.scenes("train").read(0, WHOLE)
    ids = np.load(Path(folder) / "Indian_pines_gt.npy")
    np.testing.assert_array_equal(sample["label"], np.where(ids == 0, IGNORE, ids - 1.0))
    image = np.load(Path(folder) / "Indian_pines_corrected.npy")
    np.testing.assert_array_equal(sample["image"], image)
    assert (sample["image"].dtype, sample["label"].dtype) == (np.uint16, np.uint8)
    assert sample["valid"].all()
    np.testing.assert_array_equal(source.rgb(image), image[..., [28, 18, 10]])
    assert source.rgb(image).dtype == np.float32
    assert source.scenes("test").name(0) == "Indian Pines, test pixels"


def test_the_bands_are_aviris_without_those_of_atmospheric_water(folder: str) -> None:
    sensor = IndianPines(path=folder).sensor
    numbers = [int(band.removeprefix("AVIRIS ")) for band in sensor.bands]
    absorbed = [*range(104, 109), *range(150, 164), 220]
    assert sorted(numbers + absorbed) == list(range(1, 221))
    assert numbers == sorted(numbers)
    assert (sensor.unit, sensor.gsd, sensor.scale) == ("radiance", 20.0, None)


def test_ids_beyond_the_classes_are_no_indian_pines(folder: str) -> None:
    ids = np.load(Path(folder) / "Indian_pines_gt.npy")
    ids[0, 0] = 17
    np.save(Path(folder) / "Indian_pines_gt.npy", ids)
    with pytest.raises(UserError, match="ids 0 to 16"):
        IndianPines(path=folder).scenes("train")


def test_without_a_path_the_scene_is_that_of_the_installed_package(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    (package / "datasets").mkdir(parents=True)
    (package / "datasets" / "data").symlink_to(folder)
    found = types.SimpleNamespace(submodule_search_locations=[str(package)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    indian_pines._scene.cache_clear()
    source = IndianPines(split=SceneSplit("pixels"))
    assert source.scenes("train").read(0, WHOLE)["image"].shape == (145, 145, 200)
    for missing in (None, types.SimpleNamespace(submodule_search_locations=None)):
        indian_pines._scene.cache_clear()
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, missing=missing: missing)
        with pytest.raises(UserError, match=r"pip install 'jaxseg\[hyperspectral\]'"):
            source.scenes("train")
    indian_pines._scene.cache_clear()
