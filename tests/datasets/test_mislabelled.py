"""Errors in labels: as many as asked for, of the kind asked for, the same each time."""

import dataclasses

import numpy as np
import pytest
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
