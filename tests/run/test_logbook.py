"""A run's history is one, its JSON is strict, its bar moves, and other processes stay silent."""

import io
import json
import logging
import math
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console
from rich.text import Text

from jaxseg.run.logbook import Logbook, seconds_left
from jaxseg.system.console import LogsAboveTheBar, clock, make_console, say, track


def recorded(workdir: Path) -> list[dict[str, object]]:
    """The lines of metrics.jsonl, parsed strictly."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def plain_console() -> tuple[Console, io.StringIO]:
    """A console as a file or pipe gives it."""
    text = io.StringIO()
    return make_console(text), text


def terminal(width: int = 100) -> tuple[Console, io.StringIO]:
    """A console as a terminal gives it."""
    text = io.StringIO()
    return Console(file=text, force_terminal=True, width=width, height=40, markup=False), text


def test_every_number_is_on_disk_as_soon_as_it_is_told(tmp_path: Path) -> None:
    console, _ = plain_console()
    with Logbook(tmp_path / "new" / "run", total_steps=10, console=console) as log:
        log.training(5, {"loss": jnp.float32(0.5), "gradient_norm": 2})
        log.validation(5, {"miou": 0.25})
        first, second = recorded(tmp_path / "new" / "run")
    assert (first["step"], first["kind"], first["loss"]) == (5, "train", 0.5)
    assert first["gradient_norm"] == 2.0
    assert (second["kind"], second["miou"]) == ("validation", 0.25)
    assert abs(float(str(second["time"])) - time.time()) < 60


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_null(tmp_path: Path, number: float) -> None:
    console, text = plain_console()
    with Logbook(tmp_path, total_steps=10, console=console) as log:
        log.training(1, {"loss": number})
    assert recorded(tmp_path)[0]["loss"] is None
    assert f"loss {number:.4f}" in text.getvalue()


def test_a_resumed_run_has_one_history(tmp_path: Path) -> None:
    console, _ = plain_console()
    with Logbook(tmp_path, total_steps=40, console=console) as log:
        for step in (10, 20, 30):
            log.training(step, {"loss": 1.0})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "los')  # the kill came in the middle of a line
    with Logbook(tmp_path, total_steps=40, start_step=20, console=console) as log:
        log.training(30, {"loss": 2.0})
    assert [(row["step"], row["loss"]) for row in recorded(tmp_path)] == [(10, 1), (20, 1), (30, 2)]


def test_a_line_torn_before_the_resumed_step_does_not_stop_the_run(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "kind": "train"}\n{"st\n')
    console, _ = plain_console()
    with Logbook(tmp_path, total_steps=4, start_step=2, console=console) as log:
        log.training(3, {"loss": 1.0})
    assert [row["step"] for row in recorded(tmp_path)] == [1, 3]


def test_damaged_lines_are_left_out_and_put_aside(tmp_path: Path) -> None:
    console, text = plain_console()
    with Logbook(tmp_path, total_steps=40, console=console) as log:
        for step in (10, 20, 30):
            log.training(step, {"loss": 1.0})
    file = tmp_path / "metrics.jsonl"
    damaged = file.read_bytes().replace(b'"loss": 1.0', b'"loss": 9.0', 1) + b"\xff\n[]\n"
    file.write_bytes(damaged)
    with Logbook(tmp_path, total_steps=40, start_step=30, console=console) as log:
        log.training(40, {"loss": 2.0})
    assert [(row["step"], row["loss"]) for row in recorded(tmp_path)] == [(20, 1), (30, 1), (40, 2)]
    assert (tmp_path / "metrics.jsonl.damaged").read_bytes() == damaged
    assert f"3 of the 5 lines of {file} are damaged and left out" in text.getvalue()


def test_what_is_in_the_place_of_the_files_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").mkdir()
    (tmp_path / "tensorboard").write_text("a file")
    console, text = plain_console()
    with Logbook(tmp_path, total_steps=40, console=console) as log:
        log.training(10, {"loss": 1.0})
    assert [row["step"] for row in recorded(tmp_path)] == [10]
    assert list((tmp_path / "tensorboard").iterdir())
    assert text.getvalue().count("is put aside as") == 2


def test_a_process_that_is_not_the_first_writes_nothing(tmp_path: Path) -> None:
    console, text = plain_console()
    with Logbook(tmp_path / "run", total_steps=10, active=False, console=console) as log:
        log.summary({"devices": 8})
        log.doing("compiling")
        log.say("hello")
        log.advance(1)
        log.training(1, {"loss": 1.0})
        log.validation(1, {"miou": 1.0})
        log.image(1, "tile", np.zeros((4, 4, 3), np.uint8))
        assert list(log.track(range(3), "validation", total=3)) == [0, 1, 2]
    assert text.getvalue() == ""
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_gets_the_scalars_and_the_images(tmp_path: Path) -> None:
    console, _ = plain_console()
    with Logbook(tmp_path, total_steps=10, start_step=3, console=console) as log:
        log.training(4, {"loss": 0.5, "broken": math.nan})
        log.image(4, "tiles/worst", np.zeros((6, 8, 3), np.uint8))
    (events,) = (tmp_path / "tensorboard").iterdir()
    content = events.read_bytes()
    assert b"train/loss" in content
    assert b"train/broken" not in content
    assert b"tiles/worst" in content
    assert b"PNG" in content


def test_a_resumed_run_tells_tensorboard_what_to_forget(tmp_path: Path) -> None:
    console, _ = plain_console()
    with Logbook(tmp_path, total_steps=10, start_step=7, console=console) as log:
        writer = log._events
        assert writer.purge_step == 8


def test_without_a_terminal_there_is_one_plain_line_per_event(tmp_path: Path) -> None:
    console, text = plain_console()
    with Logbook(tmp_path, total_steps=1000, console=console) as log:
        log.summary({"devices": "8 x cpu", "data": "[red]LoveDA :water:" + "x" * 120})
        log.doing("compiling")
        for step in range(1, 201):
            log.advance(step)
        numbers = {"loss": 0.5, "miou": 0.712, "images_per_second": 1234.5, "waiting": 0.034}
        log.training(100, numbers | {"learning_rate": 1.0})
        log.training(200, numbers)
        log.validation(200, {"miou": 0.5, "kappa": 0.25, "iou/water": 0.1})
    assert "\x1b" not in text.getvalue()
    lines = text.getvalue().splitlines()
    assert lines[0] == "devices  8 x cpu"
    assert lines[1] == "data     [red]LoveDA :water:" + "x" * 120
    assert lines[2] == "compiling ..."
    assert lines[3] == "step 100/1000  loss 0.5000  mIoU 71.2%  1,234 images/s  waiting 3%"
    assert lines[4].startswith(lines[3].replace("100/", "200/") + "  ETA 0:0")
    assert lines[5] == "step 200/1000  validation  mIoU 50.0%  kappa 0.250"
    assert len(lines) == 6


@pytest.mark.parametrize("width", [60, 80, 100])
def test_on_a_terminal_everything_fits_its_width(tmp_path: Path, width: int) -> None:
    console, text = terminal(width)
    with Logbook(tmp_path, total_steps=300_000, start_step=1000, console=console) as log:
        log.summary({"devices": "8 x TPU v5e", "workdir": "/a" * 90})
        numbers = {"loss": 0.5, "miou": 0.712, "images_per_second": 12345.6, "waiting": 0.034}
        for step in (1010, 1020):
            log.training(step, numbers)
        for _ in log.track(range(2), "validation", total=2):
            log._progress.refresh()
        note = log._progress.tasks[0].fields["note"]
    assert "loss 0.5000" in note
    assert "ETA" in note
    assert ("waiting 3%" in note) == (width == 100)
    shown = [Text.from_ansi(line).plain for line in text.getvalue().splitlines()]
    assert max(map(len, shown)) <= width
    assert any("1020/300000" in line and note in line for line in shown)
    assert any("validation" in line and "1/2" in line for line in shown)


def test_the_bar_is_there_before_the_first_step(tmp_path: Path) -> None:
    console, text = terminal()
    with Logbook(tmp_path, total_steps=7, console=console) as log:
        log.doing("compiling")
        log._progress.refresh()
        assert "compiling" in text.getvalue()
        assert "0/7" in text.getvalue()


def test_a_second_bar_comes_and_goes_with_the_validation(tmp_path: Path) -> None:
    console, _ = terminal()
    with Logbook(tmp_path, total_steps=7, console=console) as log:
        seen = []
        for item in log.track("abc", "validation", total=3):
            seen.append(item)
            assert log._progress.tasks[1].description == "validation"
        assert seen == ["a", "b", "c"]
        assert len(log._progress.tasks) == 1


def test_a_log_record_goes_above_the_bar_and_its_handler_returns_after_it() -> None:
    console, text = terminal()
    root = logging.getLogger()
    handler = logging.StreamHandler(sys.stderr)
    root.addHandler(handler)
    try:
        with LogsAboveTheBar(console):
            assert handler not in root.handlers
            logging.getLogger("orbax").warning("slow [bold] disk")
        assert handler in root.handlers
    finally:
        root.removeHandler(handler)
    assert "warning from orbax: slow [bold] disk" in text.getvalue()


def test_the_files_close_and_the_handlers_return_after_an_error(tmp_path: Path) -> None:
    console, _ = terminal()
    before = list(logging.getLogger().handlers)
    with (
        pytest.raises(FloatingPointError),
        Logbook(tmp_path, total_steps=9, console=console) as log,
    ):
        raise FloatingPointError
    assert log._lines.closed
    assert logging.getLogger().handlers == before


def test_the_time_left_is_the_pace_of_the_marks_times_the_steps_left() -> None:
    assert seconds_left([(100.0, 10), (110.0, 15), (130.0, 20)], 22, 32) == pytest.approx(30.0)
    assert seconds_left([(100.0, 10)], 10, 20) is None
    assert seconds_left([(100.0, 10), (101.0, 10)], 10, 20) is None
    assert seconds_left([(0.0, 0), (1.0, 10)], 30, 20) == 0.0


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.4, "0:00:00"), (3599.6, "1:00:00"), (360_061, "100:01:01")]
)
def test_a_clock_shows_hours_minutes_seconds(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_tracking_without_a_terminal_tells_the_beginning_and_yields_all() -> None:
    console, text = plain_console()
    assert list(track(iter("abc"), "tiles", total=3, console=console)) == ["a", "b", "c"]
    assert text.getvalue() == "tiles of 3 ...\n"


def test_tracking_without_a_terminal_tells_again_when_it_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ticks = iter(range(0, 1000, 6))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(ticks)))
    console, text = plain_console()
    list(track(range(4), "tiles", total=4, console=console))
    assert text.getvalue().splitlines()[1:] == ["tiles 1/4  ETA 0:00:36", "tiles 3/4  ETA 0:00:08"]


def test_a_line_is_shown_as_it_is() -> None:
    console, text = plain_console()
    say(console, "[bold]/data/[x]:smile:[/bold] " + "y" * 200)
    assert text.getvalue() == "[bold]/data/[x]:smile:[/bold] " + "y" * 200 + "\n"
