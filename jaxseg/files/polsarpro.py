"""PolSARpro folders: their planes, the size and type of these, and windows of them.

    T3/   T11.bin  T12_real.bin  T12_imag.bin  ...  T33.bin  config.txt      float32 a plane
    C3/   C11.bin  ...                                                        likewise
    C2/   C11.bin  C12_real.bin  C12_imag.bin  C22.bin  config.txt
    S2/   s11.bin  s12.bin  s21.bin  s22.bin  config.txt                      complex64

A plane may have an ENVI header (.bin.hdr or .hdr) beside it, which has to agree with config.txt.

Source: the formats of ESA's PolSARpro 6, from its files, and of ENVI headers.
"""

import functools
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.scenes.scene import Window

Kind = Literal["S2", "T3", "C3", "C2"]

Plane = Callable[[Window], NDArray[np.generic]]
"""Reads a window of one plane."""

FILES: dict[Kind, tuple[str, ...]] = {
    "T3": ("T11", "T22", "T33", *(f"T{e}_{p}" for e in (12, 13, 23) for p in ("real", "imag"))),
    "C3": ("C11", "C22", "C33", *(f"C{e}_{p}" for e in (12, 13, 23) for p in ("real", "imag"))),
    "C2": ("C11", "C22", "C12_real", "C12_imag"),
    "S2": ("s11", "s12", "s21", "s22"),
}
"""Names of the planes without .bin, diagonal first."""

_ENVI_TYPES = {4: "f4", 6: "c8"}


class Folder(NamedTuple):
    """A folder whose planes exist and have the right size.

    Attributes:
        kind: What the planes are elements of.
        height: Rows.
        width: Columns.
        gsd: Ground sample distance in metres, or None if not known.
        planes: Functions that read a window of each plane, in the order of `FILES`.
    """

    kind: Kind
    height: int
    width: int
    gsd: float | None
    planes: tuple[Plane, ...]


def open_folder(folder: Path) -> Folder:
    """Finds the planes and checks their sizes; no pixel is read.

    Raises:
        UserError: A plane is missing, truncated, of another size or of a wrong data type.
    """
    if (folder / "T44.bin").exists() or (folder / "C44.bin").exists():
        raise UserError(
            f"{folder}: a 4 x 4 matrix of a bistatic radar. Reduce it to T3 or C3 with PolSARpro."
        )
    kind: Kind
    if any(folder.glob("T[0-9]*.bin")):
        kind = "T3"
    elif any(folder.glob("s[0-9]*.bin")):
        kind = "S2"
    elif not any(folder.glob("C[0-9]*.bin")):
        names = ", ".join(sorted(file.name for file in folder.glob("*.bin"))[:9])
        raise UserError(
            f"{folder} holds {names}: these are not planes of T3, C3, C2 or S2, which are named "
            "T11, C11, s11 and so on."
        )
    else:
        beyond = [*folder.glob("C33.bin"), *folder.glob("C13_*.bin"), *folder.glob("C23_*.bin")]
        kind = "C3" if beyond else "C2"
    files = [folder / f"{name}.bin" for name in FILES[kind]]
    missing = [file.name for file in files if not file.exists()]
    if missing:
        raise UserError(
            f"{folder} lacks {', '.join(missing)}: a {kind} folder has "
            f"{', '.join(file.name for file in files)}."
        )
    size = _config(folder / "config.txt")
    headers = {file: _envi(file) for file in files}
    sizes = {file: h.size for file, h in headers.items() if h is not None}
    if size is None:
        if not sizes:
            raise UserError(f"{folder} has neither config.txt nor .hdr files: its size is unknown.")
        size = next(iter(sizes.values()))
    for file, other in sizes.items():
        if other != size:
            raise UserError(
                f"{file}: its header says {other[0]} x {other[1]} pixels, the folder has "
                f"{size[0]} x {size[1]}. All planes must have one grid."
            )
    places = {file: h.place for file, h in headers.items() if h is not None and h.place}
    for file, place in places.items():
        first, wanted = next(iter(places.items()))
        if place != wanted:
            raise UserError(
                f"{file}: its header says map info {place}, that of {first} {wanted}. All planes "
                "must have one grid."
            )
    meant = np.dtype("c8" if kind == "S2" else "f4")
    planes = []
    for file in files:
        header = headers[file]
        stored = meant if header is None else header.dtype
        if stored.newbyteorder("=") != meant:
            raise UserError(f"{file}: its header says {stored}, but {kind} has {meant} values.")
        offset = 0 if header is None else header.offset
        _check_bytes(file, size, stored.itemsize, offset)
        planes.append(functools.partial(_mapped, str(file), stored, offset, size))
    gsd = next((h.gsd for h in headers.values() if h is not None), None)
    return Folder(kind, *size, gsd, tuple(planes))


