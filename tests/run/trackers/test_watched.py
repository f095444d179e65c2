"""Whatever a tracker does, a run goes on, with one warning; one that continues finds its own."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fixtures.recorded_tracker import Recorded

from jaxseg.errors import UserError
from jaxseg.run.logbook import Logbook
from jaxseg.run.trackers import watched
from jaxseg.run.trackers.watched import Watched, check_installed
from jaxseg.system import side_files
from jaxseg.system.console import make_console


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Recorded]]:
    # One class for each test: a tracker that hung in the one before writes into its own.
    own = type("Own", (Recorded,), {"calls": [], "fails": {}})
    monkeypatch.setitem(watched.KINDS, "mlflow", own)
    yield own
    for fault in own.fails.values():
        if isinstance(fault, threading.Event):
            fault.set()


def run(workdir: Path, step: int = 3) -> None:
    """What a training tells its logbook."""
    console = make_console()
    with Logbook(
        workdir,
        total_steps=9,
        start_step=step - 1,
        console=console,
        track="mlflow",
        config={"a": 1},
    ) as log:
        log.training(step, {"loss": 0.5, "odd": float("nan")})
        log.validation(step, {"miou": 0.25})
        log.table(step, "validation/classes", [["class", "iou"], ["land", "0.5"]])
        log.image(step, "map", np.zeros((4, 5, 3), np.uint8))
        log.checkpoint(step, workdir / "checkpoints" / str(step))


def test_a_tracker_gets_what_the_logbook_gets(tmp_path: Path, recorded: type[Recorded]) -> None:
    run(tmp_path)
    assert recorded.calls == [
        ("start", "", {"a": 1}),
        ("numbers", 3, {"train/loss": 0.5}),
        ("numbers", 3, {"validation/miou": 0.25}),
        ("table", 3, "validation/classes", [["class", "iou"], ["land", "0.5"]]),
        ("picture", 3, "map", (4, 5, 3)),
        ("checkpoint", 3, tmp_path / "checkpoints" / "3"),
        ("finish",),
    ]
    assert side_files.read(tmp_path / watched.FILE) == {"mlflow": "new"}


def test_a_run_that_continues_finds_its_own_and_keeps_those_of_others(
    tmp_path: Path, recorded: type[Recorded]
) -> None:
    (tmp_path / watched.FILE).write_text('{"wandb": "abc"}')
    run(tmp_path)
    recorded.calls.clear()
    run(tmp_path, step=4)
    assert recorded.calls[0] == ("start", "new", {"a": 1})
    assert side_files.read(tmp_path / watched.FILE) == {"wandb": "abc", "mlflow": "new"}


@pytest.mark.parametrize("where", ["start", "numbers", "picture", "finish"])
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (ConnectionError("no route\nto host"), "ConnectionError: no route."),
        (OSError(28, "No space left on device"), "No space left on device."),
        (SystemExit(1), "SystemExit: 1."),
        (PermissionError(), "PermissionError: without a reason."),
    ],
)
def test_a_tracker_that_raises_is_warned_of_once(
    tmp_path: Path,
    recorded: type[Recorded],
    capfd: pytest.CaptureFixture[str],
    where: str,
    fault: BaseException,
    said: str,
) -> None:
    recorded.fails[where] = fault
    run(tmp_path)
    text = " ".join("".join(capfd.readouterr()).split())
    assert text.count("the run goes on without its tracker mlflow") == 1
    assert said in text
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("where", ["start", "numbers", "finish"])
def test_a_tracker_that_hangs_is_left_behind(
    tmp_path: Path, recorded: type[Recorded], where: str
) -> None:
    recorded.fails[where] = threading.Event()
    said: list[str] = []
    tracker = Watched("mlflow", tmp_path, {}, said.append, patience=0.1)
    tracker.send(lambda t: t.numbers(1, {}))
    tracker.close()
    assert tracker.lost
    assert len(said) == 1
    assert "has not finished in 0.1 s" in said[0]


def test_a_tracker_that_does_not_keep_up_is_left_behind(
    tmp_path: Path, recorded: type[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "ROOM", 5)
    recorded.fails["start"] = threading.Event()
    said: list[str] = []
    tracker = Watched("mlflow", tmp_path, {}, said.append)
    for step in range(9):
        tracker.send(lambda t, step=step: t.numbers(step, {}))
    tracker.close()
    assert len(said) == 1
    assert "does not keep up, 5 messages wait" in said[0]


def test_other_processes_track_nothing(tmp_path: Path, recorded: type[Recorded]) -> None:
    with Logbook(tmp_path, total_steps=9, active=False, track="mlflow") as log:
        log.training(1, {"loss": 1.0})
        log.table(1, "t", [["a"]])
        log.checkpoint(1, tmp_path)
    assert not recorded.calls


def test_a_missing_package_is_said_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_installed("")
    with pytest.raises(UserError, match=r"pip install 'jaxseg\[wandb\]'"):
        check_installed("wandb")
