"""A run survives: killed, stopped, damaged or moved to other devices, it ends as it should."""

import contextlib
import dataclasses
import gzip
import io
import itertools
import json
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from fixtures import painted
from fixtures.metric_lines import metric_lines
from fixtures.recorded_tracker import Recorded

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.optimizer import Optimizer
from jaxseg.run import training
from jaxseg.run.evaluator import Evaluator
from jaxseg.run.step import TrainState
from jaxseg.run.stopping import stop_requests
from jaxseg.run.trackers import watched
from jaxseg.sharding import MeshShape, make_mesh


def test_a_state_beyond_use_stops_the_run_with_the_name_of_its_leaf(
    small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimizer = Optimizer(learning_rate=1e38, schedule="constant", clip=None)
    kept = Kept()
    monkeypatch.setattr(training, "Checkpoints", kept)
    with pytest.raises(
        UserError, match=r"^params/sure reaches 1e\+38, .* at step 1; this state was"
    ):
        training.train(dataclasses.replace(small, optimizer=optimizer), tmp_path / "run")
    assert kept.saved == {}


@pytest.fixture
def small() -> Config:
    return painted.seven_steps()


class Kept:
    """Stands for the checkpoints of a run: keeps what is saved in memory."""

    def __init__(self, config: Config | None = None, state: TrainState | None = None) -> None:  # noqa: D107
        self.stored, self.state = config, state
        self.saved: dict[int, tuple[TrainState, float | None]] = {}

    def __call__(  # noqa: D102
        self, workdir: Path, *, keep: int, repair: bool, code: object, failed: object
    ) -> "Kept":
        assert (keep, repair) == (2, True)
        (workdir / "checkpoints").mkdir(exist_ok=True)
        return self

    def __enter__(self) -> "Kept":  # noqa: D105
        return self

    def __exit__(self, *_: object) -> None:  # noqa: D105
        pass

    def stored_config(self) -> Config | None:  # noqa: D102
        return self.stored

    def restore_newest(  # noqa: D102
        self, abstract: TrainState, suspect: Mapping[int, str]
    ) -> tuple[TrainState | None, list[str]]:
        assert not suspect
        if self.state is None:
            return None, []
        place = jax.tree.map(lambda leaf: leaf.sharding, abstract)
        return jax.device_put(self.state, place), ["checkpoint 6 cannot be read"]

    def failed(self) -> bool:  # noqa: D102
        return False

    def wait(self) -> None:  # noqa: D102
        pass

    def save(self, state: TrainState, config: Config, miou: float | None) -> None:  # noqa: D102
        self.stored = config
        self.saved[int(state.step)] = jax.device_get(state), miou


class Trained(NamedTuple):
    """A run that ended: where, its last state, what it saved and what it printed."""

    workdir: Path
    final: TrainState
    kept: Kept
    said: str
    tracked: tuple[Any, ...]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    workdir, kept = tmp_path_factory.mktemp("trained") / "run", Kept()
    Recorded.calls, Recorded.fails = [], {}
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()) as said,
    ):
        patch.setattr(training, "Checkpoints", kept)
        patch.setitem(watched.KINDS, "mlflow", Recorded)
        patch.setattr(training, "check_installed", lambda kind: None)
        final = training.train(painted.seven_steps(), workdir, profile=2, track="mlflow")
    return Trained(workdir, final, kept, said.getvalue(), tuple(Recorded.calls))


def test_a_tracker_gets_config_numbers_tables_and_the_checkpoints_path(trained: Trained) -> None:
    (_, known, config), *calls, last = trained.tracked
    assert (known, config["num_steps"], last) == ("", 7, ("finish",))
    numbers = [(step, set(values)) for name, step, values in calls_of(calls, "numbers")]
    assert [step for step, _ in numbers] == [3, 4, 6, 7, 7]
    assert {"train/loss", "train/images_per_second"} <= numbers[0][1]
    assert "validation/miou" in numbers[1][1]
    tables = calls_of(calls, "table")
    assert [(step, name) for _, step, name, _ in tables] == [
        (4, "validation/classes"), (7, "validation/classes"),
    ]  # fmt: skip
    assert tables[0][3][0][:2] == ["class", "iou"]
    folder = trained.workdir.absolute() / "checkpoints"
    assert calls_of(calls, "checkpoint") == [
        ("checkpoint", 5, folder / "5"), ("checkpoint", 7, folder / "7"),
    ]  # fmt: skip


def calls_of(calls: Sequence[Any], name: str) -> list[Any]:
    return [call for call in calls if call[0] == name]


def test_a_run_logs_validates_and_saves_at_its_intervals(trained: Trained) -> None:
    assert int(trained.final.step) == 7
    assert list(metric_lines(trained.workdir, "train")) == [3, 6, 7]
    validated = metric_lines(trained.workdir, "validation")
    assert list(validated) == [4, 7]
    saved = {step: miou for step, (_, miou) in trained.kept.saved.items()}
    assert saved == {5: None, 7: validated[7]["miou"]}


def test_a_run_records_the_steps_that_are_asked_for(trained: Trained) -> None:
    (file,) = trained.workdir.glob("profile/plugins/profile/*/perfetto_trace.json.gz")
    events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    steps = {event["args"]["step_num"] for event in events if event.get("name") == "train"}
    assert steps == {"2", "3"}


