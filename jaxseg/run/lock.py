"""The lock of a run's folder: one training writes to it at a time.

    WORKDIR/lock    locked while a training runs here; says who that is

The kernel takes the lock away from a process that ends, however it ends, so that a killed run is
continued at once. Machines that share a file system do not always see each other's locks. So the
process that trains touches the file every few seconds, and empties it when it ends in order. A
training that finds the name of another machine in it waits for a few of these signs. Without one,
it goes on only where the end of the other is proven: the file system lends its locks to all
machines, and this one has got it. Else a person has to say so (`--take-over`).
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxseg.errors import UserError
from jaxseg.system.console import make_console, say
from jaxseg.system.side_files import kernel, put_aside

BEAT = 10.0
"""Seconds between two signs of life."""

PATIENCE = 3
"""Signs of life that are waited for, if another machine may be training."""


@contextlib.contextmanager
def locked(path: Path, *, take_over: bool = False) -> Iterator[None]:
    """Holds the lock; see the top of this file.

    Args:
        path: The file of the lock.
        take_over: Whether a person knows that the training named in the file has ended.

    Raises:
        UserError: A training holds it, on this or another machine.
        OSError: The disk is full, or cannot be written to.
    """
    if path.is_dir():
        aside = put_aside(path).name
        say(make_console(), f"Note: {path} is not a file and is put aside as {aside}.")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
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
            if not take_over and not (seen_here and _reach_other_machines(path)):
                raise UserError(_unknown(path))
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


def _unknown(path: Path) -> str:
    holder = _holder(path)
    return (
        f"{path.parent} may be in use: process {holder.get('process')} on host "
        f"{holder.get('host')} has not said that it ended. It gave no sign of life, but locks of "
        "this file system do not prove its end. If it has ended, --take-over continues the run."
    )


def _reach_other_machines(path: Path) -> bool:
    """Whether a lock on a file is seen by all machines that share its file system.

    **Source:** proc(5) for the table of mounts; nfs(5), `local_lock`: where it is none, the server
    keeps the locks and frees those of a client that is gone. Ceph and GPFS keep them alike, Lustre
    if it is mounted with `flock`. Of others it is not known.
    """
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    mounts = {Path(line.split()[1]): line.split()[2:4] for line in lines}
    place = next(folder for folder in path.resolve().parents if folder in mounts)
    kind, options = mounts[place][0], mounts[place][1].split(",")
    if kind in ("nfs", "nfs4"):
        return "local_lock=none" in options
    return kind in ("ceph", "gpfs") or (kind == "lustre" and "flock" in options)
