"""Which wrong labels a network finds, compared with those that `Mislabelled` has changed."""

import dataclasses
from pathlib import Path

import numpy as np
from experiment import Numbers
from numpy.typing import NDArray

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.datasets import HeldOut, Mislabelled
from jaxseg.evaluation.doubts.files import write
from jaxseg.evaluation.doubts.passes import Doubts
from jaxseg.files.regions import components
from jaxseg.metrics.confident_learning import UNDOUBTED
from jaxseg.run.evaluator import Evaluator
from jaxseg.run.step import TrainState
from jaxseg.scenes.scene import IGNORE, Source, Window

SMALLEST = 9
"""Pixels of a region that is counted."""

FIRST = 100
"""Regions that a campaign may have time for."""


def corrected(source: Source) -> Source:
    """The same source with correct labels."""
    if isinstance(source, Mislabelled):
        return corrected(source.source)
    if isinstance(source, HeldOut):
        return dataclasses.replace(source, source=corrected(source.source))
    return source


def of_split(
    config: Config, state: TrainState, source: Source, split: str, to: Path | None = None
) -> Numbers:
    """The labels of a split that are doubted, compared with those that were changed.

    Args:
        config: The run.
        state: Its network.
        source: The source with wrong labels.
        split: Of it.
        to: Where to write the doubts, too; None = nowhere.

    Returns:
        Numbers of pixels and of regions, and of the first regions by their doubt.
    """
    data = dataclasses.replace(config.data, source=source)
    config = dataclasses.replace(config, data=data)
    mesh = sharding.make_mesh(config.mesh)
    evaluator = Evaluator(config, mesh, split)
    doubts = Doubts(config, mesh, evaluator, state)
    if to is not None:
        names = {"split": split, "step": int(state.step), "run": to.parent.name}
        write(doubts, evaluator.scenes, source, to, smallest=SMALLEST, **names)
    right = corrected(source).scenes(split)
    counts: dict[str, int] = {}
    ranked: list[NDArray[np.float64]] = []
    for scene in doubts.scenes():
        label, doubted = scene.label, scene.suggested != UNDOUBTED
        true = right.read(scene.scene, Window(0, 0, *label.shape))["label"]
        wrong = (label != IGNORE) & (label != true)
        seen, _ = of_regions(np.where(wrong, true.astype(np.int32) * 256 + label, -1), doubted)
        is_right, doubt = of_regions(
            np.where(doubted, label.astype(np.int32), -1), wrong, scene.doubt
        )
        ranked.append(np.stack([doubt, is_right], axis=1))
        for name, number in {
            "labelled": (label != IGNORE).sum(),
            "wrong": wrong.sum(),
            "doubted": doubted.sum(),
            "both": (wrong & doubted).sum(),
            "regions_wrong": len(seen),
            "regions_seen": seen.sum(),
            "regions_doubted": len(is_right),
            "regions_right": is_right.sum(),
        }.items():
            counts[name] = counts.get(name, 0) + int(number)
    every = np.concatenate(ranked)
    first = every[np.argsort(-every[:, 0], kind="stable")][:FIRST]
    counts |= {"first": len(first), "first_right": int(first[:, 1].sum())}
    return {f"found/{name}": float(number) for name, number in counts.items()}


def of_regions(
    values: NDArray[np.int32],
    hit: NDArray[np.bool_],
    doubt: NDArray[np.uint8] | None = None,
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Whether at least half of each region of `SMALLEST` pixels is hit, and its mean doubt.

    Args:
        values: (H, W) regions have equal values; -1 = none.
        hit: (H, W).
        doubt: (H, W) 0..254 in the regions; None = no mean.
    """
    count, of_pixel = components(values)
    inside = values >= 0
    sizes = np.bincount(of_pixel[inside], minlength=count)
    hits = np.bincount(of_pixel[inside], hit[inside], count)
    total = (
        np.zeros(count) if doubt is None else np.bincount(of_pixel[inside], doubt[inside], count)
    )
    large = sizes >= SMALLEST
    return hits[large] >= 0.5 * sizes[large], total[large] / sizes[large]
