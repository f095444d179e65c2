"""Worker processes that handle one request at a time, so that a hang or crash costs one result.

A compilation cannot be interrupted, so after a timeout the whole process is ended, and the next
request starts another one. Requests and responses are JSON, one object per line. Both sides import
only the standard library here.
"""

import contextlib
import ctypes
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

Facts = dict[str, Any]
Note = Callable[[str], None]
PROGRAM = Path(__file__).parents[1] / "accelerator.py"


class Lost(Exception):  # noqa: N818  it is an outcome of a case, and written down as one
    """A request that has no answer.

    Attributes:
        status: `overran`, `failed` or `left out` (something is not installed).
        reason: What a reader should know.
    """

    def __init__(self, status: str, reason: str) -> None:
        """Stores the status of the request and its reason."""
        super().__init__(reason)
        self.status, self.reason = status, reason


class Worker:
    """The asking side: starts the process when it is needed, and again when it was lost."""

    def __init__(self, kind: str, log: Path, environment: dict[str, str | None]) -> None:
        """Starts nothing yet.

        Args:
            kind: What `accelerator.py --worker` is to be.
            log: Where its standard error goes, at the end.
            environment: Changes of the environment; None takes a variable away.
        """
        self.kind, self.log, self.environment = kind, log, environment
        self.waits = False
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()

    def ask(self, request: Facts, seconds: float, note: Note = lambda text: None) -> Facts:
        """The answer to a request.

        Raises:
            Lost: There was none within the seconds.
        """
        self.send(request)
        return self.receive(seconds, note)

    def send(self, request: Facts) -> None:
        """Begins a request; `receive` has to follow.

        Raises:
            Lost: The process died before.
        """
        process = self._process or self._started()
        self.waits = True
        try:
            assert process.stdin is not None  # noqa: S101  it is a pipe
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None

    def receive(self, seconds: float, note: Note = lambda text: None) -> Facts:
        """Waits for the answer to what was sent.

        Raises:
            Lost: There was none within the seconds.
        """
        deadline, last = time.monotonic() + seconds, "starting"
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self.stop()
                raise Lost("overran", f"ended after {seconds:.0f} s, while {last}") from None
            if line is None:
                raise self._died()
            reply = json.loads(line)
            if "note" in reply:
                last = reply["note"]
                note(last)
                continue
            self.waits = False
            if "answer" in reply:
                return dict(reply["answer"])
            if reply["status"] == "failed":  # a device may be left in any state
                self.stop()
            raise Lost(reply["status"], reply["reason"])

    def stop(self) -> None:
        """Ends the process and all that it started."""
        if self._process is None:
            return
        end(self._process)
        self._process, self.waits = None, False

    def _started(self) -> subprocess.Popen[str]:
        environment = {k: v for k, v in (os.environ | self.environment).items() if v is not None}
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(PROGRAM), "--worker", self.kind],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                start_new_session=True,  # Ctrl-C is for the asking side, which ends the others
            )
        self._lines = queue.Queue()
        pipe = self._process.stdout
        threading.Thread(target=_read, args=(pipe, self._lines), daemon=True).start()
        return self._process

    def _died(self) -> Lost:
        process = self._process
        code = process.wait() if process is not None else 0
        self.stop()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        said = [line.strip() for line in tail(self.log).splitlines() if line.strip()]
        return Lost("failed", f"the process ended ({how}): {said[-1] if said else ''}"[:400])


def end(process: subprocess.Popen[str]) -> None:
    """Ends a process that leads its own session, with everything in it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tail(log: Path) -> str:
    """The end of a log, from the last 4000 bytes."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4000))
        return file.read().decode(errors="replace")


def _read(pipe: TextIO, lines: "queue.Queue[str | None]") -> None:
    for line in pipe:
        lines.put(line)
    lines.put(None)


def serve(answer: Callable[[Facts, Note], Facts]) -> None:
    """The worker's side: reads requests until the other side is gone.

    Whatever else is printed goes to standard error, also from below Python.
    """
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: ends with its parent

    def note(text: str) -> None:
        channel.write(json.dumps({"note": text}) + "\n")

    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply: Facts = {"answer": answer(request, note)}
        except ImportError as error:
            reply = {"status": "left out", "reason": str(error)}
        except Exception as error:  # one case fails, the program goes on and says why
            traceback.print_exc()
            said = " ".join(str(error).split())
            reply = {"status": "failed", "reason": f"{type(error).__name__}: {said}"[:400]}
        channel.write(json.dumps(reply) + "\n")
