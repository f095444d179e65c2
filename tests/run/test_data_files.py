"""What is said of the files of a run that are other ones than at its start."""

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures import painted
from fixtures.folder_files import png

from jaxseg.datasets.arrays.source import ArrayScene
from jaxseg.datasets.folder.source import Folder
from jaxseg.datasets.one_scene import SceneSplit
from jaxseg.datasets.paired import Paired
from jaxseg.run import data_files


@pytest.fixture
def source(tmp_path: Path) -> Any:
    """A new source of the same eight scenes each time, as every start opens them."""
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), np.uint8)
        png(tmp_path / f"images/s{number}.png", pixels)
        png(tmp_path / f"masks/s{number}.png", pixels[..., 0] % 2)
    return lambda: Folder(
        images=str(tmp_path / "images"), masks=str(tmp_path / "masks"), classes=("a", "b")
    )


def test_nothing_is_said_of_files_that_stay(source: Any, tmp_path: Path) -> None:
    assert data_files.changed(tmp_path, source()) == []  # a run of an earlier version
    data_files.keep(tmp_path, source())
    assert data_files.changed(tmp_path, source()) == []
    assert data_files.changed(tmp_path, Paired(source(), source())) == []
    data_files.keep(tmp_path / "images", painted.Painted())
    assert data_files.changed(tmp_path / "images", painted.Painted()) == []


def test_masks_and_images_that_changed_are_named(source: Any, tmp_path: Path) -> None:
    data_files.keep(tmp_path, source())
    png(tmp_path / "masks/s3.png", np.ones((8, 8), np.uint8))
    (line,) = data_files.changed(tmp_path, source())
    assert "Of the 16 files" in line
    assert f"1 of other contents ({tmp_path}/masks/s3.png)" in line
    for kind in ("images", "masks"):
        (tmp_path / kind / "s7.png").rename(tmp_path / kind / "new.png")
    (line,) = data_files.changed(tmp_path, source())
    for what, name in (("gone", "s7"), ("new", "new")):
        assert f"2 {what} ({tmp_path}/images/{name}.png, {tmp_path}/masks/{name}.png)" in line
    data_files.keep(tmp_path, source())  # what the first start saw stays
    assert data_files.changed(tmp_path, source()) == [line]


def test_files_of_arrays_are_watched(tmp_path: Path) -> None:
    ids = np.arange(400).reshape(20, 20) % 2
    np.savez(tmp_path / "scene.npz", image=np.ones((20, 20, 3)), labels=ids)
    scene = ArrayScene(
        image=str(tmp_path / "scene.npz"), classes=("a", "b"), split=SceneSplit("pixels")
    )
    data_files.keep(tmp_path, scene)
    assert data_files.changed(tmp_path, scene) == []
    np.savez(tmp_path / "scene.npz", image=np.ones((20, 20, 3)), labels=1 - ids)
    (line,) = data_files.changed(tmp_path, scene)
    assert "1 of other contents" in line
    assert "scene.npz" in line


def test_files_that_are_gone_and_a_damaged_list_are_said(source: Any, tmp_path: Path) -> None:
    data_files.keep(tmp_path, source())
    content = (tmp_path / data_files.NAME).read_bytes()
    for damaged in (b"damaged", content[:-20], b""):
        (tmp_path / data_files.NAME).write_bytes(damaged)
        (line,) = data_files.changed(tmp_path, source())
        assert "data_files.txt.gz cannot be read" in line
    (tmp_path / data_files.NAME).write_bytes(content)
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    (line,) = data_files.changed(tmp_path, source())
    assert f"8 gone ({tmp_path}/images/s0.png, " in line


def test_a_dataset_that_was_copied_is_the_same(
    source: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_files.keep(tmp_path, source())
    for number, path in enumerate(sorted(tmp_path.glob("*/*.png"))):
        os.utime(path, ns=(number, number))
    assert data_files.changed(tmp_path, source()) == []
    assert data_files.refusal(tmp_path, source()) == ""
    # The same size is not enough.
    path = tmp_path / "masks/s3.png"
    content = path.read_bytes()
    path.write_bytes(content[:-20] + b"?" + content[-19:])
    assert f"1 of other contents ({path})" in data_files.refusal(tmp_path, source())
    path.write_bytes(content)
    # Of files that are too large to be read for this, it is said that nobody knows.
    monkeypatch.setattr(data_files, "READ", 0)
    data_files.keep(tmp_path, source(), again=True)
    assert data_files.changed(tmp_path, source()) == []
    os.utime(path, ns=(7, 7))
    (line,) = data_files.changed(tmp_path, source())
    assert "1 of the 16 files of the run's data have another time and the same size" in line
    assert data_files.refusal(tmp_path, source()) == ""


def test_a_training_names_ten_files_that_changed_and_the_flag(source: Any, tmp_path: Path) -> None:
    data_files.keep(tmp_path, source())
    for path in tmp_path.glob("*/*.png"):
        path.write_bytes(path.read_bytes() + b"more")
    told = data_files.refusal(tmp_path, source())
    assert "16 of other contents" in told
    assert told.count(".png") == data_files.NAMED
    assert "--changed-files to continue" in told


def test_a_damaged_list_is_put_aside_once(source: Any, tmp_path: Path) -> None:
    file = tmp_path / data_files.NAME
    data_files.keep(tmp_path, source())
    for damage in (
        lambda: file.write_bytes(b"damaged"),
        lambda: file.write_bytes(gzip.compress(b"no number /a/path\n")),
        lambda: (file.unlink(), file.mkdir()),
    ):
        assert data_files.repaired(tmp_path) == []
        damage()
        (line,) = data_files.repaired(tmp_path)
        assert "is put aside as data_files.txt.gz.damaged" in line
        data_files.keep(tmp_path, source())
        assert data_files.changed(tmp_path, source()) == []


def test_lists_of_earlier_versions_have_no_digests(source: Any, tmp_path: Path) -> None:
    data_files.keep(tmp_path, source())
    file = tmp_path / data_files.NAME
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    old = "".join(" ".join(line.split(" ")[i] for i in (0, 1, 3)) + "\n" for line in lines)
    file.write_bytes(gzip.compress(old.encode()))
    assert data_files.changed(tmp_path, source()) == []
    png(tmp_path / "masks/s3.png", np.ones((9, 9), np.uint8))
    assert "masks/s3.png" in data_files.refusal(tmp_path, source())


def test_a_run_of_an_earlier_version_had_other_splits_of_numbered_files(
    source: Any, tmp_path: Path
) -> None:
    assert data_files.changed(tmp_path, source()) == []  # s0 to s7 are sorted alike
    for kind in ("images", "masks"):
        (tmp_path / kind / "s7.png").rename(tmp_path / kind / "s10.png")
    (line,) = data_files.changed(tmp_path, source())
    assert "sorted s10 before s2" in line
    data_files.keep(tmp_path, source())  # a run of this version
    assert data_files.changed(tmp_path, source()) == []
