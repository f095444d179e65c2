"""Within the run's own source unusual scenes are said; of other data, what is wrong is rejected."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from jaxseg.datasets.folder.source import Folder
from jaxseg.metrics.boundaries import BoundaryTotal, Tolerance
from jaxseg.metrics.measure import Setting
from jaxseg.metrics.scene_shapes import SceneShapes
from jaxseg.pipeline import band_statistics
from jaxseg.run.contract import check_split, say_unlike
from jaxseg.scenes.agreement import MissingBandError, PixelSizeError, ScaleError
from jaxseg.scenes.cover import Cover
from jaxseg.scenes.scene import Window, gsd_of
from jaxseg.scenes.sensor import Sensor

SIDE = 32


def source(folder: Path, names: tuple[str, ...], *, first: int = 0, count: int = 4) -> Folder:
    """Files of random numbers, 0..255 as floats; the mask is a square."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        image = np.random.default_rng(number).integers(1, 255, (len(names), SIDE, SIDE))
        write(folder, number, image.astype(np.float32), names)
    return Folder(
        images=str(folder / "images"),
        masks=str(folder / "masks"),
        classes=("a", "b"),
        fractions=(1.0, 0.0, 0.0),
    )


def write(
    folder: Path, number: int, image: np.ndarray, names: tuple[str, ...], metres: float = 10.0
) -> None:
    """Writes one scene."""
    mask = np.zeros((1, SIDE, SIDE), np.uint8)
    mask[:, 8:24, 8:24] = 1
    for kind, pixels in (("images", image), ("masks", mask)):
        with rasterio.open(
            folder / kind / f"s{number}.tif",
            "w",
            driver="GTiff",
            height=SIDE,
            width=SIDE,
            count=len(pixels),
            dtype=pixels.dtype,
            crs="EPSG:32633",
            transform=from_origin(500_000 + 1000 * number, 5_300_000, metres, metres),
        ) as file:
            file.write(pixels)
            if kind == "images":
                file.descriptions = names


def measured(of: Folder) -> Sensor:
    found = band_statistics.look(of.scenes("train"), SIDE)
    return dataclasses.replace(of.sensor, typical=found.typical)


def test_one_file_on_another_scale_is_named_in_the_training_and_in_other_splits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("red", "green")
    good = source(tmp_path / "good", names)
    trained = measured(good)
    say_unlike(good, good.scenes("train"), band_statistics.look(good.scenes("train"), SIDE))
    check_split(trained, good, good.scenes("train"), "train", SIDE, "own")
    check_split(trained, good, good.scenes("train"), "train", SIDE, "other")
    assert capsys.readouterr().err == ""

    mixed = source(tmp_path / "mixed", names)
    small = np.random.default_rng(9).random((2, SIDE, SIDE)).astype(np.float32)
    write(tmp_path / "mixed", 2, small, names)
    scenes = mixed.scenes("train")
    say_unlike(mixed, scenes, band_statistics.look(scenes, SIDE))
    said = capsys.readouterr().err
    assert said.startswith("Of 4 train scenes, 1 unlike the others: ")
    assert "s2.tif has values of 0.00" in said
    check_split(trained, mixed, scenes, "test", SIDE, "own")
    assert "Of 4 test scenes, 1 unlike the training: " in capsys.readouterr().err
    with pytest.raises(ScaleError, match=r"s2.tif: the values span .*\n.*--no-check"):
        check_split(trained, mixed, scenes, "test", SIDE, "other")
    check_split(trained, mixed, scenes, "test", SIDE, "none")


def test_a_dark_scene_of_other_data_is_said_and_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("red", "green")
    trained = measured(source(tmp_path / "good", names))
    night = source(tmp_path / "night", names, count=1)
    dark = np.random.default_rng(9).integers(0, 6, (2, SIDE, SIDE)).astype(np.float32)
    write(tmp_path / "night", 0, dark, names)
    check_split(trained, night, night.scenes("train"), "test", SIDE, "other")
    assert "dark or bright scene" in capsys.readouterr().err


