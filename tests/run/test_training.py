"""A run survives: killed, stopped, damaged or moved to other devices, it ends as it should."""

import contextlib
import dataclasses
import gzip
import io
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures import painted
from fixtures.compiler import IN_A_HURRY
from fixtures.places import ROOT
from fixtures.recorded_tracker import Recorded

from jaxseg import config as configs
from jaxseg.config import Config
from jaxseg.datasets.paired import Paired
from jaxseg.errors import UserError
from jaxseg.losses.distillation import Distillation
from jaxseg.models.parts.normalisation import Normalisation
from jaxseg.optimizer import Optimizer
from jaxseg.run import checkpoint, completion, training
from jaxseg.run.evaluator import Evaluator
from jaxseg.run.logbook import Logbook
from jaxseg.run.step import TrainState, init_state
from jaxseg.run.stopping import stop_requests
from jaxseg.run.trackers import watched
from jaxseg.scenes.agreement import SensorError
from jaxseg.scenes.sensor import Sensor
from jaxseg.sharding import MeshShape, make_mesh
from jaxseg.transforms.radiometry import Standardize

ONE_DEVICE = {"XLA_FLAGS": IN_A_HURRY, "JAX_PLATFORMS": "cpu"}


def start(tiny: Path, workdir: Path, *flags: str) -> subprocess.Popen[str]:
    """`python train.py` on the tiny folder and one device, in its own process."""
    command = [
        *(sys.executable, str(ROOT / "train.py"), "--config", str(tiny / "config.py")),
        *("--workdir", str(workdir), "--config.mesh.data", "1", "--config.mesh.space", "1", *flags),
    ]
    environment = os.environ | ONE_DEVICE | {"XDG_CACHE_HOME": str(tiny / "cache")}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == code, output
    return output


def wait_for_step(workdir: Path, number: int) -> None:
    """Until the log has a line of step `number` or a later one."""
    path = workdir / "metrics.jsonl"
    for _ in range(3000):
        lines = path.read_text().splitlines() if path.exists() else []
        if lines and json.loads(lines[-1])["step"] >= number:
            return
        time.sleep(0.02)
    raise AssertionError(f"step {number} never came")


def final(workdir: Path) -> list[np.ndarray]:
    config, state = checkpoint.reopen(workdir, MeshShape(), "latest")
    assert int(state.step) == config.num_steps
    return [np.asarray(leaf) for leaf in jax.tree.leaves(state)]


