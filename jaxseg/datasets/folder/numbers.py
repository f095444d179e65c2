"""What the values of a `Folder`'s files mean, and how they become the values of an image.

    file --minus what Sentinel-2's baseline added--> value --`convert`--> --`multiply`--> image

By default an image holds the file's values in the file's data type. Only Sentinel-2's offset, which
some products of an archive have and others do not, is subtracted wherever the metadata state it.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets.folder.pairing import FLAG
from jaxseg.errors import UserError
from jaxseg.files import raster, tagged
from jaxseg.scenes import sentinel2
from jaxseg.scenes.agreement import ScaleError
from jaxseg.scenes.sensor import Sensor, Unit

Convert = Literal["", "power-to-decibel", "amplitude-to-decibel", "decibel-to-power"]
"""Conversion of the unit while reading; "" = no conversion."""

FLOOR = 1e-10
"""Smallest power before conversion to decibel; smaller values, such as zeros, are raised to it."""

_POLARISATIONS = ("VV", "VH", "HV", "HH")


class Reading(NamedTuple):
    """How the values of the files become those of the image.

    Attributes:
        convert: Conversion of the unit.
        multiply: Factor applied after it.
    """

    convert: Convert
    multiply: float

    def __call__(self, pixels: NDArray[np.generic], added: tuple[int, ...]) -> NDArray[np.generic]:
        """The image, (h, w, C); in the files' data type if nothing is converted, at most 32 bits.

        Args:
            pixels: Values as read.
            added: The offset of each band, to be subtracted.
        """
        if any(added):
            more = np.asarray(added, pixels.dtype)
            less = np.maximum(pixels, more) - more  # unsigned values cannot go below 0
            pixels = np.where(more > 0, less, pixels)  # other bands may be negative
        if not self.convert and self.multiply == 1:
            return _in_32_bits(pixels)
        numbers = pixels.astype(np.float32)
        if self.convert == "decibel-to-power":
            numbers = np.power(np.float32(10), numbers / 10)
        elif self.convert:
            power = numbers if self.convert == "power-to-decibel" else np.square(numbers)
            numbers = 10 * np.log10(np.maximum(power, np.float32(FLOOR)))
        return np.asarray(numbers * np.float32(self.multiply))


def _in_32_bits(pixels: NDArray[np.generic]) -> NDArray[np.generic]:
    """Numbers of 64 bits as float32, which devices compute with; they would cut off the rest."""
    wide = pixels.dtype.kind in "iuf" and pixels.dtype.itemsize == 8
    return pixels.astype(np.float32) if wide else pixels


def sensor(
    header: raster.Header,
    numbers: tuple[int, ...],
    names: tuple[str, ...],
    *,
    wavelengths: tuple[float, ...],
    unit: Unit,
    nodata: float | None,
    added: int | None,
    reading: Reading,
    flag: str = FLAG,
) -> Sensor:
    """The sensor of the images, by the header of the first file and the user's fields.

    Args:
        header: Header of the first file.
        numbers: Bands that are read, counted from 1.
        names: Names of these bands.
        wavelengths: Given by the user; empty = by the file.
        unit: Unit of the files' values, given by the user; "" = by the file.
        nodata: Given by the user.
        added: Given by the user, which implies that these are Sentinel-2 values.
        reading: Conversion of the values.
        flag: What the command line calls these fields.

    Raises:
        UserError: Unit and conversion contradict each other, or the header cannot be read.
    """
    scale, offset = tagged_scale(header, numbers)
    if added is not None or baseline(header) is not None:
        unit = unit or "reflectance"
        if added or header.dtype_of(numbers).kind != "f":  # floats may be reflectance itself
            scale, offset = sentinel2.SCALE, 0.0
    if not wavelengths:
        told = tagged.wavelengths(header.path)
        wavelengths = tuple(told[number - 1] for number in numbers)
    if reading.convert:
        before, _, after = reading.convert.partition("-to-")
        if unit not in ("", before):
            raise UserError(
                f"{flag}.convert {reading.convert} is for values of {before}; {flag}.unit says "
                f"{unit}."
            )
        unit, scale, offset = ("power" if after == "power" else "decibel"), None, 0.0
    radar = all(name.upper() in _POLARISATIONS for name in names)
    return Sensor(
        names,
        wavelengths=wavelengths if any(wavelengths) else (),
        polarisations=tuple(name.upper() for name in names) if radar else (),
        unit=unit,
        scale=None if scale is None else scale / reading.multiply,
        offset=offset,
        nodata=nodata,
        gsd=header.gsd,
    )


def added(
    header: raster.Header,
    numbers: Sequence[int],
    names: Sequence[str],
    told: int | None,
    *,
    flag: str = FLAG,
) -> tuple[int, ...]:
    """What Sentinel-2's processing baseline added to each band that is read.

    Args:
        header: Header of the file.
        numbers: Bands that are read, counted from 1.
        names: Names of the bands; nothing is added to those that do not measure reflectance.
        told: Given by the user; None = by the file.
        flag: What the command line calls these fields.

    Raises:
        ScaleError: The file's data type cannot hold the offset, or leaves open whether it does.
    """
    if not any(map(sentinel2.is_spectral, names)):
        return (0,) * len(names)
    extra, dtype = told, header.dtype_of(numbers)
    if extra is None:
        found = baseline(header)
        extra = sentinel2.ADDED if found is not None and found >= sentinel2.BASELINE else 0
        if extra and dtype.kind == "f":
            raise ScaleError(
                f"{header.path} is Sentinel-2 of processing baseline {found:05.2f}, which adds "
                f"{extra} to whole numbers, but it holds {dtype}. State what these values "
                f"are: {flag}.added 0 for reflectance (0..1), {flag}.added {extra} for the "
                "product's own numbers."
            )
    if dtype.kind in "iu" and extra > (largest := np.iinfo(dtype.name).max):
        raise ScaleError(
            f"{flag}.added {extra}: {header.path} holds {dtype}, up to {largest}, so "
            "nothing was added to its values. Give 0."
        )
    return tuple(extra if sentinel2.is_spectral(name) else 0 for name in names)


def check_scale(header: raster.Header, reference: raster.Header, numbers: tuple[int, ...]) -> None:
    """Rejects a file whose values have another scale than those of the first one.

    Raises:
        ScaleError: Their tags of scale or offset differ.
    """
    if baseline(header) is not None:
        return  # its offset is known and subtracted
    for number in numbers:
        own, first = (tagged_scale(file, (number,)) for file in (header, reference))
        if own != first:
            raise ScaleError(
                f"{header.path} is tagged with scale {_said(own)}, {reference.path} with "
                f"{_said(first)}: equal values of band {number} mean different things. Bring the "
                "files to one scale."
            )


def baseline(header: raster.Header) -> float | None:
    """The processing baseline of a file with Sentinel-2's values; None for 8-bit pictures."""
    # 8 bits are a picture for display, or classes.
    if all(dtype.itemsize == 1 for dtype in header.dtypes):
        return None
    return sentinel2.baseline(header.path, header.tags)


def tagged_scale(header: raster.Header, numbers: tuple[int, ...]) -> tuple[float | None, float]:
    """Scale and offset of the bands that are read; None and 0 if they are not tagged or differ."""
    tags = {(header.scales[number - 1], header.offsets[number - 1]) for number in numbers}
    if len(tags) > 1 or tags == {(1.0, 0.0)}:
        return None, 0.0
    return tags.pop()


def _said(scale: tuple[float | None, float]) -> str:
    return "none" if scale[0] is None else f"{scale[0]:g} and offset {scale[1]:g}"
