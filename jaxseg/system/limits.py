"""Limits of what the header of a file may claim, each with the environment variable that moves it.

A header of a hundred bytes can say a million rows and columns, and ten kilobytes of compressed
zeros can become all of the memory. What follows from a header is computed and compared with a limit
before anything of that size is made.
"""

import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError

SHARE = 0.5
"""Share of this machine's memory that one array of a file may take, if no limit is given."""


class Limit(NamedTuple):
    """A limit, and how a person moves it.

    Attributes:
        variable: The environment variable that gives another one.
        usual: The limit without it.
    """

    variable: str
    usual: float

    def now(self) -> float:
        """The limit that holds.

        Raises:
            UserError: The variable does not hold a number above 0.
        """
        given = os.environ.get(self.variable, "")
        try:
            value = float(given) if given else self.usual
        except ValueError:
            value = 0.0
        if not value > 0:  # NaN is not
            raise UserError(f"{self.variable} is {given!r}: give a number above 0.")
        return value


def _half_of_memory() -> float:
    memory: int = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return SHARE * memory / 2**30


WINDOWS = Limit("JAXSEG_MAX_WINDOWS", 50_000_000)
"""Windows of an evaluation, whose counts are kept: 120 bytes each with ten classes."""

PARTS = Limit("JAXSEG_MAX_BLOCKS", 2_000_000)
"""Blocks that scenes are divided into for their splits; each is kept, with half a kilobyte."""

ARRAY = Limit("JAXSEG_MAX_ARRAY_GIB", _half_of_memory())
"""GiB in memory of one array that is read as a whole."""

BLOCK = Limit("JAXSEG_MAX_BLOCK_GIB", 1.0)
"""GiB in memory of a block of a picture, which each of the reading threads decodes as a whole."""


def check_array(what: str, size: float, instead: str) -> None:
    """Rejects an array before it is made.

    Args:
        what: The file, and what of it.
        size: Bytes in memory.
        instead: What to do, as a sentence.

    Raises:
        UserError: It is larger than `ARRAY`.
    """
    limit = ARRAY.now()
    if size > limit * 2**30:
        raise UserError(
            f"{what} has {size / 2**30:.3g} GiB in memory; the limit is {limit:.3g} GiB, half of "
            f"this machine's memory unless {ARRAY.variable} gives another. {instead}"
        )


def load_arrays(path: str | Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file, without objects; their headers are read before one of them is.

    Raises:
        UserError: Together they are larger than `ARRAY`.
        ValueError: It is damaged, or an array is shorter than its header says; also OSError,
            EOFError, NotImplementedError, zlib.error and zipfile.BadZipFile.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if not members:
            raise ValueError("it holds no arrays")
        if any(not each.filename.endswith(".npy") for each in members):
            raise ValueError("its list of arrays is not one of NumPy")
        size = sum(_size(archive, each) for each in members)
        check_array(f"{path}, uncompressed,", size, "If it is not yours, do not use it.")
        return {each.filename.removesuffix(".npy"): _array(archive, each) for each in members}


def _size(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    with archive.open(member) as file:
        shape, dtype = array_header(file)
    size = math.prod(shape) * dtype.itemsize
    if size > member.file_size:
        raise ValueError(f"{member.filename} is shorter than its header says")
    return size


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def array_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array in NumPy's format; the file is left at its first number.

    Raises:
        ValueError: It is damaged, or of a version for records.
    """
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of the format is for records with names")
    shape, _, dtype = readers[version](file)
    return tuple(shape), dtype
