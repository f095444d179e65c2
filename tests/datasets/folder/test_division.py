"""Strips and blocks of scenes: every pixel in one split at most, and a guard around training."""

import numpy as np
import pytest
from numpy.typing import NDArray

from jaxseg.datasets.folder.division import Division
from jaxseg.errors import MissingSplit, UserError

SPLITS = ("train", "validation", "test")
SHARES = (0.5, 0.2, 0.3)


def divided(division: Division, sizes: list[tuple[int, int]]) -> list[NDArray[np.uint8]]:
    """The split of every pixel of each scene, 255 = none; each pixel must be given once."""
    maps = [np.full(size, 255, np.uint8) for size in sizes]
    for number, split in enumerate(SPLITS):
        parts = division.parts(sizes, [f"s{n}" for n in range(len(sizes))], split)
        for pixels, windows in zip(maps, parts, strict=True):
            for window in windows:
                rows = slice(window.y, window.y + window.height)
                columns = slice(window.x, window.x + window.width)
                assert pixels[rows, columns].shape == (window.height, window.width)
                assert (pixels[rows, columns] == 255).all()
                pixels[rows, columns] = number
    return maps


@pytest.mark.parametrize("seed", range(5))
def test_blocks_cover_the_scenes_by_their_shares_and_keep_the_guard(seed: int) -> None:
    sizes = [(100, 90), (61, 203)]
    open_, kept = (divided(Division("blocks", SHARES, 10, guard, seed), sizes) for guard in (0, 3))
    pixels = np.concatenate([each.ravel() for each in open_])
    assert np.bincount(pixels, minlength=3) / len(pixels) == pytest.approx(SHARES, abs=0.02)
    for before, after in zip(open_, kept, strict=True):
        np.testing.assert_array_equal(after == 0, before == 0)
        train = np.pad(after == 0, 3)
        view = np.lib.stride_tricks.sliding_window_view(train, (7, 7)).any((2, 3))
        assert not (view & (after != 0) & (after != 255)).any()  # nothing within 3 pixels
        far = ~np.lib.stride_tricks.sliding_window_view(np.pad(before == 0, 11), (23, 23)).any(
            (2, 3)
        )
        np.testing.assert_array_equal(after[far], before[far])  # and nothing lost beyond a block


def test_another_seed_is_another_assignment_and_the_same_seed_the_same() -> None:
    maps = [divided(Division("blocks", SHARES, 10, 0, seed), [(100, 90)])[0] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert (maps[0] != maps[2]).any()


def test_strips_follow_each_other() -> None:
    (columns,) = divided(Division("columns", SHARES, 1, 0, 0), [(4, 10)])
    np.testing.assert_array_equal(columns, [[0] * 5 + [1] * 2 + [2] * 3] * 4)
    (rows,) = divided(Division("rows", SHARES, 1, 0, 0), [(10, 4)])
    np.testing.assert_array_equal(rows, columns.T)


def test_a_split_without_a_part_is_said() -> None:
    with pytest.raises(UserError, match=r"1 block\(s\) of about 64 .* leave none to validation"):
        Division("blocks", (0.7, 0.15, 0.15), 64, 0, 0).parts([(70, 70)], ["a"], "validation")
    with pytest.raises(UserError, match="guard of 40, leave none to test"):
        Division("blocks", (0.9, 0.0, 0.1), 10, 40, 0).parts([(100, 100)], ["a"], "test")
    with pytest.raises(MissingSplit):
        Division("blocks", (0.5, 0.0, 0.5), 10, 0, 0).parts([(100, 100)], ["a"], "validation")
    with pytest.raises(UserError, match="a: 4 columns leave none to this split"):
        Division("columns", (0.9, 0.02, 0.08), 1, 0, 0).parts([(9, 4)], ["a"], "validation")


def test_blocks_of_a_scene_that_claims_any_size_are_counted_before_they_are_made() -> None:
    division = Division("blocks", (0.7, 0.15, 0.15), block=1, guard=0, seed=0)
    with pytest.raises(UserError, match=r"b says that it has .*JAXSEG_MAX_BLOCKS=1000000000064"):
        division.parts([(8, 8), (1_000_000, 1_000_000)], ["a", "b"], "train")
