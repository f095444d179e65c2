"""What the benchmark of wrong labels counts as found, worked by hand."""

import sys

import numpy as np
import pytest
from fixtures import painted
from fixtures.places import ROOT

from jaxseg import sharding
from jaxseg.datasets import HeldOut, Mislabelled
from jaxseg.run.step import init_state

sys.path.append(str(ROOT / "benchmarks"))
from wrong_labels_parts import found


def test_a_region_is_found_if_half_of_it_is_doubted() -> None:
    wrong = np.full((9, 20), -1, np.int32)
    wrong[:3, :4], wrong[5:8, :4], wrong[:2, 10:12] = 7, 7, 8  # 12 pixels, 12, and too few
    doubted = np.zeros(wrong.shape, bool)
    doubted[:2, :3] = True  # 6 of the first one
    doubted[5, :4] = True  # 4 of the second
    hit, _ = found.of_regions(wrong, doubted)
    assert hit.tolist() == [True, False]
    doubt = np.full(wrong.shape, 200, np.uint8)
    doubt[5:8] = 100
    assert found.of_regions(wrong, doubted, doubt)[1].tolist() == [200, 100]


def test_changed_labels_are_told_from_what_the_network_doubts() -> None:
    source = painted.Painted(sizes=((40, 40), (40, 40)))
    wrong = Mislabelled(source, share=0.3, seed=1)
    config = painted.config()
    mesh = sharding.make_mesh(config.mesh)
    counts = found.of_split(config, init_state(config, 2, mesh), wrong, "train")
    given, right = wrong.scenes("train"), source.scenes("train")
    changed = doubted = both = 0
    for index, scene in enumerate(right.arrays):
        label = given.read(index, found.Window(0, 0, 40, 40))["label"]
        counted = scene["valid"] & (scene["label"] != 255)
        is_wrong, is_doubted = label != scene["label"], label != scene["image"][..., 0]
        changed += (counted & is_wrong).sum()
        doubted += (counted & is_doubted).sum()
        both += (counted & is_wrong & is_doubted).sum()
    assert counts["found/wrong"] == changed
    assert counts["found/labelled"] > changed
    assert counts["found/doubted"] == pytest.approx(doubted, rel=0.02)  # by thresholds
    assert counts["found/both"] == pytest.approx(both, rel=0.02)
    assert 0 < counts["found/regions_seen"] <= counts["found/regions_wrong"]


def test_the_labels_of_scenes_that_are_held_out_are_compared_with_their_own() -> None:
    source = painted.Painted(sizes=((20, 20), (24, 20), (20, 28)))
    held = HeldOut(Mislabelled(source, share=0.5), part=1)
    assert found.corrected(held) == HeldOut(source, part=1)
