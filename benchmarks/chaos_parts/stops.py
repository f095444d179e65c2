"""Ends real trainings at random moments, and compares what comes of them with an undisturbed one.

    kills           SIGKILL
    soft signals    SIGTERM, Ctrl-C, a second one behind it

A run is started again until it is done. Then its last state is that of the undisturbed run bit for
bit, `metrics.jsonl` has the same rows, and the same files are left. What a process says of a soft
signal is compared with what is on the disk.
"""

import dataclasses
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from chaos_parts.tiny import Setting, begun, trained, training

from jaxseg.config import load_code
from jaxseg.run.checkpoint import reopen
from jaxseg.run.json_lines import json_lines
from jaxseg.sharding import MeshShape

MOMENTS = ("start", "compile", "loop", "save", "validation", "end")
"""`start` is all before the compilation, imports included; `end` all behind the last step."""

SOFT = (
    (signal.SIGTERM,),
    (signal.SIGINT,),
    (signal.SIGINT, signal.SIGINT),
    (signal.SIGTERM, signal.SIGINT),
)

STEPS = 56
"""Enough for a dozen stops that each let a run go on for some steps."""

FLAGS = ("--config.num-steps", str(STEPS), "--config.save-every", "4", "--config.eval-every", "8")

PATIENCE = 90.0
"""Seconds in which a process has to end that was asked to, or whose partner was killed."""

EARLY = 0.5
"""Seconds in which Python itself starts, and no program can answer a signal."""

TIMES = ("time", "images_per_second", "waiting")
"""What differs from run to run in a row of metrics.jsonl."""


@dataclasses.dataclass(frozen=True)
class Stop:
    """Signals at a moment.

    Attributes:
        moment: One of `MOMENTS`.
        signals: One or two.
        share: Where in the moment, 0..1.
        ahead: For the loop: after how many steps.
        gap: Seconds between two signals.
        whom: The process that gets them; None = all.
    """

    moment: str
    signals: tuple[signal.Signals, ...]
    share: float
    ahead: int
    gap: float
    whom: int | None

    @property
    def kills(self) -> bool:
        """Whether no process can answer."""
        return self.signals == (signal.SIGKILL,)

    def __str__(self) -> str:
        """Such as `SIGINT SIGINT in the moment loop, process 1`."""
        who = "" if self.whom is None else f", process {self.whom}"
        return f"{' '.join(s.name for s in self.signals)} in {self.moment} ({self.share:.2f}){who}"


def plan(draw: random.Random, kills: int, soft: int, processes: int) -> list[Stop]:
    """The stops of a run, those at its end last."""
    stops, left = [], list[str]()
    for number in range(kills + soft):
        if not left or number == kills:
            left = draw.sample(MOMENTS, len(MOMENTS))
        whom = draw.randrange(processes) if processes > 1 and draw.random() < 0.5 else None
        signals = (signal.SIGKILL,) if number < kills else draw.choice(SOFT)
        share, ahead, gap = draw.random(), draw.randrange(1, 7), draw.uniform(0, 0.4)
        stops.append(Stop(left.pop(), signals, share, ahead, gap, whom))
    draw.shuffle(stops)
    return sorted(stops, key=lambda stop: stop.moment == "end")


# -- a job that is watched -------------------------------------------------------------------------


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


# -- what a run leaves -----------------------------------------------------------------------------


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


# -- the attack ------------------------------------------------------------------------------------


@dataclasses.dataclass
class Found:
    """What an attack came to.

    Attributes:
        counts: What happened -> how often.
        faults: One line and the text of the process for each.
    """

    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    faults: list[str] = dataclasses.field(default_factory=list)

    def fault(self, kind: str, where: str, said: str = "") -> None:
        """Counts and prints a fault."""
        self.counts[f"FAULT {kind}"] += 1
        text = f"FAULT {kind}: {where}\n" + "".join(f"    | {line}\n" for line in said.splitlines())
        self.faults.append(text)
        print(text, flush=True)


def attack(
    config: Path,
    folder: Path,
    setting: Setting,
    runs: Sequence[int],
    kills: int,
    soft: int,
    seed: int,
) -> Found:
    """Disturbs runs of one setting.

    Args:
        config: The config file.
        folder: Of this setting; runs, what processes say and the cache of programs lie there.
        setting: Devices and processes.
        runs: Numbers of the runs.
        kills: SIGKILLs in each.
        soft: Soft signals in each.
        seed: Decides moments, signals and processes; when exactly they come varies.
    """
    folder.mkdir(parents=True, exist_ok=True)
    expected, found = undisturbed(config, folder, setting), Found()
    for number in runs:
        draw = random.Random(f"{seed}/{setting}/{number}")  # noqa: S311  (no secret)
        workdir = folder / f"run{number}"
        for stop in plan(draw, kills, soft, setting.processes):
            job = Job(training(config, workdir, setting, *FLAGS), folder, setting)
            before = newest(workdir)
            where = f"{setting}, seed {seed}, run {number}: {stop}"
            if not _approached(job, stop, workdir, before or 0, expected.seconds):
                found.counts["ended before the signal"] += 1
                _judge_end(job, where, found)
                continue
            after = time.monotonic() - job.began
            job.send(stop)
            codes = job.ended()
            found.counts["kills" if stop.kills else "soft signals"] += 1
            found.counts[f"in {stop.moment}"] += 1
            for place, code in enumerate(codes):
                hit = stop.whom in (None, place)
                _judge(job.said(place), code, stop, hit, newest(workdir), after, where, found)
        trained(config, workdir, folder, setting, *FLAGS)
        _compare(workdir, config, expected, f"{setting}, seed {seed}, run {number}", found)
        print(f"{setting}, run {number}: {dict(found.counts)}", flush=True)
    return found


