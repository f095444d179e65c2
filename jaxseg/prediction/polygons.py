"""Polygons of a map that is written: one for each connected region, with what is known about it."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import NOT_NEGATIVE, UserError, check_ranges
from jaxseg.files import raster, regions, vectors
from jaxseg.files.areas import Areas
from jaxseg.files.maps import BLOCK, CLASSES, check_classes, class_names
from jaxseg.files.vectors import Batch, Geometries
from jaxseg.prediction.layers import NODATA, STEPS
from jaxseg.prediction.outputs import JOB, OBJECTS, layer_file
from jaxseg.prediction.tracing import Pixels, Regions, trace
from jaxseg.scenes.scene import Window

STRIP = 2**23
"""Pixels of a strip at most, unless a row has more."""


@dataclasses.dataclass(frozen=True)
class Polygons:
    """Which polygons are made of a map.

    Attributes:
        classes: Names of the classes that have polygons; empty = all.
        minimum_area: Regions below it are left out; in square metres, or in pixels without a CRS.
        fill_holes: Holes below it are filled; in the same unit.
        simplify: Vertices are left out that make triangles smaller than the square of so many
            pixels; borders that two polygons share stay shared. 0 = the outlines of pixels.
    """

    classes: tuple[str, ...] = ()
    minimum_area: float = dataclasses.field(default=0.0, metadata=NOT_NEGATIVE)
    fill_holes: float = dataclasses.field(default=0.0, metadata=NOT_NEGATIVE)
    simplify: float = dataclasses.field(default=0.0, metadata=NOT_NEGATIVE)

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            UserError: One is negative.
        """
        check_ranges(self, "--polygon")


def check_asked(out: Path, *, overwrite: bool) -> None:
    """Makes sure, before anything is computed, that polygons can be written.

    Raises:
        UserError: The extra is not installed, the name cannot be written, or something is there.
    """
    vectors.check_extra()
    vectors.check_written(out)
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists. Give another name, or --overwrite to replace it.")


