"""Windows of an evaluation: every pixel counts once, with and without overlap."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from fixtures.pipelined import Grid, data

from jaxseg.errors import UserError
from jaxseg.pipeline import windows as pipeline
from jaxseg.pipeline.windows import Data
from jaxseg.scenes.cover import Cover
from jaxseg.scenes.scene import IGNORE

__all__ = ["data"]  # a fixture


def test_evaluation_covers_every_pixel_once(data: Data) -> None:
    scenes = data.source.scenes("test")
    data = dataclasses.replace(data, evaluation_crop=40)
    windows = pipeline.evaluation_windows(scenes, data)
    found = list(pipeline.evaluation_batches(scenes, windows, data, positions=[0, 1, 2, 3]))
    assert sum(int(batch["valid"].sum()) for batch in found) == len(scenes) * 48 * 72
    assert all(batch["image"].shape == (4, 40, 40, 3) for batch in found)


@pytest.mark.parametrize("size", [1, 3, 5, 6])
def test_windows_that_the_batch_does_not_divide_are_all_counted_once(size: int) -> None:
    source: Any = Grid(((10, 9), (4, 4)))
    data = Data(source, crop=99, evaluation_crop=4, batch_size=size)
    windows = pipeline.evaluation_windows(source, data)
    assert [scene for scene, _ in windows] == [0] * 9 + [1]
    found = list(
        pipeline.evaluation_batches(source, windows, data, positions=list(range(data.batch_size)))
    )
    assert len(found) == -(-10 // size)
    assert {batch["image"].shape for batch in found} == {(size, 4, 4, 3)}
    image = np.concatenate([batch["image"] for batch in found])
    valid = np.concatenate([batch["valid"] for batch in found])
    assert sorted(map(tuple, image[valid].tolist())) == [
        (y, x, scene)
        for y, x, scene in sorted(
            (y, x, scene)
            for scene, (height, width) in enumerate(source.sizes)
            for y in range(height)
            for x in range(width)
        )
    ]
    starts = [(window.y, window.x) for _, window in windows]
    assert image[:9, 0, 0, :2].tolist() == [list(start) for start in starts[:9]]  # in their order
    assert not valid[10:].any()


@pytest.mark.parametrize(
    ("overlap", "stride", "step"),
    [
        (0.0, 16, 128),
        (0.25, 1, 96),
        (0.25, 16, 96),
        (0.3, 1, 89),
        (0.3, 16, 80),  # a multiple of the stride, and no less overlap than asked for
        (0.05, 16, 112),
        (0.99, 16, 16),
        (0.999, 1, 1),
        (0.5, 256, 64),  # the stride is larger than the window: there is nothing to keep
    ],
)
def test_windows_share_what_was_asked_for_and_start_at_multiples_of_the_stride(
    overlap: float, stride: int, step: int
) -> None:
    source: Any = Grid(((4, 4),))
    data = Data(source, crop=64, evaluation_crop=128)
    assert pipeline.cover_of(data, overlap, stride) == Cover(128, step)


def test_an_overlap_that_is_no_share_is_refused_with_the_share_of_pixels() -> None:
    source: Any = Grid(((4, 4),))
    data = Data(source, crop=128)
    for overlap in (-0.1, 1.0, 300, float("nan")):
        with pytest.raises(UserError, match=r"from 0 to less than 1, such as 0\.25\.$"):
            pipeline.cover_of(data, overlap)
    with pytest.raises(UserError, match=r"32 of 128 pixels are --overlap 0\.25\.$"):
        pipeline.cover_of(data, 32)


@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.8])
def test_labels_that_count_from_another_window_are_ignored_in_this_one(overlap: float) -> None:
    source: Any = Grid(((10, 9), (4, 4), (5, 13)))
    data = Data(source, crop=4, batch_size=3)
    cover = pipeline.cover_of(data, overlap)
    windows = list(cover.windows(source))
    found = list(
        pipeline.evaluation_batches(source, windows, data, positions=[0, 1, 2], cover=cover)
    )
    image, label, valid = (
        np.concatenate([batch[name] for batch in found]) for name in ("image", "label", "valid")
    )
    counted = image[valid & (label != IGNORE)].tolist()
    whole = [(scene, size) for scene, size in enumerate(source.sizes)]
    pixels = [
        (y, x, n) for n, (height, width) in whole for y in range(height) for x in range(width)
    ]
    assert sorted(map(tuple, counted)) == sorted(pixels)
    # The network sees all of a window.
    assert valid.sum() > len(pixels)


def test_processes_evaluate_their_positions_of_each_batch() -> None:
    source: Any = Grid(((4, 20),))
    data = Data(source, crop=4, batch_size=2)  # an evaluation crop of 0 is the crop
    windows = pipeline.evaluation_windows(source, data)
    found = pipeline.evaluation_batches(source, windows, data, positions=[1])
    assert [batch["image"][0, 0, 0, 1] for batch in found] == [4, 12, 16]
