"""Salinas-A: ids with gaps become classes, splits show their own labels, faults name the file."""

from pathlib import Path

import numpy as np
import pytest
from fixtures.places import SHARED
from scipy import io, ndimage

from jaxseg.datasets.one_scene import SceneSplit
from jaxseg.datasets.salinas_a import CLASSES, IDS, SalinasA
from jaxseg.errors import UserError
from jaxseg.pipeline.windows import Data
from jaxseg.run import fitting
from jaxseg.scenes.scene import IGNORE, Source, Window
from jaxseg.transforms.hyperspectral import PCA
from jaxseg.transforms.radiometry import Standardize

WHOLE = Window(0, 0, 83, 86)
DATA = SHARED / "data" / "hyperspectral_salinasA"


def write(folder: Path, image: np.ndarray, ids: np.ndarray) -> None:
    io.savemat(folder / "SalinasA_corrected.mat", {"salinasA_corrected": image})
    io.savemat(folder / "SalinasA_gt.mat", {"salinasA_gt": ids}, do_compression=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of the real names, shapes and types, with fields of 14 x 14 pixels."""
    rows, columns = np.indices((83, 86)) // 14
    ids = np.array([0, *IDS], np.uint8)[(3 * rows + columns) % 7]
    image = np.random.default_rng(0).integers(-9, 8374, (83, 86, 204)).astype(np.int16)
    write(tmp_path, image, ids)
    return tmp_path


@pytest.mark.parametrize("split", ["blocks", "pixels"])
def test_splits_share_the_image_and_no_label(folder: Path, split: str) -> None:
    source = SalinasA(path=str(folder), split=SceneSplit(split))  # type: ignore[arg-type]
    assert isinstance(source, Source)
    assert len(source.sensor.bands) == len(set(source.sensor.bands)) == 204
    truth = io.loadmat(str(folder / "SalinasA_gt.mat"))["salinasA_gt"]
    shown = np.zeros((83, 86), int)
    for name in ("train", "validation", "test"):
        sample = source.scenes(name).read(0, WHOLE)
        label, known = sample["label"], sample["label"] != IGNORE
        assert (np.array(IDS)[label[known]] == truth[known]).all()
        assert sample["image"].shape == (83, 86, 204)
        shown += known
    assert shown.max() == 1
    assert set(np.unique(truth[shown > 0])) == set(IDS)


@pytest.mark.parametrize("name", ["SalinasA_corrected.mat", "SalinasA_gt.mat"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_file_is_named(folder: Path, name: str, share: float) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=rf"{name}.*Fetch it again"):
        SalinasA(path=str(folder)).scenes("train")


def test_missing_or_other_files_are_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read nowhere/SalinasA_corrected\.mat"):
        SalinasA(path="nowhere").scenes("train")
    image, ids = np.zeros((83, 86, 204), np.int16), np.ones((83, 86), np.uint8)
    for number, (pixels, values, message) in enumerate(
        [
            (image[..., :200], ids, r"corrected\.mat holds one of \(83, 86, 200\)"),
            (image, ids[1:], r"gt\.mat holds one of \(82, 86\)"),
            (image, ids * 7, r"gt\.mat: id 7 is not a class of Salinas-A"),
        ]
    ):
        other = folder / str(number)
        other.mkdir()
        write(other, pixels, values)
        with pytest.raises(UserError, match=message):
            SalinasA(path=str(other)).scenes("train")
    io.savemat(folder / "SalinasA_gt.mat", {"something": ids})
    with pytest.raises(UserError, match=r"gt\.mat has no array 'salinasA_gt'.*something \(83 x 86"):
        SalinasA(path=str(folder)).scenes("train")


def test_every_setting_of_the_split_reaches_it(folder: Path) -> None:
    def shown(source: SalinasA) -> np.ndarray:
        names = ("train", "validation", "test")
        return np.array([source.scenes(n).read(0, WHOLE)["label"] != IGNORE for n in names])

    blocks = SalinasA(path=str(folder))
    first = shown(blocks)
    away = ndimage.distance_transform_cdt(~first[0], metric="chessboard")
    assert away[first[1] | first[2]].min() > blocks.split.guard
    drawn = shown(SalinasA(str(folder), SceneSplit("pixels", (0.2, 0.3, 0.5))))
    np.testing.assert_allclose(drawn.sum((1, 2)) / drawn.sum(), (0.2, 0.3, 0.5), atol=0.001)
    assert (
        drawn != shown(SalinasA(str(folder), SceneSplit("pixels", (0.2, 0.3, 0.5), seed=1)))
    ).any()


def test_numbers_are_those_of_the_files_and_ids_become_classes(folder: Path) -> None:
    source = SalinasA(path=str(folder), split=SceneSplit("pixels", (1.0, 0.0, 0.0)))
    sample = source.scenes("train").read(0, WHOLE)
    ids = io.loadmat(str(folder / "SalinasA_gt.mat"))["salinasA_gt"]
    image = io.loadmat(str(folder / "SalinasA_corrected.mat"))["salinasA_corrected"]
    expected = np.full(ids.shape, IGNORE)
    for number, value in enumerate((1, 10, 11, 12, 13, 14)):
        expected[ids == value] = number
    np.testing.assert_array_equal(sample["label"], expected)
    np.testing.assert_array_equal(sample["image"], image)
    assert (sample["image"].dtype, sample["label"].dtype) == (np.int16, np.uint8)
    assert sample["valid"].all()
    np.testing.assert_array_equal(source.rgb(image), image[..., [28, 18, 10]])
    assert source.scenes("test").name(0) == "Salinas-A, test pixels"
    with pytest.raises(UserError, match="Split 'val' of Salinas-A"):
        source.scenes("val")


def test_the_bands_are_aviris_without_those_of_atmospheric_water() -> None:
    sensor = SalinasA().sensor
    numbers = [int(band.removeprefix("AVIRIS ")) for band in sensor.bands]
    absorbed = [*range(108, 113), *range(154, 168), 224]
    assert sorted(numbers + absorbed) == list(range(1, 225))
    assert numbers == sorted(numbers)
    assert (sensor.unit, sensor.gsd, sensor.scale) == ("radiance", 3.7, None)
    assert SalinasA().classes == CLASSES
    assert len(set(SalinasA().colors)) == 6


@pytest.mark.real_data
def test_the_real_scene_has_its_classes() -> None:
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is absent: the real sets lie beside the checkout")
    source = SalinasA(path=str(DATA), split=SceneSplit("pixels"))
    labels = [source.scenes(name).read(0, WHOLE)["label"] for name in ("train", "test")]
    for label in labels:
        assert set(np.unique(label)) == {*range(len(CLASSES)), IGNORE}
    assert int((labels[1] != IGNORE).sum()) == pytest.approx(5348 / 2, abs=6)


@pytest.mark.parametrize("step", [Standardize(), PCA(3)], ids=["Standardize", "PCA"])
@pytest.mark.parametrize("crop", [32, 83])
def test_radiometry_is_fitted_to_training_pixels_alone(
    folder: Path, step: Standardize | PCA, crop: int
) -> None:
    source = SalinasA(path=str(folder))
    sample = source.scenes("train").read(0, WHOLE)
    trains = sample["label"] != IGNORE
    (found,) = fitting.fitted((step,), Data(source=source, crop=crop))
    assert isinstance(found, Standardize | PCA)
    pixels = sample["image"][trains].astype(np.float64)
    np.testing.assert_allclose(found.mean, pixels.mean(0), rtol=1e-5)
    if isinstance(found, Standardize):
        np.testing.assert_allclose(found.std, pixels.std(0), rtol=1e-5)
    # Whatever test pixels hold, it was not looked at.
    image = sample["image"].copy()
    image[~trains] = 30_000
    write(folder, image, io.loadmat(str(folder / "SalinasA_gt.mat"))["salinasA_gt"])
    again = SalinasA(path=str(folder))
    assert fitting.fitted((step,), Data(source=again, crop=crop)) == (found,)
