"""What the values or colours of a mask file mean: a table from mask value to class id.

Masks are stored as ids with gaps, as floats that hold ids, as palette pictures or as RGB colours.
All of them become uint8 class ids 0..K-1; ignored values become IGNORE, and a value that is not in
the table is an error.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE

MAX_CLASSES = 254
"""255 is IGNORE and 254 marks a value that the table does not know."""

_UNKNOWN = 254
_MAX_SPAN = 2**24


@dataclass(frozen=True, eq=False)
class LabelTable:
    """The class of every known mask value.

    Attributes:
        lowest: The smallest known value minus 1; smaller values are clipped to it.
        table: Entry i is the class id of `lowest + i`, IGNORE, or 254 for an unknown value.
    """

    lowest: int
    table: NDArray[np.uint8]

    @classmethod
    def of(
        cls, values: Sequence[int], ignored: Sequence[int], same: Sequence[tuple[int, int]] = ()
    ) -> "LabelTable":
        """The table in which `values[k]` is class k and every value of `ignored` is IGNORE.

        Args:
            values: One of each class.
            ignored: Those that have no class.
            same: Pairs of a further value and the one of `values` whose class it has.

        Raises:
            UserError: A value is given twice, or counts as one that is not a class, or the values
                lie 2**24 or more apart.
        """
        for value, other in same:
            if other not in values:
                raise UserError(
                    f"Mask value {value} is to count as {other}, which is not that of a class: "
                    f"choose one of {', '.join(map(str, values))}."
                )
        known = [*values, *ignored, *(value for value, _ in same)]
        twice = sorted({value for value in known if known.count(value) > 1})
        if twice:
            raise UserError(f"Mask value {twice[0]} is given twice. Give each value one meaning.")
        lowest, highest = min(known) - 1, max(known) + 1
        if max(known) - min(known) >= _MAX_SPAN:
            raise UserError(f"Mask values {min(known)} and {max(known)} lie 2**24 or more apart.")
        table = np.full(highest - lowest + 1, _UNKNOWN, np.uint8)
        table[np.asarray(ignored, np.int64) - lowest] = IGNORE
        table[np.asarray(values, np.int64) - lowest] = np.arange(len(values))
        for value, other in same:
            table[value - lowest] = table[other - lowest]
        return cls(lowest, table)

    def class_of(self, value: float) -> int | None:
        """The class of one value; None if it is ignored or not known."""
        position = value - self.lowest
        if position != int(position) or not 0 <= position < len(self.table):
            return None
        label = int(self.table[int(position)])
        return label if label < _UNKNOWN else None

    def classes(
        self, values: NDArray[np.generic], known: NDArray[np.bool_] | None = None
    ) -> NDArray[np.uint8]:
        """The class ids of mask values.

        Args:
            values: (h, w) values of any real data type; floats have to hold integers.
            known: (h, w), False where the mask has no data, whatever its value; None = True
                everywhere.

        Raises:
            UnknownValue: A value is not in the table or not an integer.
        """
        highest = self.lowest + len(self.table) - 1
        table, indices = self.table, values
        if values.dtype.kind == "f":
            missing = np.isnan(values)
            known = ~missing if known is None else known & ~missing
            integers = np.where(known, values, self.lowest + 1)
            broken = integers != np.rint(integers)
            if broken.any():
                raise UnknownValue.first(values, broken)
            # Clipped before the cast: a float may be larger than any integer.
            indices = np.clip(integers, self.lowest, highest).astype(np.int64) - self.lowest
        elif values.dtype == np.uint8:  # a table of all values: one look-up a pixel
            every = np.clip(np.arange(256), self.lowest, highest) - self.lowest
            table = self.table[every]
        else:
            indices = np.clip(values.astype(np.int64), self.lowest, highest) - self.lowest
        labels: NDArray[np.uint8] = table[indices]
        if known is not None:
            labels[~known] = IGNORE
        unknown = labels == _UNKNOWN
        if unknown.any():
            raise UnknownValue.first(values, unknown)
        return labels


class UnknownValue(Exception):  # noqa: N818  (always caught and reported with the file's name)
    """A mask holds a value that its table does not know.

    Attributes:
        value: The first such value in reading order.
        count: Number of pixels that hold it.
        row: Row of its first pixel.
        column: Column of its first pixel.
    """

    def __init__(self, value: float, count: int, row: int, column: int) -> None:
        """Stores the value and its position."""
        super().__init__(f"{value} at row {row}, column {column}")
        self.value, self.count, self.row, self.column = value, count, row, column

    @classmethod
    def first(cls, values: NDArray[np.generic], where: NDArray[np.bool_]) -> "UnknownValue":
        """The first of the values at the marked pixels."""
        row, column = (int(axis[0]) for axis in np.nonzero(where))
        value = values[row, column]
        return cls(value.item(), int((values == value)[where].sum()), row, column)


def packed(rgb: NDArray[np.generic]) -> NDArray[np.int32]:
    """(..., 3) RGB colours of 8 bits -> (...) one integer per colour, red in the highest byte."""
    red, green, blue = (rgb[..., band].astype(np.int32) for band in range(3))
    return (red << 16) | (green << 8) | blue


def unpacked(number: int) -> tuple[int, int, int]:
    """The inverse of `packed` for one colour."""
    return number >> 16, number >> 8 & 255, number & 255
