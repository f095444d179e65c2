"""The folder of a run while a training writes to it: of one training at a time, and writable.

    WORKDIR/lock    locked while a training runs here; says who that is

The kernel takes the lock away from a process that ends, however it ends, so that a killed run is
continued at once. Machines that share a file system do not always see each other's locks. There
the process that trains touches the file every few seconds: a training that finds the name of
another machine in it waits for a few of these signs before it begins.
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils

from jaxseg.console import make_console, say
from jaxseg.errors import UserError
from jaxseg.run.processes import exchanged
from jaxseg.side_files import kernel, put_aside

LOCK = "lock"

BEAT = 10.0
"""Seconds between two signs of life."""

PATIENCE = 3
"""Signs of life that are waited for, if another machine may be training."""

ROOM = 2**20
"""Bytes that are written to find out whether a disk is full."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_TEXTS = tuple(os.strerror(number) for number in FULL)  # RESOURCE_EXHAUSTED may be memory


@contextlib.contextmanager
def training_in(workdir: Path) -> Iterator[None]:
    """Keeps other trainings out of a folder, which is made if it is missing.

    Of several processes of one training, the first one does this for all.

    Args:
        workdir: The run's folder.

    Raises:
        UserError: Another training runs there, or the folder cannot be written to; or its disk
            became full meanwhile.
    """
    fault, lock = "", contextlib.ExitStack()
    with lock:
        if jax.process_index() == 0:
            try:
                check_writable(workdir)
                lock.enter_context(_locked(workdir / LOCK))
            except UserError as error:
                fault = str(error)
        if fault := exchanged({"fault": fault})[0]["fault"]:
            raise UserError(fault)
        try:
            with _failed_saves_said_once():
                yield
        except Exception as error:
            if isinstance(error, UserError) or not is_full(error):
                raise
            # What Orbax had begun to write fails as well, one message for each array.
            logging.getLogger("asyncio").disabled = True
            raise UserError(_full(workdir)) from error


@contextlib.contextmanager
def _failed_saves_said_once() -> Iterator[None]:
    """Leaves out what Orbax logs of a save that fails: the training raises the same error."""
    log = logging.getLogger("absl")
    log.addFilter(_is_not_of_a_save)
    try:
        yield
    finally:
        log.removeFilter(_is_not_of_a_save)


def _is_not_of_a_save(record: logging.LogRecord) -> bool:
    return not (record.exc_info and "orbax" in Path(record.pathname).parts)


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
        UserError: A checkpoint has no room.
    """
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    if not everywhere(shutil.disk_usage(workdir).free > size + ROOM):
        raise UserError(f"{_full(workdir)} A checkpoint needs {_bytes(size)}.")


def everywhere(condition: bool) -> bool:
    """Whether `condition` holds on all processes."""
    if jax.process_count() == 1:
        return condition
    return bool(multihost_utils.process_allgather(condition).all())


def is_full(error: BaseException) -> bool:
    """Whether an error, or one that caused it, says that a disk is full."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in FULL:
            return True
        if any(text in str(seen) for text in _FULL_TEXTS):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def _reason(place: Path, error: OSError) -> str:
    """What is wrong with a folder that cannot be used, and what to do."""
    other = "Give another --workdir."
    if error.errno in FULL:
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
    return f"{place}: the disk is full ({_bytes(shutil.disk_usage(there).free)} free).{newest}"


def _bytes(number: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"


# -- the lock --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the lock; see the top of this file.

    Raises:
        UserError: A training holds it, on this or another machine.
    """
    try:
        if path.is_dir():
            aside = put_aside(path).name
            say(make_console(), f"Note: {path} is not a file and is put aside as {aside}.")
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UserError(_reason(path, error)) from None
    with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
        seen_here = True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(_taken(path)) from None
        except OSError:
            seen_here = False  # a file system without locks: only the signs of life are left
        holder = _holder(path)
        if holder and not (seen_here and holder.get("kernel") == kernel()):
            _wait_for_signs(path, str(holder.get("host")))
        me = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
            "kernel": kernel(),
        }
        file.truncate(0)
        file.write(json.dumps(me) + "\n")
        file.flush()
        done = threading.Event()
        beats = threading.Thread(target=_give_signs, args=(path, done), daemon=True)
        beats.start()
        try:
            yield
        finally:
            done.set()
            beats.join()
            file.truncate(0)  # nobody trains here; a name that is left is that of a killed process


def _give_signs(path: Path, done: threading.Event) -> None:
    while not done.wait(BEAT):
        with contextlib.suppress(OSError):  # the folder may be gone; saving says so
            os.utime(path)


def _wait_for_signs(path: Path, host: str) -> None:
    """Waits for a few signs of life.

    Raises:
        UserError: There was one.
    """
    seconds = PATIENCE * BEAT
    say(
        make_console(),
        f"{path}: a training on {host} has not said that it ended. Waiting "
        f"{seconds:.0f} s for a sign of life ...",
    )
    first, end = _touched(path), time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(min(1.0, seconds / 10))
        if _touched(path) != first:
            raise UserError(_taken(path))


def _touched(path: Path) -> int:
    """When the file was touched last; opening it makes network file systems ask the server."""
    with path.open("rb") as file:
        return os.fstat(file.fileno()).st_mtime_ns


def _holder(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _taken(path: Path) -> str:
    holder = _holder(path)
    who = (
        f" (host {holder.get('host')}, process {holder.get('process')}, since "
        f"{holder.get('since')})"
        if holder
        else ""
    )
    return (
        f"{path.parent} is in use: another training runs there{who}. Wait until it has ended, or "
        "give another --workdir."
    )
