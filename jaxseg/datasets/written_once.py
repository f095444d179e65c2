"""Datasets that TFDS writes to a folder on first use: one process at a time, and nothing damaged.

    written(folder, write)     the folder, written by `write` if it is not there
    opened(folder, open)       what `open` reads of it; damage is named, with what to do

TFDS writes to FOLDER/../incomplete.XXXXXX_NAME and renames that at the end. What a killed process
leaves there is removed if it is certain that none writes to it: a process that writes holds the
lock FOLDER/../writing, which the kernel takes from it however it ends.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from jaxseg.datasets.making import check_making
from jaxseg.datasets.tiles import Records
from jaxseg.errors import UserError
from jaxseg.files import records as array_records
from jaxseg.system.side_files import kernel, reason

T = TypeVar("T")

LOCK = "writing"

IDLE = 600.0
"""Seconds without a change, after which what another machine began counts as left."""


def written(folder: Path, write: Callable[[], None], what: str = "The dataset") -> None:
    """Writes a dataset, unless it is there.

    Args:
        folder: Of the dataset.
        write: Writes it; not called if another process has done so meanwhile.
        what: What a message calls it.

    Raises:
        UserError: The folder above cannot be made, or nothing may be made.
    """
    if folder.exists() and not any(_begun(folder)):
        return
    if not folder.exists():
        check_making(what, folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    with _alone(folder, wait=not folder.exists()) as left:
        for begun in left:
            shutil.rmtree(begun, ignore_errors=True)
        if not folder.exists():
            write()


def cannot_write(folder: Path, error: OSError) -> UserError:
    """The error of a dataset that cannot be written."""
    return UserError(
        f"{folder} cannot be written: {error}. Free some space, or choose another folder by "
        "--config.data.source.data_dir or TFDS_DATA_DIR."
    )


def opened(folder: Path, read: Callable[[], T]) -> T:
    """What `read` returns.

    Args:
        folder: The dataset that it reads.
        read: Reads something of it.

    Raises:
        UserError: It is damaged.
    """
    try:
        return read()
    except UserError:
        raise
    except Exception as error:  # TFDS, protobuf and array_record have errors of their own
        raise UserError(
            f"{_damaged(folder, error)} Remove the folder {folder}, and it is written again."
        ) from error


@dataclass(frozen=True)
class Checked:
    """Records of a dataset; of one that is damaged, the file is named.

    Attributes:
        records: What TFDS reads.
        folder: Of the dataset.
    """

    records: Records
    folder: Path

    def __len__(self) -> int:
        """Number of records."""
        return len(self.records)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        """A record.

        Raises:
            UserError: Its file is damaged.
        """
        found: Mapping[str, Any] = opened(self.folder, lambda: self.records[index])
        return found


def _damaged(folder: Path, error: Exception) -> str:
    """Which file is damaged, if that can be found out."""
    for file in sorted(folder.glob("*.array_record*")):
        try:
            array_records.check(str(file))
        except UserError as found:
            return str(found)
    return f"{folder} is damaged: {reason(error)}."


def _begun(folder: Path) -> Iterator[Path]:
    return folder.parent.glob(f"incomplete.*_{folder.name}")


@contextmanager
def _alone(folder: Path, *, wait: bool) -> Iterator[list[Path]]:
    """Holds the lock, if that is possible, and yields what killed processes have left."""
    try:
        file = os.open(folder.parent / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:  # a folder that is only read
        yield []
        return
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:  # it is taken, or the file system has no locks
            yield []
            return
        ours = os.read(file, 100).decode(errors="replace") == kernel()
        left = [path for path in _begun(folder) if ours or time.time() - _touched(path) > IDLE]
        os.ftruncate(file, 0)
        os.pwrite(file, kernel().encode(), 0)
        yield left
    finally:
        os.close(file)


def _touched(folder: Path) -> float:
    """When something in a folder changed last."""
    return max((path.lstat().st_mtime for path in (folder, *folder.rglob("*"))), default=0.0)
