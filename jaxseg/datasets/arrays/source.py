"""`ArrayScene`: one scene whose image and labels are arrays in .mat, .npy or .npz files.

    scene.mat: cube (H, W, C)  +  gt.mat: labels (H, W)     or both in one .npz

There is one scene, so a split is a set of its labelled pixels, as in
`jaxseg.datasets.one_scene`; all splits share the whole image. An .npy image is read by windows, so
it may be larger than memory; the others are read at once.
"""

import dataclasses
import functools
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets import label_file
from jaxseg.datasets.arrays import axes
from jaxseg.datasets.arrays.axes import ImageAxes, LabelAxes, by
from jaxseg.datasets.folder.class_fields import check_classes, check_colors, hues
from jaxseg.datasets.folder.pairing import FLAG
from jaxseg.datasets.label_table import LabelTable
from jaxseg.datasets.one_scene import SceneSplit
from jaxseg.datasets.spatial_split import DRAWS, SPLITS
from jaxseg.errors import UserError, check_ranges
from jaxseg.files import arrays
from jaxseg.files.pool import ARRAYS
from jaxseg.scenes.scene import IGNORE, Origin, Sample, Window
from jaxseg.scenes.sensor import Sensor, Unit
from jaxseg.system.console import note

SEARCHED = 50_000_000
"""Pixels of all random assignments of blocks that are tried, which bounds the time of a search."""

FEWEST = 20
"""Assignments that are tried in a scene of any size."""

SLOW = 1_000_000
"""Pixels from which a division is announced, because it takes seconds."""

