"""The seam score: what depends on the place of the tiles is counted, and where."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.mapped import answering_run

from jaxseg import sharding
from jaxseg.prediction.network import TileNetwork
from jaxseg.prediction.seams import Seams, _parts, seams
from jaxseg.prediction.tiling import Grid
from jaxseg.scenes.scene import Window

SIDE = 600


class Scene:
    """Classes in blocks."""

    def padded(self, window: Window) -> tuple[Any, Any]:
        """Without ends; the first 100 columns have no data."""
        rows = np.arange(window.y, window.y + window.height)[:, None] // 40
        columns = np.arange(window.x, window.x + window.width) // 40
        answer = ((rows + columns) % 3).astype(np.float32)
        valid = np.broadcast_to(np.arange(window.x, window.x + window.width) >= 100, answer.shape)
        return np.stack([answer, answer], -1), valid


class Border(nn.Module):
    """Answers the class before within 4 pixels of the ends of its tile."""

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """Logits (B, H, W, 3)."""
        del train
        sure = self.param("sure", nn.initializers.constant(2.0), ())
        near = jnp.minimum(jnp.arange(image.shape[1]), jnp.arange(image.shape[1])[::-1]) < 4
        wrong = near[:, None] | near
        answer = jnp.where(wrong, (image[..., 0] + 2) % 3, image[..., 0])
        return -sure * (answer[..., None] - jnp.arange(3)) ** 2


class Whole(nn.Module):
    """Answers class 0 or 1 for a whole tile, by its mean."""

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """Logits (B, H, W, 3)."""
        del train
        sure = self.param("sure", nn.initializers.constant(2.0), ())
        more = sure * (image[..., 0].mean((1, 2), keepdims=True) - 1)
        logits = jnp.stack([-50 * more, 50 * more, jnp.full_like(more, -99.0)], -1)
        return jnp.broadcast_to(logits, (*image.shape[:3], 3))


def scored(model: nn.Module, ramp: int = 0) -> Seams:
    run = answering_run()
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, model=model))
    mesh = sharding.make_mesh(run.config.mesh, jax.devices()[:1])
    network = TileNetwork([run], mesh, Grid(64, 0, ramp))
    return seams(network, Scene(), Window(0, 0, SIDE, SIDE), 4)


def test_a_network_that_looks_at_pixels_has_no_seams() -> None:
    run = answering_run()
    mesh = sharding.make_mesh(run.config.mesh, jax.devices()[:1])
    found = seams(TileNetwork([run], mesh, Grid(64, 0, 16)), Scene(), Window(0, 0, SIDE, SIDE), 4)
    assert found.beside[0] > 0 < found.elsewhere[0]
    assert (found.beside[1], found.elsewhere[1]) == (0, 0)
    assert str(found).startswith("0.00 % of the pixels change class with another tiling:\n")


def test_errors_at_the_ends_of_tiles_are_found_beside_the_seams() -> None:
    found = scored(Border())
    assert found.elsewhere[1] == 0
    assert found.beside[1] > 0.5 * found.beside[0]


def test_a_network_that_looks_at_the_whole_tile_changes_everywhere() -> None:
    found = scored(Whole())
    assert found.elsewhere[1] > 0.1 * found.elsewhere[0]


def test_pixels_without_data_are_not_counted() -> None:
    found = seams_of_columns(Window(0, 0, 64, 164))
    assert 0 < found < 64 * 64


def seams_of_columns(window: Window) -> int:
    run = answering_run()
    mesh = sharding.make_mesh(run.config.mesh, jax.devices()[:1])
    found = seams(TileNetwork([run], mesh, Grid(64, 0, 0)), Scene(), window, 4)
    return found.beside[0] + found.elsewhere[0]


@pytest.mark.parametrize(
    ("size", "count"), [((30, 20), 1), ((512, 512), 1), ((1024, 1024), 4), ((9000, 9000), 8)]
)
def test_a_scene_is_sampled_in_proportion_to_its_size(size: tuple[int, int], count: int) -> None:
    window = Window(5, 7, *size)
    found = _parts(window, 64)
    assert len(found) == count
    for part in found:
        assert (part.height, part.width) == (min(64, size[0]), min(64, size[1]))
        assert 5 <= part.y <= 5 + size[0] - part.height
        assert 7 <= part.x <= 7 + size[1] - part.width
