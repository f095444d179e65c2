"""The scene that is mapped: co-registered files whose bands, in the run's order, make its image.

Bands are found by the names that the files describe them by, and where they describe none by their
number. Values are read as the run's own source reads them, unless fields say otherwise.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets.folder import numbers as folder_numbers
from jaxseg.datasets.folder.index import check_pair
from jaxseg.datasets.folder.numbers import Convert, Reading
from jaxseg.datasets.wrapped import seen
from jaxseg.errors import UserError
from jaxseg.files import raster, virtual
from jaxseg.prediction.archive import SceneFiles
from jaxseg.scenes.agreement import (
    BaselineError,
    MissingBandError,
    PixelSizeError,
    refuse_other,
)
from jaxseg.scenes.scene import Source, Window
from jaxseg.scenes.sensor import Sensor, Unit, canonical, listed, typical_numbers
from jaxseg.scenes.source_flags import SourceFlags

FLAG = "--image"
"""What the command line calls these fields."""

PIXEL_SIZES = 0.1
"""Share by which pixels may be larger than those of the training."""

METRES_PER_DEGREE = 111_320.0
"""Of latitude."""

LOOKS = 6
"""Windows along rows and along columns whose values are compared with those of the training."""

LOOK_SIDE = 64
"""Rows and columns of such a window."""


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
        nodata: Value that means no data, besides each file's own tag.
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


class _Part(NamedTuple):
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
    _parts: tuple[_Part, ...]
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

    def read(self, window: Window) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """The image (h, w, C) and where it has data (h, w), of a window inside the scene.

        Raises:
            UserError: A file cannot be read.
        """
        images, valid = [], np.ones((window.height, window.width), bool)
        missing = []
        for part in self._parts:
            pixels = raster.read(part.path, window, bands=part.numbers)
            if pixels.dtype.kind in "fc":
                valid &= np.isfinite(pixels).all(-1)
            for band, number in enumerate(part.nodata):
                if number is not None:
                    missing.append(pixels[..., band] == number)
            if part.masked:
                valid &= raster.read_mask(part.path, window)
            images.append(self._reading(pixels, part.added))
        if missing:
            valid &= ~(np.all(missing, 0) if self._all_bands else np.any(missing, 0))
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
        side = Window(0, 0, min(LOOK_SIDE, self.height), min(LOOK_SIDE, self.width))
        found = []
        for y in np.unique(np.linspace(0, self.height - side.height, LOOKS).astype(int)):
            for x in np.unique(np.linspace(0, self.width - side.width, LOOKS).astype(int)):
                image, valid = self.read(side._replace(y=int(y), x=int(x)))
                found.append(image[valid])
        pixels = np.concatenate(found)
        if not len(pixels):
            return self.sensor
        return dataclasses.replace(self.sensor, typical=typical_numbers(pixels))


def open_scene(
    paths: Sequence[str],
    source: Source,
    trained: Sensor,
    image: Image,
    *,
    check: bool = True,
    resample: bool = False,
) -> Scene:
    """Opens the files of one scene.

    Args:
        paths: One file or several of the same grid, each with some of the bands.
        source: Of the run, which says how values are read.
        trained: What the run was trained on.
        image: What is to be read otherwise.
        check: Whether another pixel size than that of the training is rejected.
        resample: Whether files are brought to that pixel size, and to one grid.

    Raises:
        UserError: A file cannot be read, or the files lie on different grids.
        SensorError: Bands are missing, or pixels have another size.
    """
    headers = [raster.header(path) for path in paths]
    if resample:
        frame = _frame(headers[0], trained)
        headers = [_on(frame, header) for header in headers]
    elif check:
        _check_pixel_size(headers[0], trained)
    return _scene(headers, paths, ", ".join(paths), source, trained, image)


def open_mosaic(
    scenes: Sequence[SceneFiles],
    source: Source,
    trained: Sensor,
    image: Image,
    *,
    check: bool = True,
    resample: bool = False,
) -> Scene:
    """Opens scenes of one file each as if they were one; where they overlap, the last one counts.

    See `open_scene` for the other arguments.

    Args:
        scenes: On one grid, unless they are resampled to that of the first.
        source: Of the run.
        trained: What the run was trained on.
        image: What is to be read otherwise.
        check: Whether another pixel size is rejected.
        resample: Whether scenes are brought to one grid of the training's pixel size.

    Raises:
        UserError: A file cannot be read, or the scenes do not lie on one grid.
        SensorError: Bands are missing, pixels have another size, or values another meaning.
    """
    for scene in scenes:
        if len(scene.paths) > 1:
            raise UserError(
                f"The scene {scene.name} has {len(scene.paths)} files: --mosaic puts scenes of one "
                "file each together."
            )
    paths = [scene.paths[0] for scene in scenes]
    headers = [raster.header(path) for path in paths]
    if image.added is None:
        _check_baselines(headers)
    if resample:
        frame = _frame(headers[0], trained)
        headers = [_on(virtual.covering(header, frame), header) for header in headers]
    elif check:
        for header in headers:
            _check_pixel_size(header, trained)
    title = f"a mosaic of {len(paths)} scenes, {listed([Path(path).name for path in paths])}"
    return _scene([raster.header(virtual.mosaic(headers))], paths, title, source, trained, image)


def pixel_size(header: raster.Header) -> float | None:
    """Metres per pixel, in the middle of a file in degrees; None = not known."""
    if header.crs is None or not header.crs.is_geographic:
        return header.gsd
    _, latitude = header.transform @ (header.width / 2, header.height / 2)
    square = abs(header.transform.determinant) * math.cos(math.radians(latitude))
    return float(METRES_PER_DEGREE * square**0.5) if square > 0 else None


def _check_pixel_size(header: raster.Header, trained: Sensor) -> None:
    """Compares the size of the pixels with that of the training, where both are known.

    Raises:
        PixelSizeError: They differ by more than `PIXEL_SIZES`.
    """
    own = pixel_size(header)
    if own is None or trained.gsd is None:
        return
    if not 1 / (1 + PIXEL_SIZES) <= own / trained.gsd <= 1 + PIXEL_SIZES:
        raise PixelSizeError(
            f"{header.path} has pixels of {own:.4g} m, the images of the training "
            f"{trained.gsd:.4g} m: objects have another size in pixels. --resample brings the "
            "scene to that of the training; --no-check maps it as it is."
        )


def _frame(first: raster.Header, trained: Sensor) -> virtual.Frame:
    """The grid that scenes are resampled to: that of the first file, at the training's size."""
    own, frame = pixel_size(first), virtual.frame_of(first)
    if own is None or trained.gsd is None or math.isclose(own, trained.gsd, rel_tol=0.01):
        return frame
    return virtual.scaled(frame, trained.gsd / own)


