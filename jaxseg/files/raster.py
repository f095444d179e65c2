"""Pixels and metadata of image files, read window by window: GeoTIFF, PNG, JPEG, all GDAL formats.

Only this module uses rasterio. Every function is thread-safe: open files are kept in one pool and
lent to one thread at a time, so that reading a second window does not open the file again.
"""

import functools
import math
import os
import re
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import TiffImagePlugin
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import (
    NotGeoreferencedWarning,
    RasterioIOError,
)
from rasterio.warp import transform

from jaxseg.errors import UserError
from jaxseg.scenes.scene import Ground, Window

OPEN_FILES = 256
"""How many files stay open for their next window; systems commonly allow a process 1024."""

_ORIENTATION = 0x0112
"""Number of the tag in TIFF and EXIF."""

_REMOTE = re.compile(
    r"/vsi(curl|s3|gs|az|adls|oss|swift|hdfs|webhdfs)|(?<!\bfile)(?<!\bzip)(?<!\btar)://"
)

METRES_PER_DEGREE = 111_320.0
"""Of latitude."""

_GDAL = {
    # A truncated JPEG or PNG is an error; by default GDAL reads the missing part as gray or black.
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "TRUE",
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",
    # Opening one of a million files must not list their folder; side-car files are still found.
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",
    # A server that does not answer is an error, not a program that hangs; in seconds.
    "GDAL_HTTP_CONNECTTIMEOUT": "20",
    "GDAL_HTTP_TIMEOUT": "120",
    "GDAL_HTTP_MAX_RETRY": "3",
    "GDAL_HTTP_RETRY_DELAY": "1",
}

# Single-look data of many radars are pairs of 16-bit integers, a type that NumPy lacks.
_READ_AS = {"complex_int16": "complex64"}

# Photographs have no coordinates, which needs no warning.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)


@dataclass(frozen=True)
class Header:
    """What a file says about its pixels.

    Attributes:
        path: The file.
        height: Rows.
        width: Columns.
        dtype: Data type of the values as read, equal in all bands.
        descriptions: Each band's name, by its description or as a colour of a picture, or None.
        nodata: Each band's tagged value for "no data" (may be NaN), or None.
        scales: Each band's tagged factor from values to the physical quantity; 1 if not tagged.
        offsets: Offset added after scaling; 0 if not tagged.
        tags: Other metadata of the file.
        alpha: Number of the band that is tagged as opacity (bands count from 1), or None.
        masked: Whether it has a validity mask besides its values: alpha, internal or side-car.
        palette: (256, 3) uint8 RGB colours that a one-band picture's values index, or None.
        crs: Coordinate reference system, or None.
        transform: (column, row) -> (x, y) in the CRS; the identity without georeference.
        orientation: How viewers turn the picture before they show it, as in EXIF: 1 = not at all.
            Pixels are read as they are stored.
    """

    path: str
    height: int
    width: int
    dtype: np.dtype[np.generic]
    descriptions: tuple[str | None, ...]
    nodata: tuple[float | None, ...]
    scales: tuple[float, ...]
    offsets: tuple[float, ...]
    tags: dict[str, str]
    alpha: int | None
    masked: bool
    palette: NDArray[np.uint8] | None
    crs: CRS | None
    transform: Affine
    orientation: int = 1

    @property
    def bands(self) -> int:
        """Number of bands, opacity included."""
        return len(self.descriptions)

    @property
    def gsd(self) -> float | None:
        """Ground sample distance: side length in metres of a square with the area of a pixel.

        None without a CRS. Of a file in degrees it is that in its middle.
        """
        if self.crs is None:
            return None
        square = abs(self.transform.determinant)
        if self.crs.is_projected:
            metres: float = self.crs.linear_units_factor[1]
            return float(square**0.5 * metres)
        if not self.crs.is_geographic:
            return None
        _, latitude = self.transform @ (self.width / 2, self.height / 2)
        square *= math.cos(math.radians(latitude))
        return float(METRES_PER_DEGREE * square**0.5) if square > 0 else None


def header(path: str) -> Header:
    """The metadata of a file; no pixel is read.

    Raises:
        UserError: There is no such file, or it is damaged or not an image.
    """
    with _lent(path) as file:
        types = sorted(set(file.dtypes))
        if len(types) > 1:
            raise UserError(
                f"{path}: its bands have different types ({', '.join(types)}). Convert all to one."
            )
        _refuse_pages(file)
        alpha = [
            number
            for number, meaning in enumerate(file.colorinterp, start=1)
            if meaning is ColorInterp.alpha
        ]
        return Header(
            path=path,
            height=file.height,
            width=file.width,
            dtype=np.dtype(_READ_AS.get(types[0], types[0])),
            descriptions=tuple(map(_name, file.descriptions, file.colorinterp)),
            nodata=tuple(file.nodatavals),
            scales=tuple(file.scales),
            offsets=tuple(file.offsets),
            tags=dict(file.tags()),
            alpha=alpha[0] if alpha else None,
            masked=bool(alpha) or _has_mask(file),
            palette=_palette(file),
            crs=file.crs,
            transform=file.transform,
            orientation=_orientation(file),
        )


