"""Windows that numbers are measured on: spread over a split, whatever its scenes are."""

from typing import Any

import pytest

from jaxseg.pipeline import band_statistics
from jaxseg.scenes.scene import Window


class _Scenes:
    """Sizes alone."""

    def __init__(self, *sizes: tuple[int, int]) -> None:
        self._sizes = sizes

    def __len__(self) -> int:
        return len(self._sizes)

    def size(self, index: int) -> tuple[int, int]:
        return self._sizes[index]


def windows(scenes: Any, crop: int, count: int) -> list[tuple[int, Window]]:
    return list(band_statistics.spread_windows(scenes, crop, count))


def test_of_many_scenes_some_are_looked_at_in_the_middle() -> None:
    found = windows(_Scenes(*[(100, 60)] * 1000), 32, 10)
    assert [scene for scene, _ in found] == [111 * place for place in range(10)]
    assert {window for _, window in found} == {Window(34, 14, 32, 32)}


@pytest.mark.parametrize("count", [10, 1000])
def test_of_few_scenes_windows_lie_all_over(count: int) -> None:
    found = windows(_Scenes((100, 64), (8, 8)), 32, count)
    places = [(window.y, window.x) for scene, window in found if scene == 0]
    assert len(set(places)) == len(places) == min(8, count // 2)
    assert {(0, 0), (96, 32)} <= set(places)
    assert found[-1] == (1, Window(0, 0, 32, 32))


def test_no_scene_has_no_window() -> None:
    assert windows(_Scenes(), 32, 10) == []