def _on(frame: virtual.Frame, header: raster.Header) -> raster.Header:
    """The file on this grid."""
    if virtual.frame_of(header) == frame:
        return header
    if header.crs is None:
        raise UserError(f"{header.path} has no CRS: it cannot be resampled. Leave --resample out.")
    return raster.header(virtual.resampled(header, frame))


def _check_baselines(headers: Sequence[raster.Header]) -> None:
    """In one mosaic the same number is added to the values of all scenes.

    Raises:
        BaselineError: It is not.
    """
    found = {folder_numbers.baseline(header): header.path for header in headers}
    if len(found) > 1:
        told = ", ".join(f"{path}: {number or 'not tagged'}" for number, path in found.items())
        raise BaselineError(
            f"Scenes of several processing baselines of Sentinel-2 ({told}) mean different things "
            f"by equal values. Map them one by one, or give {FLAG}.added if all are alike."
        )


def _scene(
    headers: Sequence[raster.Header],
    paths: Sequence[str],
    title: str,
    source: Source,
    trained: Sensor,
    image: Image,
) -> Scene:
    """The scene of files that are open and lie on one grid."""
    first = headers[0]
    for other in headers[1:]:
        check_pair(first, other)
    fields = _resolved(image, source)
    places = [(file, n) for file, h in enumerate(headers) for n in range(1, h.bands + 1)]
    described = [headers[file].descriptions[n - 1] or "" for file, n in places]
    opaque = [headers[file].alpha == n for file, n in places]
    chosen = _chosen(fields, trained, described, opaque, title)
    names = fields.band_names or tuple(
        described[place] or f"band{number}" for number, place in enumerate(chosen, start=1)
    )
    if len(names) != len(chosen):
        raise UserError(
            f"{FLAG}.band-names has {len(names)} entries for {len(chosen)} band(s) read of {title}."
        )
    reading = Reading(fields.convert or "", 1.0 if fields.multiply is None else fields.multiply)
    parts = []
    for file, header in enumerate(headers):
        own = [
            (place, name)
            for place, name in zip(chosen, names, strict=True)
            if places[place][0] == file
        ]
        if not own:
            continue
        numbers = tuple(places[place][1] for place, _ in own)
        tags = tuple(
            header.nodata[number - 1] if fields.nodata is None else fields.nodata
            for number in numbers
        )
        parts.append(
            _Part(
                header.path,
                numbers,
                tuple(None if t is None or not np.isfinite(t) else t for t in tags),
                header.masked and header.alpha not in numbers,
                folder_numbers.added(header, [name for _, name in own], fields.added, flag=FLAG),
            )
        )
    if [places[place][0] for place in chosen] != sorted(places[place][0] for place in chosen):
        raise UserError(
            f"The bands {listed(names)} are spread over {title} in another order. Give "
            "the files in the order of the bands."
        )
    sensor = folder_numbers.sensor(
        headers[places[chosen[0]][0]],
        parts[0].numbers,
        names,
        wavelengths=(),
        unit=fields.unit or "",
        nodata=fields.nodata,
        added=fields.added,
        reading=reading,
        flag=FLAG,
    )
    all_bands = fields.nodata_where == "all_bands"
    return Scene(first, sensor, tuple(paths), title, tuple(parts), reading, all_bands)


