"""Which of GDAL's formats may open a file: a picture is never a program.

A text of GDAL_WMS or VRT in a file named `a.png` would otherwise make requests to any address, or
show any file of this machine as pixels. So the name decides: pictures are opened by the formats of
pictures, `.vrt` as a virtual raster whose sources are checked, everything else by the formats that
fetch nothing and name no other files at will.
"""

import functools
import html
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import rasterio

from jaxseg.errors import UserError

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
}
"""Formats that fetch from a network, or whose files name others anywhere."""

_MARKS = (b"<VRTDataset", b"<GDAL_WM", b"<WCS_GDAL", b"<GDALTileIndexDataset", b"<MRF_META")
"""What the texts of such formats have in their first kilobytes."""

_HEAD = 4096

_NAMED = re.compile(rb"<(SourceFilename|SourceDataset|IndexDataset)([^>]*)>([^<]*)<")
_NETWORK = re.compile(
    r"^\s*/vsi(?!mem/|zip/|tar/|gzip/|subfile|sparse)|://|^\s*<|\b(WMS|WCS|WMTS):"
)


def drivers(path: str) -> list[str]:
    """The names of GDAL's formats that may open a file.

    Raises:
        UserError: It is a pipe or a device, or a virtual raster that names what it may not.
    """
    _refuse_endless(path)
    suffix = Path(path).suffix.lower()
    if suffix in PICTURES:
        return [name for name in _OF_PICTURES if name in _all()]
    if suffix == ".vrt":
        if not path.startswith("/vsi") and "://" not in path:
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


def _refuse_endless(path: str) -> None:
    """Pipes and devices would be read without end, or not at all."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116  (a Path costs more than the call)
    except OSError:
        return  # not a local file; whoever opens it says what is wrong
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UserError(f"{path} is a pipe or a device, not a file. Give image files.")


@functools.lru_cache(maxsize=4096)
def _check_sources(path: str, time: int, size: int, depth: int = 0) -> None:
    """Checks what a virtual raster names, once for each state of the file."""
    del time, size
    text = Path(path).read_bytes()
    if b"VRTRawRasterBand" in text or b"Python" in text:
        raise UserError(
            f"{path} reads raw bytes of a file, or runs Python: such virtual rasters are not "
            "opened. Make it anew with gdalbuildvrt, or convert it to GeoTIFF."
        )
    if depth > 8:
        raise UserError(f"{path}: virtual rasters that name each other more than 8 times over.")
    folder = Path(path).resolve().parent
    # Beside the folder of a virtual raster often lies that of its parts.
    beside = folder if folder.parent == Path(folder.anchor) else folder.parent
    allowed = [beside, *_further()]
    for source in _sources(text, folder):
        if isinstance(source, str):
            if path in _FETCHED:
                continue
            raise UserError(
                f"{path} asks another machine or another program for its pixels ({source[:80]}). "
                "Only virtual rasters of files are opened; give the remote path itself."
            )
        place = source.resolve()
        if not any(place.is_relative_to(one) for one in allowed):
            raise UserError(
                f"{path} names a file outside of {beside}: {source}. If you trust it, state the "
                f"folder of its sources: {SOURCES}={place.parent}"
            )
        _check_source(path, place, depth)


def _further() -> list[Path]:
    given = os.environ.get(SOURCES, "")
    return [Path(folder).resolve() for folder in given.split(os.pathsep) if folder]


def _sources(text: bytes, folder: Path) -> Iterator[Path | str]:
    """The files that a virtual raster names; what is not a file of this machine, as text."""
    for _, attributes, name in set(_NAMED.findall(text)):
        found = html.unescape(name.decode("utf-8", errors="replace")).strip()
        relative = b'relativeToVRT="1"' in attributes or b"relativeToVRT='1'" in attributes
        if _NETWORK.search(found):
            yield found
        elif found:
            yield folder / found if relative else Path(found)


def _check_source(path: str, source: Path, depth: int) -> None:
    if not source.is_file():
        return  # GDAL names a file that is missing
    if source.suffix.lower() == ".vrt":
        status = source.stat()
        _check_sources(str(source), status.st_mtime_ns, status.st_size, depth + 1)
        return
    with source.open("rb") as file:
        head = file.read(_HEAD)
    if any(mark in head for mark in _MARKS):
        raise UserError(
            f"{path} names {source}, a text that names further files or addresses and is not "
            "called .vrt. It is not opened."
        )
