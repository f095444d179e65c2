"""A run survives in processes of its own: killed, stopped, damaged or moved to other devices."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from fixtures.compiler import IN_A_HURRY
from fixtures.places import ROOT

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.errors import UserError
from jaxseg.run import beginning, checkpoint, completion, training
from jaxseg.sharding import MeshShape

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
    state, origin = beginning.initialised(config, sharding.make_mesh(config.mesh), ())
    assert str(finished) in origin
    _, other = checkpoint.reopen(finished, MeshShape())
    for ours, theirs in zip(jax.tree.leaves(state.params), jax.tree.leaves(other.ema), strict=True):
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
