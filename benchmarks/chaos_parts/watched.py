"""A training that is watched from outside, what it leaves, and one that nothing disturbs."""

import dataclasses
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from chaos_parts.planned import Stop
from chaos_parts.tiny import Setting, begun, trained, training

from jaxseg.config import load_code
from jaxseg.run.checkpoint import reopen
from jaxseg.run.json_lines import json_lines
from jaxseg.sharding import MeshShape

STEPS = 56
"""Enough for a dozen stops that each let a run go on for some steps."""

FLAGS = ("--config.num-steps", str(STEPS), "--config.save-every", "4", "--config.eval-every", "8")

PATIENCE = 90.0
"""Seconds in which a process has to end that was asked to, or whose partner was killed."""

TIMES = ("time", "images_per_second", "waiting")
"""What differs from run to run in a row of metrics.jsonl."""


class Job:
    """The processes of one start of a run."""

    def __init__(self, command: list[str], folder: Path, setting: Setting) -> None:
        """Starts them."""
        self.began = time.monotonic()
        self._running = begun(command, folder, setting)

    def said(self, number: int = 0) -> str:
        """All that a process has said so far."""
        return self._running[number][1].read_text(errors="replace")

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        """Whether `condition` came before a process ended."""
        while not condition():
            if any(process.poll() is not None for process, _ in self._running):
                return condition()
            time.sleep(0.002)
        return True

    def going(self) -> bool:
        """Whether all processes run."""
        return all(process.poll() is None for process, _ in self._running)

    def send(self, stop: Stop) -> None:
        """Sends the signals of a stop."""
        for number, each in enumerate(stop.signals):
            time.sleep(stop.gap * (number > 0))
            for place, (process, _) in enumerate(self._running):
                if stop.whom in (None, place):
                    process.send_signal(each)

    def ended(self) -> list[int | None]:
        """Exit codes; None for a process that had to be killed, because it did not end."""
        until = time.monotonic() + PATIENCE
        codes: list[int | None] = []
        for process, _ in self._running:
            try:
                codes.append(process.wait(max(0.1, until - time.monotonic())))
            except subprocess.TimeoutExpired:
                codes.append(None)
        for process, _ in self._running:
            process.kill()
            process.wait()
        return codes


def newest(workdir: Path) -> int | None:
    """The newest complete checkpoint."""
    names = [path.name for path in workdir.glob("checkpoints/*")]
    return max((int(name) for name in names if name.isdigit()), default=None)


def state_of(workdir: Path, config: Path) -> dict[str, bytes]:
    """The bits of all arrays of the newest checkpoint of the run of a config file."""
    _, state = reopen(workdir, MeshShape(), "latest", (load_code(str(config)),))
    return {
        jax.tree_util.keystr(path): np.asarray(leaf).tobytes()
        for path, leaf in jax.tree.leaves_with_path(state)
    }


def rows_of(workdir: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl without the times of day."""
    rows, torn = json_lines(workdir / "metrics.jsonl")
    if torn:
        raise RuntimeError(f"{workdir}: {torn} lines of metrics.jsonl are damaged")
    return [{name: row[name] for name in row if name not in TIMES} for row in rows]


def files_of(workdir: Path) -> set[str]:
    """Files and folders, but for events and what is inside an item of a checkpoint."""
    paths = [path.relative_to(workdir) for path in workdir.rglob("*")]
    kept = {str(path) for path in paths if len(path.parts) <= 3 and path.parts[0] != "tensorboard"}
    return {path for path in kept if not path.endswith("manifest.ocdbt")}


@dataclasses.dataclass(frozen=True)
class Undisturbed:
    """A run that nothing disturbs.

    Attributes:
        state: Of its end.
        rows: Of metrics.jsonl.
        files: Its files.
        seconds: How long each moment takes.
    """

    state: dict[str, bytes]
    rows: list[dict[str, Any]]
    files: set[str]
    seconds: dict[str, float]


def undisturbed(config: Path, folder: Path, setting: Setting) -> Undisturbed:
    """Trains twice, first to compile, and measures the second time.

    Raises:
        RuntimeError: It did not end well.
    """
    trained(config, folder / "first", folder, setting, *FLAGS)
    workdir = folder / "undisturbed"
    job = Job(training(config, workdir, setting, *FLAGS), folder, setting)
    marks = [job.began]
    for text in ("compiling", "step 1/", f"step {STEPS}/"):
        job.wait_for(lambda text=text: text in job.said())  # type: ignore[misc]
        marks.append(time.monotonic())
    if any(job.ended()):
        raise RuntimeError(job.said())
    start, compiling, loop, end = np.diff([*marks, time.monotonic()])
    # The moments of a save and a validation begin where they are seen, and take a few steps.
    seconds = {"start": start, "compile": compiling, "loop": loop / STEPS, "end": end}
    seconds |= {"save": max(0.1, 4 * loop / STEPS), "validation": max(0.1, 4 * loop / STEPS)}
    return Undisturbed(state_of(workdir, config), rows_of(workdir), files_of(workdir), seconds)
