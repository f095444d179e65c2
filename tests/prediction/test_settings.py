"""What a person can ask of a map: its tiles, its scales, its decisions."""

import dataclasses
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rasterio
from fixtures.mapped import answering_run, answers, classes, mapper, write

from jaxseg import sharding
from jaxseg.errors import UserError
from jaxseg.prediction import Mapper, Settings
from jaxseg.prediction.archive import SceneFiles
from jaxseg.prediction.network import TileNetwork
from jaxseg.prediction.settings import Share
from jaxseg.prediction.tiling import Grid, grid_for


def usual(**changes: Any) -> tuple[Grid, bool]:
    return grid_for(**{"border": 100, "stride": 16, "crop": 256} | changes)


def test_the_tiles_of_a_small_scene_are_as_small_as_it_is() -> None:
    large, exact = usual()
    small, still = usual(extent=60)
    assert exact
    assert still
    assert small.margin == large.margin
    assert small.size < large.size
    assert small.core >= 60
    assert usual(extent=10**5)[0] == large
    assert usual(extent=60, tile=512)[0].size == 512


@pytest.mark.parametrize("border", [20, 100, None])
@pytest.mark.parametrize("extent", [1, 63, 64, 65, 500, 700])
def test_half_a_tile_would_not_hold_the_scene(border: int | None, extent: int) -> None:
    grid, _ = usual(border=border, extent=extent)
    assert grid.size % 16 == 0
    assert grid.size <= usual(border=border)[0].size
    if grid.size < usual(border=border)[0].size:
        assert grid.size >= extent


def test_context_is_seen_around_every_tile_and_does_not_count() -> None:
    grid, exact = usual(border=None, tile=512, context=100)
    assert (grid.size, grid.margin, grid.ramp) == (512, 112, 64)
    assert not exact
    assert usual(tile=512, context=112)[1]  # as far as the network sees
    assert not usual(tile=512, context=80)[1]
    assert usual(tile=512, context=32, overlap=64)[0].ramp == 0


class Neighbours(nn.Module):
    """One convolution."""

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """Logits (B, H, W, 3)."""
        del train
        return nn.Conv(3, (3, 3))(image)


@pytest.fixture(scope="module")
def looking_around() -> Any:
    run = answering_run()
    config = dataclasses.replace(run.config, model=Neighbours())
    variables = Neighbours().init(jax.random.key(0), jnp.zeros((1, 8, 8, 2)), train=False)
    return dataclasses.replace(run, config=config, variables=variables)


def probabilities(run: Any, image: Any, **how: Any) -> Any:
    mesh = sharding.make_mesh(run.config.mesh, jax.devices()[:1])
    network = TileNetwork([run], mesh, Grid(64, 0, 0), **how)
    return np.asarray(network(image, np.ones(image.shape[:3], bool)))


def test_scales_are_averaged_at_the_place_of_every_pixel(looking_around: Any) -> None:
    image = np.random.default_rng(0).normal(size=(1, 64, 64, 2)).astype(np.float32)
    each = [probabilities(looking_around, image, scales=(scale,)) for scale in (0.5, 1.0, 1.5)]
    found = probabilities(looking_around, image, scales=(0.5, 1.0, 1.5))
    np.testing.assert_allclose(found, np.mean(each, 0), atol=1e-6)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    assert abs(each[0] - each[1]).max() > 1e-4


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_a_scaled_tile_comes_back_to_its_place(scale: float) -> None:
    answer = np.zeros((1, 64, 64, 2), np.float32)
    answer[:, 8:24, 32:56] = 1
    found = probabilities(answering_run(), answer, scales=(scale,))[0].argmax(0)
    np.testing.assert_array_equal(found[10:22, 34:54], 1)
    assert (found[:6] == 0).all()
    assert (found[:, 58:] == 0).all()


def test_a_scaled_tile_is_not_equal_to_one_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.tif", answers(40, 60))
    settings = Settings(scales=(0.5, 1.0))
    mapper(answering_run(), settings).map([SceneFiles("a", (path,))], tmp_path / "map.tif")
    assert "blended, not equal to one pass" in capsys.readouterr().out
    with rasterio.open(tmp_path / "map.tif") as file:
        assert "pixels change class with another tiling" in file.tags()["JAXSEG_SEAMS"]


def test_thresholds_decide_the_classes_and_nothing_else(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", answers(40, 60))
    # Of a pixel that answers 1, the classes have probabilities of 0.045, 0.91 and 0.045.
    run = answering_run(thresholds=(0.02, 0.96, 0.02))
    layers = ("classes", "confidence")
    for name, chosen in (("plain", False), ("fitted", True)):
        settings = Settings(layers=layers, thresholds=chosen)
        out = tmp_path / f"{name}.tif"
        mapper(run, settings).map([SceneFiles("a", (path,))], out)
    plain, fitted = classes(tmp_path / "plain.tif"), classes(tmp_path / "fitted.tif")
    np.testing.assert_array_equal(plain, answers(40, 60)[0])
    np.testing.assert_array_equal(fitted, np.where(plain == 1, 0, plain))
    sure = [classes(tmp_path / f"{name}_confidence.tif") for name in ("plain", "fitted")]
    np.testing.assert_array_equal(*sure)
    with rasterio.open(tmp_path / "fitted.tif") as file:
        assert file.tags()["JAXSEG_THRESHOLDS"] == "0.02, 0.96, 0.02"


def test_thresholds_that_nobody_has_fitted_are_an_error() -> None:
    with pytest.raises(UserError, match="jaxseg evaluate"):
        Mapper([answering_run()], Settings(thresholds=True))
    run = answering_run(thresholds=(0.3, 0.3, 0.4))
    with pytest.raises(UserError, match="--ensemble"):
        Mapper([run, run], Settings(thresholds=True))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"scales": ()}, "--scales"),
        ({"scales": (1.0, 1.0)}, "--scales"),
        ({"scales": (0.1,)}, "0.25 to 4"),
        ({"context": -1}, "--context -1"),
        ({"window": (0, 0, 1, 1), "bounds": (0, 0, 1, 1)}, "--window and --bounds"),
        ({"finish": True, "share": Share(1, 2)}, "--finish"),
    ],
    ids=str,
)
def test_settings_that_contradict_each_other_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Settings(**wrong)


def test_a_map_says_which_run_made_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", answers(20, 30))
    mapper(answering_run(name="unet_2021")).map([SceneFiles("a", (path,))], tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        tags = file.tags()
    assert tags["JAXSEG_RUN"] == "unet_2021"
    assert tags["JAXSEG_SEAMS"] == "none: equal to one pass over the scene"
