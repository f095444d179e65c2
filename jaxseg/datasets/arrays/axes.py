"""The order of the axes of arrays: which of them are rows, columns and bands."""

import itertools
from collections.abc import Iterator
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

ImageAxes = Literal[
    "rows-columns-bands", "bands-rows-columns", "columns-rows-bands", "bands-columns-rows"
]
"""Order of the axes of an image."""

LabelAxes = Literal["rows-columns", "columns-rows"]
"""Order of the axes of labels."""

Order = tuple[ImageAxes, LabelAxes]
"""The orders of an image and of its labels."""


def by_rows(image: NDArray[np.generic], axes: ImageAxes) -> NDArray[np.generic]:
    """An image of two or three axes as (rows, columns, bands), a view."""
    names = axes.split("-")
    if image.ndim == 2:
        image = np.expand_dims(image, names.index("bands"))
    return image.transpose([names.index(name) for name in ("rows", "columns", "bands")])


def labels_by_rows(labels: NDArray[np.generic], axes: LabelAxes) -> NDArray[np.generic]:
    """Labels as (rows, columns), a view."""
    return labels if axes == "rows-columns" else labels.T


def bands(shape: tuple[int, ...], axes: ImageAxes) -> int:
    """Number of bands of an image."""
    return shape[axes.split("-").index("bands")] if len(shape) == 3 else 1


def size(shape: tuple[int, ...], axes: ImageAxes | LabelAxes) -> tuple[int, int]:
    """Rows and columns of an image or of labels."""
    names = axes.split("-")
    if len(shape) == 2:
        names = [name for name in names if name != "bands"]
    return shape[names.index("rows")], shape[names.index("columns")]


def agreeing(shape: tuple[int, ...], labels: tuple[int, ...]) -> Iterator[Order]:
    """Orders with which image and labels have one size, the usual ones first."""
    # One of both stored by columns is less usual than both by rows.
    for label_axes, image_axes in itertools.product(get_args(LabelAxes), get_args(ImageAxes)):
        if size(shape, image_axes) == size(labels, label_axes):
            yield image_axes, label_axes


def by(shape: tuple[int, ...]) -> str:
    """A shape in messages."""
    return " x ".join(map(str, shape))
