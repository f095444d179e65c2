"""Errors in labels: as many as asked for, of the kind asked for, the same each time."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from fixtures.array_source import ArraySource, arrays
from numpy.typing import NDArray

from jaxseg.datasets import mislabelled
from jaxseg.datasets.landscape.source import PAIRS, Landscape
from jaxseg.datasets.mislabelled import Mislabelled
from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE, Window

WHOLE = Window(0, 0, 256, 256)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Landscape:
    folder = str(tmp_path_factory.mktemp("landscape"))
    return Landscape(tiles=(4, 1, 1), data_dir=folder)


def labels(source: Landscape | Mislabelled, split: str = "train") -> list[NDArray[np.uint8]]:
    scenes = source.scenes(split)
    return [scenes.read(i, WHOLE)["label"].astype(np.uint8) for i in range(len(scenes))]


def test_a_share_of_the_regions_gets_the_class_of_its_partner(source: Landscape) -> None:
    wrong = Mislabelled(source, share=0.4, confusable=PAIRS)
    partner = wrong.partners()
    changed = total = 0
    for index, (true, given) in enumerate(zip(labels(source), labels(wrong), strict=True)):
        instance = source.scenes("train").read(index, WHOLE)["instance"].astype(np.int64)
        regions = mislabelled.regions_of(true, instance)
        for region in np.unique(regions[regions > 0]):
            (before,) = np.unique(true[regions == region])
            (after,) = np.unique(given[regions == region])
            assert after in (before, partner[before])
            changed += int(after != before)
            total += 1
    assert 0.34 < changed / total < 0.46  # of some 1500 regions


def test_a_class_without_a_partner_becomes_any_other(source: Landscape) -> None:
    given = np.concatenate(labels(Mislabelled(source, share=1.0)))
    true = np.concatenate(labels(source))
    assert (given != true).all()
    lake = given[true == 0]
    assert len(np.unique(lake)) > 1


def test_only_training_labels_are_wrong(source: Landscape) -> None:
    wrong = Mislabelled(source, share=0.9)
    np.testing.assert_array_equal(labels(source, "test"), labels(wrong, "test"))
    np.testing.assert_array_equal(labels(source, "validation"), labels(wrong, "validation"))


def test_errors_follow_the_seed_and_not_the_window(source: Landscape) -> None:
    wrong = Mislabelled(source, shift=3, erode=2)
    window = Window(40, 60, 64, 32)
    cut = wrong.scenes("train").read(2, window)
    np.testing.assert_array_equal(cut["label"], labels(wrong)[2][40:104, 60:92])
    assert (labels(wrong)[0] != labels(dataclasses.replace(wrong, seed=1))[0]).any()
    image = source.scenes("train").read(2, window)["image"]
    np.testing.assert_array_equal(cut["image"], image)


def test_eroded_regions_lose_their_rim_to_their_neighbour() -> None:
    label = np.zeros((9, 12), np.uint8)
    label[2:7, 3:9] = 1  # 5 x 6 pixels
    label[0, 11] = 2  # a single pixel: nothing but rim
    regions = mislabelled.regions_of(label, None)
    thinner = mislabelled.eroded(label, regions, 1)
    expected = np.zeros_like(label)
    expected[3:6, 4:8] = 1
    expected[0, 11] = 2
    inner = thinner == 1
    np.testing.assert_array_equal(inner[2:7, 3:9], expected[2:7, 3:9] == 1)
    assert thinner[0, 11] == 2


def test_a_shift_moves_labels_and_repeats_the_edge() -> None:
    label = np.arange(12, dtype=np.uint8).reshape(3, 4)
    moved = mislabelled.shifted(label, 1, -1)
    np.testing.assert_array_equal(moved, [[1, 2, 3, 3], [1, 2, 3, 3], [5, 6, 7, 7]])


def test_ignored_pixels_stay_ignored() -> None:
    label = np.full((6, 6), IGNORE, np.uint8)
    label[:3] = 1
    regions = mislabelled.regions_of(label, np.ones((6, 6), np.int64))
    given = mislabelled.confused(label, regions, 1.0, np.array([1, 0]), np.random.default_rng(0))
    np.testing.assert_array_equal(given[:3], 0)
    np.testing.assert_array_equal(given[3:], IGNORE)


def test_wrong_settings_are_refused(source: Landscape) -> None:
    for pairs in ((("lake", "lake"),), (("lake", "river"), ("river", "meadow"))):
        with pytest.raises(UserError, match=r"names the class '(lake|river)' twice"):
            Mislabelled(source, confusable=pairs).scenes("train")
    with pytest.raises(UserError, match=r"regions is 1\.5"):
        Mislabelled(source, share=1.5)
    with pytest.raises(UserError, match="none may be negative"):
        Mislabelled(source, shift=-1)
    with pytest.raises(UserError, match="confusable names the class 'sea'"):
        Mislabelled(source, confusable=(("lake", "sea"),)).scenes("train")


# Region by region, on small maps.


def test_regions_are_objects_and_the_connected_parts_of_what_is_left() -> None:
    label = np.array(
        [
            [0, 0, 1, 1, 0],
            [0, 0, 1, IGNORE, 0],
            [1, 1, 0, 0, IGNORE],
            [2, 2, 2, 2, 0],
        ],
        np.uint8,
    )
    alone = mislabelled.regions_of(label, None)
    assert alone.dtype == np.int64
    assert same_parts(
        alone,
        [[1, 1, 2, 2, 3], [1, 1, 2, 0, 3], [4, 4, 5, 5, 0], [6, 6, 6, 6, 7]],
    )
    instance = np.array([[7, 7, 7, 0, 0], [7, 7, 0, 9, 0], [0, 0, 9, 9, 9], [5, 5, 0, 0, 0]])
    objects = mislabelled.regions_of(label, instance)
    assert same_parts(
        objects,
        [[1, 1, 2, 3, 4], [1, 1, 5, 0, 4], [6, 6, 7, 7, 0], [8, 8, 9, 9, 10]],
    )


def same_parts(found: NDArray[np.int64], expected: object) -> bool:
    """Whether both divide the pixels alike, 0 where the other is 0, numbered from 1 on."""
    pairs = set(zip(found.ravel().tolist(), np.ravel(expected).tolist(), strict=True))
    numbers, wanted = (sorted({pair[side] for pair in pairs}) for side in (0, 1))
    return len(pairs) == len(numbers) == len(wanted) and (0, 0) in pairs and numbers == wanted


def single_pixels(classes: int, count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Labels whose every pixel is a region of its own, all of class 1."""
    label = np.ones((classes, count), np.uint8)
    return label, 1 + np.arange(label.size).reshape(label.shape)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_every_other_class_is_taken_as_often(share: float) -> None:
    label, regions = single_pixels(10, 1000)
    given = mislabelled.confused(label, regions, share, np.full(5, -1), np.random.default_rng(0))
    assert given.dtype == np.uint8
    counts = np.bincount(given.ravel(), minlength=5) / given.size
    expected = np.full(5, share / 4)
    expected[1] = 1 - share
    np.testing.assert_allclose(counts, expected, atol=0.02)
    assert len(counts) == 5


