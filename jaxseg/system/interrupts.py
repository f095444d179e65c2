"""Ctrl-C and SIGTERM at any moment of a command: one true sentence, never a traceback.

    before and behind the work    the process ends at once
    at work                       the first one raises `Stopped`, so that what was half written is
                                  removed; the second one ends the process at once
    in the loop of a training     the state is saved first (`jaxseg.run.stopping`)

A command watches from its first line on, before the heavy packages, so nothing heavy is imported
here, not even typing. Imported into another program, the library leaves that program's signals
alone.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import time

TYPE_CHECKING = False  # as type checkers know it, without the import of typing
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import Any, NoReturn

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGUSR1: "SIGUSR1"}
"""Signals that ask a command to stop; schedulers can be told to send the last one as a notice."""

BEGIN = "Nothing was begun; give the same command again."
END = "The command had ended; nothing is lost."


class Stopped(KeyboardInterrupt):
    """A command at work is asked to stop."""


class _State:
    """What the process is at.

    Attributes:
        watched: Whether this process is a command of jaxseg.
        working: Whether the first signal may raise.
        asked: The signal that has raised; 0 = none.
        told: Whether the sentence has been said.
        patience: Seconds between the sentence and the end.
        stays: What is saved, and how to go on; asked for when it is said.
    """

    watched = False
    working = False
    asked = 0
    told = False
    patience = 0.0
    stays: Callable[[], str] = staticmethod(lambda: BEGIN)


_now = _State()


def watch() -> None:
    """Answers signals from now on, for the rest of the process."""
    _now.watched = True
    for number in NAMES:
        signal.signal(number, _note)
    atexit.register(_ignore)  # first, so it is called last
    usual, unraisable = sys.excepthook, sys.unraisablehook

    def uncaught(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if isinstance(error, KeyboardInterrupt):
            end(_now.asked or signal.SIGINT)
        usual(kind, error, trace)

    def swallowed(found: Any) -> None:  # noqa: ANN401  (a type that only checkers know)
        if isinstance(found.exc_value, KeyboardInterrupt):  # it came while an object was removed
            end(_now.asked or signal.SIGINT)
        unraisable(found)

    sys.excepthook, sys.unraisablehook = uncaught, swallowed


def watched() -> bool:
    """Whether this process is a command that watches."""
    return _now.watched


def begin(stays: str) -> None:
    """From now on the first signal raises.

    Args:
        stays: What is saved if one comes, and how to go on.
    """
    _now.asked, _now.told = 0, False
    leave(lambda: stays)
    _now.working = True


def leave(stays: Callable[[], str]) -> None:
    """Changes what is said: it is found when a signal has come."""
    _now.stays = stays


def wait_for_others(seconds: float) -> None:
    """From now on a process that ends at once says so, and ends after some seconds.

    For the first process of a job, without which JAX aborts the others before they say anything.
    """
    _now.patience = seconds


def over() -> None:
    """The work is done: from now on a signal ends the process at once."""
    _now.working = False


def done() -> None:
    """The command has said all that it had to say."""
    leave(lambda: END)


def said() -> None:
    """The command has said its sentence itself: a further signal adds none."""
    _now.told = True


def asked() -> int:
    """The signal that has raised `Stopped`, 0 if there was none."""
    return _now.asked


def code(number: int) -> int:
    """The exit code of a process that a signal ends."""
    return 128 + number


def told(number: int) -> str:
    """What is said of a signal: a line without control characters."""
    try:
        stays = _now.stays()
    except OSError as error:  # of a disk that is gone
        stays = f"What is saved cannot be read: {error}."
    text = f"Stopped by {NAMES[signal.Signals(number)]}. {stays}"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def stop_now(number: int) -> None:
    """The answer to whom the first answer takes too long.

    Raises:
        KeyboardInterrupt: This process is not a command.
    """
    if not _now.watched:
        raise KeyboardInterrupt
    end(number)


def end(number: int) -> NoReturn:
    """Says what stays, and ends the process: no other code runs, which could say anything else."""
    _ignore()
    line = "" if _now.told else told(number) + "\n"
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # closed, or at work itself
            stream.flush()
    with contextlib.suppress(OSError):
        if os.isatty(2):
            line = f"\x1b[?25h\n{line}"  # a bar has hidden the cursor
        os.write(2, line.encode(errors="backslashreplace"))
    time.sleep(_now.patience)
    os._exit(code(number))


def _ignore() -> None:
    """Python gives signals back to the system as it ends, which would change the exit code."""
    for number in NAMES:
        signal.signal(number, signal.SIG_IGN)


def _note(number: int, frame: FrameType | None) -> None:
    if _now.working and not _now.asked:
        _now.asked = number
        raise Stopped
    end(number)
