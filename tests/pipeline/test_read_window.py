"""What a window holds: nothing beyond its scene, objects around it, and labels that are classes."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from fixtures.pipelined import Grid, data

from jaxseg.errors import UserError
from jaxseg.losses.border_weights import Separation, components, separation
from jaxseg.pipeline import windows as pipeline
from jaxseg.pipeline.windows import Data
from jaxseg.scenes.scene import IGNORE, Sample, Window

__all__ = ["data"]  # a fixture


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
            r"scene\d\.png: label 3 is not a class",
        ),
        (lambda label: label.astype(np.int16) - 1, "label -1 is not a class"),
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


@pytest.mark.parametrize("place", [(4, 12), (17, 12), (10, 4), (10, 21)])
def test_an_object_beyond_any_side_of_a_window_shortens_distances_inside(
    place: tuple[int, int],
) -> None:
    source: Any = Grid(((24, 26),), objects=((10, 12), place))
    window = Window(6, 6, 10, 14)
    data = Data(source, crop=8)
    whole = separation(source.read(0, Window(0, 0, 24, 26))["instance"], 20)[6:16, 6:20]
    found = pipeline.read_window(source, 0, window, data, (Separation(20.0),))
    assert "instance" not in found
    np.testing.assert_array_equal(found["separation"], whole)
    assert np.isfinite(whole).any()
    # No further than was asked for.
    near = pipeline.read_window(source, 0, window, data, (Separation(1.5),))
    assert np.isfinite(near["separation"]).sum() < np.isfinite(whole).sum()


def test_separation_and_object_ids_are_there_on_request_only(data: Data) -> None:
    scenes = data.source.scenes("train")
    assert pipeline.read_window(scenes, 0, Window(0, 0, 32, 32), data).keys() == {
        "image",
        "label",
        "valid",
    }


class _Scene:
    """One scene of given arrays."""

    def __init__(self, **arrays: Any) -> None:
        self._arrays = arrays

    def __len__(self) -> int:
        return 1

    def name(self, index: int) -> str:
        return "the scene"

    def size(self, index: int) -> tuple[int, int]:
        height, width = self._arrays["label"].shape
        return height, width

    def read(self, index: int, window: Window) -> Sample:
        y, x, height, width = window
        return {n: a[y : y + height, x : x + width] for n, a in self._arrays.items()}


def test_a_label_that_is_no_class_may_lie_where_there_is_no_data() -> None:
    label, valid = np.zeros((4, 5), np.uint8), np.ones((4, 5), bool)
    label[1, 2], label[3, 3], valid[1, 2] = 9, IGNORE, False
    scene: Any = _Scene(image=np.ones((4, 5, 1)), label=label, valid=valid)
    data = Data(Grid(()), crop=4)  # type: ignore[arg-type]
    sample = pipeline.read_window(scene, 0, Window(0, 0, 4, 5), data)
    assert sample["valid"].sum() == 19
    label[2, 2] = 2  # two classes: 0 and 1
    with pytest.raises(UserError, match=r"the scene: label 2 is not a class: the source names 2"):
        pipeline.read_window(scene, 0, Window(0, 0, 4, 5), data)


def test_a_split_without_a_pixel_that_counts_is_refused_wherever_the_pixel_is() -> None:
    label, valid = np.full((9, 9), IGNORE, np.uint8), np.ones((9, 9), bool)
    scene: Any = _Scene(image=np.ones((9, 9, 1)), label=label, valid=valid)
    data = Data(Grid(()), crop=4)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"split test has no labelled, valid pixel.*the scene"):
        pipeline.refuse_blank(scene, data, "test")
    label[8, 8] = 1
    pipeline.refuse_blank(scene, data, "test")
    valid[8, 8] = False
    with pytest.raises(UserError, match="no labelled, valid pixel"):
        pipeline.refuse_blank(scene, data, "test")
    source: Any = Grid(((9, 9),))
    blank = dataclasses.replace(
        data,
        source=type(
            "Blank", (), {"classes": source.classes, "scenes": lambda self, split: scene}
        )(),
    )
    with pytest.raises(UserError, match="split train has no labelled, valid pixel"):
        pipeline.training_batches(blank, seed=0, positions=[0], first=0, last=1)
