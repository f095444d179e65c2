"""The screen: lines as they are, bars on terminals only, logs above them."""

import io
import logging
import sys
import time
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxseg.system import console as screen
from jaxseg.system.console import (
    LogsAboveTheBar,
    clock,
    make_console,
    note,
    progress_bar,
    say,
    track,
    visible,
)


def terminal(width: int = 100) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=True, width=width, height=40, markup=False), text


def plain() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return make_console(text), text


def test_without_a_terminal_the_console_is_100_columns_wide_and_interprets_nothing() -> None:
    console, text = plain()
    assert console.width == 100
    console.print("[red]12[/red] :smile: 3.5 " + "word " * 40)
    lines = text.getvalue().splitlines()
    assert lines[0].startswith("[red]12[/red] :smile: 3.5 word")
    assert 90 < max(map(len, lines)) <= 100


def test_a_terminal_wraps_a_long_line_and_a_file_does_not() -> None:
    for (console, text), lines in ((terminal(40), 5), (plain(), 1)):
        say(console, "word " * 36)
        assert len(text.getvalue().splitlines()) == lines


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00:00"), (59.5, "0:01:00"), (61, "0:01:01"), (3725, "1:02:05")]
)
def test_a_clock_has_two_digits_of_minutes_and_seconds(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_a_bar_is_shown_on_a_terminal_that_is_not_quiet() -> None:
    console, _ = terminal()
    assert not progress_bar(console).disable
    console.quiet = True
    assert progress_bar(console).disable
    assert progress_bar(plain()[0]).disable


def test_a_bar_of_its_own_shows_how_many_are_done_and_the_time_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    console, _ = terminal()
    seen: list[tuple[float, Any, str]] = []
    bars: list[Any] = []

    def watched(given: Console) -> Any:
        bars.append(progress_bar(given))
        return bars[-1]

    monkeypatch.setattr(screen, "progress_bar", watched)
    began = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: began + 10.0 * len(seen))
    for item in track("abcd", "tiles", total=4, console=console):
        (task,) = bars[0].tasks
        assert bars[0].live.is_started
        seen.append((task.completed, item, task.fields["note"]))
    # Ten seconds an item: 30, 20 and 10 s are left.
    notes = ["", "ETA 0:00:30", "ETA 0:00:20", "ETA 0:00:10"]
    assert seen == [
        (n, item, note) for n, (item, note) in enumerate(zip("abcd", notes, strict=True))
    ]
    assert not bars[0].live.is_started
    assert bars[0].tasks == []


def test_a_bar_that_runs_already_is_used_and_goes_on() -> None:
    console, _ = terminal()
    with progress_bar(console) as bar:
        items = track([1, 2], "more", console=console, progress=bar)
        assert next(items) == 1
        assert [task.description for task in bar.tasks] == ["more"]
        assert list(items) == [2]
        assert bar.tasks == []
        assert bar.live.is_started


def test_lines_of_unknown_length_have_no_end_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(0, 1000, 11))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    console, text = plain()
    assert list(track(iter("abc"), "tiles", console=console)) == ["a", "b", "c"]
    assert text.getvalue().splitlines() == ["tiles ...", "tiles 0", "tiles 1", "tiles 2"]


def test_lines_come_no_oftener_than_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 4.0, 8.0, 10.0, 10.5, 14.0, 20.0, 20.6])
    monkeypatch.setattr(time, "monotonic", lambda: next(ticks))
    console, text = plain()
    list(track(range(7), "tiles", total=7, console=console))
    told = text.getvalue().splitlines()[1:]
    assert told == ["tiles 3/7  ETA 0:00:14", "tiles 6/7  ETA 0:00:03"]


def test_only_what_writes_to_the_terminal_gives_way_to_the_bar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    console, text = terminal()
    root = logging.getLogger()
    elsewhere = logging.StreamHandler(io.StringIO())
    handlers = [
        logging.StreamHandler(stream) for stream in (sys.stderr, sys.stdout, sys.__stderr__)
    ]
    wrapped: Any = logging.Handler()
    wrapped.python_handler = handlers[0]  # as absl does
    monkeypatch.setattr(root, "handlers", [elsewhere, *handlers, wrapped])
    outer, inner = LogsAboveTheBar(console), LogsAboveTheBar(console)
    with outer:
        assert root.handlers == [elsewhere, outer]
        with inner:  # a bar within a bar
            logging.getLogger("orbax").error("slow %s", "disk")
        assert root.handlers == [elsewhere, outer]
    assert root.handlers == [elsewhere, *handlers, wrapped]
    assert text.getvalue().count("error from orbax: slow disk") == 1


def test_a_name_that_a_terminal_cannot_show_is_shown_in_part(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    console = make_console()
    say(console, "Straße")
    sys.stdout.flush()
    assert shown.getvalue() == b"Stra?e\n"


def test_no_text_steers_a_terminal() -> None:
    """Names of files and classes come from strangers."""
    text = io.StringIO()
    console = make_console(text)
    table = Table("class")
    table.add_row("a\x1b[2J\x1b]0;title\x07b\u202ec")
    for shown in ("x\x1b[31my\rz\x9b2J", Text("x\x1by"), table):
        console.print(shown)
    found = text.getvalue()
    assert not {"\x1b", "\r", "\x9b", "\x07", "\u202e"} & set(found)
    assert r"x\x1b[31my" in found
    assert r"a\x1b[2J" in found
    assert visible("a\tb\nä") == "a\tb\nä"


def test_notes_on_stderr_steer_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    note("a\x1b[2Jb\u061c\u2028.tif")
    assert capsys.readouterr().err == "a\\x1b[2Jb\\u061c\\u2028.tif\n"


def test_colours_of_ours_remain() -> None:
    text = io.StringIO()
    console = screen._PlainConsole(file=text, force_terminal=True, width=80)
    console.print(Text("red", style="red"))
    assert "\x1b[31mred" in text.getvalue()
