"""Pictures of whole scenes show what was predicted, as far as pixels go."""

import io
from typing import Any

import numpy as np
import pytest
from fixtures import painted
from numpy.typing import NDArray
from rich.console import Console

from jaxseg.pictures.tiles import stretch
from jaxseg.run import whole_scenes
from jaxseg.run.whole_scenes import WholeScenes, means, middles, ordinal
from jaxseg.scenes.cover import Cover

QUIET = Console(file=io.StringIO())
SIZES = ((20, 12), (9, 16), (8, 8), (31, 5))


def filled(
    cover: Cover, batch: int, sizes: tuple[tuple[int, int], ...] = SIZES
) -> tuple[WholeScenes, Any, list[float]]:
    """After the windows have come in batches, the last one filled up; and each scene's accuracy."""
    source = painted.Painted(sizes=sizes)
    scenes: Any = source.scenes("test")
    windows = list(cover.windows(scenes))
    predictions: list[NDArray[np.uint8]] = []
    margins = []
    right = np.zeros((len(sizes), 2))
    for scene, window in windows:
        arrays = scenes.arrays[scene]
        whole = arrays["image"][..., 0].astype(np.uint8)
        padded = np.full((cover.side, cover.side), 99, np.uint8)
        part = whole[window.y : window.y + cover.side, window.x : window.x + cover.side]
        padded[: part.shape[0], : part.shape[1]] = part
        predictions.append(padded)
        y, x, height, width = cover.own(scenes.size(scene), window)
        own = np.s_[y : y + height, x : x + width]
        counted = arrays["valid"][own] & (arrays["label"][own] != 255)
        hits = (whole[own] == arrays["label"][own]) & counted
        margins.append(np.array([[hits.sum(), 0], [counted.sum(), 0], [0, 0]], np.int32))
        right[scene] += hits.sum(), counted.sum()
    found = WholeScenes(scenes, windows, cover)
    rest = -len(windows) % batch
    predictions += [np.full((cover.side, cover.side), 77, np.uint8)] * rest
    margins += [np.full((3, 2), 7, np.int32)] * rest
    for start in range(0, len(predictions), batch):
        stop = start + batch
        found.add(np.stack(predictions[start:stop]), np.stack(margins[start:stop]))
    return found, source, (right[:, 0] / right[:, 1]).tolist()


@pytest.mark.parametrize("cover", [Cover(8, 8), Cover(8, 6), Cover(8, 3), Cover(40, 40)])
@pytest.mark.parametrize("batch", [1, 3])
def test_small_scenes_are_shown_pixel_by_pixel_from_the_worst(cover: Cover, batch: int) -> None:
    found, source, accuracy = filled(cover, batch)
    tiles = list(found.tiles(source, QUIET))
    order = np.argsort(accuracy, kind="stable")
    assert [tile.name for tile in tiles] == [f"split 2 scene {n}" for n in order]
    for tile, number in zip(tiles, order, strict=True):
        arrays = source.scenes("test").arrays[number]
        answer = arrays["image"][..., 0]
        np.testing.assert_array_equal(tile.prediction, answer)
        np.testing.assert_array_equal(tile.label, arrays["label"])
        np.testing.assert_array_equal(tile.valid, arrays["valid"])
        rgb = np.repeat(answer[..., None], 3, -1)
        np.testing.assert_array_equal(tile.rgb, stretch(rgb, arrays["valid"]))
        assert tile.right == accuracy[number]


@pytest.mark.parametrize("cover", [Cover(8, 8), Cover(8, 5), Cover(2, 2)])
@pytest.mark.parametrize("side", [10, 7, 3, 1])
def test_large_scenes_are_reduced_to_pixels_that_belong_together(
    cover: Cover, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole_scenes, "SIDE", side)
    found, source, accuracy = filled(cover, 2)
    for kept, tile in zip(found.worst, found.tiles(source, QUIET), strict=True):
        arrays, (height, width) = source.scenes("test").arrays[kept.scene], SIZES[kept.scene]
        every = -(-max(height, width) // side)
        assert max(tile.label.shape) <= side
        assert tile.name.endswith(f", every {ordinal(every)} row and column") == (every > 1)
        for y, x in np.ndindex(tile.label.shape):
            rows = range(y * every, min(height, (y + 1) * every))
            columns = range(x * every, min(width, (x + 1) * every))
            place = rows[(len(rows) - 1) // 2], columns[(len(columns) - 1) // 2]
            assert tile.prediction[y, x] == arrays["image"][(*place, 0)]
            assert tile.label[y, x] == arrays["label"][place]
            assert tile.valid[y, x] == arrays["valid"][place]
        assert tile.right == accuracy[kept.scene]  # of all pixels


def test_only_the_worst_scenes_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_scenes, "SCENES", 2)
    found, _, accuracy = filled(Cover(8, 8), 3)
    assert [kept.scene for kept in found.worst] == np.argsort(accuracy)[:2].tolist()


def test_a_scene_without_a_counted_pixel_is_not_shown() -> None:
    scenes: Any = painted.Painted(sizes=((8, 8),)).scenes("test")
    cover = Cover(8, 8)
    found = WholeScenes(scenes, list(cover.windows(scenes)), cover)
    found.add(np.zeros((1, 8, 8), np.uint8), np.zeros((1, 3, 2), np.int32))
    assert found.worst == []


def test_means_are_those_of_squares_without_what_is_no_number() -> None:
    image = np.arange(35.0).reshape(5, 7, 1) * [1, 10]
    valid = np.ones((5, 7), bool)
    valid[0, 0], valid[4, 6] = False, False
    image[1, 1, 1] = np.nan
    found = means(image, valid, 2)
    assert found.shape == (3, 4, 2)
    np.testing.assert_allclose(found[0, 0], [(1 + 7 + 8) / 3, (10 + 70) / 2])
    np.testing.assert_allclose(found[1, 1], [(16 + 17 + 23 + 24) / 4] * np.array([1, 10]))
    np.testing.assert_allclose(found[0, 3], [(6 + 13) / 2, (60 + 130) / 2])
    assert np.isnan(found[2, 3]).all()


def test_the_middles_are_inside() -> None:
    assert middles(7, 1).tolist() == list(range(7))
    assert middles(7, 3).tolist() == [1, 4, 6]
    assert middles(8, 4).tolist() == [1, 5]
    assert middles(9, 4).tolist() == [1, 5, 8]


@pytest.mark.parametrize(
    ("number", "said"),
    [(2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (21, "21st"), (112, "112th")],
)
def test_ordinals(number: int, said: str) -> None:
    assert ordinal(number) == said
