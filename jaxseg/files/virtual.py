"""Virtual rasters: many files, or one on another grid, that are read as if they were one file.

They are GDAL's XML formats and hold no pixels. They are kept in memory, under paths that begin with
`/vsimem/`, and `jaxseg.files.raster` reads them like other files.
"""

import functools
import os
import re
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds

from jaxseg.errors import UserError
from jaxseg.files import formats
from jaxseg.files.pool import gdal_settings
from jaxseg.files.raster import Header, is_remote

OFF_GRID = 0.1
"""Pixels by which files of one grid may lie off it."""

_TYPES = {
    **{"uint8": "Byte", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32", "int32": "Int32"},
    **{"int8": "Int8", "int64": "Int64", "uint64": "UInt64", "float32": "Float32"},
    **{"float64": "Float64", "complex64": "CFloat32", "complex128": "CFloat64"},
}
"""GDAL's names of data types."""

_WEB = ("http", "https", "ftp")

_VSI = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/"} | dict.fromkeys(_WEB, "/vsicurl/")
"""What GDAL calls the schemes of URLs."""

_KEPT: list[MemoryFile] = []
"""Texts of virtual rasters, some kilobytes each; they last as long as the process."""


class Frame(NamedTuple):
    """A grid of pixels.

    Attributes:
        crs: Coordinate reference system, or None.
        transform: (column, row) -> (x, y).
        height: Rows.
        width: Columns.
    """

    crs: CRS | None
    transform: Affine
    height: int
    width: int


def frame_of(file: Header) -> Frame:
    """The grid of a file."""
    return Frame(file.crs, file.transform, file.height, file.width)


def scaled(frame: Frame, ratio: float) -> Frame:
    """The same area with pixels that are `ratio` times as long, rounded to whole pixels."""
    height, width = (max(1, round(n / ratio)) for n in (frame.height, frame.width))
    longer = Affine.scale(frame.width / width, frame.height / height)
    return Frame(frame.crs, frame.transform @ longer, height, width)


def covering(file: Header, like: Frame) -> Frame:
    """The pixels of a grid, extended without end, that cover a file of any CRS."""
    corners = [file.transform @ (x, y) for x in (0, file.width) for y in (0, file.height)]
    xs, ys = zip(*corners, strict=True)
    bounds = transform_bounds(file.crs, like.crs, min(xs), min(ys), max(xs), max(ys))
    places = np.array([~like.transform @ (x, y) for x in bounds[::2] for y in bounds[1::2]])
    left, top = np.floor(places.min(0) + OFF_GRID).astype(int)
    right, bottom = np.ceil(places.max(0) - OFF_GRID).astype(int)
    moved = like.transform @ Affine.translation(left, top)
    return Frame(like.crs, moved, int(bottom - top), int(right - left))


def resampled(file: Header, frame: Frame) -> str:
    """The path of a virtual raster with a file's bands on another grid.

    Values are averaged where pixels become larger, else interpolated linearly. Pixels without data
    take no part in either.

    Raises:
        UserError: The file cannot be read.
    """
    told = file.masked or any(number is not None for number in file.nodata)
    options: dict[str, Any] = {} if told else {"add_alpha": True}
    covered = covering(file, frame)
    pixels = file.height * file.width / max(1, covered.height * covered.width)
    method = Resampling.average if pixels > 1 else Resampling.bilinear
    try:
        with rasterio.Env(**gdal_settings()), formats.opened(file.path) as opened:
            shape = {"height": frame.height, "width": frame.width, "transform": frame.transform}
            with WarpedVRT(opened, crs=frame.crs, resampling=method, **shape, **options) as made:
                path = f"/vsimem/{uuid.uuid4()}/{Path(file.path).stem}.vrt"
                rasterio.shutil.copy(made, path, driver="VRT")
    except (RasterioError, OSError) as error:
        raise UserError(f"Cannot resample {file.path}: {error}.") from error
    return path


def on_grid(path: str, grid: Frame) -> str:
    """The path of a virtual raster with a file's values on another grid, each from the nearest.

    Pixels outside of the file are those without data: transparent, or its nodata value. Each
    process makes one for a file and keeps it.

    Raises:
        UserError: The file cannot be read.
    """
    return _on_grid(path, time_of(path), grid)


def time_of(path: str) -> int:
    """When a file was changed, in nanoseconds; 0 of what is not a local file."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116
    except OSError:
        return 0


@functools.lru_cache(10_000)
def _on_grid(path: str, _: int, grid: Frame) -> str:
    shape = {"height": grid.height, "width": grid.width, "transform": grid.transform}
    try:
        with rasterio.Env(**gdal_settings()), formats.opened(path) as opened:
            told = (
                any(MaskFlags.all_valid not in flags for flags in opened.mask_flag_enums)
                or ColorInterp.alpha in opened.colorinterp
            )
            options: dict[str, Any] = {} if told else {"add_alpha": True}
            # Places are interpolated to a hundredth of a pixel.
            near = {"resampling": Resampling.nearest, "tolerance": 0.01}
            with WarpedVRT(opened, crs=grid.crs, **near, **shape, **options) as made:
                found = f"/vsimem/{uuid.uuid4()}/{Path(path).stem}.vrt"
                rasterio.shutil.copy(made, found, driver="VRT")
    except (RasterioError, OSError) as error:
        raise UserError(f"Cannot resample {path}: {error}.") from error
    return found


def mosaic(files: Sequence[Header]) -> str:
    """The path of a virtual raster in which files of one grid lie side by side.

    Where several have data, the last one counts.

    Raises:
        UserError: They differ in their CRS, pixel size, bands or data type, or lie off the grid.
    """
    first = files[0]
    places = [_place(file, first) for file in files]
    left, top = np.min([place[:2] for place in places], axis=0)
    right, bottom = np.max(
        [(x + f.width, y + f.height) for (x, y), f in zip(places, files, strict=True)], axis=0
    )
    placed = [
        (file, int(x - left), int(y - top)) for file, (x, y) in zip(files, places, strict=True)
    ]
    transform = first.transform @ Affine.translation(left, top)
    lines = [f'<VRTDataset rasterXSize="{int(right - left)}" rasterYSize="{int(bottom - top)}">']
    if first.crs is not None:
        lines.append(f"<SRS>{escape(first.crs.to_wkt())}</SRS>")
    lines.append(
        f"<GeoTransform>{', '.join(f'{number!r}' for number in transform.to_gdal())}</GeoTransform>"
    )
    lines.append("<Metadata>")
    lines += [
        f"<MDI key={quoteattr(key)}>{escape(value)}</MDI>" for key, value in first.tags.items()
    ]
    lines.append("</Metadata>")
    for band, number in enumerate(_bands(first)):
        kind = _TYPES[first.dtypes[number - 1].name]
        lines.append(f'<VRTRasterBand dataType="{kind}" band="{band + 1}">')
        if name := first.descriptions[number - 1]:
            lines.append(f"<Description>{escape(name)}</Description>")
        offset, scale = first.offsets[number - 1], first.scales[number - 1]
        lines.append(f"<Offset>{offset!r}</Offset><Scale>{scale!r}</Scale>")
        lines += [
            _source(file, x, y, str(_bands(file)[band]), "<UseMaskBand>true</UseMaskBand>")
            for file, x, y in placed
        ]
        lines.append("</VRTRasterBand>")
    lines.append('<MaskBand><VRTRasterBand dataType="Byte">')
    lines += [_source(*place, "mask,1", "<NODATA>0</NODATA>") for place in placed]
    lines.append("</VRTRasterBand></MaskBand></VRTDataset>")
    file = MemoryFile("\n".join(lines).encode(), filename="mosaic.vrt")
    _KEPT.append(file)
    return str(file.name)


def remote_sources(path: str, seen: set[str] | None = None) -> list[str]:
    """The remote files that a local virtual raster names, by itself or through others."""
    if is_remote(path) or path.startswith("/vsi") or not path.lower().endswith(".vrt"):
        return []
    seen = set() if seen is None else seen
    if (place := os.path.realpath(path)) in seen:
        return []
    seen.add(place)
    try:
        formats.refuse_endless(path)
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []  # whoever reads the file reports it
    found = []
    for relative, name in re.findall(r"<(?:SourceFilename|SourceDataset)([^>]*)>([^<]+)</", text):
        inner = name.strip()
        if is_remote(inner):
            found.append(inner)
        elif "://" not in inner:
            beside = 'relativeToVRT="1"' in relative
            named = str(Path(path).parent / inner) if beside else inner
            found += remote_sources(named, seen)
    return found


def _bands(file: Header) -> list[int]:
    """Numbers of the bands, from 1, without opacity."""
    return [number for number in range(1, file.bands + 1) if number != file.alpha]


def _of_bands(file: Header, facts: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(facts[number - 1] for number in _bands(file))


def _place(file: Header, first: Header) -> tuple[int, int]:
    """Column and row of a file's first pixel on the grid of the first file.

    Raises:
        UserError: It does not lie on this grid.
    """
    for what, own, others in (
        ("CRS", file.crs, first.crs),
        ("data type", _of_bands(file, file.dtypes), _of_bands(first, first.dtypes)),
        ("bands", _of_bands(file, file.descriptions), _of_bands(first, first.descriptions)),
        ("scale", _of_bands(file, file.scales), _of_bands(first, first.scales)),
        ("offset", _of_bands(file, file.offsets), _of_bands(first, first.offsets)),
    ):
        if own != others:
            raise UserError(
                f"{file.path} has the {what} {own}, {first.path} {others}: one mosaic needs one. "
                + (
                    "--resample brings all scenes to the grid of the first."
                    if what == "CRS"
                    else "Map them one by one."
                )
            )
    relative = ~first.transform @ file.transform
    x, y = relative.c, relative.f
    size = np.abs(np.array(relative[:6]) - (1, 0, x, 0, 1, y)).max() * max(file.height, file.width)
    off = max(size, abs(x - round(x)), abs(y - round(y)))
    if off > OFF_GRID:
        raise UserError(
            f"{file.path} lies {off:.3g} pixels off the grid of {first.path}: one mosaic needs one "
            "grid. --resample brings all scenes to the grid of the first."
        )
    return round(x), round(y)


def _source(file: Header, x: int, y: int, band: str, option: str) -> str:
    size = f'xSize="{file.width}" ySize="{file.height}"'
    dtype = file.dtypes[int(band) - 1 if band.isdigit() else 0]
    return (
        f'<ComplexSource><SourceFilename relativeToVRT="0">{escape(_absolute(file.path))}'
        f"</SourceFilename><SourceBand>{band}</SourceBand>"
        f'<SourceProperties RasterXSize="{file.width}" RasterYSize="{file.height}" '
        f'DataType="{_TYPES[dtype.name]}"/>'
        f'<SrcRect xOff="0" yOff="0" {size}/><DstRect xOff="{x}" yOff="{y}" {size}/>'
        f"{option}</ComplexSource>"
    )


def _absolute(path: str) -> str:
    """GDAL's own name of a path."""
    scheme, there, rest = path.partition("://")
    if there:
        return path if scheme not in _VSI else _VSI[scheme] + (path if scheme in _WEB else rest)
    return path if path.startswith("/vsi") else str(Path(path).resolve())
