"""Each command that writes: a disk that fails is one message, exit code 2, and leaves nothing."""

import contextlib
import errno
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from fixtures import shallow
from fixtures.disks import Disk
from fixtures.disks import disk as disk_
from PIL import Image

from jaxseg import config as configs
from jaxseg.cli import main as cli
from jaxseg.cli.commands import datasets
from jaxseg.run import training

disk = disk_


class Trained(NamedTuple):
    """A run, and what is needed to open it.

    Attributes:
        run: Its folder.
        code: The config file.
        tiny: Its data.
        map: A map of one of its scenes.
    """

    run: Path
    code: Path
    tiny: Path
    map: Path


@pytest.fixture(scope="module")
def trained(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("faults")
    file = shallow.config_file(tiny, folder)
    module = configs.load_code(str(file))
    training.train(configs.built(module), folder / "run", (module,))
    found = Trained(folder / "run", file, tiny, folder / "map.tif")
    said([*predict(found, found.map)])
    return found


def said(arguments: list[str]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as told:
        cli.main(arguments)
    return told.getvalue()


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What the command has shown, and its one message."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(arguments)
    assert stopped.value.code == 2
    shown, message = capsys.readouterr()
    assert message.count("Error") == 1
    assert len(message.strip().splitlines()) == 1
    assert "Traceback" not in message
    return shown, message


def code(trained: Trained) -> list[str]:
    return ["--code", str(trained.code)]


def predict(trained: Trained, out: Path) -> list[str]:
    scene = str(trained.tiny / "images/scene0.png")
    return ["predict", str(trained.run), scene, str(out), *code(trained)]


WRITERS: dict[str, Callable[[Trained, Path], list[str]]] = {
    "predict": lambda trained, folder: predict(trained, folder / "map.tif"),
    "polygons": lambda trained, folder: ["polygons", str(trained.map), str(folder / "a.gpkg")],
    "stablehlo": lambda trained, folder: [
        *("export", str(trained.run), str(folder / "a"), "--format", "stablehlo", *code(trained)),
    ],
    "report": lambda trained, folder: [
        *("report", str(trained.run), "--out", str(folder / "a.html"), *code(trained)),
    ],
    "pack": lambda trained, folder: ["pack", str(trained.tiny / "config.py"), str(folder / "a")],
    "new": lambda trained, folder: [
        *("new", str(folder / "my.py"), "--images", str(trained.tiny / "images")),
        *("--masks", str(trained.tiny / "masks")),
    ],
    "configs": lambda trained, folder: ["configs", "unet", "--copy", str(folder / "my.py")],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_message_and_the_command_succeeds_where_room_is_made(
    trained: Trained, disk: Disk, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "report":
        said(["evaluate", str(trained.run), "--no-baseline", *code(trained)])
    arguments = WRITERS[name](trained, disk.path)
    disk.fill()
    _, message = refused(arguments, capsys)
    assert f"Cannot write to {disk.path}" in message
    assert "No space left on device" in message
    assert f"MiB are free in {disk.path}" in message
    assert not [file for file in disk.files() if file.endswith(".tmp")]
    assert not [file for file in disk.path.rglob("*.*") if file.is_file()]
    disk.empty()
    said(arguments)
    if name == "predict":
        assert (disk.path / "map.tif").read_bytes() == trained.map.read_bytes()


@pytest.mark.slow
def test_a_read_only_run_shows_its_table_and_is_evaluated_into_another_folder(
    trained: Trained, disk: Disk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = disk.path / "run"
    shutil.copytree(trained.run, run, ignore=shutil.ignore_patterns("evaluation"))
    disk.read_only()
    arguments = ["evaluate", str(run), "--no-baseline", *code(trained)]
    shown, message = refused(arguments, capsys)
    assert "mIoU" in shown
    assert f"Cannot write to {run}/evaluation/test: Read-only file system." in message
    assert "jaxseg evaluate --out FOLDER" in message

    said([*arguments, "--out", str(tmp_path / "out")])
    folder = tmp_path / "out/test"
    step = json.loads((folder / "scores.json").read_text())["step"]
    assert step == 6
    for file in folder.rglob("*.png"):
        with Image.open(file) as picture:
            assert picture.text["Step"] == "6"  # type: ignore[attr-defined]
    for file in folder.glob("*.csv"):
        header, *rows = file.read_text().splitlines()
        assert header.endswith(",step")
        assert all(row.endswith(",6") for row in rows)
    with np.load(folder / "tiles.npz") as tiles:
        assert tiles["step"] == 6
    page = ["report", str(run), "--out", str(tmp_path / "a.html"), "--evaluation", str(folder)]
    said([*page, *code(trained)])
    said(["evaluate", str(run), *code(trained), "--no-baseline", "--out", str(tmp_path / "out")])
    (tmp_path / "other/test").mkdir(parents=True)
    (tmp_path / "other/test/mine.txt").touch()
    _, message = refused([*arguments, "--out", str(tmp_path / "other")], capsys)
    assert "is not the folder of an evaluation" in message
    assert [path.name for path in (tmp_path / "other/test").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.EIO, "Input/output error", "/data/a.tif"), "/data/a.tif: Input/output"),
        (OSError(errno.ENOSPC, "No space left on device"), "A file: No space left on device."),
        (FileNotFoundError(errno.ENOENT, "x", "/gone"), "/gone: No such file or directory."),
    ],
)
def test_what_no_part_has_explained_is_one_message_at_the_edge(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: OSError,
    told: str,
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(datasets.tyro, "cli", failing)
    _, message = refused(["new", "a.py"], capsys)
    assert message.startswith(f"Error: {told}")


def test_an_error_that_is_not_of_a_disk_stays_one_of_the_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    monkeypatch.setattr(datasets.tyro, "cli", failing)
    with pytest.raises(ConnectionResetError):
        cli.main(["new", "a.py"])