MICROMETRES = 50.0
"""Wavelengths below are of micrometres: no sensor has a band at 50 nanometres."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArrayScene:
    """A scene as a config holds it; fulfils `jaxseg.scenes.scene.Source`.

    A pixel is valid if its values are finite and not `nodata`.

    Attributes:
        image: File of the image: .mat (MATLAB 4 to 7), .npy or .npz.
        labels: File of its labels: the same, or a picture of ids; empty = the image's file.
        image_name: Name of the image in its file; empty = the only array of three axes,
            else of two.
        labels_name: Name of the labels in theirs; empty = the only array of two axes.
        image_axes: Order of the image's axes. An image of one band may lack that axis.
        label_axes: Order of the labels' axes.
        classes: Names of the classes.
        ids: Value of each class in the labels; empty = 0, 1, 2, ...
        ignore_ids: Values to ignore, such as 0 where it means no label.
        same_ids: Pairs of a further value and the id whose class it has, such as 7 3 to count both
            as class 3.
        map_colors: RGB colour of each class in maps, 0..255; empty = distinct hues.
        band_names: Name of each band; empty = band1, band2, ...
        wavelengths: Centre of each band in nanometres; empty = those of `wavelengths_name`.
        wavelengths_name: Name of an array of the image's file that holds them, in nanometres or
            micrometres; empty = not known.
        unit: Unit of the values, such as `radiance`; empty = not known.
        gsd: Ground sample distance in metres; None = not known.
        nodata: Value that means no data; None = there is none. NaN never is data.
        nodata_where: Whether that value in `any_band` or only in `all_bands` makes a pixel invalid.
        split: How the labelled pixels are divided.
    """

    image: str = dataclasses.field(metadata={"path": True})
    labels: str = dataclasses.field(default="", metadata={"path": True})
    image_name: str = ""
    labels_name: str = ""
    image_axes: ImageAxes = "rows-columns-bands"
    label_axes: LabelAxes = "rows-columns"
    classes: tuple[str, ...]
    ids: tuple[int, ...] = ()
    ignore_ids: tuple[int, ...] = ()
    same_ids: tuple[tuple[int, int], ...] = ()
    map_colors: tuple[tuple[int, int, int], ...] = ()
    band_names: tuple[str, ...] = ()
    wavelengths: tuple[float, ...] = ()
    wavelengths_name: str = ""
    unit: Unit = ""
    gsd: float | None = dataclasses.field(default=None, metadata={"above": 0})
    nodata: float | None = dataclasses.field(default=None, metadata={"may_be_nan": True})
    nodata_where: Literal["any_band", "all_bands"] = "any_band"
    split: SceneSplit = SceneSplit()

    def __post_init__(self) -> None:
        """Rejects fields that contradict each other; no file is opened.

        Raises:
            UserError: A field's length or value does not fit.
        """
        check_ranges(self, FLAG)
        per_class = {"ids": self.ids, "map_colors": self.map_colors}
        check_classes(self.classes, {name: given for name, given in per_class.items() if given})
        check_colors(self.map_colors)
        LabelTable.of(self._ids, self.ignore_ids, self.same_ids)
        if self.wavelengths and self.wavelengths_name:
            raise UserError(f"{FLAG}: give wavelengths or wavelengths-name, not both.")

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """One RGB colour per class."""
        return self.map_colors or hues(len(self.classes))

    @functools.cached_property
    def sensor(self) -> Sensor:
        """The bands, by the shape of the image and the fields; the image is not read.

        Raises:
            UserError: The file cannot be read, or names or wavelengths do not fit its bands.
        """
        shape = _shape(self)
        count = axes.bands(shape, self.image_axes)
        names = self.band_names or tuple(f"band{number}" for number in range(1, count + 1))
        if len(names) != count:
            raise UserError(
                f"{FLAG}.band-names has {len(names)} entries, but {self.image} has {count} band(s) "
                f"with {FLAG}.image-axes {self.image_axes}."
            )
        waves = self.wavelengths or self._stored_wavelengths()
        return Sensor(names, waves, unit=self.unit, gsd=self.gsd, nodata=self.nodata)

    def scenes(self, split: str) -> "ArrayScenes":
        """The scene, with only the labels of `train`, `validation` or `test`.

        Raises:
            UserError: A file cannot be read, it is not known which array is meant, image and labels
                differ in size, a label is not a class, or there is no such split.
        """
        if split not in SPLITS:
            raise UserError(f"Split {split!r} of {self.image}: choose one of {', '.join(SPLITS)}.")
        image, label, parts = _opened(self)
        shown = np.where(parts == SPLITS.index(split), label, np.uint8(IGNORE))
        all_bands = self.nodata_where == "all_bands"
        title = f"{self.image}, {split} pixels"
        paths = tuple(dict.fromkeys((self.image, self.labels or self.image)))
        return ArrayScenes(image, shown, self.nodata, all_bands, title, paths)

    def origin(self) -> Origin:
        """The scene and its split."""
        return self.split.origin(self.image)

    def rgb(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """Bands near 660, 560 and 480 nm, else by name, else the first three or three of many."""
        sensor, count = self.sensor, image.shape[-1]
        names = [name.lower() for name in sensor.bands]
        if sensor.wavelengths:
            waves = np.asarray(sensor.wavelengths)
            chosen = [int(np.abs(waves - wanted).argmin()) for wanted in (660, 560, 480)]
        elif all(name in names for name in ("red", "green", "blue")):
            chosen = [names.index(name) for name in ("red", "green", "blue")]
        elif count < 3:
            chosen = [0, 0, 0]
        else:
            chosen = [0, 1, 2] if count < 16 else [count // 2, count // 4, count // 8]
        return image[..., chosen].astype(np.float32)

    @property
    def _ids(self) -> tuple[int, ...]:
        return self.ids or tuple(range(len(self.classes)))

    def _stored_wavelengths(self) -> tuple[float, ...]:
        if not self.wavelengths_name:
            return ()
        values = arrays.read(self.image, self.wavelengths_name).astype(np.float64).ravel()
        scale = 1000.0 if values.size and values.max() < MICROMETRES else 1.0
        return tuple(float(f"{scale * value:.6g}") for value in values)


@dataclasses.dataclass(frozen=True, eq=False)
class ArrayScenes:
    """Fulfils `jaxseg.scenes.scene.Scenes` with one scene.

    Attributes:
        image: (H, W, C) values as stored.
        label: (H, W) uint8 classes, IGNORE for pixels outside the split.
        nodata: Value that means no data; None = there is none.
        nodata_in_all: Whether only that value in all bands makes a pixel invalid.
        title: Name of the scene in messages.
        paths: The files of image and labels.
    """

    image: NDArray[np.generic]
    label: NDArray[np.uint8]
    nodata: float | None
    nodata_in_all: bool
    title: str
    paths: tuple[str, ...]

    def __len__(self) -> int:
        """1: there is one scene."""
        return 1

    def name(self, index: int) -> str:
        """The file and the split."""
        return self.title

    def files(self, index: int) -> tuple[str, ...]:
        """The files of image and labels."""
        return self.paths

    def size(self, index: int) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.label.shape[0], self.label.shape[1]

    def read(self, index: int, window: Window) -> Sample:
        """The window, in the file's type; numbers of 64 bits, which devices lack, as float32."""
        place = (
            slice(window.y, window.y + window.height),
            slice(window.x, window.x + window.width),
        )
        pixels = np.asarray(self.image[place])
        valid = np.ones(pixels.shape[:2], bool)
        if pixels.dtype.kind == "f":
            valid &= np.isfinite(pixels).all(-1)
        if self.nodata is not None:
            missing = pixels == self.nodata
            valid &= ~(missing.all(-1) if self.nodata_in_all else missing.any(-1))
        values = pixels.astype(_type_on_devices(pixels.dtype), order="C")
        return {"image": values, "label": self.label[place].copy(), "valid": valid}


