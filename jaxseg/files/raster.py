"""Pixels and metadata of image files, read window by window: GeoTIFF, PNG, JPEG, all GDAL formats.

Every function is thread-safe, see `jaxseg.files.pool`.
"""

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning

from jaxseg.errors import UserError
from jaxseg.files.pool import lent
from jaxseg.files.tagged import name_of, orientation_of, palette_of, refuse_pages
from jaxseg.scenes.scene import Window
from jaxseg.scenes.sensor import listed

_REMOTE = re.compile(
    r"/vsi(curl|s3|gs|az|adls|oss|swift|hdfs|webhdfs)|(?<!\bfile)(?<!\bzip)(?<!\btar)://"
)

METRES_PER_DEGREE = 111_320.0
"""Of latitude."""

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
        dtypes: Data type of each band's values as read.
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
    dtypes: tuple[np.dtype[np.generic], ...]
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
    def dtype(self) -> np.dtype[np.generic]:
        """Data type of all bands but opacity.

        Raises:
            UserError: They have several.
        """
        numbers = [number for number in range(1, self.bands + 1) if number != self.alpha]
        return self.dtype_of(numbers or [1])

    def dtype_of(self, numbers: Sequence[int]) -> np.dtype[np.generic]:
        """Data type of some bands, which count from 1.

        Raises:
            UserError: They have several.
        """
        first, *others = (self.dtypes[number - 1] for number in numbers)
        if any(other != first for other in others):
            types: dict[str, list[int]] = {}
            for number in numbers:
                types.setdefault(self.dtypes[number - 1].name, []).append(number)
            told = "; ".join(
                f"{name} in {listed([str(number) for number in of])}" for name, of in types.items()
            )
            raise UserError(
                f"{self.path}: its bands have different types ({told}). Choose bands of one type "
                "by their band numbers, or convert all to one."
            )
        return first

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
    with lent(path) as file:
        refuse_pages(file)
        alpha = [
            number
            for number, meaning in enumerate(file.colorinterp, start=1)
            if meaning is ColorInterp.alpha
        ]
        return Header(
            path=path,
            height=file.height,
            width=file.width,
            dtypes=tuple(np.dtype(_READ_AS.get(name, name)) for name in file.dtypes),
            descriptions=tuple(map(name_of, file.descriptions, file.colorinterp)),
            nodata=tuple(file.nodatavals),
            scales=tuple(file.scales),
            offsets=tuple(file.offsets),
            tags=dict(file.tags()),
            alpha=alpha[0] if alpha else None,
            masked=bool(alpha) or _has_mask(file),
            palette=palette_of(file),
            crs=file.crs,
            transform=file.transform,
            orientation=orientation_of(file),
        )


def is_remote(path: str) -> bool:
    """Whether a path asks another machine: a URL, or a network file system of GDAL."""
    return _REMOTE.search(path) is not None


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
    path: str,
    window: Window,
    *,
    bands: Sequence[int] | None = None,
    shape: tuple[int, int] | None = None,
) -> NDArray[np.generic]:
    """The same as (C, h, w), in which a band is compared with a number six times as fast.

    Args:
        path: The file.
        window: Which pixels; must lie inside the file.
        bands: Which bands, counted from 1; None = all.
        shape: Rows and columns to read instead of all of them: the nearest pixels, of overviews if
            the file has any. None = all.

    Raises:
        UserError: The file cannot be read.
    """
    with lent(path) as file:
        _check_inside(file, window)
        return _planes(file, window, _numbers(file, bands), shape)


def read_with_mask(
    path: str,
    window: Window,
    *,
    bands: Sequence[int] | None = None,
    shape: tuple[int, int] | None = None,
) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """`read_planes` and `read_mask` at once: opacity among the bands is not decoded again.

    Args:
        path: The file.
        window: Which pixels; must lie inside the file.
        bands: Which bands, counted from 1; None = all.
        shape: Rows and columns to read instead of all, see `read_planes`.

    Raises:
        UserError: The file cannot be read.
    """
    with lent(path) as file:
        _check_inside(file, window)
        numbers, opacity = _numbers(file, bands), _opacity(file)
        if opacity is None or len({file.dtypes[number - 1] for number in [*numbers, opacity]}) > 1:
            return _planes(file, window, numbers, shape), _mask(file, window, opacity, shape)
        planes = _planes(file, window, [*numbers, opacity], shape)
        return planes[:-1], np.asarray(planes[-1] > 0)


def _numbers(file: rasterio.DatasetReader, bands: Sequence[int] | None) -> list[int]:
    return list(range(1, file.count + 1) if bands is None else bands)


def _planes(
    file: rasterio.DatasetReader,
    window: Window,
    numbers: list[int],
    shape: tuple[int, int] | None,
) -> NDArray[np.generic]:
    reduced = {} if shape is None else {"out_shape": (len(numbers), *shape)}
    planes: NDArray[np.generic] = file.read(numbers, window=_rectangle(window), **reduced)
    return planes


def pixel_by_pixel(planes: NDArray[np.generic]) -> NDArray[np.generic]:
    """(C, h, w) -> (h, w, C)."""
    return np.ascontiguousarray(np.moveaxis(planes, 0, -1))


def read_mask(
    path: str, window: Window, *, shape: tuple[int, int] | None = None
) -> NDArray[np.bool_]:
    """The window's validity, (h, w), by the mask of a file; see `Header.masked`.

    Args:
        path: The file.
        window: Which pixels; must lie inside the file.
        shape: Rows and columns to read instead of all, see `read_planes`.

    Raises:
        UserError: The file cannot be read.
    """
    with lent(path) as file:
        _check_inside(file, window)
        return _mask(file, window, _opacity(file), shape)


def _mask(
    file: rasterio.DatasetReader,
    window: Window,
    opacity: int | None,
    shape: tuple[int, int] | None,
) -> NDArray[np.bool_]:
    if opacity is not None:
        return np.asarray(_planes(file, window, [opacity], shape)[0] > 0)
    reduced = {} if shape is None else {"out_shape": shape}
    return np.asarray(file.read_masks(1, window=_rectangle(window), **reduced) > 0)


def _opacity(file: rasterio.DatasetReader) -> int | None:
    """Number of the band that is the mask of the file; None = none is."""
    if ColorInterp.alpha not in file.colorinterp:
        return None
    if _has_mask(file):  # GDAL's own: one beside the bands, or else the last of two or four
        return file.count if MaskFlags.alpha in file.mask_flag_enums[0] else None
    return int(file.colorinterp.index(ColorInterp.alpha)) + 1


def _has_mask(file: rasterio.DatasetReader) -> bool:
    return any(MaskFlags.per_dataset in flags for flags in file.mask_flag_enums)


def _rectangle(window: Window) -> rasterio.windows.Window:
    return rasterio.windows.Window(window.x, window.y, window.width, window.height)


def _check_inside(file: rasterio.DatasetReader, window: Window) -> None:
    bottom, right = window.y + window.height, window.x + window.width
    if min(window) < 0 or bottom > file.height or right > file.width:
        raise ValueError(f"{window} leaves {file.name} of {file.height} x {file.width} pixels.")
