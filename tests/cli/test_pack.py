"""`jaxseg pack` and `jaxseg bench` on the command line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from fixtures.folder_files import tiff

from jaxseg.cli import main as cli
from jaxseg.datasets.packed import writer
from jaxseg.run import bench, checkpoint
from jaxseg.sharding import MeshShape

CONFIG = """
from jaxseg.config import Config
from jaxseg.datasets import Folder, Packed
from jaxseg.models import UNet
from jaxseg.pipeline import Data


def get_config() -> Config:
    source = SOURCE
    return Config(
        model=UNet(num_classes=2, features=2),
        data=Data(source=source, crop=32, batch_size=8),
        num_steps=4, log_every=1, eval_every=4, save_every=4,
    )
"""
FOLDER = 'Folder(images="images", masks="masks", classes=("land", "water"))'
FILE = 16 * 16 * 5 * 20
"""Bytes of a file of tiles in these tests."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of eight scenes, and configs that read it and its pack."""
    random = np.random.default_rng(0)
    for number in range(8):
        image = random.integers(0, 255, (140, 150, 2)).astype(np.uint16)
        tiff(tmp_path / f"images/{number}.tif", image)
        tiff(tmp_path / f"masks/{number}.tif", (image[..., 0] > 99).astype(np.uint8))
    (tmp_path / "folder.py").write_text(CONFIG.replace("SOURCE", FOLDER))
    (tmp_path / "packed.py").write_text(CONFIG.replace("SOURCE", 'Packed("out/pack")'))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "Traceback" not in said
    return said


def test_a_folder_is_packed_and_checked(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["pack", "folder.py", "out/pack"])
    said = capsys.readouterr().out
    assert "out/pack: 6 train, 1 validation, 1 test scenes" in said
    assert 'data=Data(source=Packed("out/pack"))' in said
    assert max(map(len, said.splitlines())) <= 80
    cli.main(["pack", "out/pack", "--check"])
    assert "scenes, as they were written" in capsys.readouterr().out
    file = place / "out/pack/train-00000.array_record"
    file.write_bytes(file.read_bytes()[:-1])
    assert "are damaged, train-00000.array_record" in refused(
        ["pack", "out/pack", "--check"], capsys
    )
    file.unlink()
    cli.main(["pack", "folder.py", "out/pack", "--check"])
    assert "no such file" not in capsys.readouterr().err
    assert "Give the folder of the pack" in refused(["pack", "folder.py"], capsys)
    assert "differs in tile" in refused(["pack", "folder.py", "out/pack", "--tile", "64"], capsys)
    more = ["--config.data.source.fractions", "0.5", "0.25", "0.25"]
    assert "differs in source, splits" in refused(["pack", "folder.py", "out/pack", *more], capsys)


def test_scenes_that_a_training_would_refuse_are_not_packed(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "images/7.tif").write_bytes((place / "images/0.tif").read_bytes())
    assert "is a copy of" in refused(["pack", "folder.py", "out/pack"], capsys)
    assert not (place / "out").exists()


def test_a_config_is_measured(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "ROUNDS", 1)
    one = jax.devices()[:1]  # quickly compiled
    monkeypatch.setattr(jax, "devices", lambda *_: one)
    cli.main(["bench", "folder.py", "--seconds", "0.1"])
    said = capsys.readouterr().out
    for kind in ("reading alone", "step alone", "both", "of the slower one", "x cpu"):
        assert kind in said
    assert max(map(len, said.splitlines())) <= 80
    assert [path.name for path in place.iterdir() if path.name.startswith("run")] == []
    assert "give more than 0" in refused(["bench", "folder.py", "--seconds", "0"], capsys)


@pytest.mark.slow
def test_a_pack_that_was_killed_continues_and_has_the_same_bytes(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import sys, time\nfrom jaxseg.cli import main\nfrom jaxseg.datasets.packed import writer\n"
        f"writer.FILE = {FILE}\nencoded = writer.encoded\n"
        "def slow(*given):\n    time.sleep(0.005)\n    return encoded(*given)\n"
        "writer.encoded = slow\n"
        "main.main(['pack', 'folder.py', 'killed', '--tile', '16'])\n"
    )
    digests = place / "killed" / "digests.txt"
    for number in (2, 9):  # files that are finished when the process is killed
        process = subprocess.Popen([sys.executable, "-c", program], env=os.environ)
        deadline = time.monotonic() + 120
        while not digests.exists() or digests.read_text().count("\n") < number:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert "index.json" not in digests.read_text()
    subprocess.run([sys.executable, "-c", program], check=True)
    monkeypatch.setattr(writer, "FILE", FILE)
    cli.main(["pack", "folder.py", "whole", "--tile", "16"])
    whole, killed = (
        {file.name: file.read_bytes() for file in (place / name).iterdir()}
        for name in ("whole", "killed")
    )
    assert len(whole) > 20
    assert killed == whole


@pytest.mark.slow
def test_training_from_a_pack_is_training_from_its_folder(place: Path) -> None:
    cli.main(["pack", "folder.py", "out/pack", "--tile", "32"])
    for name in ("folder", "packed"):
        cli.main(["train", "--config", f"{name}.py", "--workdir", f"runs/{name}"])
    lines = []
    for name in ("folder", "packed"):
        rows = [
            json.loads(line)
            for line in (place / f"runs/{name}/metrics.jsonl").read_text().splitlines()
        ]
        timed = ("images_per_second", "waiting", "time", "crc32")  # the last is of the others
        lines.append([{k: v for k, v in row.items() if k not in timed} for row in rows])
    assert lines[0] == lines[1]
    assert sum("loss" in " ".join(row) for row in lines[0]) == 4
    states = [
        checkpoint.reopen(place / "runs" / name, MeshShape())[1] for name in ("folder", "packed")
    ]
    jax.tree.map(np.testing.assert_array_equal, *states)
    cli.main(["evaluate", "runs/packed"])
