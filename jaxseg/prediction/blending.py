"""Rows of answers from rows of tiles: sums of what overlaps, handed on when they are final.

Tiles come row by row from the top. What a row of tiles leaves unfinished are the `ramp` rows that
it shares with the next one; only these are kept.
"""

import numpy as np
from numpy.typing import NDArray

from jaxseg.prediction.tiling import Grid


class Rows:
    """Sums of one panel of columns, always in the same memory."""

    def __init__(
        self,
        grid: Grid,
        channels: int,
        first_column: int,
        columns: int,
        dtype: type[np.generic] = np.float32,
    ) -> None:
        """Starts with nothing.

        Args:
            grid: Of the tiles.
            channels: Of an answer: classes, or 1.
            first_column: Of the panel, in the scene.
            columns: Of the panel.
            dtype: Of an answer.
        """
        self._grid, self._first, self._columns = grid, first_column, columns
        self._sums = np.zeros((channels, grid.core, columns), dtype)
        self._handed_on = False

    def add(self, column: int, weighted: NDArray[np.generic]) -> None:
        """Adds the core (channels, core, core) of a tile of the current row.

        Without a ramp nothing overlaps, and what is there of the row before is replaced.

        Args:
            column: Number of the tile along the columns.
            weighted: Probabilities times weights; without a ramp, class numbers are allowed too.
        """
        self._begin()
        start = self._grid.core_start(column) - self._first
        left, right = max(0, start), min(self._columns, start + self._grid.core)
        if left >= right:
            return
        part = weighted[:, :, left - start : right - start]
        if self._grid.ramp:
            self._sums[:, :, left:right] += part
        else:
            self._sums[:, :, left:right] = part

    def finished(self) -> NDArray[np.generic]:
        """(channels, step, columns) of what no further row of tiles adds to; ends the row.

        The first of them is row `core_start` of the row of tiles. A view: use it before `add`.
        Columns without a tile hold anything finite.
        """
        self._begin()
        self._handed_on = True
        return self._sums[:, : self._grid.step]

    def _begin(self) -> None:
        """The next row of tiles, if the last one was handed on: what both share comes first."""
        if self._handed_on and self._grid.ramp:
            self._sums[:, : self._grid.ramp] = self._sums[:, self._grid.step :]
            self._sums[:, self._grid.ramp :] = 0
        self._handed_on = False
