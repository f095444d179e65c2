"""Windows that numbers are measured on: spread over a split, whatever its scenes are."""

import math
from typing import Any

import numpy as np
import pytest

from jaxseg.pipeline import band_statistics
from jaxseg.scenes.scene import Window
from jaxseg.transforms.radiometry import Standardize


def measured(windows: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation that radiometry finds on training windows."""
    found = Standardize().fit(windows)
    return found.mean, found.std


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


def test_statistics_are_those_of_all_counted_pixels_together() -> None:
    random = np.random.default_rng(0)
    images = [random.normal(5, 2, (9, 7, 3)).astype(np.float32) * (1, 10, 100) for _ in range(3)]
    counted = [random.random((9, 7)) < share for share in (0.9, 0.2, 0.0)]
    mean, std = measured(zip(images, counted, strict=True))
    pixels = np.concatenate([i[c] for i, c in zip(images, counted, strict=True)])
    np.testing.assert_allclose(mean, pixels.mean(0), rtol=1e-5)
    np.testing.assert_allclose(std, pixels.std(0), rtol=1e-5)
    assert all(number == float(f"{number:.6g}") for number in (*mean, *std))


@pytest.mark.parametrize("dtype", ["float32", "uint16"])
def test_a_small_spread_around_large_numbers_is_not_lost(dtype: str) -> None:
    random = np.random.default_rng(0)
    image = random.normal(10_000, 4, (64, 64, 1)).astype(dtype)
    mean, std = measured([(image, np.ones((64, 64), bool))] * 4)
    assert mean[0] == pytest.approx(float(image.astype(np.float64).mean()), rel=1e-5)
    assert std[0] == pytest.approx(float(image.astype(np.float64).std()), rel=0.01)


def test_a_constant_band_is_not_divided_by_next_to_nothing() -> None:
    _, std = measured([(np.full((4, 4, 1), 7.0), np.ones((4, 4), bool))])
    assert std == (1.0,)


class _Images(_Scenes):
    """Scenes whose first band is the row and whose second the column; a part may be invalid."""

    def __init__(self, *sizes: tuple[int, int], valid: float = math.inf) -> None:
        super().__init__(*sizes)
        self._valid = valid

    def read(self, index: int, window: Window) -> dict[str, np.ndarray]:
        y, x, height, width = window
        assert y + height <= self.size(index)[0]
        assert x + width <= self.size(index)[1]
        rows, columns = np.mgrid[y : y + height, x : x + width]
        image = np.stack([rows, columns], -1).astype(np.float32)
        return {"image": image, "valid": (rows < self._valid).astype(np.uint8)}


def test_typical_numbers_are_quantiles_of_the_valid_pixels() -> None:
    scenes: Any = _Images((100, 61), valid=50)
    found = np.array(band_statistics.typical(scenes, 16))
    np.testing.assert_allclose(found[0], np.quantile(np.arange(50), (0.01, 0.5, 0.99)), atol=2)
    np.testing.assert_allclose(found[1], np.quantile(np.arange(61), (0.01, 0.5, 0.99)), atol=2)
    assert band_statistics.typical(_Images((100, 61), valid=0), 16) == ()  # type: ignore[arg-type]
    assert band_statistics.typical(_Images(), 16) == ()  # type: ignore[arg-type]


def test_typical_numbers_take_as_much_from_a_large_window_as_from_its_parts() -> None:
    """Every so many of the pixels, not the first ones."""
    found = np.array(band_statistics.typical(_Images((200, 200)), 200))  # type: ignore[arg-type]
    np.testing.assert_allclose(found[0], np.quantile(np.arange(200), (0.01, 0.5, 0.99)), atol=4)


def test_of_a_small_scene_beside_large_ones_the_whole_is_one_window() -> None:
    found = windows(_Scenes((10, 8), (40, 40)), 16, 2)
    assert found == [(0, Window(0, 0, 16, 16)), (1, Window(12, 12, 16, 16))]


def test_windows_of_few_scenes_are_at_least_as_many_as_asked_for() -> None:
    large = (128, 128)
    assert len(windows(_Scenes(large, large, large), 32, 10)) == 3 * 4
    found = windows(_Scenes((64, 32), (64, 32)), 32, 4)
    assert [(scene, window.y) for scene, window in found] == [(0, 0), (0, 32), (1, 0), (1, 32)]
