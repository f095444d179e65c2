"""Arrays in files: MATLAB's .mat (versions 4 to 7), and .npy and .npz of NumPy.

    contents(path)     names, shapes and types, from the headers
    read(path, name)   one array; that of an .npy file is mapped into memory, not read

Sizes are compared with the memory before an array is read, and objects are never unpickled.
"""

import math
import os
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import io

from jaxseg.errors import UserError
from jaxseg.files.formats import refuse_endless
from jaxseg.files.pool import ARRAYS
from jaxseg.system import limits

_MATLAB = {
    "double": 8, "single": 4, "int64": 8, "uint64": 8, "int32": 4, "uint32": 4, "int16": 2,
    "uint16": 2, "int8": 1, "uint8": 1, "logical": 1,
}  # fmt: skip
"""MATLAB's numeric classes, and the bytes of a number."""

_DAMAGED = (
    OSError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, RuntimeError,
    MemoryError, zlib.error, zipfile.BadZipFile, tokenize.TokenError, io.matlab.MatReadError,
)  # fmt: skip
"""What scipy, NumPy and zipfile raise for files that are damaged or of another format."""


class Stored(NamedTuple):
    """An array in a file, by its header.

    Attributes:
        name: Its name; that of an .npy file is the file's.
        shape: Length of each axis.
        kind: Its type, as NumPy or MATLAB call it.
        size: Bytes in memory; 0 if it does not hold numbers.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    size: int

    @property
    def axes(self) -> int:
        """Axes longer than 1; a list in MATLAB is a matrix of one row or one column."""
        return sum(length != 1 for length in self.shape)

    def __str__(self) -> str:
        """As messages list it."""
        shape = " x ".join(map(str, self.shape)) or "one value"
        return f"{self.name or 'an array'} ({shape}, {self.kind})"


def is_array_file(path: str | Path) -> bool:
    """Whether a path ends as files of arrays do."""
    return str(path).lower().endswith(ARRAYS)


def contents(path: str) -> tuple[Stored, ...]:
    """Every array of a file, in the file's order; no array is read.

    Raises:
        UserError: There is no such file, it is damaged, or of a format that is not read.
    """
    refuse_endless(path)
    try:
        if path.lower().endswith(".mat"):
            return _of_matlab(path)
        with Path(path).open("rb") as file:
            if path.lower().endswith(".npy"):
                return (_header(file, Path(path).stem),)
            with zipfile.ZipFile(file) as archive:
                return tuple(_of_member(archive, name) for name in _members(archive))
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"Cannot read {path}: no such file. Check the path.") from None
    except _DAMAGED as error:
        raise _unreadable(path, error) from error


def read(path: str, name: str) -> NDArray[np.generic]:
    """An array of a file, in the shape and the type that it is stored in.

    Args:
        path: The file.
        name: The array; that of an .npy file has no other name than the file's.

    Raises:
        UserError: The file cannot be read, has no array of this name, or it is not of numbers or
            larger than this machine can hold.
    """
    every = contents(path)
    found = next((array for array in every if array.name == name), None)
    if found is None:
        raise UserError(f"{path} has no array {name!r}. It holds {listed(every)}.")
    if not found.size:
        raise UserError(f"{path}: {found} does not hold numbers in a full array.")
    suffix = Path(path).suffix.lower()
    if suffix != ".npy":
        instead = "Save it as .npy, which is read by windows."
        limits.check_array(f"{path}: {found}", found.size, instead)
    try:
        if suffix == ".mat":
            return np.asarray(io.loadmat(path, variable_names=[name])[name])
        if suffix == ".npy":
            mapped: NDArray[np.generic] = np.load(path, mmap_mode="r", allow_pickle=False)
            return mapped
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
            return np.asarray(np.lib.format.read_array(member, allow_pickle=False))
    except _DAMAGED as error:
        raise _unreadable(path, error) from error


def listed(arrays: tuple[Stored, ...] | list[Stored]) -> str:
    """Arrays for a message."""
    return ", ".join(map(str, arrays)) or "no array"


def _of_matlab(path: str) -> tuple[Stored, ...]:
    with Path(path).open("rb") as file:
        if file.read(19).startswith(b"MATLAB 7.3 MAT-file") or _is_hdf5(file):
            raise UserError(
                f"{path} is a MATLAB file of version 7.3 (HDF5), which is not read. In MATLAB, "
                "save it again with save('scene.mat', 'NAME', '-v7'), with the names of its "
                "arrays; arrays above 2 GiB as .npy (in Python: h5py and numpy.save)."
            )
        _check_tags(file)
    found = []
    for name, shape, kind in io.whosmat(path):
        lengths = tuple(int(length) for length in shape)
        found.append(Stored(name, lengths, kind, _MATLAB.get(kind, 0) * math.prod(lengths)))
    return tuple(found)


def _is_hdf5(file: IO[bytes]) -> bool:
    file.seek(0)
    return file.read(8) == b"\x89HDF\r\n\x1a\n"


def _check_tags(file: IO[bytes]) -> None:
    """Follows the tags of the arrays of a MATLAB 5 file that are not compressed.

    scipy trusts them, and reads memory that is not its own where they are damaged.

    Raises:
        ValueError: One has a type that there is not, or leaves its array.
    """
    end = file.seek(0, os.SEEK_END)
    file.seek(0)
    start = file.read(128)
    if len(start) < 128 or 0 in start[:4] or start[126:] not in (b"IM", b"MI"):
        return  # version 4
    order = "<" if start[126:] == b"IM" else ">"
    place = 128
    while place + 8 <= end:
        kind, length, body = _tag(file, place, order)
        if kind not in (_MATRIX, _COMPRESSED) or body + length > end:
            raise ValueError("the tag of an array is damaged, or the file is truncated")
        inner = body
        while kind == _MATRIX and inner + 8 <= body + length:
            part, size, at = _tag(file, inner, order)
            if part not in _TYPES or at + size > body + length:
                raise ValueError("the tag of a part of an array is damaged")
            inner = inner + 8 if at == inner + 4 else at + -(-size // 8) * 8
        place = body + length


_MATRIX, _COMPRESSED = 14, 15
"""Types of what a MATLAB 5 file holds."""

_TYPES = (1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 14, 16, 17, 18)
"""Types of the parts of an array."""


def _tag(file: IO[bytes], place: int, order: str) -> tuple[int, int, int]:
    """Type of an element, its bytes, and where they begin; four bytes or fewer stand in the tag."""
    file.seek(place)
    kind, length = struct.unpack(f"{order}II", file.read(8))
    return (kind & 0xFFFF, kind >> 16, place + 4) if kind >> 16 else (kind, length, place + 8)


def _members(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if name.endswith(".npy")]


def _of_member(archive: zipfile.ZipFile, name: str) -> Stored:
    with archive.open(name) as member:
        found = _header(member, name.removesuffix(".npy"))
    if found.size > archive.getinfo(name).file_size:
        raise ValueError(f"{found.name} is shorter than its header says")
    return found


def _header(file: IO[bytes], name: str) -> Stored:
    shape, dtype = limits.array_header(file)
    size = math.prod(shape) * dtype.itemsize if dtype.kind in "biufc" else 0
    return Stored(name, shape, "Python objects" if dtype.hasobject else str(dtype), size)


def _unreadable(path: str, error: Exception) -> UserError:
    reason = " ".join(str(error).split()) or "it is truncated"
    return UserError(f"Cannot read {path}: {reason}. Fetch it again, or save it again.")
