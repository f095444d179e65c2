"""A run goes on with other devices and processes, after a kill or a notice, as if nothing was."""

import functools
import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from fixtures import shallow
from fixtures.processes import JAXSEG, begun_together, joined

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.evaluation.evaluate import evaluate
from jaxseg.prediction.archive import SceneFiles
from jaxseg.prediction.predict import Mapper
from jaxseg.prediction.settings import Settings
from jaxseg.run import checkpoint, loaded, training
from jaxseg.run.step import TrainState
from jaxseg.sharding import MeshShape

CODE = (shallow,)


def losses(workdir: Path) -> dict[int, float]:
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").open()]
    return {row["step"]: row["loss"] for row in rows if row["kind"] == "train"}


def trained_on(
    devices: int, config: Config, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> TrainState:
    """Trains or continues on the first of the eight devices."""
    some = functools.partial(sharding.make_mesh, devices=jax.devices()[:devices])
    monkeypatch.setattr(training.sharding, "make_mesh", some)
    state = training.train(config, workdir, CODE)
    monkeypatch.undo()
    return state


def latest(workdir: Path) -> TrainState:
    return checkpoint.reopen(workdir, MeshShape(), "latest", CODE)[1]


def assert_close(one: TrainState, other: TrainState, atol: float) -> None:
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=0, atol=atol)


def copied(workdir: Path, name: str) -> Path:
    return Path(shutil.copytree(workdir, workdir.with_name(name)))


@pytest.mark.slow
def test_saved_on_eight_devices_and_continued_on_one_two_and_four(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Any] = []
    original = training.pipeline.training_batches

    def noted(*given: Any, **named: Any) -> Any:
        for batch in original(*given, **named):
            read.append(batch["label"])
            yield batch

    def continued(devices: int, steps: int, workdir: Path) -> tuple[TrainState, list[Any]]:
        read.clear()
        with monkeypatch.context() as patch:
            patch.setattr(training.pipeline, "training_batches", noted)
            state = trained_on(devices, shallow.config(str(tiny), num_steps=steps), workdir, patch)
        return state, list(read)

    continued(8, 3, tmp_path / "eight")
    others = {devices: copied(tmp_path / "eight", str(devices)) for devices in (4, 2, 1)}
    eight, order = continued(8, 6, tmp_path / "eight")
    assert len(order) == 3
    for devices, workdir in others.items():
        state, again = continued(devices, 6, workdir)
        np.testing.assert_array_equal(order, again)
        assert losses(workdir) == pytest.approx(losses(tmp_path / "eight"), rel=1e-5)
        assert list(losses(workdir)) == [1, 2, 3, 4, 5, 6]
        assert_close(state, eight, 1e-5)


def command(tiny: Path, workdir: Path, steps: int, *flags: str) -> list[str]:
    file = shallow.config_file(tiny, workdir.parent)
    given = ("--config", str(file), "--workdir", str(workdir), "--config.num-steps", str(steps))
    kept = ("--config.save-every", "2", "--config.log-every", "1", "--config.eval-every", "1000")
    return [*JAXSEG, "train", *given, *kept, *flags]


def wait_for(folder: Path) -> None:
    until = time.monotonic() + 200
    while not folder.exists():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.slow
def test_four_processes_are_killed_go_on_and_equal_an_undisturbed_job_and_one_process(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, undisturbed = tmp_path / "run", tmp_path / "undisturbed"
    running = begun_together(command(tiny, run, 5000), tiny, 4)
    wait_for(run / "checkpoints" / "4")
    running[2].kill()
    for number in (0, 1, 3):
        said, _ = running[number].communicate(timeout=60)
        if running[number].returncode == -signal.SIGABRT:  # docs/guides/many-processes.md
            assert "the JAX distributed service detected fatal errors" in said
            continue
        assert running[number].returncode == 3, said
        assert said.count(f"Process {number} of 4 has ended, because devices could not") == 1
        assert "another process has ended before; see its output" in said
        assert "Traceback" not in said
    running[2].communicate()

    newest = max(int(each.name) for each in (run / "checkpoints").iterdir() if each.name.isdigit())
    steps = newest + 2
    again = joined(command(tiny, run, steps), tiny, processes=4, devices=1)
    assert f"steps      {newest} to {steps}" in again[0]
    joined(command(tiny, undisturbed, steps), tiny, processes=4, devices=1)
    assert_close(latest(run), latest(undisturbed), 0)  # bit by bit
    config = shallow.config(str(tiny), num_steps=steps)
    one = trained_on(1, config, tmp_path / "one", monkeypatch)
    assert losses(run) == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    assert_close(latest(run), one, 1e-5)

    code, scene = ("--code", str(tmp_path / "shallow_config.py")), tiny / "images" / "scene0.png"
    evaluating = [*JAXSEG, "evaluate", str(run), *code, "--no-baseline", "--step", "latest"]
    joined(evaluating, tiny, processes=4, devices=1)
    scores = json.loads((run / "evaluation" / "test" / "scores.json").read_text())["network"]
    alone = evaluate(run, baseline=False, which="latest", code=CODE)
    np.testing.assert_array_equal(scores["confusion"], alone.network.confusion)
    mapping = [*JAXSEG, "predict", str(run), str(scene), str(tmp_path / "four.tif"), *code]
    joined([*mapping, "--tile", "32"], tiny, processes=4, devices=1)
    mapper = Mapper(
        [loaded.load_run(run, code=CODE)],
        Settings(tile=32),
        sharding.make_mesh(MeshShape(), jax.devices()[:1]),
    )
    mapper.map([SceneFiles("scene0", (str(scene),))], tmp_path / "one.tif")
    assert (tmp_path / "four.tif").read_bytes() == (tmp_path / "one.tif").read_bytes()


@pytest.mark.slow
def test_a_notice_to_one_of_two_processes_saves_for_all_and_one_goes_on(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    # Every second question is one of a validation.
    always = ("--config.save-every", "1000", "--config.eval-every", "1")
    running = begun_together(command(tiny, run, 5000, *always), tiny, 2)
    wait_for(run / "metrics.jsonl")
    while not losses(run):
        time.sleep(0.05)
    running[1].send_signal(signal.SIGTERM)
    for process in running:
        said, _ = process.communicate(timeout=60)  # 30 s are left at least; tests share cores
        assert process.returncode == 130, said
        assert "Traceback" not in said
        assert said.count("; the state is saved in") == 1
    (saved,) = (int(each.name) for each in (run / "checkpoints").iterdir())
    assert f"Stopped at step {saved}; the state is saved" in said
    assert max(losses(run)) == saved

    alone = copied(run, "alone")
    joined(command(tiny, run, saved + 2), tiny, processes=2, devices=1)
    config = shallow.config(str(tiny), num_steps=saved + 2)
    state = trained_on(1, config, alone, monkeypatch)
    assert losses(alone) == pytest.approx(losses(run), rel=1e-5)
    assert_close(state, latest(run), 1e-5)
