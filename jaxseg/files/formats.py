"""Which of GDAL's formats may open a file: a picture is never a program.

A text of GDAL_WMS or VRT in a file named `a.png` would otherwise make requests to any address, or
show any file of this machine as pixels. So the name decides: pictures are opened by the formats of
pictures, `.vrt` as a virtual raster whose sources are checked, everything else by the formats that
fetch nothing and name no other files at will.
"""

import functools
import os
import stat
from contextlib import suppress
from pathlib import Path

import rasterio
from rasterio.enums import Interleaving

from jaxseg.errors import UserError
from jaxseg.files.vrt_sources import named_in
from jaxseg.system import limits

SOURCES = "JAXSEG_SOURCES"
"""Environment variable: further folders in which the sources of a `.vrt` may lie."""

_FETCHED: set[str] = set()
"""Virtual rasters whose remote sources a person has allowed to fetch."""

PICTURES = (
    *(".tif", ".tiff", ".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".jp2", ".j2k"),
    *(".pgm", ".ppm", ".pnm"),
)
"""Endings of pictures; one format under the ending of another one is read, too."""

_OF_PICTURES = ("GTiff", "PNG", "JPEG", "WEBP", "GIF", "BIGGIF", "BMP", "JP2OpenJPEG", "PNM")

_REFERRING = {
    *("VRT", "GTI", "DERIVED", "MRF", "KMLSUPEROVERLAY", "TIL", "RPFTOC", "ECRGTOC"),
    *("WMS", "WMTS", "WCS", "DAAS", "EEDA", "EEDAI", "HTTP", "PLMOSAIC", "STACIT", "STACTA"),
    *("OGCAPI", "GDALG", "NGW", "PostGISRaster", "GeoRaster", "Elasticsearch", "Carto", "WFS"),
}
"""Formats that fetch from a network, or whose files name others anywhere."""

_MARKS = (b"<vrtdataset", b"<gdal_w", b"<wcs_gdal", b"<gdaltileindexdataset", b"<mrf_meta")
"""What the texts of such formats have in their first kilobytes, in small letters."""

_HEAD = 4096

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_BESIDE = (".ovr", ".msk", ".OVR", ".MSK")
"""Endings, after the whole name, of reduced images and masks that GDAL opens by any format."""


def opened(path: str) -> rasterio.DatasetReader:
    """The open file, by a format that may open it, without files that it may not name.

    Raises:
        UserError: See `drivers`; or what lies beside it or what it holds names other files.
        RasterioIOError: It cannot be opened.
    """
    names = drivers(path)
    if _is_local(path):
        _check_beside(path)
    # `rasterio.open` takes one driver, its class several.
    file = _without_overview_file(rasterio.DatasetReader(path, driver=names), path)
    _check_blocks(file, path)
    if names == ["VRT"] and not _is_local(path) and not path.startswith("/vsimem/"):
        _check_far(file, path)
    return file


def drivers(path: str) -> list[str]:
    """The names of GDAL's formats that may open a file.

    Raises:
        UserError: It is a pipe or a device, or a virtual raster that names what it may not.
    """
    refuse_endless(path)
    suffix = Path(path).suffix.lower()
    if suffix in PICTURES:
        return [name for name in _OF_PICTURES if name in _all()]
    if suffix == ".vrt":
        if _is_local(path):
            status = Path(path).stat()
            _check_sources(path, status.st_mtime_ns, status.st_size)
        return ["VRT"]
    return [name for name in _all() if name not in _REFERRING]


def allow_remote(path: str) -> None:
    """Lets a virtual raster read what it names on other machines, as a person has asked for."""
    _FETCHED.add(path)


@functools.cache
def _all() -> tuple[str, ...]:
    with rasterio.Env() as env:
        return tuple(env.drivers())


def _is_local(path: str) -> bool:
    return not path.startswith("/vsi") and "://" not in path


def refuse_endless(path: str) -> None:
    """Rejects pipes and devices, which would be read without end, or not at all.

    Raises:
        UserError: It is one.
    """
    if path.startswith("/vsistdin"):
        raise UserError(f"{path} is not a file. Give files.")
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  (a Path costs more than the call)
    except OSError:
        return  # not a local file; whoever opens it says what is wrong
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UserError(f"{path} is a pipe or a device, not a file. Give files.")


def _check_beside(path: str) -> None:
    """Checks the reduced images and masks beside a file, of which GDAL asks no ending's format."""
    refuse_endless(f"{path}.aux.xml")
    for ending in _BESIDE:
        beside = path + ending
        if os.path.exists(beside):  # noqa: PTH110  (a Path costs more than the call)
            refuse_endless(beside)
            if not _head(beside).startswith(_TIFF):
                raise UserError(
                    f"{beside} is not a TIFF, as reduced images and masks beside a file are. "
                    "Remove it, or make it again with gdaladdo."
                )
            _check_beside(beside)
            with suppress(rasterio.errors.RasterioIOError):  # damaged, which GDAL says later
                _without_overview_file(
                    rasterio.DatasetReader(beside, driver=["GTiff"]), beside
                ).close()


def _without_overview_file(file: rasterio.DatasetReader, path: str) -> rasterio.DatasetReader:
    """Rejects a file whose metadata name another one, anywhere, that holds its overviews."""
    tags = file.tags(ns="OVERVIEWS")
    if any(name.upper() == "OVERVIEW_FILE" for name in tags):
        file.close()
        raise UserError(
            f"{path} says that its overviews are in another file ({tags}), which could be any file "
            "or address. Remove this item from its metadata (or from the .aux.xml beside it)."
        )
    return file


def _check_blocks(file: rasterio.DatasetReader, path: str) -> None:
    """Rejects a file whose blocks, compressed to a few kilobytes, could fill the memory."""
    together = file.count if file.interleaving is Interleaving.pixel else 1
    blocks = zip(file.block_shapes, file.dtypes, strict=True)
    largest = max(
        (rows * columns * _BYTES.get(kind, 8) * together for (rows, columns), kind in blocks),
        default=0,
    )
    if largest > (limit := limits.BLOCK.now()) * 2**30:
        file.close()
        raise UserError(
            f"{path} is stored in blocks of {largest / 2**30:.3g} GiB, of which any window needs a "
            f"whole one; the limit is {limit:.3g} GiB. Write it with smaller blocks "
            "(gdal_translate -co TILED=YES), or give another limit: "
            f"{limits.BLOCK.variable}={largest / 2**30:.3g}"
        )


def _check_far(file: rasterio.DatasetReader, path: str) -> None:
    """A virtual raster on another machine names files there, and none of this machine."""
    text = file.tags(ns="xml:VRT").get("xml:VRT", "")
    for source in named_in(path, text.encode()):
        beside = source.relative and not source.elsewhere and not source.name.startswith("/")
        if not (beside or source.remote):
            file.close()
            raise UserError(
                f"{path} names {source.name[:80]}, which is not a file beside it or on another "
                "machine. It is not opened."
            )


_BYTES = {
    **{"uint8": 1, "int8": 1, "uint16": 2, "int16": 2, "uint32": 4, "int32": 4, "float32": 4},
    **{"complex_int16": 4, "complex128": 16},
}
"""Bytes of a value, where they are not eight."""


@functools.lru_cache(maxsize=4096)
def _check_sources(path: str, time: int, size: int, depth: int = 0) -> None:
    """Checks what a virtual raster names, once for each state of the file."""
    del time
    limits.check_array(f"{path}, as a tree,", 20 * size, "A virtual raster is not that long.")
    if depth > 8:
        raise UserError(f"{path}: virtual rasters that name each other more than 8 times over.")
    folder = Path(path).resolve().parent
    # Beside the folder of a virtual raster often lies that of its parts.
    beside = folder if folder.parent == Path(folder.anchor) else folder.parent
    allowed = [beside, *_further()]
    for source in named_in(path, Path(path).read_bytes()):
        if source.elsewhere:
            if path in _FETCHED and source.remote:
                continue
            raise UserError(
                f"{path} asks another machine or another program for its pixels "
                f"({source.name[:80]}). Only virtual rasters of files are opened; give the remote "
                "path itself."
            )
        file = folder / source.name if source.relative else Path(source.name)
        place = file.resolve()
        if not any(place.is_relative_to(one) for one in allowed):
            raise UserError(
                f"{path} names a file outside of {beside}: {file}. If you trust it, state the "
                f"folder of its sources: {SOURCES}={place.parent}"
            )
        _check_source(path, place, depth)


def _further() -> list[Path]:
    given = os.environ.get(SOURCES, "")
    return [Path(folder).resolve() for folder in given.split(os.pathsep) if folder]


def _check_source(path: str, source: Path, depth: int) -> None:
    """A source is opened by all formats of GDAL: only what a format without references reads."""
    if not source.is_file():
        raise UserError(
            f"Cannot read {path}: {source} is not a file. A file that this virtual raster names is "
            "missing or damaged: correct its path."
        )
    if source.suffix.lower() == ".vrt":
        status = source.stat()
        _check_sources(str(source), status.st_mtime_ns, status.st_size, depth + 1)
        return
    head = _head(str(source)).lower()
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"<", b"{")) or any(mark in head for mark in _MARKS):
        raise UserError(
            f"{path} names {source}, a text that names further files or addresses and is not "
            "called .vrt. It is not opened."
        )
    with suppress(rasterio.errors.RasterioIOError):  # damaged, which is said when it is read
        opened(str(source)).close()


def _head(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read(_HEAD)
