"""Pictures of whole scenes: the worst ones of a split, reduced as their windows are predicted.

    predictions of windows, in order  ->  every n-th pixel of a scene's map  ->  the worst scenes

A picture shows a few hundred rows and columns of a scene, so no more of a map is kept: memory does
not grow with the scenes. Their images are read at the end, window by window, and averaged.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from jaxseg.pictures.tiles import Tile, stretch
from jaxseg.scenes.cover import Cover
from jaxseg.scenes.scene import IGNORE, Scenes, Source, Window
from jaxseg.system.console import track

SCENES = 6
"""Scenes that are shown, the worst ones."""

SIDE = 600
"""Rows or columns of their pictures, whichever are more."""


class Map(NamedTuple):
    """The map of one scene, reduced.

    Attributes:
        scene: Its number.
        right: Share of right pixels among all that are counted.
        every: Rows and columns of the scene for one of the map.
        prediction: Class ids.
    """

    scene: int
    right: float
    every: int
    prediction: NDArray[np.uint8]


class WholeScenes:
    """Receives the predictions of a split's windows one by one and keeps the worst scenes."""

    def __init__(self, scenes: Scenes, windows: Sequence[tuple[int, Window]], cover: Cover) -> None:
        """Starts before the first window.

        Args:
            scenes: The split.
            windows: The expected windows, those of one scene in succession.
            cover: Which pixels of a scene count from which window.
        """
        self._scenes, self._windows, self._cover = scenes, windows, cover
        self._next, self._right, self._counted = 0, 0, 0
        self._map = Map(-1, math.nan, 1, np.zeros((0, 0), np.uint8))
        self.worst: list[Map] = []

    def add(self, predictions: NDArray[np.uint8], margins: NDArray[np.int32]) -> None:
        """Adds the next windows; those after the last are ignored.

        Args:
            predictions: (B, H, W) class ids.
            margins: (B, 3, K) of their confusion matrices: diagonal, row sums, column sums.
        """
        left = len(self._windows) - self._next
        for prediction, counts in zip(predictions[:left], margins[:left], strict=True):
            scene, window = self._windows[self._next]
            if self._map.scene != scene:
                self._map, self._right, self._counted = self._empty(scene), 0, 0
            self._reduce(prediction, window)
            self._right += int(counts[0].sum())
            self._counted += int(counts[1].sum())
            self._next += 1
            if self._next == len(self._windows) or self._windows[self._next][0] != scene:
                self._keep()

    def tiles(self, source: Source, console: Console) -> Iterator[Tile]:
        """The worst scenes, worst first, with their images and references, read now.

        Args:
            source: What the scenes belong to; it turns images into colours.
            console: Where to show how many are done.
        """
        for found in track(self.worst, "pictures", total=len(self.worst), console=console):
            yield self._tile(found, source)

    def _empty(self, scene: int) -> Map:
        height, width = self._scenes.size(scene)
        every = -(-max(height, width) // SIDE)
        size = (-(-height // every), -(-width // every))
        return Map(scene, math.nan, every, np.zeros(size, np.uint8))

    def _reduce(self, prediction: NDArray[np.uint8], window: Window) -> None:
        """Keeps every n-th pixel of what counts from this window."""
        size, every = self._scenes.size(self._map.scene), self._map.every
        own = self._cover.own(size, window)
        shown, read = [], []
        for length, first, count, start in (
            (size[0], own.y, own.height, window.y),
            (size[1], own.x, own.width, window.x),
        ):
            at = middles(length, every)
            begin, end = np.searchsorted(at, (first, first + count))
            shown.append(slice(begin, end))
            read.append(at[begin:end] - start)
        self._map.prediction[shown[0], shown[1]] = prediction[np.ix_(*read)]

    def _keep(self) -> None:
        """Puts the finished scene among the worst ones if it is one."""
        if self._counted:
            found = self._map._replace(right=self._right / self._counted)
            self.worst = sorted([*self.worst, found], key=lambda one: one.right)[:SCENES]

    def _tile(self, found: Map, source: Source) -> Tile:
        height, width = self._scenes.size(found.scene)
        every, shape = found.every, found.prediction.shape
        rgb = np.zeros((*shape, 3), np.float32)
        label, valid = np.full(shape, IGNORE, np.uint8), np.zeros(shape, bool)
        step = max(1, self._cover.side // every) * every  # windows no larger than the network's
        for y in range(0, height, step):
            for x in range(0, width, step):
                window = Window(y, x, min(step, height - y), min(step, width - x))
                sample = self._scenes.read(found.scene, window)
                rows, columns = (middles(n, every) for n in window[2:])
                place = slice(y // every, None), slice(x // every, None)
                colors = means(source.rgb(sample["image"]), sample["valid"].astype(bool), every)
                for whole, part in (
                    (rgb, colors),
                    (label, sample["label"][np.ix_(rows, columns)]),
                    (valid, sample["valid"][np.ix_(rows, columns)]),
                ):
                    whole[place][: len(rows), : len(columns)] = part
        name = self._scenes.name(found.scene)
        if every > 1:
            name += f", every {ordinal(every)} row and column"
        return Tile(name, stretch(rgb, valid), label, found.prediction, valid, found.right)


def middles(length: int, every: int) -> NDArray[np.intp]:
    """The pixel in the middle of each `every` pixels; of the last ones that there are."""
    starts = np.arange(0, length, every)
    return np.asarray(starts + (np.minimum(every, length - starts) - 1) // 2)


def means(image: NDArray[Any], valid: NDArray[np.bool_], every: int) -> NDArray[np.float32]:
    """Means over squares of `every` x `every` pixels, without those that are invalid or no numbers.

    Args:
        image: (H, W, C).
        valid: (H, W).
        every: Rows and columns of a square; smaller ones at the end.

    Returns:
        (H / every, W / every, C), rounded up; NaN where a square has no number.
    """
    seen = valid[..., None] & np.isfinite(image)
    rows, columns = (np.arange(0, n, every) for n in valid.shape)

    def summed(values: NDArray[Any]) -> NDArray[np.float64]:
        strips = np.add.reduceat(values, rows, axis=0, dtype=np.float64)
        return np.asarray(np.add.reduceat(strips, columns, axis=1))

    count = summed(seen)
    total = summed(np.where(seen, image, 0))
    filled = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return filled.astype(np.float32)


def ordinal(number: int) -> str:
    """2nd, 3rd, 4th, ..."""
    teens = 10 <= number % 100 < 20
    return f"{number}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"
