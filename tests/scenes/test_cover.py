"""Windows cover a scene, and each of its pixels counts once: where it is in the middle."""

from typing import Any

import numpy as np
import pytest

from jaxseg.scenes.cover import Cover
from jaxseg.scenes.scene import Window


class Sizes:
    """Scenes of which nothing but the sizes is known."""

    def __init__(self, *sizes: tuple[int, int]) -> None:  # noqa: D107
        self.sizes = sizes

    def __len__(self) -> int:
        """Number of scenes."""
        return len(self.sizes)

    def size(self, index: int) -> tuple[int, int]:
        """Rows and columns."""
        return self.sizes[index]


def windows(cover: Cover, *sizes: tuple[int, int]) -> list[tuple[int, Window]]:
    scenes: Any = Sizes(*sizes)
    return list(cover.windows(scenes))


@pytest.mark.parametrize("step", [8, 6, 5, 4, 1])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (9, 24), (7, 31), (40, 8), (16, 17)])
def test_each_pixel_counts_once_from_the_window_in_whose_middle_it_lies(
    step: int, size: tuple[int, int]
) -> None:
    cover = Cover(8, step)
    rows, columns = np.indices(size)
    counts, nearest, chosen = np.zeros(size, int), np.full(size, np.inf), np.full(size, np.inf)
    for scene, window in windows(cover, size):
        assert (scene, *window[2:]) == (0, 8, 8)
        y, x, height, width = cover.own(size, window)
        assert window.y <= y < y + height <= min(size[0], window.y + 8)
        assert window.x <= x < x + width <= min(size[1], window.x + 8)
        place = np.s_[y : y + height, x : x + width]
        counts[place] += 1
        off_the_middle = abs(rows - window.y - 3.5) + abs(columns - window.x - 3.5)
        nearest = np.minimum(nearest, off_the_middle)
        chosen[place] = off_the_middle[place]
    np.testing.assert_array_equal(counts, 1)
    # An odd number of shared pixels is halved with a rest.
    assert (chosen - nearest).max() <= 2 * (cover.shared % 2)


def test_without_overlap_windows_lie_side_by_side() -> None:
    cover, sizes = Cover(8, 8), ((8, 17), (9, 3))
    assert (cover.shared, cover.overlap) == (0, 0)
    found = windows(cover, *sizes)
    assert found == [
        *((0, Window(0, x, 8, 8)) for x in (0, 8, 16)),
        *((1, Window(y, 0, 8, 8)) for y in (0, 8)),
    ]
    parts = [(0, 0, 8, 8), (0, 8, 8, 8), (0, 16, 8, 1), (0, 0, 8, 3), (8, 0, 1, 3)]
    assert [cover.own(sizes[scene], window) for scene, window in found] == parts


def test_no_window_shows_only_what_the_one_before_has_shown() -> None:
    cover = Cover(128, 96)
    assert (cover.shared, cover.overlap) == (32, 0.25)
    starts = {n: [w.x for _, w in windows(cover, (128, n))] for n in (128, 129, 224, 512, 513)}
    assert starts[128] == [0]
    assert starts[129] == starts[224] == [0, 96]
    assert starts[512] == [0, 96, 192, 288, 384]  # the last one ends with the scene
    assert starts[513] == [0, 96, 192, 288, 384, 480]
