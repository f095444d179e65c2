"""Windows of the training: which, in which order, the same in every process."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from fixtures.pipelined import Grid, data

from jaxseg.errors import UserError
from jaxseg.pipeline import windows as pipeline
from jaxseg.pipeline.windows import Data
from jaxseg.scenes.scene import Sample, Window

__all__ = ["data"]  # a fixture


def batches(data: Data, first: int, last: int, positions: list[int]) -> list[Sample]:
    return list(
        pipeline.training_batches(data, seed=0, positions=positions, first=first, last=last)
    )


def test_a_batch_is_a_function_of_seed_and_step(data: Data) -> None:
    whole = batches(data, 0, 6, [0, 1, 2, 3])
    late = batches(dataclasses.replace(data, threads=1), 4, 6, [0, 1, 2, 3])
    for ours, theirs in zip(whole[4:], late, strict=True):
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])
    assert not np.array_equal(whole[0]["image"], whole[4]["image"])


def test_processes_share_the_same_global_batch(data: Data) -> None:
    whole = batches(data, 0, 3, [0, 1, 2, 3])
    first, second = batches(data, 0, 3, [0, 1]), batches(data, 0, 3, [2, 3])
    for all_, a, b in zip(whole, first, second, strict=True):
        np.testing.assert_array_equal(all_["image"], np.concatenate([a["image"], b["image"]]))


def test_every_scene_is_seen_in_every_epoch(data: Data) -> None:
    # 4 training scenes of 48 x 72 are 2 x 3 windows of 32 each: 24 windows or 6 batches an epoch.
    scenes = data.source.scenes("train")
    epoch = np.concatenate([b["image"] for b in batches(data, 0, 6, [0, 1, 2, 3])])
    seen = np.zeros(len(scenes), int)
    for scene in range(len(scenes)):
        whole = scenes.read(scene, Window(0, 0, 48, 72))["image"]
        places = np.lib.stride_tricks.sliding_window_view(whole, (32, 32), axis=(0, 1))  # type: ignore[call-overload]
        corners = places[..., 0, 0].reshape(-1, 3)
        for window in epoch:
            seen[scene] += bool((corners == window[0, 0]).all(1).any()) and any(
                np.array_equal(whole[y : y + 32, x : x + 32], window)
                for y in range(17)
                for x in range(41)
                if np.array_equal(whole[y, x], window[0, 0])
            )
    assert seen.tolist() == [6, 6, 6, 6]


def test_a_scene_smaller_than_the_crop_is_refused_or_padded(data: Data) -> None:
    large = dataclasses.replace(data, crop=64)
    with pytest.raises(UserError, match=r"48 x 72 pixels, smaller than the crop of 64"):
        batches(large, 0, 1, [0])
    padded = batches(dataclasses.replace(large, pad=True), 0, 1, [0])[0]
    assert padded["image"].shape == (1, 64, 64, 3)
    assert padded["valid"].sum() == 48 * 64


def corners(source: Any, count: int, seed: int = 0, **fields: Any) -> list[tuple[int, int, int]]:
    """Scene, row and column of the first pixel of each of the first training windows."""
    data = Data(source, batch_size=count, **fields)
    (batch,) = pipeline.training_batches(
        data, seed=seed, positions=list(range(count)), first=0, last=1
    )
    return [(int(scene), int(y), int(x)) for y, x, scene in batch["image"][:, 0, 0]]


def test_every_offset_of_a_scene_is_drawn_as_often_as_the_others() -> None:
    found = corners(Grid(((9, 12),) * 250), 600, crop=8)
    rows, columns = ([corner[axis] for corner in found] for axis in (1, 2))
    assert sorted(set(rows)) == [0, 1]  # the last row and column are in some window
    assert sorted(set(columns)) == [0, 1, 2, 3, 4]
    assert min(map(rows.count, set(rows))) > 240
    assert min(map(columns.count, set(columns))) > 80


def test_another_seed_cuts_other_windows_in_another_order() -> None:
    one = Grid(((30, 40),))
    assert corners(one, 8, crop=8) == corners(one, 8, crop=8)
    assert corners(one, 8, crop=8) != corners(one, 8, seed=1, crop=8)
    many = Grid(((8, 8),) * 20)
    assert corners(many, 20, crop=8) != corners(many, 20, seed=1, crop=8)


def test_the_scenes_of_an_epoch_come_in_an_order_of_their_own() -> None:
    order = [scene for scene, _, _ in corners(Grid(((8, 8),) * 20), 40, crop=8)]
    first, second = order[:20], order[20:]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != sorted(first)
    assert first != second


def test_a_scene_is_drawn_as_often_as_crops_fit_into_it_rounded_up() -> None:
    cells = pipeline.training_cells(Grid(((8, 8), (17, 9), (8, 24))), Data(Grid(()), crop=8))  # type: ignore[arg-type]
    found = [cells.scene(number) for number in range(cells.total)]
    assert found == [0, *[1] * (3 * 2), *[2] * 3]


def test_a_scene_lower_or_narrower_than_the_crop_is_refused_with_the_crop_that_fits() -> None:
    for size in ((7, 9), (9, 7)):
        with pytest.raises(UserError, match=r"scene 1 has .* crop of 8\. Use --config.data.crop 7"):
            pipeline.training_cells(Grid(((8, 8), size)), Data(Grid(()), crop=8))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="training split holds no scene"):
        pipeline.training_cells(Grid(()), Data(Grid(()), crop=8))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("crop", 1),
        ("batch_size", 1),
        ("evaluation_crop", 0),
        ("threads", 1),
    ],
)
def test_sizes_below_their_least_value_are_refused(name: str, least: int) -> None:
    Data(Grid(()), **{name: least})  # type: ignore[arg-type]
    flag = name.replace("_", "-")
    with pytest.raises(UserError, match=f"--config.data.{flag} is .*: it must be {least} or more"):
        Data(Grid(()), **{name: least - 1})  # type: ignore[arg-type]
