"""Labels of a `Folder` as vectors: polygons, lines or points, each with its class."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets.folder.pairing import FLAG
from jaxseg.errors import NOT_NEGATIVE, UserError, check_ranges
from jaxseg.files import drawing, vectors
from jaxseg.files.virtual import Frame
from jaxseg.scenes.scene import IGNORE, Window
from jaxseg.system.console import note

SLOW = 4 * 2**20
"""Bytes of a file without a spatial index from which it is said that it is slow."""

SHOWN = 12
"""Values of an attribute that an error lists at most."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vectors:
    """How vector files become masks; `Folder.masks` names them.

    Where features overlap, the one that is later in the file counts.

    Attributes:
        attribute: Attribute that says the class of a feature; empty = every feature is of the
            second of two classes.
        values: Value of the attribute for each class, as text; empty = the names of the classes.
        ignore_values: Values whose features are ignored.
        uncovered: What pixels in no feature are: the `first_class`, or `ignore`d.
        all_touched: Whether every pixel that a feature touches is its, not only those whose centre
            lies in it.
        buffer: Metres within which a pixel belongs to a point or a line.
        area: Vector file of the area that was labelled: pixels outside its polygons are ignored.
            Empty = all of the image.
    """

    attribute: str = ""
    values: tuple[str, ...] = ()
    ignore_values: tuple[str, ...] = ()
    uncovered: Literal["first_class", "ignore"] = "first_class"
    all_touched: bool = False
    buffer: float = dataclasses.field(default=0.0, metadata=NOT_NEGATIVE)
    area: str = dataclasses.field(default="", metadata={"path": True})

    def __post_init__(self) -> None:
        """Rejects fields that contradict each other.

        Raises:
            UserError: The buffer is negative, or a value has two meanings.
        """
        check_ranges(self, f"{FLAG}.vectors")
        told = [value for value in (*self.values, *self.ignore_values) if value]
        if len(set(told)) < len(told):
            raise UserError(f"{FLAG}.vectors: a value is given twice ({', '.join(told)}).")
        if (self.values or self.ignore_values) and not self.attribute:
            raise UserError(f"{FLAG}.vectors.values needs an attribute that holds them.")

    def check(self, classes: Sequence[str]) -> None:
        """Compares the fields with the classes.

        Raises:
            UserError: It is not known which features are of which class.
        """
        if not self.attribute and len(classes) != 2:
            raise UserError(
                f"{FLAG}.vectors.attribute is empty, and there are {len(classes)} classes. Name "
                "the attribute that holds the class of a feature."
            )
        if self.values and len(self.values) != len(classes):
            raise UserError(
                f"{FLAG}.vectors.values has {len(self.values)} entries for {len(classes)} classes "
                f"({', '.join(classes)}). Give one per class, '' for one without features."
            )

    def labels(
        self, path: str, classes: tuple[str, ...], grid: Frame, window: Window
    ) -> NDArray[np.uint8]:
        """(h, w) classes of a window of an image.

        Args:
            path: The vector file.
            classes: Names of the classes.
            grid: Of the image.
            window: Of the image.

        Raises:
            UserError: The file cannot be read, or a feature has a value that is not a class.
        """
        found = drawing.features_in(
            path,
            self.attribute,
            grid,
            window,
            buffer=self.buffer,
            flag=f"{FLAG}.vectors.buffer",
        )
        how = {"fill": IGNORE if self.uncovered == "ignore" else 0}
        numbers = self.numbers(path, classes, found.values)
        label = drawing.drawn(
            found.geometry, numbers, grid, window, all_touched=self.all_touched, **how
        )
        if self.area:
            area = drawing.features_in(
                self.area, "", grid, window, buffer=0.0, flag=f"{FLAG}.vectors.buffer"
            )
            ones = np.ones(len(area.geometry), np.uint8)
            inside = drawing.drawn(area.geometry, ones, grid, window, fill=0, all_touched=False)
            label[inside == 0] = IGNORE
        return label

    def numbers(
        self, path: str, classes: tuple[str, ...], values: NDArray[np.object_]
    ) -> NDArray[np.uint8]:
        """(N,) the class of each feature, IGNORE of those that are ignored.

        Args:
            path: Their file, for messages.
            classes: Names of the classes.
            values: (N,) of the attribute.

        Raises:
            UserError: A value is not a class.
        """
        if not self.attribute:
            return np.ones(len(values), np.uint8)
        table = {value: k for k, value in enumerate(self.values or classes) if value}
        table |= dict.fromkeys(self.ignore_values, IGNORE)
        if unknown := sorted({value for value in values if value not in table}):
            shown = ", ".join(repr(value) for value in unknown[:SHOWN])
            more = f" and {len(unknown) - SHOWN} more" if len(unknown) > SHOWN else ""
            raise UserError(
                f"{path}: {self.attribute} {shown}{more} is not a class; the classes are "
                f"{', '.join(repr(value) for value in table)}. Give {FLAG}.vectors.values, one for "
                f"each class, or {FLAG}.vectors.ignore-values."
            )
        return np.array([table[value] for value in values], np.uint8)


def check_vectors(files: Sequence[str], how: Vectors, classes: Sequence[str]) -> None:
    """Looks at the vector files of a split before the first window is read.

    Raises:
        UserError: A file cannot be read or lacks the attribute, or classes and fields do not fit.
    """
    vectors.check_extra()
    how.check(classes)
    for path in files:
        names = vectors.fields_of(path)
        if how.attribute and how.attribute not in names:
            raise UserError(
                f"{FLAG}.vectors.attribute {how.attribute}: {path} has the attributes "
                f"{', '.join(names)}."
            )
        size = Path(path).stat().st_size
        if size > SLOW and not path.lower().endswith(vectors.INDEXED):
            note(
                f"{path} ({size / 2**20:.0f} MiB) has no spatial index: each window reads all of "
                "it. A GeoPackage or FlatGeobuf is faster (ogr2ogr labels.gpkg FILE)."
            )
    if how.area:
        vectors.crs_of(how.area)