def test_a_run_validates_as_it_is_evaluated(small: Config, trained: Trained) -> None:
    mesh = sharding.make_mesh(small.mesh)
    counted = Evaluator(small, mesh, "validation")(trained.final)
    logged = metric_lines(trained.workdir, "validation")[7]
    assert logged["miou"] == counted.scores.miou
    assert logged["kappa"] == counted.scores.kappa


def test_a_run_logs_numbers_and_pictures(trained: Trained) -> None:
    logged = metric_lines(trained.workdir, "train")[3]
    assert {"loss", "loss/ce", "grad_norm", "learning_rate", "miou"} <= logged.keys()
    assert logged["images_per_second"] > 0
    (events,) = (trained.workdir / "tensorboard").iterdir()
    assert b"validation/split_1_scene_0__row_0__column_0" in events.read_bytes()


@pytest.mark.parametrize(
    "line",
    [
        "num_steps = 7",
        "and the defaults of everything else",
        "devices    8 x cpu",
        "mesh       data 8, fsdp 1, space 1",
        "network    Told, 1 parameters",
        "weights    from scratch, seed 0",
        "data       Painted, 2 training scenes, 2 bands, 3 classes",
        "batch      8 windows of 8 x 8 pixels",
        "steps      0 to 7",
        "step 3/7",
        "validating ...",
    ],
)
def test_a_run_says_what_it_does(trained: Trained, line: str) -> None:
    assert line in trained.said


def test_a_run_that_was_killed_goes_on_with_the_batches_that_were_to_come(
    small: Config,
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(trained.workdir, workdir)
    kept = Kept(trained.kept.stored, trained.kept.saved[5][0])
    monkeypatch.setattr(training, "Checkpoints", kept)
    again = training.train(small, workdir)
    np.testing.assert_array_equal(again.params["sure"], trained.final.params["sure"])
    assert int(again.step) == 7
    said = capsys.readouterr().out
    assert "Skipped: checkpoint 6 cannot be read." in said
    assert "weights    continued from the newest checkpoint" in said
    assert "steps      5 to 7" in said
    assert list(metric_lines(workdir, "train")) == [3, 6, 7]


def test_a_complete_run_does_nothing_more_and_no_other_config_continues_it(
    small: Config,
    trained: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kept = Kept(trained.kept.stored, trained.kept.saved[7][0])
    monkeypatch.setattr(training, "Checkpoints", kept)
    assert int(training.train(small, tmp_path / "run").step) == 7
    assert "is complete: 7 of 7 steps" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(UserError, match=r"another config.*\n  seed: 0 -> 1\n.*another --workdir"):
        training.train(dataclasses.replace(small, seed=1), tmp_path / "run")


def test_a_run_that_is_asked_to_stop_saves_logs_and_says_so(
    small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept()
    monkeypatch.setattr(training, "Checkpoints", kept)

    @contextmanager
    def at_two(*_: object) -> Iterator[Callable[[], bool]]:
        asked = itertools.count(1)
        yield lambda: next(asked) >= 2

    monkeypatch.setattr(training, "stop_requests", at_two)
    with pytest.raises(training.Interrupted, match="Stopped at step 2; the state is saved"):
        training.train(small, tmp_path)
    assert list(kept.saved) == [2]
    assert list(metric_lines(tmp_path, "train")) == [2]
    assert metric_lines(tmp_path, "validation") == {}
    # In the last step there is nothing left to stop.
    monkeypatch.setattr(training, "Checkpoints", Kept())
    short = dataclasses.replace(small, num_steps=2)
    assert int(training.train(short, tmp_path / "short").step) == 2


def test_a_run_that_is_asked_to_stop_while_it_validates_saves_at_once(
    small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def at_four(*_: object) -> Iterator[Callable[[], bool]]:
        asked = itertools.count(1)
        yield lambda: next(asked) >= 4

    kept = Kept()
    monkeypatch.setattr(training, "Checkpoints", kept)
    monkeypatch.setattr(training, "stop_requests", at_four)
    small = dataclasses.replace(small, eval_every=2, num_steps=3)
    with pytest.raises(training.Interrupted, match="Stopped at step 2; the state is saved"):
        training.train(small, tmp_path)  # 3, 4: its batches
    assert {step: miou for step, (_, miou) in kept.saved.items()} == {2: None}
    assert metric_lines(tmp_path, "validation") == {}

    # It is validated when the run goes on, however often it does.
    monkeypatch.setattr(training, "stop_requests", stop_requests)
    for _ in range(2):
        monkeypatch.setattr(training, "Checkpoints", Kept(kept.stored, kept.saved[2][0]))
        training.train(small, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert [row["step"] for row in rows if row["kind"] == "validation"] == [2, 3]


def test_signals_ask_to_stop_and_their_handlers_come_back() -> None:
    asking = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = [signal.getsignal(number) for number in asking]
    for number in asking:
        with stop_requests(make_mesh(MeshShape())) as requested:
            assert not requested()
            signal.raise_signal(number)
            assert requested()
            signal.raise_signal(signal.SIGTERM)  # again: it is stopping already
            signal.raise_signal(signal.SIGUSR1)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(number) for number in asking] == before