def _orientation(file: rasterio.DatasetReader) -> int:
    told = _number(file.tags().get("EXIF_Orientation", ""))
    if not told and file.driver == "GTiff" and file.crs is None and os.path.exists(file.name):  # noqa: PTH110
        told = _tiff_orientation(file.name)
    return int(told) or 1


def _tiff_orientation(path: str) -> float:
    """The tag that GDAL does not tell; 1 without it. No pixel is read, however many there are."""
    with open(path, "rb") as content:  # noqa: PTH123
        start = content.read(8)
        if 43 in start[2:4]:  # BigTIFF
            start += content.read(8)
        with suppress(SyntaxError):  # damaged tags, of which GDAL has its own errors
            tags = TiffImagePlugin.ImageFileDirectory_v2(start)
            content.seek(tags.next)
            tags.load(content)
            return float(tags.get(_ORIENTATION, 1))
    return 1


def _refuse_pages(file: rasterio.DatasetReader) -> None:
    """A file of several images, of which GDAL would read the first alone.

    Raises:
        UserError: It is one.
    """
    pages = [name for name in file.subdatasets if name.startswith("GTIFF_DIR:")]
    if len(pages) > 1:
        raise UserError(
            f"{file.name} has {len(pages)} pages, of which only the first would be read. Make the "
            f"pages bands (gdalbuildvrt -separate all.vrt {pages[0]} {pages[1]} ...), or a file "
            f"each (gdal_translate {pages[0]} page1.tif)."
        )


def ground(image: Header, area: Window) -> Ground | None:
    """Where a part of a file lies; None without a reference system, and for rotated files."""
    a, b, c, d, e, f = image.transform[:6]
    if image.crs is None or b or d:
        return None
    x = (c + a * area.x, c + a * (area.x + area.width))
    y = (f + e * area.y, f + e * (area.y + area.height))
    side = abs(a * e) ** 0.5
    return Ground(_text(image.crs), min(x), min(y), max(x), max(y), side)


@functools.lru_cache(1000)
def _text(crs: CRS) -> str:
    return str(crs.to_string())


