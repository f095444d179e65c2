"""A map of any size as a picture: its file reduced while it is read, and a bar of round length."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.files import raster
from jaxseg.files.ground import metres_per_pixel
from jaxseg.scenes.scene import Window

BAR = 0.28
"""Share of a picture's width that a scale bar has at most."""


class MapView(NamedTuple):
    """A map, reduced.

    Attributes:
        header: Of its file.
        ids: (h, w) class ids, or other numbers that the file holds.
        valid: (h, w) bool, False where it has no data.
        metres: On the ground, for a column of `ids`, in the middle of the map; None = not known.
    """

    header: raster.Header
    ids: NDArray[np.generic]
    valid: NDArray[np.bool_]
    metres: float | None


def read_map(path: Path, side: int) -> MapView:
    """Reads the first band of a map; memory is bounded by `side`, not by the map.

    Args:
        path: The file.
        side: Rows or columns of the result at most, whichever are more.

    Raises:
        UserError: It cannot be read.
    """
    header = raster.header(str(path))
    window = Window(0, 0, header.height, header.width)
    shape = reduced(header.height, header.width, side)
    ids = raster.read_planes(str(path), window, bands=[1], shape=shape)[0]
    nodata = header.nodata[0]
    valid = np.ones(shape, bool) if nodata is None else ids != nodata
    metres = metres_per_pixel(header, window)
    if metres is not None:
        metres *= header.width / shape[1]
    return MapView(header, ids, valid, metres)


def read_classes(path: Path, side: int, classes: tuple[str, ...]) -> MapView:
    """Reads a map of these classes; see `read_map`.

    Raises:
        UserError: It cannot be read, or is not a map of these classes.
    """
    found = read_map(path, side)
    told = found.header.tags.get("JAXSEG_CLASSES")
    if told is not None and told != ", ".join(classes):
        raise UserError(
            f"{path} is a map of the classes {told}; the run has {', '.join(classes)}. Give a map "
            "that this run has made."
        )
    ids = found.ids[found.valid]
    if ids.dtype.kind not in "iu" or (ids.size and not 0 <= ids.min() <= ids.max() < len(classes)):
        raise UserError(
            f"{path} holds other values than 0 to {len(classes) - 1}, the classes of the run. Give "
            "the map itself, not its confidence or another layer."
        )
    return found


def reduced(height: int, width: int, side: int) -> tuple[int, int]:
    """Rows and columns of the same shape with at most `side` of either; not enlarged."""
    scale = max(1.0, max(height, width) / side)
    return max(1, round(height / scale)), max(1, round(width / scale))


def scale_bar(metres: float, width: int) -> tuple[float, str]:
    """The longest bar of 1, 2 or 5 times a power of ten metres that a picture has room for.

    Args:
        metres: On the ground, for a column of the picture.
        width: Columns of the picture.

    Returns:
        Its length in columns, and what it stands for, such as `500 m` or `20 km`.
    """
    most = BAR * width * metres
    power = 10.0 ** math.floor(math.log10(most))
    length = max(step * power for step in (1, 2, 5) if step * power <= most * (1 + 1e-9))
    said = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    return length / metres, said
