"""Datasets that are written on first use: once, whole, and damage has a name."""

import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fixtures.damages import damaged_at_random
from fixtures.places import ROOT

from jaxseg.datasets import written_once
from jaxseg.datasets.landscape import builder as landscape_builder
from jaxseg.datasets.landscape.source import Landscape
from jaxseg.datasets.written_once import LOCK, written
from jaxseg.errors import UserError
from jaxseg.scenes.scene import Window
from jaxseg.system.side_files import kernel


def leftover(folder: Path, name: str = "ABCDEF") -> Path:
    begun = folder.parent / f"incomplete.{name}_{folder.name}"
    begun.mkdir(parents=True)
    (begun / "train").write_text("half")
    return begun


def test_what_a_killed_process_of_this_machine_left_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "landscape" / "1.0.0"
    begun, other = leftover(folder), leftover(folder.with_name("2.0.0"))
    (folder.parent / LOCK).write_text(kernel())
    written(folder, folder.mkdir)
    assert (folder.is_dir(), begun.exists(), other.exists()) == (True, False, True)
    written(folder, lambda: pytest.fail("it is there"))
    begun = leftover(folder)  # also where there is nothing to write
    written(folder, lambda: pytest.fail("it is there"))
    assert not begun.exists()


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "landscape" / "1.0.0"
    folder.mkdir(parents=True)
    begun = leftover(folder)
    with (folder.parent / LOCK).open("w") as held:
        held.write(kernel())
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        written(folder, lambda: pytest.fail("it is there"))
        assert begun.exists()
    # Of another machine, whose locks may not be seen here: what has not changed for long.
    (folder.parent / LOCK).write_text("another machine")
    written(folder, lambda: pytest.fail("it is there"))
    assert begun.exists()
    (folder.parent / LOCK).write_text("another machine")
    long_ago = time.time() - written_once.IDLE - 60
    for path in (begun / "train", begun):
        os.utime(path, (long_ago, long_ago))
    written(folder, lambda: pytest.fail("it is there"))
    assert not begun.exists()


def test_a_dataset_that_was_written_while_another_process_waited_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "landscape" / "1.0.0"
    code = (
        "import pathlib, sys, time; from jaxseg.datasets.written_once import written\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "def write():\n"
        "    print('writing', flush=True); time.sleep(1); folder.mkdir()\n"
        "written(folder, write)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "writing\n"
        written(folder, lambda: pytest.fail("another process writes it"))
        assert folder.is_dir()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    Landscape("hyperspectral", tiles=(1, 1, 1), data_dir=str(folder)).scenes("train")
    return folder


def test_damaged_files_of_the_embedded_dataset_are_named(drawn: Path, tmp_path: Path) -> None:
    chance, said = random.Random(19), []
    for number in range(25):
        copy = tmp_path / str(number)
        shutil.copytree(drawn, copy)
        damaged_at_random(chance, [p for p in copy.rglob("*") if p.suffix != ""])
        source = Landscape("hyperspectral", tiles=(1, 1, 1), data_dir=str(copy))
        try:
            for split in ("train", "validation", "test"):
                source.scenes(split).read(0, Window(0, 0, 8, 8))
        except UserError as error:
            said.append(str(error).replace(str(copy), "COPY"))
        landscape_builder.built.cache_clear()
        shutil.rmtree(copy)
    assert len(said) >= 12
    assert all("COPY" in text and "Remove the folder" in text for text in said), said
    assert not any("\n" in text for text in said), said


@pytest.mark.slow
def test_a_killed_build_leaves_nothing_behind(tmp_path: Path) -> None:
    code = (
        "from jaxseg.datasets import Landscape\n"
        f"Landscape(tiles=(16, 1, 1), data_dir={str(tmp_path)!r}).scenes('train')"
    )

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)

    first = start()
    while not list(tmp_path.rglob("incomplete.*")):
        time.sleep(0.05)
        assert first.poll() is None
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert list(tmp_path.rglob("incomplete.*"))
    assert start().wait() == 0
    assert not list(tmp_path.rglob("incomplete.*"))
