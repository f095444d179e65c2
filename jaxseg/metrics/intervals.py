"""How sure a score is: 95 % intervals by drawing whole blocks of the split with replacement.

Neighbouring pixels err together, so a million pixels of forty tiles are forty facts rather than a
million. The bootstrap therefore draws blocks: scenes where there are more than ten, since windows
of one scene depend on each other too; else windows. Every draw is scored like the split itself, by
its summed counts, and the 2.5 % and 97.5 % quantiles of 1000 draws are the interval.

All scores follow from the diagonal and the two margins of a confusion matrix, so a window keeps
3 K numbers and not K^2: 6 MB for 10,000 windows of 50 classes.

The interval tells how far another draw of scenes of this kind would move the score; it does not
know another training seed or another region. With fewer than some ten blocks it is too narrow.

Source: Efron, Better bootstrap confidence intervals, JASA 1987 (the percentile interval); Kuensch,
The jackknife and the bootstrap for general stationary observations, Annals of Statistics 1989
(blocks).
"""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jaxseg.metrics.scores import rates

DRAWS = 1000
LEVEL = 0.95
FEWEST_SCENES = 10
"""Up to here windows are drawn instead of scenes."""

_DRAWS_AT_A_TIME = 50


@dataclasses.dataclass(frozen=True)
class Intervals:
    """The 95 % intervals of one evaluation.

    Attributes:
        blocks: How many blocks were drawn from.
        unit: What a block is.
        low: Lower ends by name of score: () for `miou` and other summaries, (K,) per class for
            `iou`, `f1`, `precision`, `recall`; NaN where the score does not exist.
        high: Upper ends.
    """

    blocks: int
    unit: Literal["scenes", "windows"]
    low: dict[str, NDArray[np.float64]]
    high: dict[str, NDArray[np.float64]]


def bootstrap(
    margins: NDArray[np.integer], scenes: Sequence[int], *, seed: int = 0, draws: int = DRAWS
) -> Intervals:
    """The intervals of every score of a split.

    Args:
        margins: (N, 3, K) of each window's confusion matrix the diagonal, the sums of the rows
            (reference) and the sums of the columns (prediction). Windows without a counted pixel
            take no part.
        scenes: (N,) the scene that each window was cut from.
        seed: Of the draws.
        draws: How many.

    Raises:
        ValueError: The two differ in length, or no window has a counted pixel.
    """
    if len(margins) != len(scenes):
        raise ValueError(f"{len(margins)} windows and {len(scenes)} scene numbers.")
    seen = margins[:, 1].sum(axis=1) > 0
    if not seen.any():
        raise ValueError("No window has a counted pixel: there is nothing to draw from.")
    counts = margins[seen].astype(np.float64)
    names, scene = np.unique(np.asarray(scenes)[seen], return_inverse=True)
    unit: Literal["scenes", "windows"] = "scenes" if len(names) > FEWEST_SCENES else "windows"
    if unit == "scenes":
        sums = np.zeros((len(names), *counts.shape[1:]))
        np.add.at(sums, scene, counts)
        counts = sums
    blocks = len(counts)
    random = np.random.default_rng(seed)
    flat = counts.reshape(blocks, -1)
    parts = []
    for start in range(0, draws, _DRAWS_AT_A_TIME):
        size = min(_DRAWS_AT_A_TIME, draws - start)
        times = random.multinomial(blocks, np.full(blocks, 1 / blocks), size=size)
        drawn = (times.astype(np.float64) @ flat).reshape(size, *counts.shape[1:])
        parts.append(rates(drawn[:, 0], drawn[:, 1], drawn[:, 2]))
    low, high = {}, {}
    tails = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice encountered")  # its quantile is NaN
        for name in parts[0]:
            scores = np.concatenate([part[name] for part in parts])
            low[name], high[name] = np.nanquantile(scores, tails, axis=0)
    return Intervals(blocks, unit, low, high)
