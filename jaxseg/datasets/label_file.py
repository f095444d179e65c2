"""The labels of one scene in a file of their own: a picture of ids, or an array of a file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets.folder.pairing import FLAG
from jaxseg.datasets.label_table import LabelTable, UnknownValue
from jaxseg.errors import UserError
from jaxseg.files import arrays, raster
from jaxseg.files.arrays import Stored
from jaxseg.scenes.scene import IGNORE, Window

SHOWN = 24
"""Values that an error lists at most."""


def chosen(path: str, name: str, axes: Sequence[int], field: str, *, but: str = "") -> Stored:
    """The array of a file that is meant.

    Args:
        path: The file.
        name: Its name; empty = the only one with so many axes.
        axes: Numbers of axes longer than 1, in the order in which they are looked for.
        field: The field of the source that names it, for messages.
        but: Name of an array that it is not.

    Raises:
        UserError: There is none, or there are several.
    """
    every = arrays.contents(path)
    if name or path.lower().endswith(".npy"):
        found = [array for array in every if array.name == name or not name]
    else:
        others = [array for array in every if array.size and (not but or array.name != but)]
        groups = ([array for array in others if array.axes == count] for count in axes)
        found = next(filter(None, groups), [])
    if len(found) == 1:
        return found[0]
    flag = f"{FLAG}.{field.replace('_', '-')}"
    usable = [array for array in every if array.size]
    proposed = f" Name one: {flag} {(found or usable)[0].name}" if usable else ""
    if name:
        what = f"no array {name!r}"
    else:
        count = len(found) or "no"
        what = f"{count} arrays of {axes[0]} axes, of which one is meant by {field}"
    raise UserError(f"{path} holds {what}. It has {arrays.listed(every)}.{proposed}")


def read_labels(path: str, name: str, *, but: str = "") -> NDArray[np.generic]:
    """The values of the labels, of two axes, as they are stored.

    Args:
        path: A picture of one band, or a file of arrays.
        name: The array; empty = the only one of two axes.
        but: Name of an array of the same file that it is not.

    Raises:
        UserError: The file cannot be read, or it is not known which array is meant.
    """
    if not arrays.is_array_file(path):
        header = raster.header(path)
        if header.bands != 1:
            raise UserError(f"{path} has {header.bands} bands: ids need one.")
        return raster.read(path, Window(0, 0, header.height, header.width))[..., 0]
    array = chosen(path, name, (2,), "labels_name", but=but)
    values = arrays.read(path, array.name)
    if values.ndim > 2:  # (rows, columns, 1)
        values = values.squeeze(tuple(n for n, length in enumerate(values.shape) if length == 1))
    if values.ndim != 2 or values.dtype.kind == "c":
        raise UserError(f"{path}: {array} are not labels: one number for each row and column.")
    return values


def classes_of(
    values: NDArray[np.generic],
    ids: Sequence[int],
    ignored: Sequence[int],
    path: str,
    same: Sequence[tuple[int, int]] = (),
) -> NDArray[np.uint8]:
    """The class of each pixel.

    Args:
        values: (H, W) values of the labels.
        ids: The value of each class.
        ignored: Values that mean no label.
        path: Their file, for messages.
        same: Pairs of a further value and the id whose class it has.

    Raises:
        UserError: A value is not known, or no pixel has a class.
    """
    try:
        label = LabelTable.of(ids, ignored, same).classes(np.asarray(values))
    except UnknownValue as found:
        raise UserError(
            f"{path}: id {found.value:g} at row {found.row}, column {found.column} "
            f"({found.count} pixels) is not a class. "
            f"{_held(values, ids, ignored, [value for value, _ in same])}"
        ) from None
    if not (label != IGNORE).any():
        raise UserError(f"{path} has no labelled pixel: all are in {FLAG}.ignore-ids.")
    return label


def _held(
    values: NDArray[np.generic], ids: Sequence[int], ignored: Sequence[int], same: Sequence[int]
) -> str:
    """All values with their pixels, and the flags that state those that are not known."""
    numbers, pixels = np.unique(values[np.isfinite(values)], return_counts=True)
    pairs = zip(numbers[:SHOWN], pixels, strict=False)
    shown = ", ".join(f"{number:g}: {count}" for number, count in pairs)
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    held = f"The labels hold (value: pixels) {shown}{more}."
    if (numbers != np.rint(numbers)).any():
        return f"{held} Classes are whole numbers."
    if more:
        return f"{held} These are too many for classes: is it the array of labels?"
    unknown = [number for number in numbers.tolist() if number not in (*ids, *ignored, *same)]
    classes = " ".join(f"{number:g}" for number in (*ids, *unknown))
    rest = " ".join(f"{number:g}" for number in (*ignored, *unknown))
    return (
        f"{held} If those not known are classes: {FLAG}.ids {classes} with a name for each in "
        f"{FLAG}.classes. If they mean no label: {FLAG}.ignore-ids {rest}"
    )


def exists(path: str, field: str) -> None:
    """Rejects a path at which there is nothing.

    Raises:
        UserError: There is no such file or folder.
    """
    if not Path(path).exists():
        raise UserError(
            f"{path}: no such file or folder. Fetch the data and give their path as {FLAG}.{field}."
        )
