"""What the tags of a file say of its pixels: orientation, pages, names, colours and wavelengths."""

import os
from contextlib import suppress

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import TiffImagePlugin
from rasterio.enums import ColorInterp

from jaxseg.errors import UserError
from jaxseg.files.pool import lent

_ORIENTATION = 0x0112
"""Number of the tag in TIFF and EXIF."""


def wavelengths(path: str) -> tuple[float, ...]:
    """Centre of each band in nanometres by the tags of ENVI and GDAL, 0 if a band has no tag.

    Raises:
        UserError: The file cannot be read.
    """
    with lent(path) as file:
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


def name_of(description: str | None, meaning: ColorInterp) -> str | None:
    """Name of a band, by its description or as a colour of a picture; None without both."""
    is_color = meaning in (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    return description or (meaning.name if is_color else None)


def palette_of(file: rasterio.DatasetReader) -> NDArray[np.uint8] | None:
    """(256, 3) uint8 RGB colours that the values of a picture index, or None."""
    if file.colorinterp[0] is not ColorInterp.palette:
        return None
    palette = np.zeros((256, 3), np.uint8)
    for number, color in file.colormap(1).items():
        if number < len(palette):
            palette[number] = color[:3]
    return palette


def orientation_of(file: rasterio.DatasetReader) -> int:
    """How viewers turn the picture before they show it, as in EXIF: 1 = not at all."""
    told = _number(file.tags().get("EXIF_Orientation", ""))
    if not told and file.driver == "GTiff" and file.crs is None and os.path.exists(file.name):  # noqa: PTH110
        told = _tiff_orientation(file.name)
    return int(told) or 1


def refuse_pages(file: rasterio.DatasetReader) -> None:
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


def _number(text: str) -> float:
    """The number that a tag holds, 0 if it does not hold one."""
    try:
        return float(text)
    except ValueError:
        return 0.0