def _approached(
    job: Job, stop: Stop, workdir: Path, before: int, seconds: dict[str, float]
) -> bool:
    """Waits for the moment of a stop; returns whether all processes still run then."""
    folder = workdir / "checkpoints"
    conditions: dict[str, Callable[[], bool]] = {
        "start": lambda: True,
        "compile": lambda: "compiling" in job.said(),
        "loop": lambda: f"step {min(before + stop.ahead, STEPS)}/" in job.said(),
        "save": lambda: any(folder.glob("*tmp*")) or newest(workdir) != (before or None),
        "validation": lambda: "validating" in job.said(),
        "end": lambda: f"step {STEPS}/{STEPS}" in job.said(),
    }
    if stop.moment == "save":  # what a killed save leaves is not a save
        job.wait_for(lambda: "step " in job.said().partition("Compiled")[2])
    if not job.wait_for(conditions[stop.moment]):
        return False
    time.sleep(stop.share * seconds[stop.moment])
    return job.going()


def _judge_end(job: Job, where: str, found: Found) -> None:
    for place, code in enumerate(job.ended()):
        if code or "Traceback" in job.said(place):
            found.fault(f"ended by itself with {code}", where, job.said(place))


def _judge(
    said: str,
    code: int | None,
    stop: Stop,
    hit: bool,
    saved: int | None,
    after: float,
    where: str,
    found: Found,
) -> None:
    """Compares what one process said and how it ended with what is on the disk."""
    if "Traceback" in said:
        found.fault("traceback", f"{where}, exit {code}", said)
    elif code is None and stop.moment in ("start", "compile"):
        found.counts["waited for its partner"] += 1  # which JAX gives five minutes to join
    elif code is None:
        found.fault("hang", where, said)
    elif stop.kills and hit:
        return
    elif code == 0:
        if saved != STEPS:
            found.fault("exit 0 and not done", where, said)
    elif code == -signal.SIGABRT and stop.kills and "JAX distributed service" in said:
        found.counts["aborted by JAX, whose partner was killed"] += 1
    elif stop.kills or (not hit and code == 3):
        if code != 3 or "another process has ended before" not in said:
            found.fault(f"exit {code} of the partner of a killed process", where, said)
    elif code < 0:
        if after < EARLY:
            found.counts["before Python had started"] += 1
        else:
            found.fault(f"ended by signal {-code} without a word", where, said)
    elif code not in (130, 143):
        found.fault(f"exit {code}", where, said)
    elif untruth := untrue(said, saved):
        found.fault(untruth, where, said)
    else:
        found.counts["true texts"] += 1


def untrue(said: str, saved: int | None) -> str:
    """What is wrong with the last words of a process that was asked to stop; empty if nothing is.

    Args:
        said: All that it said.
        saved: The newest step on the disk.
    """
    last = [line for line in said.splitlines() if line.startswith("Stopped")]
    if len(last) != 1:
        return f"{len(last)} sentences about the stop"
    number = re.search(r"(?:Stopped at|that of) step (\d+)", last[0])
    begun = re.search(r"Step (\d+) was being saved", last[0])
    if begun is not None and saved == int(begun[1]):
        return ""
    if number is not None and saved != int(number[1]):
        return f"false text (step {saved} is saved)"
    if number is not None:
        return ""
    if "Nothing is saved" in last[0]:
        return "" if saved is None else f"false text (step {saved} is saved)"
    if "had ended" in last[0]:
        return "" if saved == STEPS else f"false text (step {saved} is saved)"
    if "training has not begun" in last[0] or "Nothing was begun" in last[0]:
        return "false text (it had begun)" if "compiling" in said else ""
    return "a text that says nothing about what is saved"


def _compare(workdir: Path, config: Path, expected: Undisturbed, where: str, found: Found) -> None:
    """Compares a run that is done with the undisturbed one."""
    state = state_of(workdir, config)
    unlike = [name for name in expected.state if state.get(name) != expected.state[name]]
    if unlike or len(state) != len(expected.state):
        found.fault("other numbers", f"{where}: {len(unlike)} arrays, such as {unlike[:3]}")
    rows, steps = rows_of(workdir), [(row["kind"], row["step"]) for row in rows_of(workdir)]
    wanted = [(row["kind"], row["step"]) for row in expected.rows]
    if sorted(step for _, step in steps) != [step for _, step in steps]:
        found.fault("metrics.jsonl is not sorted", where)
    if twice := [key for key, count in Counter(steps).items() if count > 1]:
        found.fault("metrics.jsonl has rows twice", f"{where}: {twice}")
    if missing := [key for key in wanted if key not in steps]:
        found.fault("metrics.jsonl has gaps", f"{where}: {missing}")
    if more := [key for key in steps if key not in wanted]:
        found.fault("metrics.jsonl has more rows", f"{where}: {more}")
    known = {(row["kind"], row["step"]): row for row in expected.rows}
    if other := [key for key, row in zip(steps, rows, strict=True) if row != known.get(key, row)]:
        found.fault("metrics.jsonl has other numbers", f"{where}: {other}")
    files = files_of(workdir)
    if files != expected.files:
        found.fault("other files", f"{where}: {sorted(files ^ expected.files)}")
    if (workdir / "lock").read_text(encoding="utf-8"):
        found.fault("the lock is held", where)
    found.counts["runs"] += 1
    found.counts["runs bit-equal"] += not unlike
