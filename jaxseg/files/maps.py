"""Maps as files: blocks that are written one by one, and the Cloud Optimised GeoTIFF made of them.

A COG cannot be written window by window: its overviews stand before its pixels. So every finished
block is a file of its own, which also is the record that it is finished; in the end GDAL reads them
as one virtual raster and writes the map in one pass.
"""

import html
import os
import re
import uuid
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.io import MemoryFile

from jaxseg.errors import UserError
from jaxseg.files.raster import Header
from jaxseg.scenes.scene import Window
from jaxseg.system.disk import check_flushed, whole, writing

BLOCK = 512
"""Rows and columns of the tiles within the files, as the COG driver has them."""

CLASSES = "JAXSEG_CLASSES"
"""Tag of a map that names its classes."""

os.environ.setdefault("GDAL_CACHEMAX", "256")
"""MiB of blocks that GDAL keeps of all files; its own default is 5 % of the machine's memory."""

_GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "float32": "Float32"}


class MapBand(NamedTuple):
    """One band of a map.

    Attributes:
        description: Its name.
        scale: What a number is multiplied by to give the quantity.
        unit: Of the quantity; empty = none.
    """

    description: str
    scale: float = 1.0
    unit: str = ""


class MapFacts(NamedTuple):
    """What a map is, beside its numbers.

    Attributes:
        height: Rows.
        width: Columns.
        dtype: Type of the numbers: uint8, uint16 or float32.
        bands: One or more.
        nodata: The number of pixels without data.
        crs: Coordinate reference system, or None.
        transform: (column, row) -> (x, y).
        classes: Name of each class in a map of classes; empty = the numbers are not classes.
        colors: RGB colour of each class in a map of classes; empty = the numbers are not classes.
        tags: What the file says of itself.
    """

    height: int
    width: int
    dtype: str
    bands: tuple[MapBand, ...]
    nodata: float
    crs: CRS | None
    transform: Affine
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    tags: Mapping[str, str]


