"""A tracker in a thread of its own, so that nothing that it does or leaves undone stops the run.

    WORKDIR/tracker.json    the ids by which a run that continues finds its trackers' runs again

What the logbook sends waits in a queue. If the tracker raises, does not keep up, or does not end in
time, one warning is shown, and nothing more is sent.
"""

import importlib.util
import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from jaxseg.errors import UserError
from jaxseg.run.trackers.mlflow_run import MlflowRun
from jaxseg.run.trackers.tracker import Start, Tracker
from jaxseg.run.trackers.trackio_run import TrackioRun
from jaxseg.run.trackers.wandb_run import WandbRun
from jaxseg.system import side_files

Kind = Literal["", "wandb", "mlflow", "trackio"]
"""Name of a tracker and of its package; empty = none."""

KINDS: dict[str, Callable[[Start], Tracker]] = {
    "mlflow": MlflowRun,
    "trackio": TrackioRun,
    "wandb": WandbRun,
}

FILE = "tracker.json"

PATIENCE = 30.0
"""Seconds that the end of a run waits for its tracker."""

ROOM = 1000
"""Messages that wait for a tracker that does not keep up."""

Send = Callable[[Tracker], None]


def check_installed(kind: str) -> None:
    """Looks for the tracker's package, without importing it.

    Raises:
        UserError: It is not installed.
    """
    if kind and importlib.util.find_spec(kind) is None:
        raise UserError(f"--track {kind} needs its package: pip install 'jaxseg[{kind}]'.")


class Watched:
    """A tracker that never fails: see the top of this file."""

    def __init__(
        self,
        kind: str,
        workdir: Path,
        config: Mapping[str, Any],
        warn: Callable[[str], None],
        patience: float = PATIENCE,
    ) -> None:
        """Opens the tracker, and returns before it is open.

        Args:
            kind: Of `KINDS`.
            workdir: The run's folder.
            config: Everything that decides the run, as JSON's types.
            warn: Shows a line.
            patience: Seconds that `close` waits.
        """
        self._kind, self._open = kind, KINDS[kind]
        self._workdir, self._config = workdir, config
        self._warn, self._patience = warn, patience
        self._waiting: queue.Queue[Send] = queue.Queue(ROOM)
        self._given_up = threading.Lock()
        self._thread = threading.Thread(target=self._work, name=f"tracker {kind}", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> bool:
        """Whether nothing is sent any more."""
        return self._given_up.locked()

    def send(self, message: Send) -> None:
        """Leaves a message for the tracker; returns at once."""
        if self.lost:
            return
        try:
            self._waiting.put_nowait(message)
        except queue.Full:
            self._give_up(f"it does not keep up, {ROOM} messages wait")

    def close(self) -> None:
        """Waits for the tracker to finish, but not longer than `patience`."""
        self.send(_last)
        if not self.lost:
            self._thread.join(self._patience)
            if self._thread.is_alive():
                self._give_up(f"it has not finished in {self._patience:g} s")

    def _work(self) -> None:
        try:
            ids = _ids(self._workdir, self._warn)
            start = Start(self._workdir, self._config, ids.get(self._kind, ""))
            tracker = self._open(start)
            if tracker.id != start.known:
                side_files.write(self._workdir / FILE, ids | {self._kind: tracker.id})
            while not self.lost:
                message = self._waiting.get()
                if message is _last:
                    tracker.finish()
                    return
                message(tracker)
        # Trackers raise their servers' errors, those of disks and parsers, and leave the process.
        except (Exception, SystemExit) as error:
            lines = str(error).strip().splitlines()
            self._give_up(f"{type(error).__name__}: {lines[0] if lines else 'without a reason'}")

    def _give_up(self, reason: str) -> None:
        if self._given_up.acquire(blocking=False):
            self._warn(
                f"Warning: the run goes on without its tracker {self._kind}: {reason}. Everything "
                f"is in {self._workdir} as always."
            )


def _last(tracker: Tracker) -> None:
    """The last message."""


def _ids(workdir: Path, warn: Callable[[str], None]) -> dict[str, str]:
    """The ids by tracker; of a file that is damaged, none: a new run is begun then, and said."""
    file = workdir / FILE
    if not file.exists():
        return {}
    try:
        found = side_files.read(file)
        if not all(isinstance(value, str) for value in found.values()):
            raise side_files.DamagedError("an id is a text")
    except side_files.DamagedError as error:
        aside = side_files.put_aside(file).name
        warn(
            f"Warning: {file} cannot be read ({error}) and is put aside as {aside}: the tracker "
            "begins another run."
        )
        return {}
    return found
