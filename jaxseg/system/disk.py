"""Writing: files are there whole or not at all, and a disk that fails is one message.

    with whole(path) as aside:          a file; write it under the name `aside`
    with whole_folder(folder) as aside: a folder of files that belong together
    with writing(path):                 what is written in any other way
    fault(error, path)                  what an error says of a disk, if it does

A program that is killed leaves names that end in `.tmp` or, if it was killed while a folder took
the place of another, `.old`. The next one that writes the folder removes them, or puts it back.
"""

import contextlib
import errno
import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from jaxseg.errors import DiskError, UserError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""No room: on the disk, of the user's share, or for a file of this size."""

GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)

_OTHERS = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ENXIO, errno.ENODEV, errno.EISDIR),
    *(errno.EEXIST, errno.ENOTEMPTY, errno.EBUSY, errno.ELOOP, errno.ENAMETOOLONG, errno.EXDEV),
)

# Libraries in C++ and Rust put the system's words into errors of their own. RESOURCE_EXHAUSTED,
# which TensorStore adds, may be memory.
_WORDS = {
    **{os.strerror(number): number for number in (*FULL, errno.EROFS, errno.EIO, errno.ESTALE)},
    "database or disk is full": errno.ENOSPC,
}

ASIDE = (".tmp", ".old")
"""Ends of the names of what is not complete, or not any more."""

LITTLE = 2**16
"""Bytes: with less room than this, an error without a reason is that of a full disk."""

_OF_CODE = (TypeError, AttributeError, NameError, LookupError, AssertionError)


@contextlib.contextmanager
def whole(path: Path, needed: float = 0, advice: str = "") -> Iterator[Path]:
    """Gives the name to write under; the file takes its own when all is written.

    No other process writes under the same name, also not on another machine that shares the folder.

    Args:
        path: The file; it is replaced.
        needed: Bytes of it, if they are known: without room for them, nothing is begun.
        advice: What to do about a place that cannot be written to.

    Raises:
        DiskError: The disk has no room, or the file cannot be written.
    """
    aside = path.with_name(f"{path.stem}.{uuid.uuid4().hex[:12]}{path.suffix}.tmp")
    with writing(path, needed, advice):
        try:
            yield aside
            os.replace(aside, path)  # noqa: PTH105
        finally:
            with contextlib.suppress(OSError):  # where the disk itself fails
                aside.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(
    folder: Path, replaced: Callable[[Path], bool] = lambda file: True, advice: str = ""
) -> Iterator[Path]:
    """Gives the folder to write to; it takes the place of `folder` when all is written.

    Args:
        folder: The folder; it and those above it are made if they are missing.
        replaced: Whether a file of the folder that was there before, as a path within it, is left
            out of the new one; the others are copied.
        advice: What to do about a place that cannot be written to.

    Raises:
        DiskError: The disk has no room, or the folder cannot be written.
    """
    folder = folder.resolve()  # a link to a folder stays one
    with writing(folder, advice=advice), contextlib.ExitStack() as held:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _settle(folder)
        own = uuid.uuid4().hex[:12]
        aside, old = (folder.with_name(f"{folder.name}.{own}.{end}") for end in ("tmp", "old"))
        try:
            aside.mkdir()
            held.enter_context(_held(aside))
            yield aside
            if folder.exists():
                _copy_others(folder, aside, replaced)
                folder.rename(old)
            aside.rename(folder)
        finally:
            if old.exists() and not folder.exists():
                old.rename(folder)
            for left in (aside, old):
                shutil.rmtree(left, ignore_errors=True)


@contextlib.contextmanager
def writing(path: Path, needed: float = 0, advice: str = "") -> Iterator[None]:
    """Turns what a disk does to the writing of `path` into one message.

    Args:
        path: The file, or the folder.
        needed: Bytes that are needed, if they are known.
        advice: What to do about a place that cannot be written to.

    Raises:
        DiskError: The disk has no room, or the place cannot be written to.
    """
    if needed and (free := free_at(path)) is not None and free < needed:
        raise DiskError(_cannot(path, errno.ENOSPC, needed, advice))
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        told = fault(error, path, needed, advice)
        if not told and not isinstance(error, _OF_CODE) and (free_at(path) or 0) < LITTLE:
            told = _cannot(path, errno.ENOSPC, needed, advice)
        if not told:
            raise
        raise DiskError(told) from error


