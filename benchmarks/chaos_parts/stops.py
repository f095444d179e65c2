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
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from chaos_parts.planned import Stop, plan
from chaos_parts.tiny import Setting, trained, training
from chaos_parts.watched import (
    FLAGS,
    STEPS,
    Job,
    Undisturbed,
    files_of,
    newest,
    rows_of,
    state_of,
    undisturbed,
)

EARLY = 0.5
"""Seconds in which Python itself starts, and no program can answer a signal."""


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
