"""Which windows cover a scene in an evaluation, and which pixels count from which window.

    window k    |....|==============|....|
    window k+1                 |....|==============|....|
                |<----- step ----->|

Two neighbours share what a step is shorter than a window. A pixel counts once, from the window in
whose middle it lies: half of what is shared belongs to either. At the border of a scene all of a
window counts.
"""

import dataclasses
from collections.abc import Iterator

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

    def windows(self, scenes: Scenes) -> Iterator[tuple[int, Window]]:
        """Scene and window, scene by scene; the last ones of a scene may extend beyond it."""
        for index in range(len(scenes)):
            height, width = scenes.size(index)
            for y in self._starts(height):
                for x in self._starts(width):
                    yield index, Window(y, x, self.side, self.side)

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
