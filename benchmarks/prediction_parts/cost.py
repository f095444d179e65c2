"""What some work costs: CPU seconds of all threads, wall seconds and peak resident memory.

Every measured piece of work has a fresh process, so that no memory of another counts.
"""

import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Cost(NamedTuple):
    """Of one piece of work.

    Attributes:
        cpu: Seconds, all threads, system calls included.
        wall: Seconds.
        idle: MiB resident before it, with the network loaded and compiled, or used once.
        peak: MiB, the largest until its end, since the process began.
    """

    cpu: float
    wall: float
    idle: float
    peak: float

    @property
    def above(self) -> float:
        """MiB above the idle network."""
        return self.peak - self.idle


def costed(work: Callable[[], object]) -> Cost:
    """Does the work once."""
    idle = _status("VmRSS")
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall, idle, _status("VmHWM"))


def alone(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """The function's result from a process of its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as one:
        return one.submit(function, *arguments, **options).result()


def _status(name: str) -> float:
    """A line of Linux' record of this process, in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = next(line for line in lines if line.startswith(f"{name}:"))
    return int(found.split()[1]) / 1024