def _type_on_devices(dtype: np.dtype[np.generic]) -> np.dtype[np.generic]:
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind == "f" or dtype.itemsize == 8:
        return np.dtype(np.float32)
    return dtype.newbyteorder("=")


class _Opened(NamedTuple):
    """The image (H, W, C), its classes (H, W) and the index of each pixel's split (H, W)."""

    image: NDArray[np.generic]
    label: NDArray[np.uint8]
    parts: NDArray[np.uint8]


@functools.cache
def _opened(source: ArrayScene) -> _Opened:
    shape = _shape(source)
    image = arrays.read(source.image, _image_of(source).name)
    if image.dtype.kind == "c":
        raise UserError(
            f"{source.image} holds complex values. Use LabelledPolsar for matrices of four "
            "polarisations; of other images write amplitudes or intensities."
        )
    path = source.labels or source.image
    same = _image_of(source).name if path == source.image else ""
    values = label_file.read_labels(path, source.labels_name, but=same)
    _refuse_other_size(source, shape, values.shape)
    image = axes.by_rows(image, source.image_axes)
    values = axes.labels_by_rows(values, source.label_axes)
    label = label_file.classes_of(values, source._ids, source.ignore_ids, path, source.same_ids)
    draws = min(DRAWS, max(FEWEST, SEARCHED // label.size))
    if label.size > SLOW and source.split.kind == "blocks":
        note(f"{source.image}: dividing {label.size / 1e6:.3g} million pixels ...")
    return _Opened(image, label, source.split.of(label, source.image, draws=draws))


def _image_of(source: ArrayScene) -> arrays.Stored:
    label_file.exists(source.image, "image")
    if not arrays.is_array_file(source.image):
        raise UserError(
            f"{source.image} is not a file of arrays ({', '.join(ARRAYS)}). Image files "
            "are read by the source Folder: jaxseg new my.py --images FOLDER --masks FOLDER."
        )
    return label_file.chosen(source.image, source.image_name, (3, 2), "image_name")


def _shape(source: ArrayScene) -> tuple[int, ...]:
    """Lengths of the image's axes: three, or two of an image of one band."""
    array = _image_of(source)
    if len(array.shape) not in (2, 3) or 0 in array.shape or not array.size:
        raise UserError(
            f"{source.image}: {array} is not one image: it needs numbers in two or three axes. "
            "Save one scene as an array of (rows, columns, bands)."
        )
    return array.shape


def _refuse_other_size(source: ArrayScene, shape: tuple[int, ...], labels: tuple[int, ...]) -> None:
    """Rejects labels of another size than the image; names the order of axes that would agree.

    Raises:
        UserError: They differ.
    """
    given = source.image_axes, source.label_axes
    own = axes.size(shape, given[0]), axes.size(labels, given[1])
    if own[0] == own[1]:
        return
    advice = "They have to be the same ground, pixel by pixel."
    order = next(axes.agreeing(shape, labels), None)
    if order is not None:
        pairs = zip(("image-axes", "label-axes"), order, given, strict=True)
        flags = [f"{FLAG}.{name} {needed}" for name, needed, before in pairs if needed != before]
        advice = f"They agree with {' '.join(flags)}"
    raise UserError(
        f"The image of {source.image} has {by(own[0])} pixels and the labels of "
        f"{source.labels or source.image} have {by(own[1])}, read as {given[0]} {by(shape)} and "
        f"{given[1]} {by(labels)}. {advice}"
    )
