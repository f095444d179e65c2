"""Zip archives (.npz, PyTorch's files), whose stated sizes are compared before they are read."""

import contextlib
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

RATIO, FREE = 20, 2**26
"""Unpacked bytes that one byte of a file may stand for, and bytes that are allowed in any case.

Compression makes weights smaller by a tenth, zeros by a factor of a thousand: larger ratios are
those of bombs.
"""


@contextlib.contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, once the sizes that it states are possible for its length.

    Raises:
        ValueError: It states more bytes than such a file holds.
        zipfile.BadZipFile: It is not a zip archive, or a damaged one.
    """
    with _Clamped(path) as file, zipfile.ZipFile(file) as archive:
        stated, size = sum(member.file_size for member in archive.infolist()), path.stat().st_size
        if stated > RATIO * size + FREE:
            raise ValueError(f"its {size:,} bytes state that they unpack to {stated:,}")
        yield archive


class _Clamped(io.FileIO):
    """A file from which no more is requested than it has: Python allocates what is requested."""

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes, at most those that are left."""
        if size is None or size < 0:
            return self.readall()
        left = os.fstat(self.fileno()).st_size - self.tell()
        return super().read(max(0, min(size, left)))
