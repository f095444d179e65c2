"""The scene that is mapped: co-registered files whose bands, in the run's order, make its image."""

import dataclasses
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets.folder.doubts import BELOW, SHARE
from jaxseg.datasets.folder.numbers import Convert, Reading
from jaxseg.files import raster
from jaxseg.scenes.agreement import refuse_other
from jaxseg.scenes.scene import Window
from jaxseg.scenes.sensor import Sensor, Unit, typical_numbers
from jaxseg.scenes.source_flags import SourceFlags

FLAG = "--image"
"""What the command line calls these fields."""

LOOKS = 6
"""Windows along rows and along columns whose values are compared with those of the training."""

LOOK_SIDE = 64
"""Rows and columns of such a window."""

CLIPPED = 0.01
"""Share of values that become 0 by a subtraction before it is said."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Image:
    """How the files of a scene are read; None = as the run's source reads its own.

    Attributes:
        band_numbers: Bands to read of all files, counted from 1 over all of them; empty = by the
            names of the bands, or all but opacity.
        band_names: Name of each band read; empty = as the files describe them.
        unit: What the files' values are, such as `reflectance` or `decibel`.
        convert: Change of their unit.
        multiply: Factor of the values after that.
        added: What Sentinel-2's processing baseline 04.00 and later added to the values, 1000.
        nodata: Value that means no data, instead of each file's own tag.
        nodata_where: Whether `any_band` or `all_bands` with that value make a pixel invalid.
    """

    band_numbers: tuple[int, ...] = ()
    band_names: tuple[str, ...] = ()
    unit: Unit | None = None
    convert: Convert | None = None
    multiply: float | None = None
    added: int | None = None
    nodata: float | None = None
    nodata_where: Literal["any_band", "all_bands"] | None = None


class Part(NamedTuple):
    """Bands of one file."""

    path: str
    numbers: tuple[int, ...]
    nodata: tuple[float | None, ...]
    masked: bool
    added: tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """An open scene; safe to read from several threads at once.

    Attributes:
        header: Of its first file: size, CRS and transform.
        sensor: What the image is.
        paths: Its files.
        title: What messages call it.
    """

    header: raster.Header
    sensor: Sensor
    paths: tuple[str, ...]
    title: str
    _parts: tuple[Part, ...]
    _reading: Reading
    _all_bands: bool

    @property
    def height(self) -> int:
        """Rows."""
        return self.header.height

    @property
    def width(self) -> int:
        """Columns."""
        return self.header.width

    def read(
        self, window: Window, shape: tuple[int, int] | None = None
    ) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """The image (h, w, C) and where it has data (h, w), of a window inside the scene.

        Args:
            window: Which pixels.
            shape: Rows and columns to read instead of all of them; None = all.

        Raises:
            UserError: A file cannot be read.
        """
        images, valid = [], np.ones(shape or (window.height, window.width), bool)
        missing: NDArray[np.bool_] | None = None
        for part in self._parts:
            if part.masked:
                planes, known = raster.read_with_mask(
                    part.path, window, bands=part.numbers, shape=shape
                )
                valid &= known
            else:
                planes = raster.read_planes(part.path, window, bands=part.numbers, shape=shape)
            for plane, number in zip(planes, part.nodata, strict=True):
                if planes.dtype.kind in "fc":
                    valid &= np.isfinite(plane)
                if number is None:
                    continue
                here = np.equal(plane, number)
                if missing is None:
                    missing = here
                elif self._all_bands:
                    missing &= here
                else:
                    missing |= here
            images.append(self._reading(raster.pixel_by_pixel(planes), part.added))
        if missing is not None:
            valid &= ~missing
        return images[0] if len(images) == 1 else np.concatenate(images, -1), valid

    def padded(self, window: Window) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """The same of a window that may reach beyond the scene, which is reflected there."""
        rows = reflected(window.y, window.height, self.height)
        columns = reflected(window.x, window.width, self.width)
        top, left = int(rows.min()), int(columns.min())
        inside = Window(top, left, int(rows.max()) - top + 1, int(columns.max()) - left + 1)
        image, valid = self.read(inside)
        if inside == window:
            return image, valid
        place = np.ix_(rows - top, columns - left)
        return image[place], valid[place]

    def typical(self) -> Sensor:
        """The sensor with the quantiles of valid pixels all over the scene."""
        looks = (self.read(window) for window in self._looks())
        pixels = np.concatenate([image[valid] for image, valid in looks])
        if not len(pixels):
            return self.sensor
        return dataclasses.replace(self.sensor, typical=typical_numbers(pixels))

    def clipped(self) -> str:
        """A sentence if values become 0 as they are below what is subtracted; else ""."""
        added = max((max(part.added) for part in self._parts), default=0)
        if not added:
            return ""
        low = far = count = 0
        for window in self._looks():
            _, valid = self.read(window)
            for part in self._parts:
                if numbers := tuple(
                    n for n, off in zip(part.numbers, part.added, strict=True) if off
                ):
                    values = raster.read_planes(part.path, window, bands=numbers)[:, valid]
                    known = values[values != 0]  # 0 is Sentinel-2's own nodata
                    count += known.size
                    low += int((known < added).sum())
                    far += int((known < added - BELOW).sum())
        if low <= CLIPPED * count:
            return ""
        said = f"{100 * low / count:.2g} % of the values are below the {added} that is subtracted"
        if far <= SHARE * count:
            return f"{said}, and become 0"
        return (
            f"{said}, and become 0;\n{100 * far / count:.2g} % are even below {added - BELOW}, so "
            f"it was not added to them.\nIf {FLAG}.added is given, leave it out"
        )

    def _looks(self) -> Iterator[Window]:
        """Windows all over the scene."""
        side = Window(0, 0, min(LOOK_SIDE, self.height), min(LOOK_SIDE, self.width))
        for y in np.unique(np.linspace(0, self.height - side.height, LOOKS).astype(int)):
            for x in np.unique(np.linspace(0, self.width - side.width, LOOKS).astype(int)):
                yield side._replace(y=int(y), x=int(x))


def check_sensor(scene: Scene, trained: Sensor, image: Image) -> tuple[str, ...]:
    """Compares the scene with what the run was trained on.

    Returns:
        What is unusual but may be the scene itself, as sentences.

    Raises:
        SensorError: It is of another sensor; see `jaxseg.scenes.agreement.refuse_other`.
    """
    flags = SourceFlags(
        FLAG,
        band_numbers=image.band_numbers,
        told=(("band-names", image.band_names),) if image.band_names else (),
        multiply=image.multiply or 1.0,
        convert=image.convert or "",
        same="--no-check",
    )
    return refuse_other(trained, scene.typical(), scene.title, flags)


def reflected(start: int, length: int, limit: int) -> NDArray[np.int64]:
    """Places of `start` to `start + length - 1` in a row of `limit` pixels that is mirrored."""
    places = np.arange(start, start + length)
    if limit == 1:
        return np.zeros_like(places)
    period = 2 * (limit - 1)
    places = np.abs(places) % period
    return np.where(places < limit, places, period - places)