def write_block(path: Path, array: NDArray[np.generic]) -> None:
    """Writes (h, w, B) so that the file is there whole or not at all.

    Behind the image stands a checksum of all that is before it, which other programs do not see.

    Raises:
        UserError: The disk is full, or the folder cannot be written to.
    """
    height, width, bands = array.shape
    form = {
        **{"driver": "GTiff", "height": height, "width": width, "count": bands},
        **{"dtype": str(array.dtype), "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK},
        **{"compress": "zstd", "zstd_level": 1, "interleave": "band"},
    }
    with whole(path) as aside, MemoryFile() as memory:
        # GDAL does not say if the last bytes of a file find no room, as it closes it; Python does.
        with memory.open(**form) as file:
            file.write(np.moveaxis(array, -1, 0))
        content = bytes(memory.getbuffer())
        aside.write_bytes(content + _checksum(content))


def is_sound(path: Path) -> bool:
    """Whether a block is as it was written."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return content[-_LENGTH:] == _checksum(content[:-_LENGTH])


def _checksum(content: bytes) -> bytes:
    return b"crc%08x" % zlib.crc32(content)


_LENGTH = 11
"""Bytes of a checksum."""


def assemble(blocks: Sequence[tuple[Path, Window]], facts: MapFacts, path: Path) -> None:
    """Makes one Cloud Optimised GeoTIFF of all blocks; it is there whole or not at all.

    Overviews of classes hold the most frequent class, those of quantities their mean.

    Args:
        blocks: The files, and where each of them lies in the map.
        facts: Of the map.
        path: The map. What is there is replaced.

    Raises:
        UserError: A block cannot be read, or the map cannot be written.
    """
    folder, own = blocks[0][0].parent, uuid.uuid4().hex[:12]
    virtual, aside = (folder / f"{path.stem}.{own}.{ending}" for ending in ("vrt", "tif"))
    form = {
        **{"driver": "COG", "BLOCKSIZE": BLOCK, "COMPRESS": "DEFLATE", "PREDICTOR": "YES"},
        **{"OVERVIEW_RESAMPLING": "MODE" if facts.classes else "AVERAGE", "BIGTIFF": "IF_SAFER"},
    }
    try:
        with writing(path):
            virtual.write_text(_virtual_raster(blocks, facts), encoding="utf-8")
            with rasterio.open(virtual) as file:
                rasterio.shutil.copy(file, aside, **form)
        check_flushed(path)
        # What the file itself has no place for, such as the names of classes, lies beside it.
        if beside(aside).exists():
            os.replace(beside(aside), beside(path))  # noqa: PTH105
        else:
            beside(path).unlink(missing_ok=True)
        os.replace(aside, path)  # noqa: PTH105
    except UserError:
        raise
    except Exception as error:
        # Rasterio's errors of a copy have no common base: its own, GDAL's, and SystemError where
        # GDAL says nothing.
        raise UserError(f"Cannot write {path}: {_reason(error)}. {_room(path.parent)}") from error
    finally:
        for part in (virtual, aside, beside(aside)):
            part.unlink(missing_ok=True)


def beside(path: Path) -> Path:
    """The file in which GDAL keeps what a GeoTIFF has no place for."""
    return path.with_name(f"{path.name}.aux.xml")


def check_classes(file: Header) -> None:
    """Rejects what is not a map of classes.

    Raises:
        UserError: It has several bands, no whole numbers, or another layer, such as the confidence.
    """
    if file.bands != 1 or file.dtype.kind not in "iu":
        raise UserError(
            f"{file.path} has {file.bands} band(s) of {file.dtype}: a map of classes has one of "
            "whole numbers."
        )
    layer = file.descriptions[0]
    if "JAXSEG_RUN" in file.tags and layer not in (None, "class"):
        raise UserError(f"{file.path} is the {layer} of a map. Give the map of its classes.")


def class_names(path: Path, tags: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the classes of a map; empty if it does not say them.

    Args:
        path: The map. Names stand in the file beside it.
        tags: Of the map: the name of a class that has a comma is not told from two.
    """
    try:
        text = beside(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    if found := re.findall(r"<Category(?: */)?>(?:([^<]*)</Category>)?", text):
        return tuple(map(html.unescape, found))
    return tuple(tags[CLASSES].split(", ")) if CLASSES in tags else ()


def _reason(error: Exception) -> str:
    """What GDAL said first."""
    return str(error.__cause__ or error).rstrip(".")


def _room(folder: Path) -> str:
    """How much room is left where something could not be written."""
    try:
        state = os.statvfs(folder)
    except OSError:
        return f"Is the folder {folder} there, and may it be written to?"
    free = state.f_bavail * state.f_frsize / 2**20
    return f"{free:.0f} MiB are free in {folder}."


def _virtual_raster(blocks: Sequence[tuple[Path, Window]], facts: MapFacts) -> str:
    """GDAL's XML of one raster that lies in many files."""
    kind = _GDAL_TYPES[facts.dtype]
    lines = [f'<VRTDataset rasterXSize="{facts.width}" rasterYSize="{facts.height}">']
    if facts.crs is not None:
        lines.append(f"<SRS>{escape(facts.crs.to_wkt())}</SRS>")
    if facts.crs is not None or facts.transform != Affine.identity():
        numbers = ", ".join(f"{number!r}" for number in facts.transform.to_gdal())
        lines.append(f"<GeoTransform>{numbers}</GeoTransform>")
    lines.append("<Metadata>")
    lines += [
        f"<MDI key={quoteattr(key)}>{escape(value)}</MDI>" for key, value in facts.tags.items()
    ]
    lines.append("</Metadata>")
    for number, band in enumerate(facts.bands, start=1):
        lines.append(f'<VRTRasterBand dataType="{kind}" band="{number}">')
        lines.append(f"<Description>{escape(band.description)}</Description>")
        lines.append(f"<NoDataValue>{facts.nodata:g}</NoDataValue>")
        if band.unit:
            lines.append(f"<UnitType>{escape(band.unit)}</UnitType>")
        if band.scale != 1:
            lines.append(f"<Offset>0</Offset><Scale>{band.scale!r}</Scale>")
        if facts.classes:
            lines.append("<CategoryNames>")
            lines += [f"<Category>{escape(name)}</Category>" for name in facts.classes]
            lines.append("</CategoryNames>")
        if facts.colors and facts.dtype == "uint8":
            lines.append("<ColorInterp>Palette</ColorInterp><ColorTable>")
            lines += [f'<Entry c1="{r}" c2="{g}" c3="{b}" c4="255"/>' for r, g, b in facts.colors]
            lines.append("</ColorTable>")
        for path, (y, x, height, width) in blocks:
            size = f'xSize="{width}" ySize="{height}"'
            lines.append(
                "<SimpleSource>"
                f'<SourceFilename relativeToVRT="1">{escape(path.name)}</SourceFilename>'
                f"<SourceBand>{number}</SourceBand>"
                f'<SourceProperties RasterXSize="{width}" RasterYSize="{height}" '
                f'DataType="{kind}" BlockXSize="{BLOCK}" BlockYSize="{BLOCK}"/>'
                f'<SrcRect xOff="0" yOff="0" {size}/><DstRect xOff="{x}" yOff="{y}" {size}/>'
                "</SimpleSource>"
            )
        lines.append("</VRTRasterBand>")
    lines.append("</VRTDataset>")
    return "\n".join(lines)
