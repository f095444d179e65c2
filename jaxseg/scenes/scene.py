"""What travels from the disk to the loss: scenes, their windows, and batches.

A *scene* is one co-registered image and label map of any size. A *source* is a frozen dataclass
that a config holds; it opens the scenes of a split. The pipeline cuts windows from scenes and
stacks them into batches:

    image       (B, H, W, C)  raw sensor values in the sensor's own dtype; never scaled on the host
    label       (B, H, W)     uint8 class ids 0..K-1, or IGNORE
    valid       (B, H, W)     bool: False where the sensor has no data (nodata, NaN, padding)
    instance    (B, H, W)     int32 object ids, 0 = no object; only where the source knows objects
    separation  (B, H, W)     float32 pixels, d1 + d2 of the U-Net's border weights
    side        (B, H, W, S)  raw values of a second sensor, in training only (`datasets.paired`)
    side_valid  (B, H, W)     bool: False where the second sensor has no data
    domain      (B, H, W)     uint8 number of the window's domain from 1, in training only
                              (`datasets.domains`)

`separation`, and every other map that a loss needs (`PixelInput`), is present if a loss of the
config needs it. A map whose name contains "separation" or "distance" holds lengths in pixels: they
are scaled with the image where an augmentation zooms.

A pixel counts in losses and metrics if `valid` is True and `label` is not IGNORE.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from jaxseg.scenes.sensor import Sensor

if TYPE_CHECKING:  # files are read without JAX
    import jax

IGNORE = 255
"""The label of a pixel that no loss and no metric uses."""

Sample = dict[str, NDArray[np.generic]]
"""One window: the fields above without the batch axis."""

Batch: TypeAlias = "dict[str, jax.Array]"
"""The fields above, on the devices."""

TrainingWindow = tuple[NDArray[np.generic], NDArray[np.bool_]]
"""An image (H, W, C) after radiometry, and a mask (H, W) of its training pixels."""


class Window(NamedTuple):
    """A rectangle of pixels, always inside its scene."""

    y: int
    x: int
    height: int
    width: int


class PixelInput(Protocol):
    """A map that a loss reads besides image and label, computed on the host for each window."""

    @property
    def name(self) -> str:
        """Its key in the batch."""

    @property
    def margin(self) -> int:
        """Pixels of the scene around a window that its computation uses."""

    @property
    def fill(self) -> float:
        """Its value outside the scene."""

    def at_zoom(self, zoom: float) -> "PixelInput":
        """The same map for a batch that shows the ground at this zoom or larger."""

    def __call__(self, sample: Sample) -> NDArray[np.generic]:
        """Computes the map, (h, w) like the label, from a window of the scene with its margin.

        Raises:
            UserError: The window lacks a field that it needs.
        """


class Scenes(Protocol):
    """Random access to the scenes of one split; safe to read from several threads at once."""

    def __len__(self) -> int:
        """Number of scenes."""

    def name(self, index: int) -> str:
        """Name of the scene in messages and pictures: a path or an id."""

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of the scene in pixels; cheap, as no pixel is read."""

    def read(self, index: int, window: Window) -> Sample:
        """`image` (h, w, C); `label` uint8, `valid` bool, and `instance` int32 if known, (h, w).

        Raises:
            UserError: The file cannot be read or holds a value that is not a class.
        """


class Ground(NamedTuple):
    """A rectangle on the earth, parallel to the axes of a coordinate reference system.

    Attributes:
        crs: The reference system, as text.
        left: Smallest x, in its units.
        bottom: Smallest y.
        right: Largest x.
        top: Largest y.
        pixel: Side of a square with the area of a pixel.
    """

    crs: str
    left: float
    bottom: float
    right: float
    top: float
    pixel: float


class Extent(NamedTuple):
    """What a scene shows.

    Attributes:
        file: Its image.
        area: The part of the file that belongs to the split.
        ground: Where this part lies, if the file states it and is not rotated.
    """

    file: str
    area: Window
    ground: Ground | None


@runtime_checkable
class FromFiles(Scenes, Protocol):
    """Scenes that are read from files of the user's."""

    def files(self, index: int) -> tuple[str, ...]:
        """The files that a scene is read from: its image, its labels."""


