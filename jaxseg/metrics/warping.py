"""Warping error: the wrong pixels that no shift of borders explains, only another topology.

The reference is warped towards the prediction: pixels that differ are flipped one after the other,
but only simple points, whose flip neither merges nor splits a region, nor makes or removes one.
What then still differs is an error of topology, while a border that lies elsewhere costs nothing,
however far it has moved:

    closed gap       the pixels of a line along the gap         missed object    one pixel
    broken object    the pixels of a line across the break      invented one     all its pixels

    remaining        pixels of the warped reference that still differ from the prediction
    errors           their 8-connected groups, that is errors of topology (our count)
    warping error    remaining / counted pixels

Each class is compared with all others. Its pixels are 4-connected, the others 8-connected, so that
two cells that touch at a corner are two. A pixel is simple if its crossing number (Yokoi) is 1.
Pixels that are not counted are outside of every class, as all that lies beyond the edge of the map.
Objects that touch without a gap are one region of their class, so object ids are not used.

What can be flipped depends on the order, so the result is that of a greedy descent, an upper limit
of the least error, as in the paper. Here a pixel is flipped as soon as it is simple, in turns over
the four places of 2 x 2 cells: pixels of one turn are not neighbours, so that flipping all of them
at once is flipping one after the other. The challenge takes the best of all thresholds of a
probability map; here the map counts as it was predicted.

**Source:** Jain et al., Boundary Learning by Optimization with Topological Constraints, CVPR 2010;
the measure of the EM challenge, ISBI 2012 (Arganda-Carreras et al. 2015). Yokoi, Toriwaki,
Fukumura, An analysis of topological properties of digitized binary pictures, 1975 (the crossing
number). Checked against counts of labelled regions before and after flips; not checked against the
challenge's Fiji plugin.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from jaxseg.metrics.measure import Ids, Mask, Measure, Setting, ratio


@dataclasses.dataclass
class WarpingError(Measure):
    """Errors of topology per class, summed over maps."""

    name: ClassVar[str] = "warping"
    headings: ClassVar[dict[str, str]] = {
        "errors": "errors",
        "remaining": "pixels",
        "per_million": "per million",
    }

    def begin(self, setting: Setting) -> None:
        """Sets all counts to zero."""
        # Remaining pixels, their groups, counted pixels.
        self.counts = np.zeros((setting.num_classes, 3), np.int64)
        self.true = np.zeros(setting.num_classes, np.int64)  # pixels of the reference

    def add(self, prediction: Ids, label: Ids, counted: Mask, instance: Ids | None = None) -> None:
        """Counts one map; objects are not used."""
        pixels = int(counted.sum())
        for k in range(len(self.counts)):
            reference, wanted = (counted & (classes == k) for classes in (label, prediction))
            left = warped(reference, wanted) ^ wanted
            groups = scipy.ndimage.label(left, np.ones((3, 3)))[1] if left.any() else 0
            self.counts[k] += (int(left.sum()), groups, pixels)
            self.true[k] += int(reference.sum())

    def error(self) -> NDArray[np.float64]:
        """(K,) the warping error, 0..1; NaN without counted pixels."""
        return ratio(self.counts[:, 0], self.counts[:, 2])

    def columns(self) -> dict[str, NDArray[Any]]:
        """Errors of topology, their pixels, and these as a share of all pixels."""
        return {
            "errors": self.counts[:, 1],
            "remaining": self.counts[:, 0],
            "warping_error": self.error(),
            "per_million": 1e6 * self.error(),
        }

    def rows(self, classes: Sequence[str]) -> dict[str, dict[str, float]]:
        """The rows of all classes that the reference has."""
        rows = super().rows(classes).items()
        return {name: row for (name, row), true in zip(rows, self.true, strict=True) if true}

    def summary(self) -> str:
        """What counts as an error."""
        return "warping: pixels wrong by another topology, not by the place of a border"


def warped(reference: Mask, wanted: Mask) -> Mask:
    """The reference after all flips towards `wanted` that keep its topology.

    Args:
        reference: (H, W) a class, 4-connected; the rest and what lies outside are 8-connected.
        wanted: (H, W) the class in the prediction.

    Returns:
        (H, W), of the topology of `reference`; no simple point of it differs from `wanted`.
    """
    state = np.pad(reference, 1).ravel()
    target = np.pad(wanted, 1).ravel()
    width = reference.shape[1] + 2
    # East, north-east, ..., south-east: the order of the crossing number.
    around = np.array([1, 1 - width, -width, -width - 1, -1, width - 1, width, width + 1])
    different = state ^ target
    # Pixels to look at: at first all that differ, then those beside what was flipped.
    waiting = np.flatnonzero(different)
    while waiting.size:
        turn = 2 * (waiting // width % 2) + waiting % width % 2
        flipped = []
        for place in range(4):
            pixels = waiting[turn == place]
            code = state[pixels[:, None] + around] @ _BITS
            simple = pixels[_SIMPLE[code]]
            state[simple] = target[simple]
            different[simple] = False
            flipped.append(simple)
        beside = np.unique(np.concatenate(flipped)[:, None] + around)
        waiting = beside[different[beside]]
    shape = reference.shape[0] + 2, width
    result: Mask = state.reshape(shape)[1:-1, 1:-1]
    return result


def simple_points() -> Mask:
    """(256,) whether a pixel is simple: 4-connected inside, 8-connected outside.

    Bit i of the index is the neighbour at i times 45 degrees from east. Simple means that Yokoi's
    crossing number, the sum over the four direct neighbours x_i of x_i - x_i x_(i+1) x_(i+2), is 1.
    """
    x = np.arange(256)[:, None] >> np.arange(8) & 1
    direct = np.arange(0, 8, 2)
    ahead = x[:, (direct + 1) % 8] * x[:, (direct + 2) % 8]
    crossing: NDArray[np.int64] = (x[:, direct] * (1 - ahead)).sum(1)
    simple: Mask = crossing == 1
    return simple


_BITS = 1 << np.arange(8)
_SIMPLE = simple_points()
