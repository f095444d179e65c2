"""Whether a run is asked to stop: by a signal or Ctrl-C at any process, answered alike by all.

Schedulers say by SIGTERM, or by SIGUSR1 where they are told to, that the time is over or a machine
will be taken away, often to one process of many. All have to save the same step, and none may wait
for an answer in every step. So each question is a tiny reduction over all devices, and its result
is read two questions later. (JAX's `reached_preemption_sync_point` does not serve here: it agrees
on the step after the one that was asked about last, and Orbax asks, too, from a thread that
finishes a save, about an earlier step. A notice that comes then is for a step that has passed, and
never seen.)
"""

import collections
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxseg import sharding
from jaxseg.system import interrupts

BEHIND = 2
"""Questions by which the answer of many processes is late."""

TMP = "orbax-checkpoint-tmp"
"""End of the name of a checkpoint that is being written."""

Asked = Callable[[], bool]
"""Whether to stop; the same in all processes, which ask equally often."""


@contextmanager
def stop_requests(mesh: Mesh, failed: Asked = lambda: False) -> Iterator[Asked]:
    """Notes SIGTERM, SIGUSR1 and Ctrl-C, and yields the question whether one came to any process.

    A second Ctrl-C stops immediately; a second SIGTERM, of which schedulers send several, does not.

    Args:
        mesh: The devices of all processes.
        failed: Whether this process has to stop for another reason.
    """
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if seen and number == signal.SIGINT:
            interrupts.stop_now(number)
        seen.append(number)

    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        own = lambda: bool(seen) or failed()  # noqa: E731
        yield own if jax.process_count() == 1 else _together(mesh, own)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def saved(workdir: Path) -> str:
    """What of a run is on the disk, and how to go on, for those who stop it.

    Args:
        workdir: The run's folder.

    Raises:
        OSError: The folder cannot be read.
    """
    folder = workdir / "checkpoints"
    names = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208  (digits alone are saved)
    steps = [int(name) for name in names if name.isdigit()]
    begun = [int(step) for step, _, end in (name.partition(".") for name in names) if end == TMP]
    if steps:
        told = (
            f"The newest saved state in {workdir} is that of step {max(steps)}; the same command "
            "continues from it."
        )
    else:
        told = f"Nothing is saved in {workdir} yet; the same command begins the training again."
    if begun and max(begun) > max(steps, default=0):  # its threads may end before the process does
        told += f" Step {max(begun)} was being saved: it continues from there if that is complete."
    return told


def _together(mesh: Mesh, own: Asked) -> Asked:
    """The question to all processes."""
    any_of = jax.jit(jnp.any, out_shardings=sharding.replicated(mesh))
    answers: collections.deque[jax.Array] = collections.deque()
    stopped = False

    def asked() -> bool:
        nonlocal stopped
        if not stopped:
            answers.append(any_of(sharding.of_each_device(mesh, np.bool(own()))))
            if len(answers) > BEHIND:
                stopped = bool(answers.popleft())
        return stopped

    return asked
