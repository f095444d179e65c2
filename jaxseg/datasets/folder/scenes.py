"""The scenes of a `Folder`: windows of images, masks and object maps.

image file   --bands-->       image, valid   (nodata, NaN and transparency are invalid)
validity file -- 0? -------->  valid
mask file    --LabelTable-->  label          (ids or colours; nodata and transparency are IGNORE)
vector file  --`Vectors`-->   label
object file  ------------->   instance
neither      ------------->   label          0 everywhere: no labels, for pre-training
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets.folder import ambiguous
from jaxseg.datasets.folder.entries import Facts, Scene
from jaxseg.datasets.folder.numbers import Reading
from jaxseg.datasets.folder.pairing import FLAG
from jaxseg.datasets.folder.vector_labels import Vectors
from jaxseg.datasets.label_table import LabelTable, UnknownValue, packed, unpacked
from jaxseg.errors import UserError
from jaxseg.files import raster
from jaxseg.files.vectors import is_vector
from jaxseg.files.virtual import on_grid
from jaxseg.losses.border_weights import touching
from jaxseg.scenes.scene import IGNORE, Extent, Sample, Window

MaskNodata = Literal["ignore", "keep", "hide"]
"""What nodata and transparency of a mask mean, see `Folder`."""


HELD = 12
"""Values of a mask that an error lists at most."""


@dataclass(frozen=True, eq=False)
class FolderScenes:
    """Fulfils `jaxseg.scenes.scene.Scenes` over files; holds paths and facts, never an open file.

    Attributes:
        entries: Files, facts and area of every scene.
        table: Class of each mask value or packed colour.
        classes: Names of the classes.
        by_color: Whether masks hold colours.
        mask_nodata: What nodata and transparency of masks mean.
        nodata_in_all: Whether only the nodata value in all bands makes a pixel invalid.
        separate_touching: Whether pixels where two objects touch become class 0.
        reading: Conversion of the images' values, after validity is determined.
        vectors: How vector files become masks.
    """

    entries: Sequence[Scene]
    table: LabelTable
    classes: tuple[str, ...]
    by_color: bool
    mask_nodata: MaskNodata
    nodata_in_all: bool
    separate_touching: bool
    reading: Reading
    vectors: Vectors

    def __len__(self) -> int:
        """Number of scenes."""
        return len(self.entries)

    def name(self, index: int) -> str:
        """The image's path."""
        return self.entries[index].image

    def size(self, index: int) -> tuple[int, int]:
        """Height and width in pixels of the scene, or of its strip that belongs to the split."""
        area = self.entries[index].area
        return area.height, area.width

    def files(self, index: int) -> tuple[str, ...]:
        """Image, mask, object map, validity and labelled area, as far as there are any."""
        scene = self.entries[index]
        area = self.vectors.area if is_vector(scene.mask) else ""
        return tuple(filter(None, (scene.image, scene.mask, scene.objects, scene.validity, area)))

    def extent(self, index: int) -> Extent:
        """The image, the part of it that belongs to the split, and where that lies."""
        scene = self.entries[index]
        return Extent(scene.image, scene.area, scene.ground)

    def doubts(self, windows: Sequence[tuple[int, Window]]) -> dict[str, str]:
        """What opacity and nodata values of the files may mean otherwise."""
        return ambiguous.doubts(self.entries, windows, nodata_in_all=self.nodata_in_all)

    def gsd(self, index: int) -> float | None:
        """Ground sample distance in metres; None = not known."""
        return self.entries[index].gsd

    def read(self, index: int, window: Window) -> Sample:
        """`image`, `label`, `valid` and, if known, `instance` of the window.

        Raises:
            UserError: A file cannot be read, a mask holds a value that is not a class, or is
                transparent where it holds one.
        """
        scene = self.entries[index]
        place = window._replace(y=window.y + scene.area.y, x=window.x + scene.area.x)
        planes, valid = self._planes(scene.image, scene.image_facts, place)
        if scene.validity:
            valid &= raster.read_planes(scene.validity, place, bands=(1,))[0] != 0
        image = self.reading(raster.pixel_by_pixel(planes), scene.image_facts.added)
        sample: Sample = {"image": image, "valid": valid}
        touch = np.zeros(valid.shape, bool)
        if scene.object_facts is not None:
            around = _one_around(place, scene.area)
            instance = _objects(scene.objects, scene.object_facts, around)
            top, left = place.y - around.y, place.x - around.x
            inner = (slice(top, top + place.height), slice(left, left + place.width))
            if self.separate_touching:
                touch = touching(instance)[inner]
            sample["instance"] = instance[inner]
            sample["label"] = (instance[inner] > 0).astype(np.uint8)
        if scene.grid is not None and scene.mask_facts is None:
            sample["label"] = self.vectors.labels(scene.mask, self.classes, scene.grid, place)
        elif scene.mask_facts is not None:
            sample["label"] = self._labels(scene, scene.mask_facts, place, valid)
        elif not scene.objects:  # images without labels
            sample["label"] = np.zeros(valid.shape, np.uint8)
        sample["label"][touch & (sample["label"] != IGNORE)] = 0
        return sample

    def _planes(
        self, path: str, facts: Facts, window: Window
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """(C, h, w) values of an image, and (h, w) where they are data."""
        planes, valid = _read(path, facts, window)
        if planes.dtype.kind in "fc":
            valid &= np.isfinite(planes).all(0)
        missing = _is_nodata(planes, facts.nodata)
        if missing is not None:
            valid &= ~(missing.all(0) if self.nodata_in_all else missing.any(0))
        return planes, valid

    def _labels(
        self, scene: Scene, facts: Facts, window: Window, valid: NDArray[np.bool_]
    ) -> NDArray[np.uint8]:
        path = read_from = scene.mask
        if scene.grid is not None:
            read_from = on_grid(path, scene.grid)
        planes, opaque = _read(read_from, facts, window)
        known = np.ones(opaque.shape, bool)
        missing = _is_nodata(planes, facts.nodata)
        if missing is not None:
            known &= ~missing.all(0)
        numbers: NDArray[np.generic] = planes[0]
        if self.by_color and facts.palette:
            palette = packed(np.frombuffer(facts.palette, np.uint8).reshape(-1, 3))
            numbers = palette[numbers.astype(np.intp)]
        elif self.by_color:
            colors = planes if len(planes) == 3 else planes.repeat(3, axis=0)
            numbers = packed(np.moveaxis(colors, 0, -1))
        if self.mask_nodata == "ignore" and scene.grid is None:  # beside a mask all is transparent
            # Where the image has no data, as where both were cut out, there is nothing to lose.
            self._refuse_hidden(path, numbers, known & ~opaque & valid, window)
        try:
            return self.table.classes(numbers, known & opaque)
        except UnknownValue as error:
            row, column = error.row + window.y, error.column + window.x
            held = self._held(numbers[known & opaque])
            raise UserError(f"{self._complaint(path, error, row, column)} {held}") from None

    def _refuse_hidden(
        self, path: str, numbers: NDArray[np.generic], hidden: NDArray[np.bool_], window: Window
    ) -> None:
        """Rejects transparent pixels of a class: only the user can resolve the contradiction."""
        for number in np.unique(numbers[hidden & np.isfinite(numbers)]):
            label = self.table.class_of(number.item())
            if label is None:
                continue
            where = hidden & (numbers == number)
            row, column = (int(axis[0]) for axis in np.nonzero(where))
            value = f"colour {unpacked(int(number))}" if self.by_color else f"value {number:g}"
            raise UserError(
                f"{path} is transparent where it holds class {self.classes[label]!r}, {value}, "
                f"first at row {row + window.y}, column {column + window.x}; {int(where.sum())} "
                f"pixel(s) in this window. Give {FLAG}.mask-nodata keep if they are the class, or "
                f"{FLAG}.mask-nodata hide if they are to be ignored."
            )

    def _held(self, numbers: NDArray[np.generic]) -> str:
        """All that a window of a mask holds, the most frequent first."""
        values, pixels = np.unique(numbers, return_counts=True)
        order = np.argsort(-pixels, kind="stable")
        shown = [
            f"{unpacked(int(values[n])) if self.by_color else format(values[n], 'g')}: {pixels[n]}"
            for n in order[:HELD]
        ]
        more = f" and {len(order) - HELD} more" if len(order) > HELD else ""
        held = f"The window holds (value: pixels) {', '.join(shown)}{more}."
        if self.by_color or (values != np.rint(values)).any():
            return held
        if more:
            return (
                f"{held} If these are numbers of objects, give {FLAG}.instances instead of masks."
            )
        listed = " ".join(format(value, "g") for value in values)
        return f"{held} If all of them are classes, give {FLAG}.ids {listed}."

    def _complaint(self, path: str, error: UnknownValue, row: int, column: int) -> str:
        where = f"first at row {row}, column {column}; {error.count} pixel(s) in this window"
        if self.by_color:
            return (
                f"{path}: colour {unpacked(int(error.value))} is not a class ({where}). Add it to "
                f"{FLAG}.mask_colors with a class of its own, or to {FLAG}.ignore_colors. (JPEG "
                "masks blur colours: use PNG.)"
            )
        if path.lower().endswith((".jpg", ".jpeg")):
            return (
                f"{path}: value {error.value:g} is not a class ({where}). JPEG blurs ids at the "
                "borders of classes: write masks as PNG or GeoTIFF, from their source."
            )
        if error.value != np.rint(error.value):
            return f"{path}: {error.value:g} is not a whole number, so not a class ({where})."
        return (
            f"{path}: value {error.value:g} is not a class ({where}). Add it to {FLAG}.ids with a "
            f"class of its own, or to {FLAG}.ignore_ids."
        )


def _objects(path: str, facts: Facts, window: Window) -> NDArray[np.int32]:
    planes, known = _read(path, facts, window)  # (1, h, w)
    missing, values, blank = _is_nodata(planes, facts.nodata), planes[0], ~known
    if values.dtype.kind == "f":
        blank |= np.isnan(values)
    if missing is not None:
        blank |= missing[0]
    ids = np.where(blank, 0, values)
    wrong = (ids != np.rint(ids)) | (ids < 0) | (ids > np.iinfo(np.int32).max)
    if wrong.any():
        row, column = (int(axis[0]) for axis in np.nonzero(wrong))
        raise UserError(
            f"{path}: {ids[row, column]:g} is not an object id (row {row + window.y}, column "
            f"{column + window.x}; {int(wrong.sum())} pixel(s) in this window). Ids are whole "
            "numbers from 0 (no object) to 2**31 - 1: rewrite the file, or tag the value as nodata "
            "if it means nothing."
        )
    return ids.astype(np.int32)


def _one_around(window: Window, area: Window) -> Window:
    """The window enlarged by one pixel on each side, clipped to the area."""
    top, left = max(area.y, window.y - 1), max(area.x, window.x - 1)
    bottom = min(area.y + area.height, window.y + window.height + 1)
    right = min(area.x + area.width, window.x + window.width + 1)
    return Window(top, left, bottom - top, right - left)


def _read(path: str, facts: Facts, window: Window) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """(C, h, w) values of a file, and (h, w) False where its own mask hides them."""
    if facts.masked:
        return raster.read_with_mask(path, window, bands=facts.numbers)
    planes = raster.read_planes(path, window, bands=facts.numbers)
    return planes, np.ones(planes.shape[1:], bool)


def _is_nodata(
    planes: NDArray[np.generic], nodata: tuple[float | None, ...]
) -> NDArray[np.bool_] | None:
    """(C, h, w), True where a band holds its nodata value; None if no band has one."""
    if all(number is None for number in nodata):
        return None
    missing = np.zeros(planes.shape, bool)
    for band, number in enumerate(nodata):
        if number is not None:
            missing[band] = planes[band] == number
    return missing
