"""The folder of a run while a training writes to it: writable, with room, and locked."""

import contextlib
import errno
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from jaxseg.errors import DiskError, UserError
from jaxseg.run.failed_saves import FailedSaves, noted
from jaxseg.run.lock import locked
from jaxseg.run.processes import exchanged
from jaxseg.system import disk
from jaxseg.system.disk import is_full as is_full

LOCK = "lock"

BEGUN = "*.orbax-checkpoint-tmp*"
"""What a save is written under until it is complete."""

LINGER = 3.0
"""Seconds that the threads of a failed save have to end."""

ROOM = 2**20
"""Bytes that are written to find out whether a disk is full."""


@contextlib.contextmanager
def training_in(workdir: Path, *, take_over: bool = False) -> Iterator[FailedSaves]:
    """Keeps other trainings out of a folder, which is made if it is missing.

    Of several processes of one training, the first one does this for all.

    Args:
        workdir: The run's folder.
        take_over: Whether a person knows that the training that has left its name there has ended.

    Yields:
        The saves that have failed.

    Raises:
        UserError: Another training runs there, or the folder cannot be written to; or its disk
            became full, read-only or was taken away meanwhile.
    """
    fault, lock = "", contextlib.ExitStack()
    with lock:
        if jax.process_index() == 0:
            try:
                check_writable(workdir)
                lock.enter_context(locked(workdir / LOCK, take_over=take_over))
            except UserError as error:
                fault = str(error)
            except OSError as error:  # of the lock
                fault = _reason(workdir / LOCK, error)
        if fault := exchanged({"fault": fault})[0]["fault"]:
            raise UserError(fault)
        before = set(threading.enumerate())
        with noted() as failed:
            try:
                yield failed
            except Exception as error:
                told = "" if isinstance(error, UserError) else fault_of(workdir, error)
                if told or isinstance(error, DiskError):
                    # What Orbax had begun to write fails as well, one message for each array.
                    logging.getLogger("asyncio").disabled = True
                    _wait_for(set(threading.enumerate()) - before)
                    _remove_begun(workdir)
                if not told:
                    raise
                raise DiskError(told) from error


def fault_of(workdir: Path, error: BaseException) -> str:
    """What an error says of the disk of a run that is being trained; empty if it says nothing.

    Args:
        workdir: The run's folder.
        error: Any error.
    """
    if disk.is_full(error):
        return _full(workdir)
    told = disk.fault(error)
    if told and is_gone(workdir):
        return _gone(workdir)
    return told


def is_gone(workdir: Path) -> bool:
    """Whether a training has lost the folder of its checkpoints."""
    return not (workdir / LOCK).exists() or not (workdir / "checkpoints").is_dir()


def _gone(workdir: Path) -> str:
    return (
        f"{workdir} is gone: it was removed, or its disk was taken away, while the training wrote "
        "to it. Where the folder comes back, the same command continues the run; else it begins "
        "again."
    )


def _wait_for(threads: Iterable[threading.Thread]) -> None:
    """Lets the threads of a failed save end; of several processes, they would wait for long."""
    end = time.monotonic() + (LINGER if jax.process_count() == 1 else 0.0)
    for thread in threads:
        if type(thread).__module__.startswith("orbax") or thread.name == "async_save":
            with contextlib.suppress(Exception):  # Orbax raises the error of the thread again
                thread.join(max(0.0, end - time.monotonic()))


def _remove_begun(workdir: Path) -> None:
    """Removes what a failed save has written, and empty folders of a run that is gone."""
    if jax.process_index() == 0:
        gone = is_gone(workdir)
        for begun in (workdir / "checkpoints").glob(BEGUN):
            shutil.rmtree(begun, ignore_errors=True)
        if gone:
            for folder in (workdir / "checkpoints", workdir):
                with contextlib.suppress(OSError):
                    folder.rmdir()  # only if it is empty


def check_writable(workdir: Path) -> None:
    """Makes the folder and writes to it and to the folders that a run has in it.

    Raises:
        UserError: It is not a folder, cannot be made or written to, or its disk is full.
    """
    place = workdir
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        for name in ("", "checkpoints", "tensorboard"):
            place = workdir / name
            if place.is_dir():
                with tempfile.TemporaryFile(dir=place, buffering=0) as file:
                    room = bytes(ROOM)
                    while room:
                        room = room[file.write(room) :]
                    os.fsync(file.fileno())
        place = workdir / "metrics.jsonl"
        if place.is_file():
            place.open("a").close()
    except OSError as error:
        raise UserError(_reason(place, error)) from None


def check_room(workdir: Path, state: Any) -> None:  # noqa: ANN401  (any tree of arrays)
    """Compares the size of a checkpoint with what is free; the same on all processes.

    Args:
        workdir: The run's folder.
        state: Arrays of a checkpoint, or their shapes.

    Raises:
        UserError: A checkpoint has no room, or the folder is gone.
    """
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    if not everywhere((workdir / "checkpoints").is_dir()):
        raise DiskError(_gone(workdir))
    if not everywhere(shutil.disk_usage(workdir).free > size + ROOM):
        raise DiskError(f"{_full(workdir)} A checkpoint needs {disk.in_bytes(size)}.")


def everywhere(condition: bool) -> bool:
    """Whether `condition` holds on all processes."""
    if jax.process_count() == 1:
        return condition
    return bool(multihost_utils.process_allgather(condition).all())


def _reason(place: Path, error: OSError) -> str:
    """What is wrong with a folder that cannot be used, and what to do."""
    other = "Give another --workdir."
    if error.errno in disk.FULL:
        return _full(place)
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{place}: you may not write there. {other}"
    if error.errno == errno.EROFS:
        return f"{place}: its file system is read-only. {other}"
    parents = [place, *place.parents]
    file = next((path for path in parents if path.exists() and not path.is_dir()), None)
    if error.errno in (errno.ENOTDIR, errno.EEXIST) and file is not None:
        return f"{place}: {file} is a file, and a run needs a folder. {other}"
    return f"{place} cannot be written to: {error.strerror or error}. {other}"


def _full(place: Path) -> str:
    there = next(path for path in (place, *place.absolute().parents) if path.exists())
    kept = sorted(
        int(path.name)
        for path in (place / "checkpoints").glob("*")
        if path.name.isdigit() and path.is_dir()
    )
    newest = (
        f" The checkpoint of step {kept[-1]} is kept; free some space, and the same command "
        "continues from it."
        if kept
        else " Free some space, or give another --workdir."
    )
    return (
        f"{place}: the disk is full ({disk.in_bytes(shutil.disk_usage(there).free)} free).{newest}"
    )
