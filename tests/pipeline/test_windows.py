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
from jaxseg.scenes.cover import Cover
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


@dataclasses.dataclass(frozen=True)
class _Grid:
    """Scenes whose pixels say where they are: row, column, scene; `objects` are single pixels."""

    sizes: tuple[tuple[int, int], ...]
    objects: tuple[tuple[int, int], ...] = ()
    classes: tuple[str, ...] = ("ground", "house")

    def scenes(self, split: str) -> Any:
        return self

    def __len__(self) -> int:
        return len(self.sizes)

    def name(self, index: int) -> str:
        return f"scene {index}"

    def size(self, index: int) -> tuple[int, int]:
        return self.sizes[index]

    def read(self, index: int, window: Window) -> Sample:
        y, x, height, width = window
        assert y >= 0
        assert x >= 0
        assert y + height <= self.sizes[index][0]
        assert x + width <= self.sizes[index][1]
        rows, columns = np.mgrid[y : y + height, x : x + width]
        instance = np.zeros((height, width), np.int32)
        for number, place in enumerate(self.objects):
            instance[(rows == place[0]) & (columns == place[1])] = number + 1
        sample: Sample = {
            "image": np.stack([rows, columns, np.full_like(rows, index)], -1).astype(np.int16),
            "label": (instance > 0).astype(np.uint8),
            "valid": np.ones((height, width), bool),
        }
        return sample | ({"instance": instance} if self.objects else {})


def corners(source: Any, count: int, seed: int = 0, **fields: Any) -> list[tuple[int, int, int]]:
    """Scene, row and column of the first pixel of each of the first training windows."""
    data = Data(source, batch_size=count, **fields)
    (batch,) = pipeline.training_batches(
        data, seed=seed, positions=list(range(count)), first=0, last=1
    )
    return [(int(scene), int(y), int(x)) for y, x, scene in batch["image"][:, 0, 0]]


def test_every_offset_of_a_scene_is_drawn_as_often_as_the_others() -> None:
    found = corners(_Grid(((9, 12),) * 250), 600, crop=8)
    rows, columns = ([corner[axis] for corner in found] for axis in (1, 2))
    assert sorted(set(rows)) == [0, 1]  # the last row and column are in some window
    assert sorted(set(columns)) == [0, 1, 2, 3, 4]
    assert min(map(rows.count, set(rows))) > 240
    assert min(map(columns.count, set(columns))) > 80


def test_another_seed_cuts_other_windows_in_another_order() -> None:
    one = _Grid(((30, 40),))
    assert corners(one, 8, crop=8) == corners(one, 8, crop=8)
    assert corners(one, 8, crop=8) != corners(one, 8, seed=1, crop=8)
    many = _Grid(((8, 8),) * 20)
    assert corners(many, 20, crop=8) != corners(many, 20, seed=1, crop=8)


def test_the_scenes_of_an_epoch_come_in_an_order_of_their_own() -> None:
    order = [scene for scene, _, _ in corners(_Grid(((8, 8),) * 20), 40, crop=8)]
    first, second = order[:20], order[20:]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != sorted(first)
    assert first != second


def test_a_scene_is_drawn_as_often_as_crops_fit_into_it_rounded_up() -> None:
    cells = pipeline.training_cells(_Grid(((8, 8), (17, 9), (8, 24))), Data(_Grid(()), crop=8))  # type: ignore[arg-type]
    found = [cells.scene(number) for number in range(cells.total)]
    assert found == [0, *[1] * (3 * 2), *[2] * 3]


def test_a_scene_lower_or_narrower_than_the_crop_is_refused_with_the_crop_that_fits() -> None:
    for size in ((7, 9), (9, 7)):
        with pytest.raises(UserError, match=r"scene 1 has .* crop of 8\. Use --config.data.crop 7"):
            pipeline.training_cells(_Grid(((8, 8), size)), Data(_Grid(()), crop=8))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="training split holds no scene"):
        pipeline.training_cells(_Grid(()), Data(_Grid(()), crop=8))  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [1, 3, 5, 6])
def test_windows_that_the_batch_does_not_divide_are_all_counted_once(size: int) -> None:
    source: Any = _Grid(((10, 9), (4, 4)))
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
    source: Any = _Grid(((4, 4),))
    data = Data(source, crop=64, evaluation_crop=128)
    assert pipeline.cover_of(data, overlap, stride) == Cover(128, step)


def test_an_overlap_that_is_no_share_is_refused_with_the_share_of_pixels() -> None:
    source: Any = _Grid(((4, 4),))
    data = Data(source, crop=128)
    for overlap in (-0.1, 1.0, 300, float("nan")):
        with pytest.raises(UserError, match=r"from 0 to less than 1, such as 0\.25\.$"):
            pipeline.cover_of(data, overlap)
    with pytest.raises(UserError, match=r"32 of 128 pixels are --overlap 0\.25\.$"):
        pipeline.cover_of(data, 32)


@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.8])
def test_labels_that_count_from_another_window_are_ignored_in_this_one(overlap: float) -> None:
    source: Any = _Grid(((10, 9), (4, 4), (5, 13)))
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
    source: Any = _Grid(((4, 20),))
    data = Data(source, crop=4, batch_size=2)  # an evaluation crop of 0 is the crop
    windows = pipeline.evaluation_windows(source, data)
    found = pipeline.evaluation_batches(source, windows, data, positions=[1])
    assert [batch["image"][0, 0, 0, 1] for batch in found] == [4, 12, 16]


@pytest.mark.parametrize("place", [(4, 12), (17, 12), (10, 4), (10, 21)])
def test_an_object_beyond_any_side_of_a_window_shortens_distances_inside(
    place: tuple[int, int],
) -> None:
    source: Any = _Grid(((24, 26),), objects=((10, 12), place))
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
    data = Data(_Grid(()), crop=4)  # type: ignore[arg-type]
    sample = pipeline.read_window(scene, 0, Window(0, 0, 4, 5), data)
    assert sample["valid"].sum() == 19
    label[2, 2] = 2  # two classes: 0 and 1
    with pytest.raises(UserError, match=r"the scene: label 2 is not a class: the source names 2"):
        pipeline.read_window(scene, 0, Window(0, 0, 4, 5), data)


def test_a_split_without_a_pixel_that_counts_is_refused_wherever_the_pixel_is() -> None:
    label, valid = np.full((9, 9), IGNORE, np.uint8), np.ones((9, 9), bool)
    scene: Any = _Scene(image=np.ones((9, 9, 1)), label=label, valid=valid)
    data = Data(_Grid(()), crop=4)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"split test has no labelled, valid pixel.*the scene"):
        pipeline.refuse_blank(scene, data, "test")
    label[8, 8] = 1
    pipeline.refuse_blank(scene, data, "test")
    valid[8, 8] = False
    with pytest.raises(UserError, match="no labelled, valid pixel"):
        pipeline.refuse_blank(scene, data, "test")
    source: Any = _Grid(((9, 9),))
    blank = dataclasses.replace(
        data,
        source=type(
            "Blank", (), {"classes": source.classes, "scenes": lambda self, split: scene}
        )(),
    )
    with pytest.raises(UserError, match="split train has no labelled, valid pixel"):
        pipeline.training_batches(blank, seed=0, positions=[0], first=0, last=1)


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
    Data(_Grid(()), **{name: least})  # type: ignore[arg-type]
    flag = name.replace("_", "-")
    with pytest.raises(UserError, match=f"--config.data.{flag} is .*: it must be {least} or more"):
        Data(_Grid(()), **{name: least - 1})  # type: ignore[arg-type]