def test_a_region_is_wrong_as_a_whole_and_by_its_classs_partner() -> None:
    label = np.repeat(np.array([0, 1, 2, 3, 1, 0], np.uint8), 50).reshape(6, 50)
    regions = np.arange(30).repeat(10).reshape(6, 50) + 1
    partners = np.array([2, -1, 0, -1])
    given = mislabelled.confused(label, regions, 0.5, partners, np.random.default_rng(1))
    changed = given != label
    assert changed.any()
    for region in range(1, 31):
        assert len(np.unique(given[regions == region])) == 1
    assert set(given[changed & (label == 0)]) == {2}
    assert set(given[changed & (label == 2)]) == {0}
    assert {0, 1, 2, 3} >= set(given[changed & (label == 1)])
    # Where there is no region nothing changes, whatever the label.
    regions[:, ::2] = 0
    given = mislabelled.confused(label, regions, 1.0, partners, np.random.default_rng(1))
    np.testing.assert_array_equal(given[:, ::2], label[:, ::2])
    assert (given[:, 1::2] != label[:, 1::2]).all()


def test_two_pixels_are_eroded_on_every_side_and_go_to_the_nearest_region() -> None:
    label = np.zeros((13, 14), np.uint8)
    label[:, 7:] = 2  # two regions around the one in the middle
    label[3:10, 3:11] = 1
    regions = mislabelled.regions_of(label, None)
    given = mislabelled.eroded(label, regions, 2)
    expected = np.zeros_like(label)
    expected[:, 7:] = 2
    expected[5:8, 5:9] = 1
    middle = (slice(3, 10), slice(3, 11))
    np.testing.assert_array_equal(given[middle] == 1, expected[middle] == 1)
    np.testing.assert_array_equal(given[3:10, 3:5], 0)
    np.testing.assert_array_equal(given[3:10, 9:11], 2)
    np.testing.assert_array_equal(given[3, 3:7], 0)
    np.testing.assert_array_equal(given[3, 7:11], 2)
    # The two around it lose two pixels as well, to it and to one another.
    assert (given[6, 1:3] == 1).all()
    assert (given[6, 11:13] == 1).all()
    assert (given[6, [0, 13]] == (0, 2)).all()
    np.testing.assert_array_equal(mislabelled.eroded(label, regions, 0), label)
    np.testing.assert_array_equal(label[middle], 1)  # what was given stays as it is


def test_a_border_of_the_image_is_no_rim() -> None:
    label = np.zeros((6, 6), np.uint8)
    label[:3] = 1
    given = mislabelled.eroded(label, mislabelled.regions_of(label, None), 1)
    np.testing.assert_array_equal(given[:, 0], [1, 1, 0, 1, 0, 0])


