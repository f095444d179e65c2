"""Arrays in files: MATLAB's .mat (versions 4 to 7), and .npy and .npz of NumPy.

    contents(path)     names, shapes and types, from the headers
    read(path, name)   one array; that of an .npy file is mapped into memory, not read

Sizes are compared with the memory before an array is read, and objects are never unpickled.
"""

import math
import os
import zipfile
import zlib
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import io

from jaxseg.errors import UserError
from jaxseg.files.pool import ARRAYS

MEMORY = 0.5
"""Share of this machine's memory that an array which is read as a whole may take."""

_MATLAB = {
    "double": 8, "single": 4, "int64": 8, "uint64": 8, "int32": 4, "uint32": 4, "int16": 2,
    "uint16": 2, "int8": 1, "uint8": 1, "logical": 1,
}  # fmt: skip
"""MATLAB's numeric classes, and the bytes of a number."""

_DAMAGED = (
    OSError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError,
    NotImplementedError, RuntimeError, MemoryError, zlib.error, zipfile.BadZipFile,
    io.matlab.MatReadError,
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
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if suffix != ".npy" and found.size > MEMORY * memory:
        raise UserError(
            f"{path}: {found} has {found.size / 2**30:.3g} GiB, and this machine has "
            f"{memory / 2**30:.3g} GiB of memory. Save it as .npy, which is read by windows."
        )
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
    found = []
    for name, shape, kind in io.whosmat(path):
        lengths = tuple(int(length) for length in shape)
        found.append(Stored(name, lengths, kind, _MATLAB.get(kind, 0) * math.prod(lengths)))
    return tuple(found)


def _is_hdf5(file: IO[bytes]) -> bool:
    file.seek(0)
    return file.read(8) == b"\x89HDF\r\n\x1a\n"


def _members(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if name.endswith(".npy")]


def _of_member(archive: zipfile.ZipFile, name: str) -> Stored:
    with archive.open(name) as member:
        found = _header(member, name.removesuffix(".npy"))
    if found.size > archive.getinfo(name).file_size:
        raise ValueError(f"{found.name} is shorter than its header says")
    return found


def _header(file: IO[bytes], name: str) -> Stored:
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of the format is for records with names")
    shape, _, dtype = readers[version](file)
    size = math.prod(shape) * dtype.itemsize if dtype.kind in "biufc" else 0
    return Stored(name, tuple(shape), "Python objects" if dtype.hasobject else str(dtype), size)


def _unreadable(path: str, error: Exception) -> UserError:
    reason = " ".join(str(error).split()) or "it is truncated"
    return UserError(f"Cannot read {path}: {reason}. Fetch it again, or save it again.")
