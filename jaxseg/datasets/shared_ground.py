"""How much ground the scenes of two splits share, by their positions on the earth.

Scenes in one coordinate reference system are compared exactly; the ground of a scene in another
one is followed at 33 x 33 points, so that it must be shared by about a thousandth to be seen.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxseg.files.ground import reprojected
from jaxseg.scenes.scene import Ground

ROUNDING = 0.99
"""Part of a pixel by which neighbours may overlap."""

POINTS = 33
"""Points along each side of a scene whose places in another reference system are computed."""


class Shared(NamedTuple):
    """The ground that two lists of scenes share.

    Attributes:
        share: Share of the ground of the second that the first shows, 0..1.
        first: A scene of the first list that shows ground of the second; -1 if none does.
        second: That scene of the second list.
    """

    share: float
    first: int
    second: int


def shared(first: Sequence[Ground | None], second: Sequence[Ground | None]) -> Shared:
    """The share of the second's ground that the first shows, where files state a position.

    Overlaps of less than a pixel are roundings of neighbours.
    """
    groups: dict[str, _Boxes] = {}
    members: defaultdict[str, list[int]] = defaultdict(list)
    for index, ground in enumerate(first):
        if ground is not None:
            members[ground.crs].append(index)
    for crs, indices in members.items():
        groups[crs] = _Boxes([first[i] for i in indices], indices)  # type: ignore[misc]
    area = covered = 0.0
    example = (-1, -1)
    for index, ground in enumerate(second):
        if ground is None:
            continue
        size = (ground.right - ground.left) * (ground.top - ground.bottom)
        share = 0.0
        for crs, boxes in groups.items():
            same = crs == ground.crs
            found, who = boxes.share(ground) if same else boxes.share_of_points(ground, crs)
            share = min(1.0, share + found)
            if who >= 0 and example[0] < 0:
                example = (who, index)
        # Square metres and square degrees do not add: every scene counts by its pixels.
        pixels = size / ground.pixel**2
        area += pixels
        covered += share * pixels
    return Shared(covered / area if area else 0.0, *example)


class _Boxes:
    """Rectangles of one reference system, sorted by their left edges."""

    def __init__(self, grounds: list[Ground], indices: list[int]) -> None:
        box = np.array([(g.left, g.bottom, g.right, g.top) for g in grounds])
        order = np.argsort(box[:, 0], kind="stable")
        self._box = box[order]
        self._indices = np.asarray(indices)[order]
        self._widest = float((box[:, 2] - box[:, 0]).max())

    def share(self, ground: Ground) -> tuple[float, int]:
        """Share of the ground in any of the rectangles, and the index of one of them, or -1."""
        margin = ROUNDING * ground.pixel
        near, who = self._between(ground.left, ground.right)
        wide = np.minimum(near[:, 2], ground.right) - np.maximum(near[:, 0], ground.left) > margin
        high = np.minimum(near[:, 3], ground.top) - np.maximum(near[:, 1], ground.bottom) > margin
        both = wide & high
        if not both.any():
            return 0.0, -1
        near = near[both]
        x = np.unique(np.clip([*near[:, 0], *near[:, 2]], ground.left, ground.right))
        y = np.unique(np.clip([*near[:, 1], *near[:, 3]], ground.bottom, ground.top))
        inside = _inside(near, (x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2)
        covered = float((inside * np.diff(x) * np.diff(y)[:, None]).sum())
        size = (ground.right - ground.left) * (ground.top - ground.bottom)
        return covered / size, int(who[both][0])

    def share_of_points(self, ground: Ground, crs: str) -> tuple[float, int]:
        """The same for ground in another reference system."""
        part = (np.arange(POINTS) + 0.5) / POINTS
        x, y = np.meshgrid(
            ground.left + part * (ground.right - ground.left),
            ground.bottom + part * (ground.top - ground.bottom),
        )
        x, y = reprojected(x.ravel(), y.ravel(), ground.crs, crs)
        known = np.isfinite(x) & np.isfinite(y)
        if not known.any():
            return 0.0, -1
        x, y = x[known], y[known]
        near, who = self._between(x.min(), x.max())
        hit = np.zeros(len(x), bool)
        example = -1
        for (left, bottom, right, top), index in zip(near, who, strict=True):
            inside = (x > left) & (x < right) & (y > bottom) & (y < top)
            if example < 0 and inside.any():
                example = int(index)
            hit |= inside
        return float(hit.sum()) / POINTS**2, example

    def _between(self, left: float, right: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        first = np.searchsorted(self._box[:, 0], left - self._widest)
        last = np.searchsorted(self._box[:, 0], right)
        return self._box[first:last], self._indices[first:last]


def _inside(
    boxes: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which points of the grid lie in any of the rectangles, (rows, columns)."""
    found = np.zeros((len(y), len(x)), bool)
    for left, bottom, right, top in boxes:
        found |= ((x > left) & (x < right)) & ((y > bottom) & (y < top))[:, None]
    return found
