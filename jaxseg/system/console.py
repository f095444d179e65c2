"""The screen: one console, one look of a progress bar, and logs that do not tear the bar.

Every module that shows something uses it. On a terminal the bar stays at the bottom and everything
else scrolls above it; elsewhere (a file, a pipe, a batch system) only plain lines are written.
"""

import io
import logging
import re
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TextIO, TypeVar

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.segment import Segment
from rich.table import Column
from rich.text import Text

T = TypeVar("T")

SECONDS_BETWEEN_PLAIN_LINES = 10.0


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Characters that steer a terminal; tabs and line ends are none of them."""


def visible(text: str) -> str:
    """A text from elsewhere, whose control characters are shown instead of obeyed.

    Names of files and classes are strangers' text, which could clear the screen.
    """
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


def note(text: str) -> None:
    """Writes a line to stderr, with control characters shown as in `visible`."""
    sys.stderr.write(f"{visible(text)}\n")


class _PlainConsole(Console):
    """A console that no text can steer."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            if segment.control is None and _CONTROL.search(segment.text):
                yield Segment(visible(segment.text), segment.style)
            else:
                yield segment


def make_console(file: TextIO | None = None) -> Console:
    """The console of the library: as wide as the terminal, or 100 columns without one.

    Args:
        file: Where to write; standard output if None.
    """
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal cannot show is shown in part, instead of ending the program.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
    width = None if Console(file=file).is_terminal else 100
    return _PlainConsole(file=file, width=width, highlight=False, markup=False, emoji=False)


def say(console: Console, text: str) -> None:
    """Shows one line unchanged; it is wrapped on a terminal only."""
    console.print(Text(text), soft_wrap=not console.is_terminal)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds as `1:02:03`."""
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{second:02}"


def progress_bar(console: Console) -> Progress:
    """A bar whose tasks have a description, a count and a `note`; disabled without a terminal."""
    one_line = Column(no_wrap=True, overflow="ellipsis")
    return Progress(
        TextColumn("{task.description}", table_column=one_line, markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(table_column=one_line),
        TextColumn("{task.fields[note]}", table_column=one_line, markup=False),
        console=console,
        expand=True,
        disable=console.quiet or not console.is_terminal or console.is_dumb_terminal,
    )


def track(
    items: Iterable[T],
    what: str,
    *,
    total: int | None = None,
    console: Console,
    progress: Progress | None = None,
) -> Iterator[T]:
    """Yields the items and shows how many are done: a bar on a terminal, else occasional lines.

    Args:
        items: Anything to loop over.
        what: One or two words, such as "validation".
        total: How many items there are, if known.
        console: Where to show it.
        progress: A running `progress_bar` to show it in; None = a new one.
    """
    bar = progress_bar(console) if progress is None else progress
    if bar.disable:
        yield from _told_in_lines(items, what, total, console)
        return
    with LogsAboveTheBar(console):
        if progress is None:
            bar.start()
        task = bar.add_task(what, total=total, note="")
        started = time.monotonic()
        try:
            for done, item in enumerate(items):
                if done and total:
                    left = (time.monotonic() - started) / done * (total - done)
                    bar.update(task, completed=done, note=f"ETA {clock(left)}")
                else:
                    bar.update(task, completed=done)
                yield item
        finally:
            bar.remove_task(task)
            if progress is None:
                bar.stop()


def _told_in_lines(
    items: Iterable[T], what: str, total: int | None, console: Console
) -> Iterator[T]:
    told = started = time.monotonic()
    say(console, f"{what} ..." if total is None else f"{what} of {total} ...")
    for done, item in enumerate(items):
        now = time.monotonic()
        if now - told > SECONDS_BETWEEN_PLAIN_LINES:
            told = now
            eta = (
                f"  ETA {clock((now - started) / done * (total - done))}" if total and done else ""
            )
            say(console, f"{what} {done}{f'/{total}' if total else ''}{eta}")
        yield item


class LogsAboveTheBar(logging.Handler):
    """Sends log records through the console while a bar is shown.

    The handlers of Python and absl write to the terminal directly, bypassing rich's redirection,
    and would write into the bar. They are removed on entering `with` and restored on leaving it.
    Python cannot intercept what C++ code (XLA) writes to stderr; this may leave one torn line.
    """

    def __init__(self, console: Console) -> None:
        """Replaces no handlers yet; that happens on entering `with`."""
        super().__init__()
        self._console = console
        self._before: list[logging.Handler] = []
        self._aside: list[logging.Handler] = []

    def __enter__(self) -> None:
        """Replaces the handlers that write to the terminal."""
        root = logging.getLogger()
        if any(isinstance(handler, LogsAboveTheBar) for handler in root.handlers):
            return
        self._before = list(root.handlers)
        self._aside = [handler for handler in root.handlers if _writes_to_terminal(handler)]
        for handler in self._aside:
            root.removeHandler(handler)
        root.addHandler(self)

    def __exit__(self, *_: object) -> None:
        """Restores them where they were; what others have added or removed stays so."""
        root = logging.getLogger()
        root.removeHandler(self)
        kept = {*self._aside, *root.handlers}
        added = [handler for handler in root.handlers if handler not in self._before]
        root.handlers[:] = [*(handler for handler in self._before if handler in kept), *added]
        self._before, self._aside = [], []

    def emit(self, record: logging.LogRecord) -> None:
        """Shows the record as one dim line."""
        text = f"{record.levelname.lower()} from {record.name}: {record.getMessage()}"
        self._console.print(Text(text, style="dim"))


def _writes_to_terminal(handler: logging.Handler) -> bool:
    stream = getattr(getattr(handler, "python_handler", handler), "stream", None)  # absl wraps one
    return stream in (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__) and stream is not None
