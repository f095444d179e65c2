"""A folder belongs to one training at a time, and is tried before the data are read."""

import errno
import json
import logging
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest
from fixtures.places import ROOT

from jaxseg import config as configs
from jaxseg.errors import UserError
from jaxseg.run import lock, training, workdir
from jaxseg.run.checkpoint import Checkpoints
from jaxseg.run.workdir import check_room, is_full, training_in

HOLDER = """
import sys, time
from pathlib import Path
from jaxseg.run.workdir import training_in
with training_in(Path(sys.argv[1])):
    print("here", flush=True)
    time.sleep(300)
"""


def test_a_second_training_is_refused_and_a_killed_one_forgotten(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    holder = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "here\n"
        told = rf"run is in use: .*process {holder.pid}, since 20\d\d-.*another --workdir"
        with pytest.raises(UserError, match=told), training_in(tmp_path / "run"):
            pass
    finally:
        holder.kill()
        holder.communicate()
    started = time.monotonic()
    with training_in(tmp_path / "run"):
        assert json.loads((tmp_path / "run/lock").read_text())["process"] == os.getpid()
    assert time.monotonic() - started < 1
    assert (tmp_path / "run/lock").read_text() == ""


def test_a_training_is_refused_before_its_data_are_read(tiny: Path, tmp_path: Path) -> None:
    flags = ["--config.data.source.images", "nowhere"]
    config = configs.override(configs.load_config(str(tiny / "config.py")), flags, "test")
    with training_in(tmp_path), pytest.raises(UserError, match="is in use"):
        training.train(config, tmp_path)
    with pytest.raises(UserError, match="nowhere"):
        training.train(config, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is a file, and a run needs a folder"):
        training.train(config, tmp_path / "file")


class Elsewhere(NamedTuple):
    """A lock that another machine has left."""

    file: Path


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    monkeypatch.setattr(lock, "BEAT", 0.1)
    found = Elsewhere(tmp_path / "lock")
    holder = {"host": "node7", "process": 7, "since": "yesterday", "kernel": "another"}
    found.file.write_text(json.dumps(holder))
    return found


def test_another_machine_whose_end_is_not_proven_is_waited_for_and_kept(
    elsewhere: Elsewhere, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "process 7 on host node7 has not said that it ended.*--take-over continues the run"
    with pytest.raises(UserError, match=told), training_in(elsewhere.file.parent):
        pass
    assert "node7 has not said that it ended. Waiting 0 s" in capsys.readouterr().out
    assert "node7" in elsewhere.file.read_text()
    with training_in(elsewhere.file.parent, take_over=True):
        assert json.loads(elsewhere.file.read_text())["process"] == os.getpid()


@pytest.mark.parametrize(
    ("kind", "options", "proven"),
    [
        ("nfs4", "rw,vers=4.2,local_lock=none,addr=10.0.0.1", True),
        ("nfs", "rw,vers=3,local_lock=all", False),
        ("nfs", "rw,nolock", False),
        ("lustre", "rw,flock", True),
        ("lustre", "rw,localflock", False),
        ("ext4", "rw", False),
        ("fuse.sshfs", "rw", False),
    ],
)
def test_an_end_is_proven_where_locks_reach_all_machines(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch, kind: str, options: str, proven: bool
) -> None:
    read = Path.read_text

    def mounts(path: Path, **how: str) -> str:
        if path == Path("/proc/self/mounts"):
            folder = elsewhere.file.parent
            return f"/dev/sda / ext4 rw 0 0\nserver:/x {folder} {kind} {options} 0 0\n"
        return read(path, **how)

    monkeypatch.setattr(Path, "read_text", mounts)
    if proven:
        with training_in(elsewhere.file.parent):
            pass
    else:
        with pytest.raises(UserError, match="--take-over"), training_in(elsewhere.file.parent):
            pass


def test_another_machine_that_is_alive_keeps_the_folder(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    def touched(seconds: float) -> None:
        os.utime(elsewhere.file, (0, 1))

    monkeypatch.setattr(lock.time, "sleep", touched)
    told = "host node7, process 7, since yesterday"
    with pytest.raises(UserError, match=told), training_in(elsewhere.file.parent):
        pass
    assert "node7" in elsewhere.file.read_text()


def test_without_locks_of_the_file_system_signs_of_life_keep_others_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(lock.fcntl, "flock", unsupported)
    monkeypatch.setattr(lock, "BEAT", 0.05)
    monkeypatch.setattr(lock, "PATIENCE", 100)
    with training_in(tmp_path), pytest.raises(UserError, match="is in use"), training_in(tmp_path):
        pass


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EACCES, "you may not write there"),
        (errno.EROFS, "its file system is read-only"),
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EIO, "cannot be written to"),
    ],
)
@pytest.mark.parametrize("name", ["", "checkpoints", "tensorboard"])
def test_what_is_wrong_with_a_folder_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, told: str, name: str
) -> None:
    place = tmp_path / name
    place.mkdir(exist_ok=True)

    class Refused:
        def TemporaryFile(self, *, dir: Path, buffering: int) -> Any:  # noqa: N802, A002
            if dir == place:
                raise OSError(number, os.strerror(number))
            return open(os.devnull, "wb", buffering=0)  # noqa: PTH123

    monkeypatch.setattr(workdir, "tempfile", Refused())
    monkeypatch.setattr(workdir.os, "fsync", lambda _: None)
    with pytest.raises(UserError) as found, training_in(tmp_path):
        pass
    assert re.match(rf"{re.escape(str(place))}: .*|{re.escape(str(place))} ", str(found.value))
    assert told in str(found.value)
    assert "\n" not in str(found.value)


