"""The experiment on the U-Net's recipe: which arm differs in what, and how its tables read."""

import sys
from pathlib import Path

import numpy as np
import pytest
from fixtures.places import ROOT

from jaxseg.datasets import Folder

sys.path.append(str(ROOT / "benchmarks"))
import edge_weights
import object_scores
import touching_discs


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Twelve images of discs."""
    folder = tmp_path_factory.mktemp("discs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(touching_discs, "SPLITS", {"train": 4, "val": 4, "test": 4})
        found = edge_weights.source_of("discs", folder)
    assert isinstance(found, Folder)
    return found


def test_arms_differ_from_plain_only_in_their_part(source: Folder) -> None:
    configs = {arm: edge_weights.planned(source, arm, 8, 1, 2.0, 0.1) for arm in edge_weights.ARMS}
    fields = ("model", "augment", "loss", "optimizer", "data", "seed")
    changed = {
        arm: {f for f in fields if getattr(config, f) != getattr(configs["plain"], f)}
        for arm, config in configs.items()
    }
    losses = {arm: {"loss"} for arm in ("wc", "border", "both")}
    assert changed == losses | {
        "plain": set(),
        "elastic": {"augment"},
        "momentum": {"optimizer"},
        "recipe": {"loss", "augment", "optimizer"},
        "mirrored": {"model"},
    }


def test_a_prediction_equal_to_the_label_finds_every_disc_of_every_gap(source: Folder) -> None:
    found = object_scores.counted("discs", source, "test", lambda sample: sample["label"])
    assert found["f1"] == found["boundary_f1"] == found["miou"] == 1
    assert found["merged"] == found["split"] == found["warping"] == 0
    assert found["objects"] == sum(found[f"{gap}/objects"] for gap in touching_discs.GAPS) > 30


def test_closing_all_gaps_merges_discs_and_costs_topology(source: Folder) -> None:
    found = object_scores.counted("discs", source, "test", lambda s: np.ones_like(s["label"]))
    assert found["f1"] == 0
    assert found["merged"] == 4  # one region in each of four images
    assert found["warping"] > 0


def test_a_difference_is_bold_where_its_interval_leaves_out_zero() -> None:
    assert edge_weights.difference("f1", [0.6, 0.7, 0.8], [0.5, 0.6, 0.7]).startswith("**+0.100**")
    said = edge_weights.difference("1/merged", [3, 5, 4], [4, 4, 5])
    assert said == "-0.3 (-3.2 to +2.5)"
    assert edge_weights.difference("f1", [0.6], [0.5]) == "+0.100"


def test_what_is_best_on_validation_is_chosen() -> None:
    scores = {("elastic", edge_weights.STD[1]): 0.9, ("momentum", edge_weights.RATE[0]): 0.8}
    asked: list[Path] = []

    def train(arm: str, seed: int, std: float, rate: float) -> dict[str, float]:
        assert seed == 0
        asked.append(Path(arm))
        return {"validation/f1": scores.get((arm, std), scores.get((arm, rate), 0.1))}

    assert edge_weights.choices(["plain", "recipe"], train) == (
        edge_weights.STD[1],
        edge_weights.RATE[0],
    )
    asked.clear()
    edge_weights.choices(["plain"], train)
    assert not asked