def _check_bytes(file: Path, size: tuple[int, int], itemsize: int, offset: int) -> None:
    found, expected = file.stat().st_size, offset + size[0] * size[1] * itemsize
    if found != expected:
        why = "it is truncated" if found < expected else "it belongs to another scene"
        raise UserError(
            f"{file} has {found} bytes; {size[0]} x {size[1]} values of {itemsize} bytes are "
            f"{expected}: {why}, or the size in config.txt or .hdr is wrong. Fetch it again."
        )


def _mapped(
    file: str, dtype: np.dtype[np.generic], offset: int, size: tuple[int, int], window: Window
) -> NDArray[np.generic]:
    """The window of a plane, in this machine's byte order."""
    try:
        plane = np.memmap(file, dtype, "r", offset, size)
    except (OSError, ValueError) as error:
        raise UserError(f"Cannot read {file}: {error}. Fetch it again.") from error
    rows = slice(window.y, window.y + window.height)
    part = plane[rows, window.x : window.x + window.width]
    return part.astype(dtype.newbyteorder("="))


class _Header(NamedTuple):
    """What an ENVI header says: (rows, columns), type, leading bytes, map info, metres."""

    size: tuple[int, int]
    dtype: np.dtype[np.generic]
    offset: int
    place: str
    gsd: float | None


def _config(file: Path) -> tuple[int, int] | None:
    """(rows, columns) of PolSARpro's config.txt; None if there is no such file."""
    if not file.exists():
        return None
    lines = [line.strip() for line in file.read_text(errors="replace").splitlines()]
    numbers = []
    for name in ("Nrow", "Ncol"):
        value = lines[lines.index(name) + 1] if name in lines[:-1] else ""
        if not value.isdigit() or int(value) < 1:
            raise UserError(
                f"{file}: no whole number below the line {name}. PolSARpro writes lines such as "
                "Nrow, 544, ---------, Ncol, 368."
            )
        numbers.append(int(value))
    return numbers[0], numbers[1]


def _envi(file: Path) -> _Header | None:
    """The ENVI header beside a plane, file.bin.hdr or file.hdr; None if there is no header."""
    places = [file.with_name(file.name + ".hdr"), file.with_suffix(".hdr")]
    place = next((place for place in places if place.exists()), None)
    if place is None:
        return None
    text = place.read_text(errors="replace")
    entries = {
        key.strip().lower(): value.strip()
        for key, value in re.findall(r"^([^=\n{}]+)=\s*(\{[^}]*\}|[^\n]*)", text, re.MULTILINE)
    }

    def number(key: str, default: int | None = None) -> int:
        value = entries.get(key, "" if default is None else str(default))
        if not value.isdigit():
            raise UserError(f"{place}: '{key}' is {value or 'missing'}; it must be a whole number.")
        return int(value)

    code = number("data type")
    if code not in _ENVI_TYPES:
        raise UserError(
            f"{place}: data type {code}. PolSARpro has 4 (float32) or 6 (complex of two float32)."
        )
    order = ">" if number("byte order", 0) else "<"
    size = number("lines"), number("samples")
    if min(size) < 1:
        raise UserError(f"{place}: {size[0]} lines of {size[1]} samples hold no pixel.")
    map_info = " ".join(entries.get("map info", "").split())
    return _Header(
        size=size,
        dtype=np.dtype(order + _ENVI_TYPES[code]),
        offset=number("header offset", 0),
        place=map_info,
        gsd=_metres(map_info),
    )


def _metres(map_info: str) -> float | None:
    """Pixel size in metres by ENVI's map info; None if it is missing or in degrees."""
    parts = [part.strip() for part in map_info.strip("{}").split(",")]
    if len(parts) < 7 or "lat" in parts[0].lower() or "degrees" in map_info.lower():
        return None
    try:
        return math.sqrt(abs(float(parts[5]) * float(parts[6])))
    except ValueError:
        return None
