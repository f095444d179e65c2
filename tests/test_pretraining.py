"""The experiment of pre-training: its rows differ in what they say, and in nothing else."""

import dataclasses
import sys

from fixtures.places import ROOT

sys.path.append(str(ROOT / "benchmarks"))
import pretraining

from jaxseg import config as configs
from jaxseg.datasets.landscape.source import Landscape
from jaxseg.transforms.masking import HidePatches, OfClasses, OfGradients


def test_pretrainings_are_valid_and_differ_in_their_proposals_alone() -> None:
    every = [pretraining.reconstructing(m, 10, 8, 0) for m in ("plain", "focused", "labelled")]
    proposals = []
    for config in every:
        configs.check(config)
        hiding = config.augment[-1]
        assert isinstance(hiding, HidePatches)
        proposals.append(hiding.proposals)
        alike = dataclasses.replace(hiding, proposals=None)
        assert dataclasses.replace(config, augment=(*config.augment[:-1], alike)) == every[0]
    assert proposals == [None, OfGradients(), OfClasses((9, 8, 1, 3, 7))]
    names = Landscape().classes
    assert [names[k] for k in proposals[2].classes] == list(pretraining.OBJECTS)


def test_a_small_share_keeps_a_tile_and_draws_others_for_another_seed() -> None:
    tiles = range(200)
    kept = [
        pretraining.Few(Landscape(), share=0.05, seed=seed).changed(tiles) for seed in (0, 0, 1)
    ]  # type: ignore[arg-type]
    numbers = [[some._kept[n] for n in range(len(some))] for some in kept]
    assert len(numbers[0]) == 10
    assert numbers[0] == numbers[1] != numbers[2]
    assert len(pretraining.Few(Landscape(), share=0.001).changed(tiles)) == 1  # type: ignore[arg-type]