def check_sensor(scene: Scene, trained: Sensor, image: Image) -> None:
    """Compares the scene with what the run was trained on.

    Raises:
        SensorError: It is of another sensor; see `jaxseg.scenes.agreement.refuse_other`.
    """
    flags = SourceFlags(
        FLAG,
        band_numbers=image.band_numbers,
        told=(("band-names", image.band_names),) if image.band_names else (),
        multiply=image.multiply or 1.0,
        convert=image.convert or "",
    )
    refuse_other(trained, scene.typical(), scene.title, flags)


def _resolved(image: Image, source: Source) -> Image:
    """The fields as they are read: the person's, else those of the run's source.

    Bands by number are the source's own affair where it reads one file.
    """
    makers = [maker for _, maker in seen(source)]
    like: Any = makers[0] if len(makers) == 1 else None
    found = {}
    for field in dataclasses.fields(Image):
        given = getattr(image, field.name)
        if given in (None, ()) and field.name not in ("band_numbers", "band_names"):
            given = getattr(like, field.name, None)
        found[field.name] = given
    if not image.band_numbers and not image.band_names and like is not None:
        found["band_numbers"] = tuple(getattr(like, "band_numbers", ()))
        found["band_names"] = tuple(getattr(like, "band_names", ()))
    return Image(**found)


def _chosen(
    fields: Image, trained: Sensor, described: list[str], opaque: list[bool], where: str
) -> list[int]:
    """Which of all bands make the image, by number, by name, or all."""
    count = len(described)
    if fields.band_numbers:
        if not 1 <= min(fields.band_numbers) <= max(fields.band_numbers) <= count:
            raise MissingBandError(
                f"{where} has {count} band(s), of which {FLAG}.band-numbers "
                f"{' '.join(map(str, fields.band_numbers))} are to be read. Give numbers from 1 to "
                f"{count}."
            )
        return [number - 1 for number in fields.band_numbers]
    names = [canonical(name) for name in described]
    wanted = [canonical(name) for name in trained.bands]
    if all(names.count(name) == 1 for name in wanted):
        return [names.index(name) for name in wanted]
    return [place for place in range(count) if not opaque[place]]


def reflected(start: int, length: int, limit: int) -> NDArray[np.int64]:
    """Places of `start` to `start + length - 1` in a row of `limit` pixels that is mirrored."""
    places = np.arange(start, start + length)
    if limit == 1:
        return np.zeros_like(places)
    period = 2 * (limit - 1)
    places = np.abs(places) % period
    return np.where(places < limit, places, period - places)
