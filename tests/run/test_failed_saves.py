"""A disk that fails while a training runs: one message, exit code 2, within seconds."""

import resource
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from fixtures import shallow
from fixtures.disks import Disk
from fixtures.disks import disk as disk_
from fixtures.processes import JAXSEG, begun, begun_together, ended

from jaxseg.config import Config
from jaxseg.errors import DiskError
from jaxseg.run import saving, training
from jaxseg.run.checkpoint import Checkpoints
from jaxseg.run.event_file import event_writer
from jaxseg.run.failed_saves import FailedSaves
from jaxseg.run.logbook import Logbook

disk = disk_

WITHIN = 10.0
"""Seconds that a process may take to end."""


def config(tiny: Path, **changes: object) -> Config:
    return shallow.config(str(tiny), **changes)


@pytest.mark.slow
def test_a_disk_that_fills_during_a_training_is_one_message_and_room_continues_it_bit_by_bit(
    tiny: Path, disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, undisturbed = disk.path / "run", tmp_path / "undisturbed"
    save = Checkpoints.save

    def filled(checkpoints: Checkpoints, state: training.TrainState, *rest: object) -> None:
        if int(state.step) == 4:
            checkpoints.wait()
            disk.fill()
        save(checkpoints, state, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", filled)
        patch.setattr(training, "check_room", lambda *_: None)
        patch.setattr(saving, "check_room", lambda *_: None)  # room is lost after the look
        with pytest.raises(DiskError, match=r"disk is full \(\d.* of step 2 is kept"):
            training.train(config(tiny), run)
    assert not [name for name in disk.files() if "tmp" in name]
    disk.empty()
    continued, plain = (training.train(config(tiny), where) for where in (run, undisturbed))
    for ours, theirs in zip(*map(leaves, (continued, plain)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def leaves(state: training.TrainState) -> list[np.ndarray]:
    import jax

    return list(map(np.asarray, jax.tree.leaves(state)))


def test_a_folder_that_is_removed_is_noticed_before_the_next_save(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.setattr(saving, "LOOK", 0.0)
    write = Logbook.training

    def removed(log: Logbook, step: int, values: object) -> None:
        write(log, step, values)  # type: ignore[arg-type]
        if step == 3:
            shutil.rmtree(run)

    monkeypatch.setattr(Logbook, "training", removed)
    with pytest.raises(DiskError, match=r"run is gone: it was removed, or its disk"):
        training.train(config(tiny, num_steps=500, save_every=400), run)
    assert not run.exists()


def test_events_that_cannot_be_written_do_not_end_their_thread(disk: Disk) -> None:
    writer, file = event_writer(disk.path / "events", 1)
    disk.fill()
    for step in range(300):  # more than the queue holds: a thread that has ended would block it
        writer.add_text("a", "x" * 1000, step)
    writer.close()
    assert "No space left" in str(file.fault)


def test_a_logbook_raises_that_its_files_cannot_be_written_or_notes_it(disk: Disk) -> None:
    failed = FailedSaves()

    def written(noted: FailedSaves | None) -> None:
        with Logbook(disk.path, total_steps=9, failed=noted) as log:
            disk.fill()
            for step in range(200):
                log.training(step, {f"a{number}": 0.5 for number in range(30)})

    written(failed)
    assert "No space left" in str(failed.first)
    disk.empty()
    with pytest.raises(OSError, match="No space left"):
        written(None)


# -- processes -------------------------------------------------------------------------------------


def command(tiny: Path, run: Path, folder: Path, every: int) -> list[str]:
    file = shallow.config_file(tiny, folder)
    given = ("--config", str(file), "--workdir", str(run), "--config.num-steps", "5000")
    return [
        *(*JAXSEG, "train", *given, "--config.save-every", str(every)),
        *("--config.log-every", "1000", "--config.eval-every", "10000"),
    ]


def wait_for(folder: Path) -> None:
    until = time.monotonic() + 200
    while not folder.exists():
        assert time.monotonic() < until
        time.sleep(0.02)


def end(process: subprocess.Popen[str], since: float) -> str:
    """The message of a process that has ended in time, its last line."""
    said = ended(process, 2)
    assert time.monotonic() - since < WITHIN
    assert "Traceback" not in said
    *before, last = said.splitlines()
    assert last.startswith("Error: ")
    assert not [line for line in before if "rror" in line]
    return last


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_save_that_fails_on_one_of_two_processes_ends_both_with_one_message(
    tiny: Path, tmp_path: Path, victim: int
) -> None:
    run = tmp_path / "run"
    running = begun_together(command(tiny, run, tmp_path, 2), tiny, 2)
    wait_for(run / "checkpoints/2")
    limit = (0, resource.RLIM_INFINITY)
    resource.prlimit(running[victim].pid, resource.RLIMIT_FSIZE, limit)
    since = time.monotonic()
    told = [end(process, since) for process in running]
    assert told[0] == told[1]
    assert f"Process {victim} of 2 cannot save. {run}: the disk is full" in told[0]
    assert not list(run.glob("checkpoints/*tmp*"))


@pytest.mark.slow
def test_a_full_disk_ends_a_training_in_time(tiny: Path, disk: Disk, tmp_path: Path) -> None:
    run = disk.path / "run"
    running = begun(command(tiny, run, tmp_path, 2), tiny / "cache")
    wait_for(run / "checkpoints/4")
    since = time.monotonic()
    disk.fill()
    assert f"{run}: the disk is full (" in end(running, since)
    assert not list(run.glob("checkpoints/*tmp*"))
