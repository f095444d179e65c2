"""A map of a network that is adapted to the scene: which windows are looked at, what follows."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rasterio
from fixtures.mapped import answering_run, classes, mapper, write
from fixtures.networks import drawn, shapes
from fixtures.small_network import Small
from numpy.typing import NDArray

from jaxseg.config import Config
from jaxseg.datasets import Landscape
from jaxseg.errors import UserError
from jaxseg.pipeline.windows import Data
from jaxseg.prediction import Settings, Share, adaptation
from jaxseg.prediction.archive import SceneFiles
from jaxseg.run.adapted import WINDOWS, Adapt
from jaxseg.run.loaded import Run
from jaxseg.scenes.scene import Window
from jaxseg.scenes.sensor import Sensor
from jaxseg.transforms import HistogramMatching, Standardize

SIDE = 32


class Blank:
    """A scene of zeros, which has data from some column on."""

    def __init__(self, height: int, width: int, first: int = 0) -> None:  # noqa: D107
        self.height, self.width, self._first = height, width, first

    def padded(self, window: Window) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """Zeros."""
        size = window.height, window.width
        columns = np.arange(window.x, window.x + window.width)
        return np.zeros((*size, 1)), np.broadcast_to(columns >= self._first, size)


@pytest.mark.parametrize("size", [(320, 320), (3200, 3200), (320, 64000), (64000, 40), (330, 1000)])
def test_a_few_windows_lie_all_over_a_scene(size: tuple[int, int]) -> None:
    height, width = size
    found = adaptation.spread(Blank(height, width), SIDE)
    every = -(-height // SIDE) * -(-width // SIDE)
    assert len(set(found)) == len(found) <= WINDOWS
    assert len(found) >= min(every, WINDOWS) // 2
    assert all(0 <= w.y <= height - SIDE and 0 <= w.x <= width - SIDE for w in found)
    for starts, length in (([w.y for w in found], height), ([w.x for w in found], width)):
        if len(set(starts)) > 1:
            assert (min(starts), max(starts)) == (0, length - SIDE)


def test_a_scene_smaller_than_a_window_is_one_window() -> None:
    assert adaptation.spread(Blank(20, 9), SIDE) == [Window(0, 0, SIDE, SIDE)]


def test_windows_with_few_data_are_not_looked_at() -> None:
    found = adaptation.spread(Blank(SIDE, 4 * SIDE, first=SIDE + 20), SIDE)
    assert [window.x for window in found] == [2 * SIDE, 3 * SIDE]
    assert adaptation.spread(Blank(SIDE, 4 * SIDE, first=4 * SIDE), SIDE) == []


def trained(**changes: Any) -> Run:
    """A network of batch statistics that fit no scene of these tests."""
    rng = np.random.default_rng(1)
    seen = rng.normal(50, 20, (1, SIDE, SIDE, 2)).astype(np.float32)
    step = HistogramMatching().fit([(seen[0], np.ones((SIDE, SIDE), bool))])
    model = Small(10, features=8)
    known = (step, Standardize((50.0, 50.0), (20.0, 20.0)))
    data = Data(Landscape(), crop=SIDE, batch_size=4)
    config = Config(model=model, data=data, preprocess=known, sensor=Sensor(("x", "y")))
    variables = jax.tree.map(jnp.asarray, drawn(shapes(model, bands=2)))
    return Run(dataclasses.replace(config, **changes), 1, variables, 1.0)


def scene(path: Path, gain: float, height: int = SIDE, width: int = SIDE) -> NDArray[np.float32]:
    """(H, W, 2), written to the path, in another radiometry than that of the training."""
    rng = np.random.default_rng(int(gain))
    image = np.float32(gain) * rng.gamma(2.0, 10.0, (height, width, 2)).astype(np.float32) - 90
    write(path, np.moveaxis(image, -1, 0), ("x", "y"))
    return image


def mapped(run: Run, path: Path, out: str, **fields: Any) -> list[Path]:
    made = mapper(run, Settings(check=False, seams=False, **fields))
    return made.map([SceneFiles(path.stem, (str(path),))], path.with_name(out))


def expected(run: Run, how: Adapt, image: NDArray[np.float32]) -> NDArray[np.uint8]:
    if how in ("histograms", "both"):
        run = run.matched(image)
    if how in ("statistics", "both"):
        run = run.adapted(image)
    padded = np.pad(image, ((8, 8), (8, 8), (0, 0)), mode="reflect")
    return run.predict(padded)[8:-8, 8:-8]


@pytest.mark.parametrize("how", ["statistics", "histograms", "both"])
def test_a_map_is_that_of_the_run_adapted_to_the_scene(tmp_path: Path, how: Adapt) -> None:
    run, path = trained(), tmp_path / "scene.tif"
    image = scene(path, 5.0)
    (plain,) = mapped(run, path, "plain.tif")
    (made,) = mapped(run, path, f"{how}.tif", adapt=how)
    np.testing.assert_array_equal(classes(plain), expected(run, "none", image))
    np.testing.assert_array_equal(classes(made), expected(run, how, image))
    assert (classes(made) != classes(plain)).mean() > 0.1
    with rasterio.open(made) as file, rasterio.open(plain) as other:
        assert ("statistics" in file.tags()["JAXSEG_ADAPTED"]) is (how != "histograms")
        assert ("histograms" in file.tags()["JAXSEG_ADAPTED"]) is (how != "statistics")
        assert "JAXSEG_ADAPTED" not in other.tags()
        assert file.tags()["JAXSEG_WEIGHTS"] == other.tags()["JAXSEG_WEIGHTS"]


def test_each_of_many_scenes_has_statistics_of_its_own(tmp_path: Path) -> None:
    run, paths = trained(), [tmp_path / "a.tif", tmp_path / "b.tif"]
    images = [scene(path, gain) for path, gain in zip(paths, (5.0, 0.3), strict=True)]
    both = mapper(run, Settings(check=False, seams=False, adapt="statistics"))
    for path, image in zip(paths, images, strict=True):
        files = [SceneFiles(path.stem, (str(path),))]
        (made,) = both.map(files, path.with_name(f"{path.stem}_map.tif"))
        np.testing.assert_array_equal(classes(made), expected(run, "statistics", image))


def test_parts_of_a_map_are_of_one_network(tmp_path: Path) -> None:
    run, path = trained(), tmp_path / "scene.tif"
    scene(path, 5.0, height=600, width=70)
    (whole,) = mapped(run, path, "whole.tif", adapt="both")
    (part,) = mapped(run, path, "part.tif", adapt="both", window=Window(530, 10, 60, 40))
    np.testing.assert_array_equal(classes(part), classes(whole)[530:590, 10:50])
    shared = {"adapt": "both", "tile": 256}
    assert mapped(run, path, "shared.tif", share=Share(1, 2), **shared) == []
    with pytest.raises(UserError, match=r"begun with other settings \(adapt\)"):
        mapped(run, path, "shared.tif", share=Share(2, 2), tile=256)
    (made,) = mapped(run, path, "shared.tif", share=Share(2, 2), **shared)
    np.testing.assert_array_equal(classes(made), classes(whole))


def test_a_run_that_cannot_be_adapted_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    scene(path, 5.0)
    without = trained(preprocess=(Standardize((50.0, 50.0), (20.0, 20.0)),))
    for how in ("histograms", "both"):
        with pytest.raises(UserError, match="has no HistogramMatching"):
            mapped(without, path, "map.tif", adapt=how)
    with pytest.raises(UserError, match="has no running statistics"):
        mapped(answering_run(), path, "map.tif", adapt="statistics")
    assert list(tmp_path.iterdir()) == [path]


def test_a_scene_without_data_has_nothing_to_adapt_to(tmp_path: Path) -> None:
    path = tmp_path / "scene.tif"
    write(path, np.full((2, SIDE, SIDE), -1, np.int16), ("x", "y"), nodata=-1)
    with pytest.raises(UserError, match="No pixel of the new scenes is valid"):
        mapped(trained(), path, "map.tif", adapt="statistics")
