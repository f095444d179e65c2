"""Where tiles lie: every pixel is counted once, and only where a tile saw enough of the scene."""

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.prediction.seams import _beside
from jaxseg.prediction.tiling import Grid, grid_for

GRIDS = [Grid(64, 0, 0), Grid(64, 8, 0), Grid(64, 8, 16), Grid(64, 0, 32), Grid(48, 13, 7)]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
@pytest.mark.parametrize("length", [1, 33, 64, 65, 500])
def test_the_weights_of_all_tiles_are_one_in_every_pixel_of_a_scene(
    grid: Grid, length: int
) -> None:
    total = np.zeros(length + 4 * grid.size)
    tiles = grid.touching(0, length)
    for tile in tiles:
        first = grid.core_start(tile) + 2 * grid.size
        total[first : first + grid.core] += grid.weights()
    np.testing.assert_allclose(total[2 * grid.size :][:length], 1, atol=1e-6)
    assert grid.count(length) == len(tiles)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_both_ends_of_a_tile_weigh_alike_and_no_pixel_of_its_core_nothing(grid: Grid) -> None:
    weights = grid.weights()
    np.testing.assert_allclose(weights, weights[::-1], atol=1e-6)
    assert weights.min() > 0


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_only_tiles_that_weigh_in_a_part_of_the_scene_are_asked(grid: Grid) -> None:
    for first, last in ((0, 1), (30, 31), (63, 66), (200, 340)):
        cores = {
            tile: (grid.core_start(tile), grid.core_start(tile) + grid.core) for tile in range(40)
        }
        meeting = [tile for tile, (a, b) in cores.items() if a < last and b > first]
        assert list(grid.touching(first, last)) == meeting


@pytest.mark.parametrize("stride", [1, 8, 32])
@pytest.mark.parametrize("overlap", [None, 0, 31, 200, 300])
def test_tiles_equal_one_pass_only_if_their_margin_is_what_a_pixel_sees(
    stride: int, overlap: int | None
) -> None:
    for border in (0, 32, 63, 90):
        grid, exact = grid_for(border=border, stride=stride, crop=64, tile=640, overlap=overlap)
        assert exact == (grid.margin >= border), (border, grid)
        assert all(size % stride == 0 for size in (grid.size, grid.margin, grid.ramp, grid.step))
        if overlap is not None:
            assert 2 * grid.margin + grid.ramp <= overlap


def test_a_tile_that_is_asked_for_is_raised_to_the_stride() -> None:
    grid, _ = grid_for(border=0, stride=32, crop=64, tile=100)
    assert grid.size == 128


@pytest.mark.parametrize(
    ("border", "crop", "size"),
    [
        (0, 64, 512),
        (None, 64, 512),
        (94, 64, 768),
        (160, 64, 1024),
        (1000, 64, 512),
        (0, 700, 704),
        (None, 96, 512),
    ],
)
def test_tiles_are_as_large_as_what_a_pixel_sees_and_training_ask_for(
    border: int | None, crop: int, size: int
) -> None:
    assert grid_for(border=border, stride=8, crop=crop)[0].size == size


@pytest.mark.parametrize(("margin", "ramp"), [(-1, 0), (0, -1), (32, 0), (8, 25), (0, 33)])
def test_tiles_of_which_nothing_is_left_are_refused(margin: int, ramp: int) -> None:
    with pytest.raises(UserError, match="larger --tile or a smaller --overlap"):
        Grid(64, margin, ramp)


@pytest.mark.parametrize("grid", [Grid(64, 0, 0), Grid(64, 8, 0), Grid(64, 0, 16)], ids=str)
def test_the_seams_of_a_tiling_and_of_the_moved_one_are_where_two_tiles_weigh_alike(
    grid: Grid,
) -> None:
    by, places = grid.step // 2, np.arange(200)
    starts = np.array([grid.core_start(tile) for tile in range(-2, 9)])
    middles = starts + grid.ramp / 2
    every = np.concatenate([middles, middles - by])
    distance = np.abs(places[:, None] - every).min(1)
    np.testing.assert_array_equal(_beside(places, grid.step, grid.ramp, by, 3), distance <= 3)
