"""Which windows cover a scene in an evaluation, and which pixels count from which window.

    window k    |....|==============|....|
    window k+1                 |....|==============|....|
                |<----- step ----->|

Two neighbours share what a step is shorter than a window. A pixel counts once, from the window in
whose middle it lies: half of what is shared belongs to either. At the border of a scene all of a
window counts.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import overload

import numpy as np

from jaxseg.scenes.scene import Scenes, Window


@dataclasses.dataclass(frozen=True)
class Cover:
    """Windows along rows and columns alike, from the first pixel of each scene; in pixels.

    Attributes:
        side: Rows and columns of a window.
        step: Distance between the first pixels of two neighbours, 1 to `side`.
    """

    side: int
    step: int

    @property
    def shared(self) -> int:
        """Rows or columns that two neighbours share."""
        return self.side - self.step

    @property
    def overlap(self) -> float:
        """The share of a window's side that two neighbours share."""
        return self.shared / self.side

    def windows(self, scenes: Scenes) -> "Windows":
        """Scene and window, scene by scene; the last ones of a scene may extend beyond it."""
        return Windows(self, scenes)

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """How many windows there are along rows and columns of a scene of this size."""
        return len(self._starts(size[0])), len(self._starts(size[1]))

    def own(self, size: tuple[int, int], window: Window) -> Window:
        """The part of a scene of `size` rows and columns that counts from one of the windows."""
        y, height = self._own(size[0], window.y)
        x, width = self._own(size[1], window.x)
        return Window(y, x, height, width)

    def _starts(self, length: int) -> range:
        return range(0, max(1, length - self.shared), self.step)

    def _own(self, length: int, start: int) -> tuple[int, int]:
        """First pixel and number of pixels along rows or columns."""
        half = self.shared // 2
        last = start == self._starts(length)[-1]
        first, end = start + half if start else 0, length if last else start + half + self.step
        return first, end - first


class Windows(Sequence[tuple[int, Window]]):
    """The windows that cover scenes, in order; each is computed, and none is kept.

    Memory is that of one number for each scene, whatever their sizes.
    """

    def __init__(self, cover: Cover, scenes: Scenes) -> None:
        """Counts the windows of each scene."""
        self._cover, self._scenes = cover, scenes
        grids = (cover.grid(scenes.size(index)) for index in range(len(scenes)))
        counts = np.fromiter((rows * columns for rows, columns in grids), np.int64, len(scenes))
        self._ends = np.cumsum(counts)

    def __len__(self) -> int:
        """How many there are."""
        return int(self._ends[-1]) if len(self._ends) else 0

    @overload
    def __getitem__(self, number: int) -> tuple[int, Window]: ...

    @overload
    def __getitem__(self, number: slice) -> list[tuple[int, Window]]: ...

    def __getitem__(self, number: int | slice) -> tuple[int, Window] | list[tuple[int, Window]]:
        """Scene and window."""
        if isinstance(number, slice):
            return [self[each] for each in range(len(self))[number]]
        place = range(len(self))[number]
        scene = int(np.searchsorted(self._ends, place, side="right"))
        _, columns = self._cover.grid(self._scenes.size(scene))
        first = int(self._ends[scene - 1]) if scene else 0
        row, column = divmod(place - first, columns)
        return scene, self._window(row, column)

    def __iter__(self) -> Iterator[tuple[int, Window]]:
        """All of them, one after another."""
        for scene in range(len(self._scenes)):
            rows, columns = self._cover.grid(self._scenes.size(scene))
            for row in range(rows):
                for column in range(columns):
                    yield scene, self._window(row, column)

    def _window(self, row: int, column: int) -> Window:
        cover = self._cover
        return Window(row * cover.step, column * cover.step, cover.side, cover.side)