def test_without_the_check_the_number_of_bands_still_counts(tmp_path: Path) -> None:
    trained = measured(source(tmp_path / "two", ("red", "green")))
    one = source(tmp_path / "one", ("red",))
    with pytest.raises(MissingBandError, match=r"has 1 band\(s\) .* trained on 2"):
        check_split(trained, one, one.scenes("train"), "test", SIDE, "none")


def test_other_pixel_sizes_are_rejected_of_other_data_and_said_within_one_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("red",)
    trained = measured(source(tmp_path / "coarse", names))
    mixed = source(tmp_path / "mixed", names)
    image = np.random.default_rng(3).integers(1, 255, (1, SIDE, SIDE)).astype(np.float32)
    write(tmp_path / "mixed", 3, image, names, metres=0.5)
    assert "Pixels of several sizes" not in capsys.readouterr().err
    scenes = mixed.scenes("train")
    said = capsys.readouterr().err
    assert "s3.tif has 0.5 m" in said
    assert "(1 of 4 scenes differ" in said
    check_split(trained, mixed, scenes, "test", SIDE, "own")
    with pytest.raises(PixelSizeError, match=r"s3.tif has pixels of 0.5 m, .* 10 m.*--no-check"):
        check_split(trained, mixed, scenes, "test", SIDE, "other")
    check_split(trained, mixed, scenes, "test", SIDE, "none")
    assert [gsd_of(scenes, n, mixed) for n in (0, 3)] == [10.0, 0.5]


def test_metres_are_those_of_each_scene(tmp_path: Path) -> None:
    """A border that is off by two pixels is off by 20 m in one scene, by 1 m in the other."""
    names = ("red",)
    mixed = source(tmp_path, names, count=2)
    image = np.ones((1, SIDE, SIDE), np.float32)
    write(tmp_path, 1, image, names, metres=0.5)
    scenes = mixed.scenes("train")
    windows = [(n, Window(0, 0, SIDE, SIDE)) for n in range(2)]
    started = BoundaryTotal(tolerance=Tolerance(5.0, "metres")).start(Setting(2, SIDE, 10.0))
    shapes = SceneShapes(
        scenes, windows, Cover(SIDE, SIDE), [started], lambda n: gsd_of(scenes, n, mixed)
    )
    shifted = np.zeros((2, SIDE, SIDE), np.uint8)
    shifted[:, 10:26, 8:24] = 1
    met = []
    for _ in range(2):
        before = started.counts.copy()
        shapes.add(shifted[:1])
        met.append((started.counts - before)[1, :2])
    (coarse, border), (fine, _) = met
    assert fine == border  # 2 pixels are 1 m
    assert coarse < border  # 2 pixels are 20 m
    assert "F1 within 5 m" in started.summary()


def test_an_offset_that_was_not_added_is_said_before_it_clips(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("B02", "B03", "B04")
    both = source(tmp_path, names, count=2)
    draw = np.random.default_rng(0).integers
    write(tmp_path, 0, draw(1020, 4000, (3, SIDE, SIDE)).astype(np.uint16), names)
    write(tmp_path, 1, draw(20, 3000, (3, SIDE, SIDE)).astype(np.uint16), names)
    dataclasses.replace(both, added=1000, fractions=(0.5, 0.5, 0.0)).scenes("train")
    assert "clips" not in capsys.readouterr().err  # s0 holds it
    scenes = dataclasses.replace(both, added=1000).scenes("train")
    assert scenes.read(1, Window(0, 0, SIDE, SIDE))["image"].min() == 0
    said = capsys.readouterr().err
    assert f"added 1000 clips {tmp_path}/images/s1.tif: 2" in said
    assert "PROCESSING_BASELINE=04.00" in said
    tagged = both.scenes("train")
    say_unlike(both, tagged, band_statistics.look(tagged, SIDE))
    said = capsys.readouterr().err
    assert "s0.tif has darkest values above 1000" in said
    with rasterio.open(tmp_path / "images" / "s0.tif", "r+") as file:
        file.update_tags(PROCESSING_BASELINE="04.00")
    again = dataclasses.replace(both)
    look = band_statistics.look(again.scenes("train"), SIDE)
    capsys.readouterr()
    say_unlike(again, again.scenes("train"), look)
    assert capsys.readouterr().err == ""
