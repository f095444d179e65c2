"""What a run reports: console, progress bar, metrics.jsonl, TensorBoard.

Only process 0 has an active logbook; elsewhere every method returns at once and writes nothing.

    WORKDIR/metrics.jsonl   one JSON object per line: step, time (Unix seconds), kind, the numbers
    WORKDIR/tensorboard/    the same numbers as scalars `kind/name`, and images
    a tracker, if asked for the same, tables and the checkpoint's path (`jaxseg.run.trackers`)

A number that is not finite is null in metrics.jsonl and missing in TensorBoard. A run that resumes
at step S first drops the lines after S, and a line cut off by a kill, so that the file is one
history of the run; TensorBoard drops the same steps.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self, SupportsFloat, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.box import ROUNDED
from rich.console import Console
from rich.panel import Panel
from rich.progress import TaskID
from rich.table import Table
from rich.text import Text

from jaxseg.run import json_lines
from jaxseg.run.event_file import event_writer
from jaxseg.run.failed_saves import FailedSaves
from jaxseg.run.trackers.watched import Kind, Send, Watched
from jaxseg.system import side_files
from jaxseg.system.console import LogsAboveTheBar, clock, make_console, progress_bar, say, track

T = TypeVar("T")

# The numbers that the console shows, in this order; the files get all of them.
_SHOWN: dict[str, Callable[[float], str]] = {
    "loss": "loss {:.4f}".format,
    "miou": "mIoU {:.1%}".format,
    "explained": "{:.1%} of hidden variance explained".format,
    "mean_f1": "mean F1 {:.1%}".format,
    "overall_accuracy": "OA {:.1%}".format,
    "average_accuracy": "AA {:.1%}".format,
    "kappa": "kappa {:.3f}".format,
    "images_per_second": lambda rate: f"{rate:,.{1 if rate < 100 else 0}f} images/s",
    "waiting": "waiting {:.0%}".format,
}


class Logbook:
    """A context manager that logs one training run; see the top of this file for what goes where.

    Attributes:
        console: For tables between the lines; quiet if the logbook is not active.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        total_steps: int,
        start_step: int = 0,
        active: bool = True,
        console: Console | None = None,
        track: Kind = "",
        config: Mapping[str, Any] | None = None,
        failed: FailedSaves | None = None,
    ) -> None:
        """Prepares a logbook; nothing is written before `with`.

        Args:
            workdir: The run's folder; created if it is missing.
            total_steps: Last step of the run.
            start_step: Steps already done, 0 for a new run; older lines after it are dropped.
            active: False for every process but the first.
            console: Where to write; None = `make_console()`.
            track: A tracker that gets everything as well.
            config: What it gets as the run's config.
            failed: Where it is noted that a file cannot be written; None = that is raised.
        """
        self._failed = failed
        self.console = console or make_console()
        self.console.quiet = self.console.quiet or not active
        self._workdir = workdir
        self._total = total_steps
        self._step = start_step
        self._active = active
        self._track, self._config = track, config or {}
        self._tracker: Watched | None = None
        self._train: dict[str, float] = {}
        self._miou = math.nan
        self._marks: deque[tuple[float, int]] = deque(maxlen=50)
        self._progress = progress_bar(self.console)
        self._bar: TaskID | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        """Opens the files and shows the bar."""
        if not self._active:
            return self
        self._workdir.mkdir(parents=True, exist_ok=True)
        path = self._workdir / "metrics.jsonl"
        damaged = json_lines.cut_after(path, self._step)
        self._lines = self._open.enter_context(path.open("a", encoding="utf-8", buffering=1))
        events = self._workdir / "tensorboard"
        if events.exists() and not events.is_dir():
            aside = side_files.put_aside(events).name
            self.say(f"Note: {events} is not a folder and is put aside as {aside}.")
        self._events, self._event_file = event_writer(events, self._step + 1)
        self._open.callback(self._events.close)
        if self._track:
            self._tracker = Watched(self._track, self._workdir, self._config, self.say)
            self._open.callback(self._tracker.close)
        if not self._progress.disable:
            self._open.enter_context(LogsAboveTheBar(self.console))
            self._open.enter_context(self._progress)
            self._bar = self._progress.add_task(
                "train", total=self._total, completed=self._step, note="starting"
            )
        if damaged:
            self.say(f"Note: {damaged}")
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Leaves the bar as it is and closes the files, even after an error."""
        try:
            self._open.close()
            self._check_events()
        except OSError as fault:
            if error is None:  # else that says more
                self._fail(fault)

    def say(self, text: str) -> None:
        """Shows one line."""
        say(self.console, text)

    def doing(self, what: str) -> None:
        """Shows the current lengthy task, such as "compiling", in the bar or else as a line."""
        if self._bar is None:
            self.say(f"{what} ...")
        else:
            self._progress.update(self._bar, note=what)

    def summary(self, facts: Mapping[str, object], *, title: str = "jaxseg") -> None:
        """Shows what is about to happen: one row per fact, such as devices, parameters, data."""
        if not self.console.is_terminal:
            width = max(map(len, facts), default=0)
            for name, value in facts.items():
                self.say(f"{name:<{width}}  {value}")
            return
        rows = Table.grid(padding=(0, 2))
        rows.add_column(style="bold", no_wrap=True)
        rows.add_column(overflow="fold")
        for name, value in facts.items():
            rows.add_row(Text(name), Text(str(value)))
        heading = Text(title, style="bold")
        panel = Panel(rows, title=heading, title_align="left", box=ROUNDED, expand=False)
        self.console.print(panel, width=min(100, self.console.width))

    def advance(self, step: int) -> None:
        """Moves the bar to `step` steps done; cheap enough for every step."""
        self._step = step
        if self._bar is not None:
            self._progress.update(self._bar, completed=step, note=self._note())

    def training(self, step: int, values: Mapping[str, SupportsFloat]) -> None:
        """Records the numbers of a logging step.

        Args:
            step: Steps done when the numbers were taken.
            values: Any names; the console shows `loss`, `miou`, `images_per_second`, and `waiting`,
                the share (0..1) of the time since the last call spent waiting for data.
        """
        if not self._active:
            return
        self._train = self._write("train", step, values)
        self._marks.append((time.monotonic(), step))
        self.advance(max(step, self._step))
        if self._bar is None:
            self.say("  ".join([f"step {step}/{self._total}", *self._parts()]))

    def validation(self, step: int, values: Mapping[str, SupportsFloat]) -> None:
        """Records the numbers of an evaluation after `step` steps, such as `Scores.summary()`."""
        if not self._active:
            return
        numbers = self._write("validation", step, values)
        self._miou = numbers.get("miou", math.nan)
        self._events.flush()
        self.say("  ".join([f"step {step}/{self._total}", "validation", *_shown(numbers)]))

    def lacks(self, kind: str, step: int) -> bool:
        """Whether no line of this kind and step is there; True if the logbook is not active."""
        if not self._active:
            return True
        rows, _ = json_lines.json_lines(self._workdir / "metrics.jsonl")
        return all((row.get("kind"), row["step"]) != (kind, step) for row in rows)

    def image(self, step: int, tag: str, image: NDArray[np.uint8]) -> None:
        """Sends one (H, W, 3) uint8 picture to TensorBoard and the tracker."""
        if self._active:
            self._events.add_image(tag, image, step, dataformats="HWC")
            self._send(lambda tracker: tracker.picture(step, tag, image))

    def table(self, step: int, name: str, rows: Sequence[Sequence[str]]) -> None:
        """Sends a table to the tracker, the first row its headings."""
        self._send(lambda tracker: tracker.table(step, name, rows))

    def checkpoint(self, step: int, path: Path) -> None:
        """Tells the tracker where the newest checkpoint is."""
        self._send(lambda tracker: tracker.checkpoint(step, path))

    def track(self, items: Iterable[T], what: str, *, total: int | None = None) -> Iterator[T]:
        """Like `console.track`, as a second line of the run's bar."""
        progress = None if self._bar is None else self._progress
        return track(items, what, total=total, console=self.console, progress=progress)

    def _write(self, kind: str, step: int, values: Mapping[str, SupportsFloat]) -> dict[str, float]:
        numbers = {name: float(value) for name, value in values.items()}
        finite = {name: v if math.isfinite(v) else None for name, v in numbers.items()}
        line = {"step": step, "time": round(time.time(), 3), "kind": kind, **finite}
        try:
            self._lines.write(json_lines.line(line))
            self._check_events()
        except OSError as error:
            self._fail(error)
        for name, number in finite.items():
            if number is not None:
                self._events.add_scalar(f"{kind}/{name}", number, step)
        known = {f"{kind}/{name}": v for name, v in finite.items() if v is not None}
        self._send(lambda tracker: tracker.numbers(step, known))
        return numbers

    def _check_events(self) -> None:
        """Raises what has kept TensorBoard's file from being written."""
        if self._active and self._event_file.fault is not None:
            raise self._event_file.fault

    def _fail(self, error: OSError) -> None:
        """Raises an error, or notes it for all processes."""
        if self._failed is None:
            raise error
        self._failed.first = self._failed.first or error

    def _send(self, message: Send) -> None:
        if self._tracker is not None:
            self._tracker.send(message)

    def _parts(self) -> list[str]:
        parts = _shown(self._train)
        if "miou" not in self._train and not math.isnan(self._miou):
            parts.insert(1, f"val mIoU {self._miou:.1%}")
        left = seconds_left(self._marks, self._step, self._total)
        return parts if left is None else [*parts, f"ETA {clock(left)}"]

    def _note(self) -> str:
        parts = self._parts()
        rest = len(f"validation {self._total}/{self._total} ") + 8  # at least 8 for the bar itself
        room = self.console.width - rest
        while len(parts) > 2 and len("  ".join(parts)) > room:
            parts.pop(-2)  # the loss and the ETA are kept longest
        return "  ".join(parts)


def seconds_left(marks: Iterable[tuple[float, int]], step: int, total: int) -> float | None:
    """The time to the end at the pace of the marks, including pauses for evaluation.

    Args:
        marks: (seconds, steps done) in order, taken at the logging steps.
        step: Steps done now.
        total: Last step of the run.

    Returns:
        Seconds, or None before the second mark.
    """
    known = list(marks)
    if len(known) < 2 or known[-1][1] <= known[0][1]:
        return None
    pace = (known[-1][0] - known[0][0]) / (known[-1][1] - known[0][1])
    return max(0.0, (total - step) * pace)


def _shown(numbers: Mapping[str, float]) -> list[str]:
    return [show(numbers[name]) for name, show in _SHOWN.items() if name in numbers]