@runtime_checkable
class OfFiles(FromFiles, Protocol):
    """Scenes that are files, or rectangles of files, of the user's."""

    def extent(self, index: int) -> Extent:
        """What a scene shows; no file is opened."""


@runtime_checkable
class Doubted(Scenes, Protocol):
    """Scenes whose files may mean something else than how they are read."""

    def doubts(self, windows: Sequence[tuple[int, Window]]) -> dict[str, str]:
        """What a look at these windows (scene, window) lets one doubt: kind -> a sentence."""


@runtime_checkable
class Sized(Protocol):
    """Scenes that know the size of their pixels one by one."""

    def gsd(self, index: int) -> float | None:
        """Ground sample distance of a scene in metres; None = not known."""


@runtime_checkable
class Around(Protocol):
    """Scenes that show those of another source in the same order and on the same ground."""

    inner: Scenes


def gsd_of(scenes: Scenes, index: int, source: "Source") -> float | None:
    """Ground sample distance of a scene in metres, else that of its source; None = not known."""
    while isinstance(scenes, Around):
        scenes = scenes.inner
    return scenes.gsd(index) if isinstance(scenes, Sized) else source.sensor.gsd


def in_files(scenes: Scenes) -> int:
    """Number of files that the scenes come from: fewer than scenes if these are parts of files."""
    while isinstance(scenes, Around):
        scenes = scenes.inner
    if not isinstance(scenes, OfFiles):
        return len(scenes)
    return len({scenes.extent(index).file for index in range(len(scenes))})


class Origin(NamedTuple):
    """Which pixels of which files a source trains on; two origins can be compared.

    Attributes:
        place: Where the files are.
        split: Fields, by name, that decide which pixels are used for training.
        whole: Whether every scene belongs entirely to one split.
    """

    place: str
    split: dict[str, object]
    whole: bool


@runtime_checkable
class Located(Protocol):
    """A source that states where its training pixels come from, so that leaks can be found."""

    def origin(self) -> Origin:
        """See `Origin`; no file is opened."""

    def scenes(self, split: str) -> Scenes:
        """The scenes of `train`, `validation` or `test`."""


COPIED = {"copied": True}
"""Metadata of a field that says what a source was made from, and that is not read any more."""


def parts(source: object) -> dict[str, "Source"]:
    """The sources that a source wraps: field -> source; empty if it wraps none."""
    found: dict[str, Source] = {}
    if not dataclasses.is_dataclass(source):
        return found
    for field in dataclasses.fields(source):
        if field.metadata.get("copied"):
            continue
        value = getattr(source, field.name)
        if isinstance(value, tuple):
            named = {f"{field.name}.{number}": item for number, item in enumerate(value)}
        else:
            named = {field.name: value}
        # Check the class: isinstance would evaluate the property `sensor`, which may open files.
        found |= {name: item for name, item in named.items() if _is_source(type(item))}
    return found


def _is_source(kind: type) -> bool:
    return issubclass(kind, Source)  # type: ignore[misc]


def with_parts(source: "Source", changed: dict[str, "Source"]) -> "Source":
    """The source with some parts replaced, by their names in `parts`."""
    fields: dict[str, Any] = {}
    for name, part in changed.items():
        field, _, number = name.partition(".")
        if number:
            items = list(fields.get(field, getattr(source, field)))
            items[int(number)] = part
            fields[field] = tuple(items)
        else:
            fields[field] = part
    alike: Source = dataclasses.replace(source, **fields)  # type: ignore[type-var]
    return alike


@runtime_checkable
class Source(Protocol):
    """A labelled collection, as a config holds it: a frozen dataclass of plain values."""

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        """Makes `issubclass` work, which protocols with properties do not support by default."""
        return callable(getattr(other, "scenes", None)) and callable(getattr(other, "rgb", None))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes, in the order of their ids."""

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """One RGB colour (0..255) per class, for maps and panels."""

    @property
    def sensor(self) -> Sensor:
        """Names of the C bands in the order of the image's last axis, their unit, the scale."""

    def scenes(self, split: str) -> Scenes:
        """The scenes of `train`, `validation` or `test`; builds or indexes them on first use.

        Raises:
            UserError: The data are missing or the split does not exist.
        """

    def rgb(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """(H, W, C) raw values -> (H, W, 3) float: the bands to display, before any stretch."""
