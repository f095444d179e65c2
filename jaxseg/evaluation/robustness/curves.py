"""What is found out about a run's robustness: scores over strengths."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxseg.metrics.intervals import Intervals
from jaxseg.run.evaluator import Evaluation


class Point(NamedTuple):
    """What was counted at one strength.

    Attributes:
        strength: In the unit of its curve.
        meaning: The strength in words; may be empty.
        result: Scores.
        intervals: Their 95 % intervals over scenes.
    """

    strength: float
    meaning: str
    result: Evaluation
    intervals: Intervals

    def hit(self, target: int) -> float:
        """Share 0..1 of the pixels of other classes that are taken for the target."""
        others = np.delete(self.result.confusion, target, axis=0)
        return float(others[:, target].sum() / max(1, others.sum()))


class Curve(NamedTuple):
    """The scores of one network over the strengths of one kind.

    Attributes:
        kind: Name of the corruption, or `pgd`, `segpgd`, `generator`.
        unit: Unit of the strengths.
        points: From weak to strong.
        target: Id of the class that a targeted attack wants; `UNTARGETED` = none.
        network: The folder of the network that was counted.
    """

    kind: str
    unit: str
    points: tuple[Point, ...]
    target: int
    network: str

    def title(self, classes: Sequence[str]) -> str:
        """Of a table or chart."""
        return self.kind if self.target < 0 else f"{self.kind} to {classes[self.target]}"


@dataclasses.dataclass(frozen=True)
class Robustness:
    """Everything that `measure` finds out.

    Attributes:
        split: The evaluated split.
        step: Step of the checkpoint.
        classes: K names.
        colors: K colours.
        windows: Number of windows that were counted.
        network: The folder of the run.
        clean: Network -> what it reaches on images as they are.
        curves: One for each kind and network.
        refused: Kind of corruption -> why it does not exist for this sensor.
        epsilon: Unit of the attacks' strengths, in words.
    """

    split: str
    step: int
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    windows: int
    network: str
    clean: Mapping[str, Point]
    curves: tuple[Curve, ...]
    refused: Mapping[str, str]
    epsilon: str