def assert_same(one: list[np.ndarray], other: list[np.ndarray]) -> None:
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def finished(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workdir of an uninterrupted run."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    output = finish(start(tiny, workdir))
    assert "step 12/12" in output
    assert max(map(len, output.splitlines())) <= 100 or str(workdir) in output
    return workdir


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits(tiny: Path, finished: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    for step in (4, 8):
        process = start(tiny, workdir)
        wait_for_step(workdir, step)
        process.kill()
        process.communicate()
    output = finish(start(tiny, workdir))
    assert "continued from the newest checkpoint" in output
    assert_same(final(workdir), final(finished))
    steps = [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").open()]
    assert steps == sorted(steps)  # one history, although three processes wrote it


@pytest.mark.slow
def test_sigterm_saves_and_exits_and_the_run_continues(
    tiny: Path, finished: Path, tmp_path: Path
) -> None:
    workdir = tmp_path / "run"
    process = start(tiny, workdir, "--config.save-every", "100")
    wait_for_step(workdir, 4)
    process.send_signal(signal.SIGTERM)
    assert "the state is saved" in finish(process, code=130)
    assert (workdir / "checkpoints").exists()
    finish(start(tiny, workdir, "--config.save-every", "100"))
    assert_same(final(workdir), final(finished))


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(
    tiny: Path, finished: Path, tmp_path: Path
) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    newest = workdir / "checkpoints" / "12" / "state"
    for file in newest.rglob("*"):
        if file.is_file() and file.stat().st_size > 10_000:
            os.truncate(file, file.stat().st_size // 2)
    output = finish(start(tiny, workdir))
    assert "checkpoint 12 cannot be read" in output
    assert "9 to 12" in output


@pytest.mark.slow
def test_a_finished_run_says_so(tiny: Path, finished: Path) -> None:
    output = finish(start(tiny, finished))
    assert "is complete: 12 of 12 steps" in output


@pytest.mark.slow
def test_a_changed_config_refuses_to_resume_and_lists_the_fields(
    tiny: Path, finished: Path
) -> None:
    flags = ("--config.optimizer.learning-rate", "0.5", "--config.model.features", "8")
    output = finish(start(tiny, finished, *flags), code=2)
    assert "optimizer.learning_rate: 0.003 -> 0.5" in output
    assert "model.features: 4 -> 8" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_a_run_continues_on_other_devices(tiny: Path, finished: Path, tmp_path: Path) -> None:
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    shutil.rmtree(workdir / "checkpoints" / "12")
    config = configs.load_config(str(tiny / "config.py"))  # data 4, space 2
    state = training.train(config, workdir)
    assert int(state.step) == 12
    for ours, theirs in zip(jax.tree.leaves(state), final(finished), strict=True):
        np.testing.assert_allclose(np.asarray(ours), theirs, rtol=0.05, atol=2e-3)


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


def test_a_network_of_another_number_of_classes_is_refused(tiny: Path, tmp_path: Path) -> None:
    flags = ["--config.model.num-classes", "7"]
    config = configs.override(configs.load_config(str(tiny / "config.py")), flags, "test")
    with pytest.raises(UserError, match=r"--config.model.num-classes 3"):
        training.train(config, tmp_path / "run")


@pytest.mark.slow
def test_a_run_starts_from_another_run(tiny: Path, finished: Path, tmp_path: Path) -> None:
    flags = ["--config.init-from", str(finished), "--config.num-steps", "3"]
    config = configs.override(configs.load_config(str(tiny / "config.py")), flags, "test")
    config = completion.completed(config)
    state, origin = training._initialised(config, training.sharding.make_mesh(config.mesh), ())
    assert str(finished) in origin
    _, other = checkpoint.reopen(finished, MeshShape())
    for ours, theirs in zip(jax.tree.leaves(state.params), jax.tree.leaves(other.ema), strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def seven_steps() -> Config:
    """A run of seven steps that compiles in a moment, of one parameter."""
    config = painted.config(num_steps=7, log_every=3, eval_every=4, save_every=5)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=8))


@pytest.fixture
def small() -> Config:
    return seven_steps()


class Kept:
    """Stands for the checkpoints of a run: keeps what is saved in memory."""

    def __init__(self, config: Config | None = None, state: TrainState | None = None) -> None:  # noqa: D107
        self.stored, self.state = config, state
        self.saved: dict[int, tuple[TrainState, float | None]] = {}

    def __call__(self, workdir: Path, *, keep: int, repair: bool, code: object) -> "Kept":  # noqa: D102
        assert (keep, repair) == (2, True)
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

    def wait(self) -> None:  # noqa: D102
        pass

    def save(self, state: TrainState, config: Config, miou: float | None) -> None:  # noqa: D102
        self.stored = config
        self.saved[int(state.step)] = jax.device_get(state), miou


def lines(workdir: Path, kind: str) -> dict[int, dict[str, float]]:
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").open()]
    return {row["step"]: row for row in rows if row["kind"] == kind}


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
        final = training.train(seven_steps(), workdir, profile=2, track="mlflow")
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
    assert list(lines(trained.workdir, "train")) == [3, 6, 7]
    validated = lines(trained.workdir, "validation")
    assert list(validated) == [4, 7]
    saved = {step: miou for step, (_, miou) in trained.kept.saved.items()}
    assert saved == {5: None, 7: validated[7]["miou"]}


def test_a_run_records_the_steps_that_are_asked_for(trained: Trained) -> None:
    (file,) = trained.workdir.glob("profile/plugins/profile/*/perfetto_trace.json.gz")
    events = json.loads(gzip.decompress(file.read_bytes()))["traceEvents"]
    steps = {event["args"]["step_num"] for event in events if event.get("name") == "train"}
    assert steps == {"2", "3"}


def test_a_run_validates_as_it_is_evaluated(small: Config, trained: Trained) -> None:
    mesh = training.sharding.make_mesh(small.mesh)
    counted = Evaluator(small, mesh, "validation")(trained.final)
    logged = lines(trained.workdir, "validation")[7]
    assert logged["miou"] == counted.scores.miou
    assert logged["kappa"] == counted.scores.kappa


def test_a_run_logs_numbers_and_pictures(trained: Trained) -> None:
    logged = lines(trained.workdir, "train")[3]
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
    assert list(lines(workdir, "train")) == [3, 6, 7]


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
    def at_two(_: object) -> Iterator[Callable[[], bool]]:
        asked = itertools.count(1)
        yield lambda: next(asked) >= 2

    monkeypatch.setattr(training, "stop_requests", at_two)
    with pytest.raises(training.Interrupted, match="Stopped at step 2; the state is saved"):
        training.train(small, tmp_path)
    assert list(kept.saved) == [2]
    assert list(lines(tmp_path, "train")) == [2]
    assert lines(tmp_path, "validation") == {}
    # In the last step there is nothing left to stop.
    monkeypatch.setattr(training, "Checkpoints", Kept())
    short = dataclasses.replace(small, num_steps=2)
    assert int(training.train(short, tmp_path / "short").step) == 2


def test_a_run_that_is_asked_to_stop_while_it_validates_saves_at_once(
    small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def at_four(_: object) -> Iterator[Callable[[], bool]]:
        asked = itertools.count(1)
        yield lambda: next(asked) >= 4

    kept = Kept()
    monkeypatch.setattr(training, "Checkpoints", kept)
    monkeypatch.setattr(training, "stop_requests", at_four)
    with pytest.raises(training.Interrupted, match="Stopped at step 2; the state is saved"):
        training.train(dataclasses.replace(small, eval_every=2), tmp_path)  # 3, 4: its batches
    assert {step: miou for step, (_, miou) in kept.saved.items()} == {2: None}
    assert lines(tmp_path, "validation") == {}


def test_signals_ask_to_stop_and_their_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    for number in (signal.SIGTERM, signal.SIGINT):
        with stop_requests(make_mesh(MeshShape())) as requested:
            assert not requested()
            signal.raise_signal(number)
            assert requested()
            signal.raise_signal(signal.SIGTERM)  # again: it is stopping already
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before


def metrics(loss: float, confusion: list[list[int]]) -> dict[str, Any]:
    return {
        "loss/ce": jnp.float32(loss / 2),
        "loss": jnp.float32(loss),
        "grad_norm": jnp.float32(1.0),
        "confusion": jnp.asarray(confusion, jnp.int32),
    }


def test_a_line_of_the_log_is_the_mean_of_its_steps_and_the_sum_of_their_pixels(
    small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([100.0, 104.0, 200.0, 206.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    steps = training._Steps(small, ("a", "b"))  # 100
    steps.add(4, metrics(1.0, [[3, 1], [0, 0]]))
    steps.check()  # 104: four seconds of work
    steps.skip_clock()  # 200: a validation took its time
    steps.add(5, metrics(3.0, [[0, 0], [2, 6]]))
    with Logbook(tmp_path, total_steps=9) as log:
        steps.write(log)  # 206
        steps.write(log)  # nothing has come since
    row = lines(tmp_path, "train")[5]
    assert (row["loss"], row["loss/ce"], row["grad_norm"]) == (2.0, 1.0, 1.0)
    assert row["miou"] == pytest.approx((3 / (4 + 5 - 3) + 6 / (8 + 7 - 6)) / 2)
    assert row["images_per_second"] == pytest.approx(2 * 8 / 10)
    assert row["waiting"] == 0
    assert "confusion" not in row
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1


def test_the_time_that_data_are_waited_for_is_told(
    small: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = training._Steps(small, ("a", "b"))
    began = time.perf_counter()
    clock = iter([10.0, 13.0, 20.0])
    monkeypatch.setattr(time, "perf_counter", lambda: began + next(clock))
    for number in (1, 2, 3):
        steps.add(number, metrics(1.0, [[1, 0], [0, 1]]))
    assert steps.next_batch(iter([{"image": "next"}])) == {"image": "next"}  # type: ignore[dict-item]
    with Logbook(tmp_path, total_steps=9) as log:
        steps.write(log)
    row = lines(tmp_path, "train")[3]
    assert row["waiting"] == pytest.approx(3 / 20, rel=0.02)
    assert row["images_per_second"] == pytest.approx(3 * 8 / 20, rel=0.02)


def test_what_is_not_finite_is_named_with_its_step_and_its_first_cause(small: Config) -> None:
    steps = training._Steps(small, ("a", "b"))
    steps.add(4, metrics(1.0, [[1, 0], [0, 1]]))
    steps.check()
    steps.add(5, metrics(float("nan"), [[1, 0], [0, 1]]) | {"grad_norm": jnp.float32("inf")})
    with pytest.raises(UserError, match=r"^loss/ce is nan at step 5; this state was not saved"):
        steps.check()


def test_batches_are_placed_one_ahead_in_their_order(small: Config) -> None:
    mesh = training.sharding.make_mesh(MeshShape())
    read: list[int] = []

    def batches() -> Iterator[dict[str, Any]]:
        for number in range(3):
            read.append(number)
            yield {"image": np.full((8, 2), number)}

    placed = training.on_devices(batches(), mesh)
    first = next(placed)
    assert read == [0, 1]
    assert isinstance(first["image"], jax.Array)
    assert [int(batch["image"][0, 0]) for batch in (first, *placed)] == [0, 1, 2]
    assert list(training.on_devices(iter([]), mesh)) == []


def opened(
    monkeypatch: pytest.MonkeyPatch, config: Config, state: TrainState
) -> list[tuple[object, ...]]:
    """Another run that is there to be opened; how it was."""
    asked: list[tuple[object, ...]] = []

    def reopen(*given: object, code: object) -> tuple[Config, TrainState]:
        asked.append(given)
        return config, state

    monkeypatch.setattr(training.checkpoint, "reopen", reopen)
    return asked


def test_weights_come_from_another_run_or_framework_or_from_scratch(
    small: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    mesh = training.sharding.make_mesh(small.mesh)
    averaged = dataclasses.replace(small, optimizer=dataclasses.replace(small.optimizer, ema=0.9))
    scratch, origin = training._initialised(averaged, mesh, ())
    assert origin == "from scratch, seed 0"
    assert float(scratch.params["sure"]) == 2.0

    def sure(tree: Any) -> float:
        return float(tree["sure"])

    one, two = ({"sure": jnp.float32(number)} for number in (5.0, 7.0))
    other = scratch.replace(params=one, ema=None, step=jnp.int32(9))
    asked = opened(monkeypatch, small, other)
    state, origin = training._initialised(
        dataclasses.replace(averaged, init_from="first"), mesh, ()
    )
    assert asked == [(Path("first"), small.mesh)]
    assert (origin, sure(state.params), sure(state.ema)) == ("from the run first", 5.0, 5.0)
    assert int(state.step) == 0  # the weights, not the run
    assert state.ema["sure"] is not state.params["sure"]  # both are donated
    opened(monkeypatch, small, other.replace(ema=two))
    state, _ = training._initialised(dataclasses.replace(small, init_from="first"), mesh, ())
    assert (sure(state.params), state.ema) == (7.0, None)
    opened(monkeypatch, small, other.replace(params={"sure": jnp.zeros(2)}))
    with pytest.raises(UserError, match="from the run first: its network is not this config's"):
        training._initialised(dataclasses.replace(small, init_from="first"), mesh, ())

    class Elsewhere:
        """Weights of another framework."""

        path, part = "unet.npz", "all"

        def into(self, model: Any, variables: Any, bands: tuple[str, ...]) -> Any:
            assert bands == ("answer", "class")
            assert model == small.model
            return variables | {"params": {"sure": variables["params"]["sure"] + 1}}

    config: Any = dataclasses.replace(small, pretrained=Elsewhere())
    state, origin = training._initialised(config, mesh, ())
    assert (origin, sure(state.params)) == ("from unet.npz (all)", 3.0)


PAINTED = painted.Painted()


def test_a_teacher_is_a_finished_run_of_the_same_classes_that_sees_what_it_saw(
    small: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert training.teacher_of(small, ()) is None
    sensor = dataclasses.replace(painted.Painted().sensor, typical=((0.0, 1.0, 2.0),) * 2)
    halve = (Standardize((0.0, 0.0), (2.0, 2.0)),)
    by_channels = Normalisation("group")
    finished = dataclasses.replace(small, sensor=sensor, preprocess=halve, norm=by_channels)
    state = init_state(small, 2, training.sharding.make_mesh(small.mesh))
    asked = opened(monkeypatch, finished, state.replace(ema={"sure": jnp.float32(4.0)}))
    data = dataclasses.replace(small.data, source=Paired(PAINTED, PAINTED))
    losses = small.loss | {"distillation": Distillation("first", logits=1.0)}
    config = dataclasses.replace(small, data=data, loss=losses)
    teacher = training.teacher_of(config, ())
    assert teacher is not None
    assert asked == [(Path("first"), small.mesh)]
    assert float(teacher.variables["params"]["sure"]) == 4.0
    assert teacher.norm == by_channels
    seen = teacher.preprocess(jnp.full((1, 2, 2, 2), 3.0), jnp.ones((1, 2, 2), bool))
    assert (seen == 1.5).all()

    def of(**changes: Any) -> Config:
        source = dataclasses.replace(Paired(PAINTED, PAINTED), **changes)
        return dataclasses.replace(config, data=dataclasses.replace(data, source=source))

    with pytest.raises(UserError, match=r"first has the classes land, water, ice; this run has l"):
        training.teacher_of(of(source=painted.Painted(classes=("land", "ice", "water"))), ())

    class Decibel(painted.Painted):
        """Other numbers."""

        @property
        def sensor(self) -> Sensor:
            return dataclasses.replace(super().sensor, bands=("answer", "height"))

    with pytest.raises(SensorError, match="The side source for the teacher first"):
        training.teacher_of(of(side=Decibel()), ())


def test_copies_of_a_training_scene_are_said_at_the_start(tiny: Path, tmp_path: Path) -> None:
    config = configs.load_config(str(tiny / "config.py"))
    assert training.looked_at(config) == []
    source: Any = config.data.source
    shutil.copytree(source.images, tmp_path / "images")
    shutil.copy(tmp_path / "images/scene0.png", tmp_path / "images/scene2.png")
    source = dataclasses.replace(source, images=str(tmp_path / "images"))
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, source=source))
    (line,) = training.looked_at(config)
    assert "scene0.png and " in line
    assert "scene2.png of the train split hold the same picture; 1 of 4 scenes" in line