def fault(
    error: BaseException, path: Path | None = None, needed: float = 0, advice: str = ""
) -> str:
    """What an error, or one that caused it, says of a disk; empty if it says nothing of one.

    Args:
        error: Any error.
        path: What was written; None = as the error says, which may have been reading.
        needed: Bytes that are needed, if they are known.
        advice: What to do about a place that cannot be used.
    """
    number, own = _of_a_disk(error)
    if number is None:
        return ""
    if path is not None:
        return _cannot(path, number, needed, advice)
    room = _room(own, needed) if number in FULL else ""
    return f"{own or 'A file'}: {os.strerror(number)}.{room}"


def is_full(error: BaseException) -> bool:
    """Whether an error, or one that caused it, says that a disk is full."""
    return _of_a_disk(error)[0] in FULL


def _cannot(path: Path, number: int, needed: float, advice: str) -> str:
    place = path.parent if number in GONE and not path.parent.exists() else path
    why = f"Cannot write to {place}: {os.strerror(number)}."
    if number in FULL:
        return why + _room(path, needed)
    return f"{why} {advice or 'Give another place.'}"


def _room(path: Path | None, needed: float) -> str:
    """How much room there is and is needed, as far as it is known, and what to do."""
    told = []
    if path is not None and (free := free_at(path)) is not None:
        told.append(f"{free / 2**20:.3g} MiB are free in {_existing(path.parent)}")
    if needed:
        told.append(f"{needed / 2**20:.3g} MiB are needed")
    room = f" {', '.join(told)}." if told else ""
    return f"{room} Free some space, and start the same command again."


def check_flushed(path: Path) -> None:
    """Looks for room behind a library that does not say if its last bytes found none.

    Args:
        path: The file that was written and closed.

    Raises:
        DiskError: There is no room.
    """
    probe = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    with writing(path):
        try:
            probe.write_bytes(bytes(LITTLE))
        finally:
            probe.unlink(missing_ok=True)


def free_at(path: Path) -> int | None:
    """Bytes that are free where a path is, or will be; None if that cannot be found out."""
    try:
        return shutil.disk_usage(_existing(path)).free
    except OSError:
        return None


def in_bytes(number: float) -> str:
    """A number of bytes with its unit."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    return next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))


def _of_a_disk(error: BaseException) -> tuple[int | None, Path | None]:
    """The number of what a disk did, and the file if the error names it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in (*FULL, *GONE, *_OTHERS):
            name = seen.filename
            return seen.errno, Path(os.fsdecode(name)) if isinstance(name, str | bytes) else None
        for words, number in _WORDS.items():
            if words in str(seen):
                return number, None
        seen = seen.__cause__ or seen.__context__
    return None, None


def _copy_others(folder: Path, aside: Path, replaced: Callable[[Path], bool]) -> None:
    for file in folder.rglob("*"):
        place = file.relative_to(folder)
        if file.is_file() and not replaced(place) and not (aside / place).exists():
            (aside / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, aside / place)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Locks a folder for as long as this process writes to it, where the file system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _settle(folder: Path) -> None:
    """Removes what killed processes have left beside a folder, or puts it back in its place."""
    for left in folder.parent.iterdir():
        name = left.name.removeprefix(f"{folder.name}.")
        if re.fullmatch(r"[0-9a-f]{12}\.old", name) and not folder.exists():
            left.rename(folder)
        elif re.fullmatch(r"[0-9a-f]{12}\.(tmp|old)", name) and left.is_dir():
            with contextlib.suppress(OSError):  # another process writes there, or has removed it
                handle = os.open(left, os.O_RDONLY)
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left, ignore_errors=True)
                finally:
                    os.close(handle)