@pytest.mark.parametrize("move", [(0, 0), (2, 0), (-2, 0), (0, 3), (0, -3), (1, 2), (9, -9)])
def test_labels_move_down_and_to_the_right(move: tuple[int, int]) -> None:
    label = np.arange(30, dtype=np.uint8).reshape(5, 6)
    moved = mislabelled.shifted(label, *move)
    rows, columns = np.indices(label.shape)
    expected = label[np.clip(rows - move[0], 0, 4), np.clip(columns - move[1], 0, 5)]
    np.testing.assert_array_equal(moved, expected)


STRIPES = (np.indices((12, 15)).sum(0) // 3 % 3).astype(np.uint8)
PLACES = np.random.default_rng(0).integers(0, 3, (12, 15)).astype(np.uint8)


def of_arrays(*labels: NDArray[np.uint8], names: tuple[str, ...] = ()) -> ArraySource:
    return ArraySource(tuple(arrays(label) for label in labels), names=names)


ALL = Window(0, 0, 12, 15)


def read(source: Mislabelled, index: int, window: Window = ALL) -> NDArray[Any]:
    return source.scenes("train").read(index, window)["label"]


def test_a_scene_keeps_its_errors_when_the_one_before_is_left_out() -> None:
    both = of_arrays(STRIPES, STRIPES, names=("one", "two"))
    alone = of_arrays(STRIPES, names=("two",))
    rules = {"share": 0.5, "seed": 3}
    first, second = (read(Mislabelled(both, **rules), index) for index in (0, 1))
    np.testing.assert_array_equal(read(Mislabelled(alone, **rules), 0), second)
    assert (first != second).any()
    assert (read(Mislabelled(both, share=0.5, seed=4), 1) != second).any()


def test_labels_move_by_up_to_the_shift_both_ways() -> None:
    seen = set()
    for seed in range(60):
        source = of_arrays(PLACES)
        moved = read(Mislabelled(source, share=0.0, shift=1, seed=seed), 0)
        seen |= {
            (down, right)
            for down in range(-3, 4)
            for right in range(-3, 4)
            if np.array_equal(moved, mislabelled.shifted(PLACES, down, right))
        }
    assert seen == {(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)}


def test_errors_are_of_the_regions_then_at_their_rims_and_then_of_their_place() -> None:
    label = STRIPES.copy()
    label[0] = IGNORE
    source = of_arrays(label)
    window = Window(0, 4, 7, 6)
    cut = (slice(0, 7), slice(4, 10))
    rule = Mislabelled(source, share=0.0, erode=1, shift=2, seed=5)
    regions = mislabelled.regions_of(label, None)
    thinner = mislabelled.eroded(label, regions, 1)
    candidates = [
        np.where(label == IGNORE, IGNORE, mislabelled.shifted(thinner, down, right))
        for down in range(-2, 3)
        for right in range(-2, 3)
    ]
    found = read(rule, 0)
    assert any(np.array_equal(found, candidate) for candidate in candidates)
    np.testing.assert_array_equal(read(rule, 0, window), found[cut])
    assert found.dtype == np.uint8
    assert (found[0] == IGNORE).all()
    sample = rule.scenes("train").read(0, window)
    for field in ("image", "valid"):
        np.testing.assert_array_equal(sample[field], source.stored[0][field][cut])


def test_objects_are_the_regions_where_a_source_knows_them() -> None:
    label = np.zeros((12, 15), np.uint8)
    instance = (np.indices(label.shape)[1] + 1).astype(np.int32)  # every column is an object
    source = ArraySource((arrays(label, instance=instance),))
    given = read(Mislabelled(source, share=0.5), 0)
    assert (given == given[:1]).all()
    assert 2 <= (given[0] != 0).sum() <= 13
    scenes = Mislabelled(source).scenes("train")
    np.testing.assert_array_equal(
        scenes.read(0, Window(1, 2, 3, 4))["instance"], instance[1:4, 2:6]
    )
    assert (len(scenes), scenes.name(0), scenes.size(0)) == (1, "train0", (12, 15))


def test_what_is_no_label_is_the_sources() -> None:
    source = of_arrays(STRIPES)
    wrong = Mislabelled(source)
    assert (wrong.classes, wrong.colors, wrong.sensor) == (
        source.classes,
        source.colors,
        source.sensor,
    )
    image = source.stored[0]["image"]
    np.testing.assert_array_equal(wrong.rgb(image), source.rgb(image))
    np.testing.assert_array_equal(
        Mislabelled(source, confusable=(("c", "a"),)).partners(), [2, -1, 0]
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"share": -0.1}, r"regions is -0\.1"),
        ({"share": 1.1}, r"regions is 1\.1"),
        ({"erode": -1}, "erode -1, seed 0: none"),
        ({"seed": -1}, "seed -1: none"),
        ({"shift": -2}, "shift -2, erode 0"),
    ],
)
def test_each_setting_out_of_range_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Mislabelled(of_arrays(STRIPES), **fields)
    Mislabelled(of_arrays(STRIPES), share=0.0)
    Mislabelled(of_arrays(STRIPES), share=1.0)
