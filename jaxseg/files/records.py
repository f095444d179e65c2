"""ArrayRecord files: records of bytes that are read at random, each checked by its checksum.

    write(path, records)    a file that is there whole or not at all; equal records, equal bytes
    read(path, numbers)     some of its records
    check(path)             all of them
    digest(path)            of the whole file, as `b2sum -l 128` prints it

Every record is a chunk of its own, so that reading one decompresses no other. The format
(Riegeli's) holds a checksum of each chunk, which is compared whenever a chunk is read.
"""

import functools
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from jaxseg.errors import UserError
from jaxseg.system.disk import whole

OPEN_FILES = 256
"""How many files stay open for their next record; systems commonly allow a process 1024."""

_AT_RANDOM = "readahead_buffer_size:0,max_parallelism:0"


def write(path: Path, records: Iterable[bytes], compression: str) -> None:
    """Writes a file.

    Args:
        path: The file; it is replaced.
        records: Its records.
        compression: `zstd:LEVEL`, where negative levels are the fastest, or `uncompressed`.

    Raises:
        UserError: The file cannot be written.
    """
    try:
        with whole(path) as aside:
            writer = ArrayRecordWriter(str(aside), f"group_size:1,{compression}")
            for record in records:
                writer.write(record)
            writer.close()
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path} cannot be written: {error}.") from error


def read(path: str, numbers: Sequence[int]) -> list[bytes]:
    """Records of a file, which stays open; safe to use from several threads at once.

    Args:
        path: The file.
        numbers: Which records, counted from 0.

    Raises:
        UserError: The file is missing or damaged, or has no such record.
    """
    try:
        found: list[bytes] = _opened(path, os.getpid()).read(list(numbers))
    except (OSError, RuntimeError, ValueError, IndexError) as error:
        raise UserError(_damage(path, numbers, error)) from error
    return found


def check(path: str) -> None:
    """Reads every record of a file once.

    Raises:
        UserError: The file is missing or damaged.
    """
    try:
        count = _opened(path, os.getpid()).num_records()
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(_damage(path, (), error)) from error
    for number in range(count):
        read(path, [number])


def digest(path: Path) -> str:
    """BLAKE2b of 128 bits of all bytes of a file, in hexadecimal.

    Raises:
        UserError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(
                file,
                functools.partial(hashlib.blake2b, digest_size=16),
            ).hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None


@functools.lru_cache(OPEN_FILES)
def _opened(path: str, process: int) -> ArrayRecordReader:
    """The open file; a forked process opens its own."""
    del process
    reader = ArrayRecordReader(path, _AT_RANDOM)
    if not reader.ok():
        raise OSError(f"{path} cannot be opened")
    return reader


def _damage(path: str, numbers: Sequence[int], error: Exception) -> str:
    """Which record of a file cannot be read."""
    if not os.path.exists(path):  # noqa: PTH110
        return f"{path}: no such file."
    for number in numbers:
        try:
            _opened(path, os.getpid()).read([number])
        except (OSError, RuntimeError, ValueError, IndexError) as own:
            reason = str(own).partition("; at ")[0].rstrip(".")
            return f"{path} is damaged at record {number}: {reason}."
    return f"{path} is damaged: {error}."