def polygonise(
    path: Path, out: Path, asked: Polygons = Polygons(), *, rows: int = 0
) -> dict[str, int]:
    """Writes the polygons of a map; the result does not depend on the strips it is read in.

    Attributes of a polygon: `id` from 1; `class`, a number, and `name`; `area_m2` of the polygon as
    it is written (`area_px` without a CRS); `confidence`, the mean over the pixels of its region,
    if the map has that layer beside it; `object`, its number among the objects, if the map is that
    of a run which separates touching objects (the first class has none).

    Args:
        path: The map: a raster of class numbers.
        out: The vector file; replaced if it is there.
        asked: Which polygons.
        rows: Of a strip; 0 = by its width. Where borders are simplified, vertices at the borders
            of strips stay.

    Returns:
        Name of each class -> number of its polygons.

    Raises:
        UserError: The map cannot be read or is not one of classes, or the file not be written.
    """
    vectors.check_extra()
    opened = _Map(path, asked)
    header = opened.header
    vectors.check_written(out, placed=header.crs is not None)
    strips = trace(
        opened.read,
        (header.height, header.width),
        rows or max(1, min(BLOCK, STRIP // header.width)),
        asked.simplify,
    )
    numbered = _Numbered(opened)
    crs = None if header.crs is None else header.crs.to_wkt()
    vectors.write(out, map(numbered, strips), opened.types(), crs, opened.facts())
    return numbered.counts


class _Numbered:
    """Makes features of regions, whose numbers go on from strip to strip.

    Attributes:
        counts: Name of each class -> number of its polygons so far.
    """

    def __init__(self, opened: "_Map") -> None:
        self._map = opened
        self._last = self._last_object = 0
        self.counts: dict[str, int] = {}

    def __call__(self, found: Regions) -> Batch:
        """The features of regions that are not too small."""
        polygons, areas = self._map.placed(found.polygons)
        large = areas >= self._map.minimum_area
        classes = found.classes[large]
        names = [self._map.name(value) for value in classes.tolist()]
        for name in names:
            self.counts[name] = self.counts.get(name, 0) + 1
        fields: dict[str, NDArray[Any]] = {
            "id": self._last + np.arange(1, len(names) + 1),
            "class": classes,
            "name": np.array(names, object),
            self._map.area: areas[large],
        }
        self._last += len(names)
        if self._map.confidence:
            with np.errstate(invalid="ignore"):  # of no pixel: NaN, which means none
                fields["confidence"] = found.total[large] / found.known[large]
        if self._map.objects:
            is_object = classes > 0
            numbers = self._last_object + np.cumsum(is_object)
            fields["object"] = np.ma.array(numbers, mask=~is_object)
            self._last_object += int(is_object.sum())
        return Batch(polygons[large], fields)


class _Map:
    """A map of classes, and the confidence beside it."""

    def __init__(self, path: Path, asked: Polygons) -> None:
        self._path, self._asked = str(path), asked
        self.header = header = raster.header(self._path)
        check_classes(header)
        self._names = class_names(path, header.tags)
        self._numbers = self._chosen(asked.classes)
        if asked.fill_holes > asked.minimum_area and len(asked.classes) != 1:
            raise UserError(
                f"--polygon.fill-holes {asked.fill_holes:g} above --polygon.minimum-area "
                f"{asked.minimum_area:g}: filled holes would lie on polygons of other classes. "
                "Raise the minimum area, or name one class by --polygon.classes."
            )
        self.minimum_area = asked.minimum_area
        self._areas = Areas(header.crs, header.transform)
        self.area = f"area_{self._areas.unit}"
        self.objects = header.tags.get(OBJECTS) == "yes"
        self.confidence = self._beside(layer_file(path, "confidence"))

    def types(self) -> dict[str, type]:
        """The fields of a polygon."""
        found: dict[str, type] = {"id": int, "class": int, "name": str, self.area: float}
        found |= {"confidence": float} if self.confidence else {}
        return found | ({"object": int} if self.objects else {})

    def facts(self) -> dict[str, str]:
        """What the file says of itself: the tags of the map, and its classes."""
        own = {name: text for name, text in self.header.tags.items() if name.startswith("JAXSEG_")}
        return own | {"JAXSEG_MAP": Path(self._path).name, CLASSES: vectors.told(self._names)}

    def name(self, value: int) -> str:
        """Of a class, or its number where none is known."""
        return self._names[value] if 0 <= value < len(self._names) else str(value)

    def read(self, window: Window) -> Pixels:
        """Classes, where polygons are wanted, and the confidence."""
        classes: NDArray[Any] = raster.read(self._path, window)[..., 0]
        nodata = self.header.nodata[0]
        wanted = np.ones(classes.shape, bool) if nodata is None else classes != nodata
        if self._numbers:
            wanted &= np.isin(classes, self._numbers)
        sure = None
        if self.confidence:
            steps: NDArray[Any] = raster.read(self.confidence, window)[..., 0]
            sure = np.where(steps == NODATA, np.float32(np.nan), steps / np.float32(STEPS))
        return Pixels(classes, wanted, sure)

    def placed(self, polygons: Geometries) -> tuple[Geometries, NDArray[np.float64]]:
        """Polygons in the CRS of the map, their small holes filled, and their areas."""
        if self._asked.fill_holes:
            polygons = regions.without_holes(
                polygons, self._asked.fill_holes, lambda p: self._areas.of(self._areas.placed(p))
            )
        found = self._areas.placed(polygons)
        return found, self._areas.of(found)

    def _chosen(self, names: tuple[str, ...]) -> list[int]:
        """Numbers of classes by their names."""
        for name in names:
            if name not in self._names:
                raise UserError(
                    f"--polygon.classes {name}: {self._path} has "
                    + (f"the classes {', '.join(self._names)}." if self._names else "no names.")
                )
        return [self._names.index(name) for name in names]

    def _beside(self, file: Path) -> str:
        """The confidence of the same map, if it is there."""
        if not file.exists():
            return ""
        other = raster.header(str(file))
        same = (other.height, other.width) == (self.header.height, self.header.width)
        return str(file) if same and other.tags.get(JOB) == self.header.tags.get(JOB) else ""
