"""Rows of probabilities from rows of tiles: sums of what overlaps, handed on when they are final.

Tiles come row by row from the top. What a row of tiles leaves unfinished are the `ramp` rows that
it shares with the next one; only these are kept.
"""

import numpy as np
from numpy.typing import NDArray

from jaxseg.prediction.tiling import Grid


class Rows:
    """Sums of one panel of columns."""

    def __init__(self, grid: Grid, classes: int, first_column: int, columns: int) -> None:
        """Starts with nothing.

        Args:
            grid: Of the tiles.
            classes: Number of classes.
            first_column: Of the panel, in the scene.
            columns: Of the panel.
        """
        self._grid, self._first, self._columns = grid, first_column, columns
        self._sums = np.zeros((classes, grid.core, columns), np.float32)

    def add(self, column: int, weighted: NDArray[np.float32]) -> None:
        """Adds the core (K, core, core) of a tile of the current row.

        Args:
            column: Number of the tile along the columns.
            weighted: Probabilities times weights.
        """
        start = self._grid.core_start(column) - self._first
        left, right = max(0, start), min(self._columns, start + self._grid.core)
        if left < right:
            self._sums[:, :, left:right] += weighted[:, :, left - start : right - start]

    def finished(self) -> NDArray[np.float32]:
        """(K, step, columns) of what no further row of tiles adds to; begins the next row.

        The first of them is row `core_start` of the row of tiles. A view: use it before `add`.
        """
        step, ramp = self._grid.step, self._grid.ramp
        done = self._sums[:, :step]
        following = np.zeros_like(self._sums)
        if ramp:
            following[:, :ramp] = self._sums[:, step:]
        self._sums = following
        return done
