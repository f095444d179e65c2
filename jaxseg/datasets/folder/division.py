"""Splits of parts of scenes: strips of columns or rows, or blocks with a guard around training.

Size of a scene  ->  the windows of it that belong to a split. No pixel is read.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets.folder.pairing import FLAG, SPLITS
from jaxseg.errors import MissingSplit, UserError
from jaxseg.scenes.scene import Window
from jaxseg.system import limits


@dataclasses.dataclass(frozen=True)
class Division:
    """How every scene is divided.

    Attributes:
        kind: `columns` and `rows` are one strip for each split, from left or top. `blocks` are
            those of a grid over all scenes, assigned at random, so that every split has some of
            everywhere.
        fractions: Shares of train, validation and test.
        block: Rows and columns of a block, about: scenes are cut into equal parts.
        guard: Rows and columns beside a training block that are left out of the other splits.
        seed: Seed of the assignment of blocks.
    """

    kind: Literal["columns", "rows", "blocks"]
    fractions: tuple[float, float, float]
    block: int
    guard: int
    seed: int

    def parts(
        self, sizes: Sequence[tuple[int, int]], names: Sequence[str], split: str
    ) -> list[list[Window]]:
        """The parts of each scene that belong to a split.

        Args:
            sizes: Rows and columns of each scene.
            names: Name of each scene.
            split: `train`, `validation` or `test`.

        Raises:
            UserError: None is left to the split.
            MissingSplit: Its share is 0.
        """
        number = list(SPLITS).index(split)
        if self.kind != "blocks":
            ends = sum(self.fractions[:number]), sum(self.fractions[: number + 1])
            return [
                [self._strip(size, ends, name)] for size, name in zip(sizes, names, strict=True)
            ]
        grids = [tuple(max(1, round(side / self.block)) for side in size) for size in sizes]
        counts = [rows * columns for rows, columns in grids]
        if sum(counts) > (limit := limits.PARTS.now()):
            largest = counts.index(max(counts))
            raise UserError(
                f"{sum(counts)} blocks of about {self.block} x {self.block} pixels are more than "
                f"the limit of {limit:.0f}: {names[largest]} says that it has "
                f"{' x '.join(map(str, sizes[largest]))} pixels. Give a larger {FLAG}.block, or "
                f"{limits.PARTS.variable}={sum(counts)}."
            )
        splits = self._assigned(sum(counts))
        parts = []
        for size, grid, own in zip(
            sizes, grids, np.split(splits, np.cumsum(counts)[:-1]), strict=True
        ):
            parts.append(self._blocks(size, own.reshape(grid), number))
        if not any(parts):
            kind = UserError if self.fractions[number] else MissingSplit
            raise kind(
                f"{len(splits)} block(s) of about {self.block} x {self.block} pixels in "
                f"{len(sizes)} scene(s), with a guard of {self.guard}, leave none to {split}. "
                f"Change {FLAG}.block, {FLAG}.guard or {FLAG}.fractions."
            )
        return parts

    def _strip(self, size: tuple[int, int], ends: tuple[float, float], name: str) -> Window:
        length = size[1] if self.kind == "columns" else size[0]
        first, last = (round(length * end) for end in ends)
        if first == last:
            raise UserError(
                f"{name}: {length} {self.kind} leave none to this split. Change {FLAG}.fractions."
            )
        if self.kind == "columns":
            return Window(0, first, size[0], last - first)
        return Window(first, 0, last - first, size[1])

    def _assigned(self, count: int) -> NDArray[np.intp]:
        """The split of each block."""
        ends = [round(count * sum(self.fractions[:end])) for end in (1, 2)]
        order = np.random.default_rng(self.seed).permutation(count)
        splits = np.zeros(count, np.intp)
        for number, chosen in enumerate(np.split(order, ends)):
            splits[chosen] = number
        return splits

    def _blocks(self, size: tuple[int, int], splits: NDArray[np.intp], wanted: int) -> list[Window]:
        """The blocks of a split in one scene, without the guard."""
        rows, columns = (
            np.linspace(0, side, parts + 1).round().astype(int)
            for side, parts in zip(size, splits.shape, strict=True)
        )
        trained = np.pad(splits == 0, 1)
        found = []
        for row, column in np.argwhere(splits == wanted).tolist():
            top, bottom = int(rows[row]), int(rows[row + 1])
            left, right = int(columns[column]), int(columns[column + 1])
            if wanted:
                near = trained[row : row + 3, column : column + 3]  # the block is in the middle
                left += self.guard * int(near[1, 0])
                right -= self.guard * int(near[1, 2])
                # A block that touches at a corner alone is kept away by rows.
                above = near[0, 1] or (near[0, 0] and not near[1, 0])
                below = near[2, 1] or (near[2, 0] and not near[1, 0])
                above = above or (near[0, 2] and not near[1, 2])
                below = below or (near[2, 2] and not near[1, 2])
                top += self.guard * int(above)
                bottom -= self.guard * int(below)
            if top < bottom and left < right:
                found.append(Window(top, left, bottom - top, right - left))
        return found
