"""Scenes side by side are one scene only if equal values mean the same in all of them."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from fixtures import painted
from rasterio.transform import from_origin

from jaxseg.errors import UserError
from jaxseg.prediction.archive import SceneFiles
from jaxseg.prediction.image import Image, Scene
from jaxseg.prediction.opening import open_mosaic
from jaxseg.scenes.agreement import BaselineError
from jaxseg.scenes.scene import Window
from jaxseg.scenes.sensor import Sensor

TRAINED = Sensor(("B04", "B03"))


def write(folder: Path, name: str, column: int, value: int, baseline: str) -> SceneFiles:
    """4 x 6 pixels of 10 m, so many columns to the east."""
    path = folder / f"{name}.tif"
    form = {"crs": "EPSG:32632", "transform": from_origin(6e5 + 10 * column, 5.3e6, 10, 10)}
    with rasterio.open(path, "w", "GTiff", 6, 4, 2, dtype="uint16", **form) as file:
        file.write(np.full((2, 4, 6), value, np.uint16))
        for number, band in enumerate(TRAINED.bands, start=1):
            file.set_band_description(number, band)
        if baseline:
            file.update_tags(PROCESSING_BASELINE=baseline)
    return SceneFiles(name, (str(path),))


def opened(folder: Path, first: str, second: str, image: Image = Image()) -> Scene:  # noqa: B008
    scenes = [write(folder, "a", 0, 1200, first), write(folder, "b", 6, 1300, second)]
    return open_mosaic(scenes, painted.Painted(), TRAINED, image)


@pytest.mark.parametrize("other", ["03.01", ""])
def test_scenes_of_another_processing_baseline_are_not_put_together(
    tmp_path: Path, other: str
) -> None:
    with pytest.raises(BaselineError, match=r"several processing baselines.*a\.tif.*b\.tif"):
        opened(tmp_path, "04.00", other)


@pytest.mark.parametrize(
    ("first", "second", "value"), [("05.09", "05.10", 200), ("03.00", "", 1200)]
)
def test_baselines_that_add_the_same_are_put_together(
    tmp_path: Path, first: str, second: str, value: int
) -> None:
    image, _ = opened(tmp_path, first, second).read(Window(0, 0, 4, 12))
    np.testing.assert_array_equal(image[0, :, 0], [value] * 6 + [value + 100] * 6)


def test_scenes_of_one_baseline_lose_what_it_added(tmp_path: Path) -> None:
    image, valid = opened(tmp_path, "04.00", "04.00").read(Window(0, 0, 4, 12))
    assert valid.all()
    np.testing.assert_array_equal(image[0, :, 0], [200] * 6 + [300] * 6)


def test_what_was_added_may_be_told_for_scenes_of_any_baseline(tmp_path: Path) -> None:
    scene = opened(tmp_path, "04.00", "03.01", Image(added=0))
    image, _ = scene.read(Window(0, 0, 4, 12))
    np.testing.assert_array_equal(image[0, :, 0], [1200] * 6 + [1300] * 6)


@pytest.mark.parametrize(
    ("what", "value"),
    [("scales", (0.1, 0.1)), ("offsets", (0.0, 5.0)), ("descriptions", ("a", "b"))],
)
def test_scenes_of_another_scale_or_other_bands_are_not_put_together(
    tmp_path: Path, what: str, value: tuple[object, object]
) -> None:
    scenes = [write(tmp_path, "a", 0, 1200, ""), write(tmp_path, "b", 6, 1300, "")]
    open_mosaic(scenes, painted.Painted(), TRAINED, Image())
    with rasterio.open(scenes[1].paths[0], "r+") as file:
        setattr(file, what, value)
    with pytest.raises(UserError, match=r"b\.tif has the .*a\.tif .*Map them one by one"):
        open_mosaic(scenes, painted.Painted(), TRAINED, Image())
