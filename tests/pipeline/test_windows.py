"""The pipeline: which windows, in which order, and what they hold."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxseg import config as configs
from jaxseg.errors import UserError
from jaxseg.losses.border_weights import Separation, components, separation
from jaxseg.pipeline import windows as pipeline
from jaxseg.pipeline.windows import Data
from jaxseg.scenes.scene import IGNORE, Sample, Window


@pytest.fixture
def data(tiny: Path) -> Data:
    return configs.load_config(str(tiny / "config.py")).data


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


def test_evaluation_covers_every_pixel_once(data: Data) -> None:
    scenes = data.source.scenes("test")
    data = dataclasses.replace(data, evaluation_crop=40)
    windows = pipeline.evaluation_windows(scenes, data)
    found = list(pipeline.evaluation_batches(scenes, windows, data, positions=[0, 1, 2, 3]))
    assert sum(int(batch["valid"].sum()) for batch in found) == len(scenes) * 48 * 72
    assert all(batch["image"].shape == (4, 40, 40, 3) for batch in found)


def test_a_window_beyond_its_scene_is_padded_with_nothing(data: Data) -> None:
    scenes = data.source.scenes("train")
    sample = pipeline.read_window(scenes, 0, Window(40, 60, 32, 32), data, (Separation(),))
    assert sample["valid"][:8, :12].all()
    assert sample["valid"].sum() == 8 * 12
    assert (sample["label"][~sample["valid"]] == IGNORE).all()
    assert np.isinf(sample["separation"][~sample["valid"]]).all()


def test_separation_of_a_window_knows_the_objects_around_it(data: Data) -> None:
    scenes = data.source.scenes("train")
    whole = separation(scenes.read(0, Window(0, 0, 48, 72))["instance"].astype(np.int32))
    window = Window(8, 20, 32, 32)
    sample = pipeline.read_window(scenes, 0, window, data, (Separation(),))
    np.testing.assert_allclose(sample["separation"], whole[8:40, 20:52])


def test_a_scene_smaller_than_the_crop_is_refused_or_padded(data: Data) -> None:
    large = dataclasses.replace(data, crop=64)
    with pytest.raises(UserError, match=r"48 x 72 pixels, smaller than the crop of 64"):
        batches(large, 0, 1, [0])
    padded = batches(dataclasses.replace(large, pad=True), 0, 1, [0])[0]
    assert padded["image"].shape == (1, 64, 64, 3)
    assert padded["valid"].sum() == 48 * 64


def test_without_object_ids_connected_regions_of_a_class_are_the_objects(data: Data) -> None:
    source = dataclasses.replace(data.source, instances="")  # type: ignore[type-var]
    scenes = source.scenes("train")
    whole = scenes.read(0, Window(0, 0, 48, 72))
    assert "instance" not in whole
    sample = pipeline.read_window(scenes, 0, Window(0, 0, 48, 72), data, (Separation(),))
    expected = separation(components(whole["label"].astype(np.uint8)))
    np.testing.assert_array_equal(sample["separation"], expected)
    assert np.isfinite(expected).any()


def test_what_is_no_object_map_is_refused_with_the_name_of_the_scene(data: Data) -> None:
    scenes = data.source.scenes("train")

    class Negative:
        def __getattr__(self, name: str) -> Any:
            return getattr(scenes, name)

        def read(self, index: int, window: Window) -> Sample:
            sample = scenes.read(index, window)
            return sample | {"instance": sample["instance"].astype(np.int32) - 1}

    with pytest.raises(UserError, match=r"scene\d\.png: Object id -1 is negative"):
        pipeline.read_window(Negative(), 0, Window(0, 0, 8, 8), data, (Separation(),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda label: np.where(label == 1, 3, label),
            r"scene\d\.png: label 3 is no class",
        ),
        (lambda label: label.astype(np.int16) - 1, "label -1 is no class"),
        (lambda label: label.astype(np.float32), "labels of type float32"),
    ],
)
def test_a_label_that_is_no_class_is_refused_with_the_name_of_the_scene(
    data: Data, change: Any, message: str
) -> None:
    scenes = data.source.scenes("train")

    class Changed:
        def __getattr__(self, name: str) -> Any:
            return getattr(scenes, name)

        def read(self, index: int, window: Window) -> Sample:
            sample = scenes.read(index, window)
            return sample | {"label": change(sample["label"])}

    with pytest.raises(UserError, match=message):
        pipeline.read_window(Changed(), 0, Window(0, 0, 48, 72), data)  # type: ignore[arg-type]
