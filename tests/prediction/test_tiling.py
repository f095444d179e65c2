"""Where tiles lie: every pixel is counted once, and only where a tile saw enough of the scene."""

import numpy as np
import pytest

from jaxseg.errors import UserError
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
    for field in (1, 65, 127, 180):
        grid, exact = grid_for(
            receptive_field=field, stride=stride, crop=64, tile=640, overlap=overlap
        )
        farthest = (field - 1) // 2 + stride // 2  # to one side, by the place within the stride
        assert exact == (grid.margin >= farthest), (field, grid)
        assert all(size % stride == 0 for size in (grid.size, grid.margin, grid.ramp, grid.step))
        if overlap is not None:
            assert 2 * grid.margin + grid.ramp <= overlap


def test_a_tile_that_is_asked_for_is_raised_to_the_stride() -> None:
    grid, _ = grid_for(receptive_field=1, stride=32, crop=64, tile=100)
    assert grid.size == 128


@pytest.mark.parametrize(
    ("field", "crop", "size"),
    [
        (1, 64, 512),
        (None, 64, 512),
        (200, 64, 728),
        (2000, 64, 512),
        (1, 700, 704),
        (None, 96, 512),
    ],
)
def test_tiles_are_as_large_as_what_a_pixel_sees_and_training_ask_for(
    field: int | None, crop: int, size: int
) -> None:
    assert grid_for(receptive_field=field, stride=8, crop=crop)[0].size == size


@pytest.mark.parametrize(("margin", "ramp"), [(-1, 0), (0, -1), (32, 0), (8, 25), (0, 33)])
def test_tiles_of_which_nothing_is_left_are_refused(margin: int, ramp: int) -> None:
    with pytest.raises(UserError, match="larger --tile or a smaller --overlap"):
        Grid(64, margin, ramp)