def test_a_checkpoint_without_room_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class State(NamedTuple):
        step: jax.Array
        params: jax.Array

    class Usage(NamedTuple):
        free: int

    state: Any = State(jnp.int32(7), jnp.zeros(10**6))
    monkeypatch.setattr(workdir.shutil, "disk_usage", lambda _: Usage(3 * 10**6))
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    told = r"disk is full \(3 MB free\)\. The checkpoint of step 5 is kept; .* A checkpoint needs 4"
    with pytest.raises(UserError, match=told):
        check_room(tmp_path, state)
    with (
        Checkpoints(tmp_path) as checkpoints,
        pytest.raises(UserError, match="A checkpoint needs 4 MB"),
    ):
        checkpoints.save(state, configs.Config.__new__(configs.Config), None)
    monkeypatch.setattr(workdir.shutil, "disk_usage", lambda _: Usage(6 * 10**6))
    check_room(tmp_path, state)


def test_a_disk_that_fills_during_a_save_is_one_line(tmp_path: Path) -> None:
    text = "RESOURCE_EXHAUSTED: Error writing: No space left on device"
    for fault in (OSError(errno.ENOSPC, "full"), ValueError(text), RuntimeError("closed")):
        cause = ValueError(text) if isinstance(fault, RuntimeError) else None
        with pytest.raises(UserError, match=r"the disk is full.*free\)"), training_in(tmp_path):
            raise fault from cause
    with pytest.raises(RuntimeError, match="RESOURCE_EXHAUSTED"), training_in(tmp_path):
        raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 3 bytes")
    assert not is_full(ValueError("another"))


def test_what_orbax_logs_of_a_failed_save_is_left_out_while_a_training_runs(tmp_path: Path) -> None:
    logger, error = logging.getLogger("absl"), ValueError("full")

    def shown(path: str, *, failed: bool) -> bool:
        exc = (ValueError, error, None) if failed else None
        return bool(logger.filter(logging.LogRecord("absl", 40, path, 1, "text", (), exc)))

    with training_in(tmp_path):
        assert not shown("/venv/orbax/checkpoint/save.py", failed=True)
        assert shown("/venv/orbax/checkpoint/save.py", failed=False)
        assert shown("/venv/other/orbax_like.py", failed=True)
    assert shown("/venv/orbax/checkpoint/save.py", failed=True)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"[" * 9, b'{"host": ', b"\0" * 80])
def test_a_damaged_lock_holds_nobody_up(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is None:
        (tmp_path / workdir.LOCK).mkdir()
    else:
        (tmp_path / workdir.LOCK).write_bytes(content)
    with workdir.training_in(tmp_path):
        assert str(os.getpid()) in (tmp_path / workdir.LOCK).read_text()
    assert ("is put aside as lock.damaged" in capsys.readouterr().out) == (content is None)
