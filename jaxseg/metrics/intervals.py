"""How sure a score is: 95 % intervals by drawing whole blocks of the split with replacement.

The errors of neighbouring pixels are correlated, so a million pixels of forty tiles are forty
observations rather than a million. The bootstrap therefore draws whole scenes, since windows of one
scene are correlated too; of a split of a single scene it draws windows, and says how the score
varies within it. Every draw is scored like the split itself, from its summed counts, and the 2.5 %
and 97.5 % quantiles of 1000 draws are the interval. Fewer than five blocks have no interval.

All scores follow from the diagonal and the two margins of a confusion matrix, so only 3 K numbers
are kept per window, not K^2: 6 MB for 10,000 windows of 50 classes.

The interval states how much the score would vary with another draw of similar scenes; it does not
include the variation with the training seed or the region. With fewer than about ten blocks it is
too narrow.

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
from jaxseg.scenes.cover import Cover
from jaxseg.scenes.scene import Scenes, Window

DRAWS = 1000
LEVEL = 0.95
FEWEST = 5
"""Fewer blocks than this have no interval: most of their draws would be alike."""

_DRAWS_AT_A_TIME = 50


@dataclasses.dataclass(frozen=True)
class Intervals:
    """The 95 % intervals of one evaluation.

    Attributes:
        blocks: Number of blocks.
        unit: Kind of block; windows are those of a single scene.
        low: Lower bounds by name of score: () for `miou` and other summaries, (K,) per class for
            `iou`, `f1`, `precision`, `recall`; NaN if the score does not exist, or the blocks are
            fewer than `FEWEST`.
        high: Upper bounds.
    """

    blocks: int
    unit: Literal["scenes", "windows"]
    low: dict[str, NDArray[np.float64]]
    high: dict[str, NDArray[np.float64]]

    @property
    def known(self) -> bool:
        """Whether there are enough blocks."""
        return self.blocks >= FEWEST


def blocks(
    margins: NDArray[np.int32], windows: Sequence[tuple[int, Window]], scenes: Scenes, cover: Cover
) -> tuple[NDArray[np.int32], list[int]]:
    """Margins of blocks as large as a window, and the number of each one's scene, for `bootstrap`.

    Windows that overlap count together, as the ground of one window: what each of them alone counts
    is smaller, and smaller blocks would promise more than is known.

    Args:
        margins: (N, 3, K) for each window.
        windows: Scene and window of each.
        scenes: The split. Several parts of one scene, which have its name, count as that scene.
        cover: Which pixels of a scene count from which window.
    """
    sums: dict[tuple[int, int, int], NDArray[np.int32]] = {}
    for (scene, window), counts in zip(windows, margins, strict=True):
        y, x, height, width = cover.own(scenes.size(scene), window)
        block = scene, (y + height // 2) // cover.side, (x + width // 2) // cover.side
        sums[block] = sums[block] + counts if block in sums else counts
    names = [scenes.name(scene) for scene, *_ in sums]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.stack(list(sums.values())), [numbers[name] for name in names]


def bootstrap(
    margins: NDArray[np.integer], scenes: Sequence[int], *, seed: int = 0, draws: int = DRAWS
) -> Intervals:
    """The intervals of every score of a split.

    Args:
        margins: (N, 3, K) for each window: the diagonal of its confusion matrix, the sums of the
            rows (reference) and the sums of the columns (prediction). Windows without a counted
            pixel are left out.
        scenes: (N,) the scene of each window.
        seed: Seed of the draws.
        draws: Number of draws.

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
    unit: Literal["scenes", "windows"] = "scenes" if len(names) > 1 else "windows"
    if unit == "scenes":
        sums = np.zeros((len(names), *counts.shape[1:]))
        np.add.at(sums, scene, counts)
        counts = sums
    count = len(counts)
    random = np.random.default_rng(seed)
    flat = counts.reshape(count, -1)
    parts = []
    for start in range(0, draws, _DRAWS_AT_A_TIME):
        size = min(_DRAWS_AT_A_TIME, draws - start)
        times = random.multinomial(count, np.full(count, 1 / count), size=size)
        drawn = (times.astype(np.float64) @ flat).reshape(size, *counts.shape[1:])
        parts.append(rates(drawn[:, 0], drawn[:, 1], drawn[:, 2]))
    low, high = {}, {}
    tails = (1 - LEVEL) / 2, (1 + LEVEL) / 2
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice encountered")  # its quantile is NaN
        for name in parts[0]:
            scores = np.concatenate([part[name] for part in parts])
            low[name], high[name] = np.nanquantile(scores, tails, axis=0)
            if count < FEWEST:
                low[name] = high[name] = np.full_like(low[name], np.nan)
    return Intervals(count, unit, low, high)