def reprojected(
    x: NDArray[np.float64], y: NDArray[np.float64], crs: str, other: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points of one coordinate reference system in another one; infinite where there are none."""
    found = transform(CRS.from_user_input(crs), CRS.from_user_input(other), x, y)
    return np.asarray(found[0]), np.asarray(found[1])


def is_remote(path: str) -> bool:
    """Whether a path asks another machine: a URL, or a network file system of GDAL."""
    return _REMOTE.search(path) is not None


def gdal_settings() -> dict[str, str]:
    """How GDAL is set; those of the environment, such as GDAL_HTTP_TIMEOUT, come first."""
    return {name: os.environ.get(name, value) for name, value in _GDAL.items()}


def wavelengths(path: str) -> tuple[float, ...]:
    """Centre of each band in nanometres by the tags of ENVI and GDAL, 0 if a band has no tag.

    Raises:
        UserError: The file cannot be read.
    """
    with _lent(path) as file:
        found = []
        for number in range(1, file.count + 1):
            tags = {name.lower(): value for name, value in file.tags(number).items()}
            imagery = {
                name.lower(): value for name, value in file.tags(number, ns="IMAGERY").items()
            }
            if "central_wavelength_um" in imagery:
                found.append(1000 * _number(imagery["central_wavelength_um"]))
                continue
            value = _number(tags.get("wavelength", ""))
            unit = tags.get("wavelength_units", tags.get("wavelength_unit", "")).lower()
            # If no unit is given: no sensor has a band at 50 nanometres or at 50 micrometres.
            micro = unit.startswith("micro") or unit in ("um", "\N{MICRO SIGN}m") or value < 50
            found.append(1000 * value if micro and not unit.startswith("nano") else value)
        return tuple(found)


def read(path: str, window: Window, *, bands: Sequence[int] | None = None) -> NDArray[np.generic]:
    """The window's values, (h, w, C) in the file's own data type.

    Args:
        path: The file.
        window: Which pixels; must lie inside the file.
        bands: Which bands, counted from 1; None = all.

    Raises:
        UserError: The file cannot be read.
    """
    return pixel_by_pixel(read_planes(path, window, bands=bands))


def read_planes(
    path: str, window: Window, *, bands: Sequence[int] | None = None
) -> NDArray[np.generic]:
    """The same as (C, h, w), in which a band is compared with a number six times as fast."""
    with _lent(path) as file:
        _check_inside(file, window)
        planes: NDArray[np.generic] = file.read(
            None if bands is None else list(bands), window=_rectangle(window)
        )
    return planes


def pixel_by_pixel(planes: NDArray[np.generic]) -> NDArray[np.generic]:
    """(C, h, w) -> (h, w, C)."""
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1))


def read_mask(path: str, window: Window) -> NDArray[np.bool_]:
    """The window's validity, (h, w), by the mask of a file; see `Header.masked`.

    Raises:
        UserError: The file cannot be read.
    """
    with _lent(path) as file:
        _check_inside(file, window)
        if not _has_mask(file) and ColorInterp.alpha in file.colorinterp:
            # GDAL takes opacity for a mask in files of two and four bands alone.
            alpha = file.colorinterp.index(ColorInterp.alpha) + 1
            mask: NDArray[np.uint8] = file.read(alpha, window=_rectangle(window))
        else:
            mask = file.read_masks(1, window=_rectangle(window))
    return np.asarray(mask > 0)


def _has_mask(file: rasterio.DatasetReader) -> bool:
    return any(MaskFlags.per_dataset in flags for flags in file.mask_flag_enums)


def _rectangle(window: Window) -> rasterio.windows.Window:
    return rasterio.windows.Window(window.x, window.y, window.width, window.height)


def _check_inside(file: rasterio.DatasetReader, window: Window) -> None:
    bottom, right = window.y + window.height, window.x + window.width
    if min(window) < 0 or bottom > file.height or right > file.width:
        raise ValueError(f"{window} leaves {file.name} of {file.height} x {file.width} pixels.")


def _name(description: str | None, meaning: ColorInterp) -> str | None:
    is_color = meaning in (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    return description or (meaning.name if is_color else None)


def _number(text: str) -> float:
    """The number that a tag holds, 0 if it does not hold one."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def _palette(file: rasterio.DatasetReader) -> NDArray[np.uint8] | None:
    if file.colorinterp[0] is not ColorInterp.palette:
        return None
    palette = np.zeros((256, 3), np.uint8)
    for number, color in file.colormap(1).items():
        if number < len(palette):
            palette[number] = color[:3]
    return palette


@contextmanager
def _lent(path: str) -> Iterator[rasterio.DatasetReader]:
    """The open file, for one thread alone; GDAL's errors become errors that a user understands."""
    with rasterio.Env(**gdal_settings()):
        try:
            key = _key(path)
            file = _POOL.take(key) or rasterio.open(path)
            yield file
        except FileNotFoundError:
            raise UserError(f"{path}: no such file. Check the path.") from None
        except (RasterioIOError, OSError) as error:
            # The file is not returned to the pool: the next reader opens it again.
            with suppress(RasterioIOError, OSError):
                rasterio.open(path).close()  # or GDAL reports this error for the next file, too
            reason = str(error.__cause__ or error).replace(path, Path(path).name).rstrip(".")
            raise UserError(f"Cannot read {path}: {reason}. {_advice(path, reason)}") from error
        _POOL.give_back(key, file)


def _advice(path: str, reason: str) -> str:
    """What to do about a file that cannot be read."""
    if "codec" in reason or "compression" in reason.lower():
        return "It is compressed in a way that this GDAL cannot read: convert it with one that can."
    if path.lower().endswith(".vrt"):
        return "A file that this virtual raster names is missing or damaged: correct its path."
    return "The file is damaged or not an image: fetch it again or remove it."


def _key(path: str) -> "_Key":
    """What tells apart two states of a file; GDAL alone knows what is not a local file."""
    if path.startswith("/vsi") or "://" in path:
        return path, 0, 0
    status = os.stat(path)  # noqa: PTH116  (a Path costs more than the call)
    return path, status.st_mtime_ns, status.st_size


_Key = tuple[str, int, int]


class _Pool:
    """Idle open files by path, time and size; the least recently used ones are closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: OrderedDict[_Key, list[rasterio.DatasetReader]] = OrderedDict()
        self._count = 0

    def take(self, key: _Key) -> rasterio.DatasetReader | None:
        with self._lock:
            files = self._idle.get(key)
            if not files:
                return None
            self._count -= 1
            file = files.pop()
            if not files:
                del self._idle[key]
            return file

    def give_back(self, key: _Key, file: rasterio.DatasetReader) -> None:
        surplus: list[rasterio.DatasetReader] = []
        with self._lock:
            self._idle.setdefault(key, []).append(file)
            self._idle.move_to_end(key)
            self._count += 1
            while self._count > OPEN_FILES:
                _, files = self._idle.popitem(last=False)
                self._count -= len(files)
                surplus += files
        for old in surplus:
            old.close()


def _forget_after_fork() -> None:
    """Gives a forked process a new pool: it may neither use nor close its parent's open files."""
    global _POOL
    _OF_PARENTS.append(_POOL)
    _POOL = _Pool()


_POOL = _Pool()
_OF_PARENTS: list[_Pool] = []
os.register_at_fork(after_in_child=_forget_after_fork)
