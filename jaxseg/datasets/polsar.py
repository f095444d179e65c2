"""`LabelledPolsar`: one polarimetric scene with a picture of class ids, split by blocks.

    T3/*.bin (or C3, S2, complex GeoTIFF)  +  label.png   ->  windows of T3 as nine real bands

There is one scene, so a split is a set of its labelled pixels: whole blocks of a grid, with a guard
band around the training blocks that belongs to no split. All splits share the whole image. The
matrices are read by windows, so the scene may be larger than memory; the labels are read at once.
"""

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets import label_file
from jaxseg.datasets.folder.class_fields import check_classes, check_colors
from jaxseg.datasets.folder.index import check_pair
from jaxseg.datasets.label_table import LabelTable
from jaxseg.datasets.one_scene import SceneSplit
from jaxseg.datasets.spatial_split import SPLITS
from jaxseg.errors import UserError
from jaxseg.files import arrays, raster
from jaxseg.files import polsar as polsar_files
from jaxseg.files.polsar import PolsarScene
from jaxseg.physics.polsar import T3_BANDS
from jaxseg.scenes.scene import IGNORE, Origin, Sample, Window
from jaxseg.scenes.sensor import Sensor

DRAWS = 200
"""Random block assignments that are tried; fewer, as the scenes exceed hyperspectral ones."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelledPolsar:
    """A scene as a config holds it; fulfils `jaxseg.scenes.scene.Source`.

    Pixels without data, and those that are not valid matrices, are invalid.

    Attributes:
        path: PolSARpro folder (T3, C3, S2), folder of four complex GeoTIFF files, one file of four
            complex bands, or an array in a .mat, .npy or .npz file (`jaxseg.files.polsar_arrays`).
        labels: Integer class ids, as large as the scene: a PNG or GeoTIFF of one band, or an array
            in a .mat, .npy or .npz file.
        labels_name: Name of that array; empty = the only one of two axes.
        classes: Names of the classes.
        ids: Id of each class in `labels`.
        ignore_ids: Ids to ignore.
        map_colors: RGB of each class in maps, 0..255.
        split: How the labelled pixels are divided.
        gsd: Ground sample distance in metres; None = not known.
    """

    path: str = dataclasses.field(metadata={"path": True})
    labels: str = dataclasses.field(metadata={"path": True})
    classes: tuple[str, ...]
    ids: tuple[int, ...]
    ignore_ids: tuple[int, ...] = (0,)
    map_colors: tuple[tuple[int, int, int], ...]
    labels_name: str = ""
    split: SceneSplit = SceneSplit(fractions=(0.5, 0.1, 0.4), block=48, guard=8)
    gsd: float | None = None

    def __post_init__(self) -> None:
        """Rejects fields that contradict each other; no file is opened.

        Raises:
            UserError: A field's length or value does not fit.
        """
        check_classes(self.classes, {"ids": self.ids, "map_colors": self.map_colors})
        check_colors(self.map_colors)
        LabelTable.of(self.ids, self.ignore_ids)

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """RGB per class, 0..255."""
        return self.map_colors

    @property
    def sensor(self) -> Sensor:
        """The nine bands of a coherency matrix, linear power, whatever the files hold."""
        return Sensor(T3_BANDS, unit="coherency", scale=1.0, gsd=self.gsd)

    def scenes(self, split: str) -> "PolsarScenes":
        """The scene, with only the labels of `train`, `validation` or `test`.

        Raises:
            UserError: Files are missing, damaged, of different sizes or of two channels only, most
                pixels are not valid matrices, a label is not a class, or there is no such split.
        """
        if split not in SPLITS:
            raise UserError(f"Split {split!r} of {self.path}: choose one of {', '.join(SPLITS)}.")
        scene, label, parts = _opened(self)
        shown = np.where(parts == SPLITS.index(split), label, np.uint8(IGNORE))
        return PolsarScenes(scene, shown, f"{self.path}, {split} pixels")

    def origin(self) -> Origin:
        """The scene and its split."""
        return self.split.origin(self.path)

    def rgb(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """Pauli in dB: red T22 (double bounce), green T33 (volume), blue T11 (surface)."""
        power = np.maximum(image[..., [1, 2, 0]].astype(np.float32), np.float32(1e-6))
        return np.asarray(10 * np.log10(power))


@dataclasses.dataclass(frozen=True, eq=False)
class PolsarScenes:
    """Fulfils `jaxseg.scenes.scene.Scenes` with one scene.

    Attributes:
        scene: The files of the scene.
        label: (H, W) uint8 classes, IGNORE for pixels outside the split.
        title: Name of the scene in messages.
    """

    scene: PolsarScene
    label: NDArray[np.uint8]
    title: str

    def __len__(self) -> int:
        """1: there is one scene."""
        return 1

    def name(self, index: int) -> str:
        """The folder and the split."""
        return self.title

    def size(self, index: int) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.scene.height, self.scene.width

    def read(self, index: int, window: Window) -> Sample:
        """The window; pixels that are not valid matrices are marked invalid.

        Raises:
            UserError: A file cannot be read.
        """
        bands, good = self.scene.usable(window)
        rows = slice(window.y, window.y + window.height)
        label = self.label[rows, window.x : window.x + window.width].copy()
        return {"image": bands, "label": label, "valid": good}


@functools.cache
def _opened(
    source: LabelledPolsar,
) -> tuple[PolsarScene, NDArray[np.uint8], NDArray[np.uint8]]:
    """The scene, its classes (H, W) and the index of each pixel's split (H, W)."""
    label_file.exists(source.path, "path")
    label_file.exists(source.labels, "labels")
    scene = polsar_files.open_polsar(source.path)
    if scene.kind == "C2":
        raise UserError(f"{scene.path} is a C2 of two channels: networks here read T3, C3 or S2.")
    scene.refuse_impossible()
    numbers = label_file.read_labels(source.labels, source.labels_name)
    height, width = numbers.shape
    if (height, width) != (scene.height, scene.width):
        raise UserError(
            f"{source.labels} has {height} x {width} pixels, {scene.path} has "
            f"{scene.height} x {scene.width}: they have to be the same ground, pixel by pixel."
        )
    if scene.header is not None and not arrays.is_array_file(source.labels):
        check_pair(scene.header, raster.header(source.labels))
    label = label_file.classes_of(numbers, source.ids, source.ignore_ids, source.labels)
    return scene, label, source.split.of(label, source.path, draws=DRAWS)
