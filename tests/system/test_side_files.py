"""Files beside runs and data: damaged at random they are said, and never believed.

Each case writes a file and says what it reads; a damage must leave that as it was, or be said.
"""

import io
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import rasterio
from fixtures.damages import KINDS, damage
from fixtures.tiny_folder import write_folder
from rasterio.transform import from_origin
from rich.console import Console

from jaxseg.datasets.folder.source import Folder
from jaxseg.errors import UserError
from jaxseg.evaluation.kept_tiles import keep_tiles, kept_tiles
from jaxseg.files import headers
from jaxseg.losses import class_counts
from jaxseg.losses.class_weights import ClassCounts
from jaxseg.metrics.thresholds import Thresholds
from jaxseg.pictures.tiles import Tile
from jaxseg.run import data_files, environment, kept
from jaxseg.run.json_lines import cut_after, json_lines, line
from jaxseg.run.trackers import watched
from jaxseg.system import side_files
from jaxseg.system.side_files import DamagedError

ROUNDS = 12
"""Damages of each kind and file."""

Case = tuple[Path, Callable[[list[str]], Any]]
"""A file, and what is read of it; what is said is added to the list."""


def metrics(folder: Path) -> Case:
    file = folder / "metrics.jsonl"
    rows = [{"step": n, "time": 1.5 * n, "kind": "train", "loss": 1 / n} for n in range(1, 9)]
    file.write_text("".join(map(line, rows)))

    def read(said: list[str]) -> Any:
        whole = json_lines(file)
        said += filter(None, [cut_after(file, 8)])
        found, torn = json_lines(file)
        assert torn == 0  # what continues is whole
        assert all(row in rows for row in found)
        assert [row["step"] for row in found] == sorted(row["step"] for row in found)
        # A last line without an end was cut off by a kill; a file that is gone is seen by anybody.
        if found == rows[: len(found)] and len(found) < len(rows) and not said:
            said.append("cut off")
        assert whole[0] == found
        return found

    return file, read


def starts(folder: Path) -> Case:
    environment.keep(folder, 0)
    environment.keep(folder, 5)
    expected = environment.stored(folder)[0]

    def read(said: list[str]) -> Any:
        found, torn = environment.stored(folder)
        said += ["lines are left out"] * bool(torn or len(found) < 2)
        environment.keep(folder, 9)
        more, _ = environment.stored(folder)
        assert more[:-1] == found
        assert more[-1]["step"] == 9
        assert all(row in expected for row in found)
        return found

    return folder / environment.NAME, read


def calibration(folder: Path) -> Case:
    (folder / "checkpoints/70").mkdir(parents=True)
    found = kept.Calibration(1.75, Thresholds((0.25, 0.25, 0.5), 0.4, 0.45))
    kept.keep_calibration(folder, 70, found)

    def read(said: list[str]) -> Any:
        try:
            return kept.kept_calibration(folder, 70)
        except UserError as error:
            said.append(str(error))
            kept.keep_calibration(folder, 70, found)  # as an evaluation does
            assert kept.kept_calibration(folder, 70) == found
            return None

    return folder / "checkpoints/70" / kept.CALIBRATION, read


def pixels(folder: Path) -> Case:
    (folder / "checkpoints/70").mkdir(parents=True)
    numbers = np.random.default_rng(0).standard_normal((3, 40))
    kept.keep_pixels(folder, 70, {"count": numbers[:, 0], "mean": numbers})

    def read(said: list[str]) -> Any:
        try:
            found = kept.kept_pixels(folder)
        except UserError as error:
            said.append(str(error))
            kept.keep_pixels(folder, 70, {"count": numbers[:, 0], "mean": numbers})
            found = None
            assert kept.kept_pixels(folder) is not None
        return None if found is None else {name: array.tolist() for name, array in found.items()}

    return folder / "checkpoints/70" / kept.PIXELS, read


def tiles(folder: Path) -> Case:
    ids = np.random.default_rng(0).integers(0, 3, (9, 12)).astype(np.uint8)
    given = {"best": [Tile("a", np.stack([ids] * 3, -1), ids, ids, ids > 0)]}
    keep_tiles(folder, given)

    def read(said: list[str]) -> Any:
        try:
            found = kept_tiles(folder)
        except UserError as error:
            said.append(str(error))
            keep_tiles(folder, given)
            assert kept_tiles(folder)
            return None
        return {kind: [(t.name, t.rgb.tolist(), t.right) for t in of] for kind, of in found.items()}

    return folder / "tiles.npz", read


def counts(folder: Path) -> Case:
    file, right = folder / "class_counts.json", ClassCounts((10, 20, 30), (60, 60, 60))
    label = np.repeat(np.arange(3), (10, 20, 30)).reshape(6, 10)
    sample = {"label": label.astype(np.uint8), "valid": np.ones(label.shape, bool)}
    scenes = SimpleNamespace(
        size=lambda _: label.shape, name=lambda _: "s", read=lambda _, window: sample
    )
    scenes = type("Scenes", (SimpleNamespace,), {"__len__": lambda _: 1})(**vars(scenes))
    source: Any = SimpleNamespace(
        classes=("a", "b", "c"), counts_file=lambda: file, scenes=lambda _: scenes
    )
    class_counts.class_counts(source, threads=1, console=Console(quiet=True))

    def read(said: list[str]) -> Any:
        text = io.StringIO()
        console = Console(file=text, width=200)
        found = class_counts.class_counts(source, threads=1, console=console)
        assert found == right
        # Of a file that is gone nothing is said, as of one that never was.
        said += [text.getvalue()] * ("again" in text.getvalue() or "stored in" in text.getvalue())
        assert class_counts._kept(file, source.classes, console) == right
        return found

    return file, read


def ids(folder: Path) -> Case:
    side_files.write(folder / watched.FILE, {"wandb": "abc", "mlflow": "x"})
    return folder / watched.FILE, lambda said: watched._ids(folder, said.append)


def listed(folder: Path) -> Case:
    write_folder(folder / "data", scenes=4)
    where = {name: str(folder / "data" / name) for name in ("images", "masks")}
    source = Folder(**where, classes=("a", "b", "c"), fractions=(0.5, 0.25, 0.25))
    file = folder / data_files.NAME
    data_files.keep(folder, source)
    assert len(dict(data_files._stored(file))) == 8

    def read(said: list[str]) -> Any:
        there = file.exists()
        said += data_files.repaired(folder)
        found = dict(data_files._stored(file)) if file.exists() else None
        said += ["it is gone"] * (not there)
        return found

    return file, read


def cache(folder: Path) -> Case:
    paths = [str(folder / f"t{number}.tif") for number in range(4)]
    profile = {"driver": "GTiff", "height": 4, "width": 5, "dtype": "uint8", "count": 1}
    for path in paths:
        with rasterio.open(path, "w", **profile, transform=from_origin(0, 9, 1, 1)) as file:
            file.write(np.ones((1, 4, 5), np.uint8))

    def all_of() -> tuple[Any, int]:
        with headers.kept(paths) as header:
            found = [repr(header(path)) for path in paths]
        return found, len(header.new)

    all_of()
    (file,) = (folder / "cache").rglob("*.sqlite")

    def read(said: list[str]) -> Any:
        found, new = all_of()
        said += ["read again"] * bool(new)
        return found

    return file, read


CASES = {
    "metrics.jsonl": metrics,
    "environment.jsonl": starts,
    "calibration.json": calibration,
    "pixels.npz": pixels,
    "tiles.npz": tiles,
    "class_counts.json": counts,
    "tracker.json": ids,
    "data_files.txt.gz": listed,
    "headers.sqlite": cache,
}


@pytest.mark.parametrize("name", CASES)
def test_random_damages_are_said_and_never_believed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "run/cache"))
    monkeypatch.setattr(headers, "KEPT_FROM", 3)
    folder = tmp_path / "run"
    folder.mkdir()
    file, read = CASES[name](folder)
    sound = file.read_bytes()
    expected = read(first := [])
    assert first == []
    chance, said_in_all = random.Random(name), 0
    for kind in KINDS:
        for _ in range(1 if kind in ("delete", "folder", "empty") else ROUNDS):
            shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)
            file.write_bytes(sound)
            damage(chance, file, kind)
            said: list[str] = []
            found = read(said)
            said_in_all += bool(said)
            lost = kind in ("delete", "folder") and found in (None, {}, [])
            assert said or lost or found == expected, kind
            assert not any("Traceback" in text or "\n\n" in text for text in said)
    assert said_in_all >= ROUNDS


def test_json_is_what_was_written_or_damaged(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    content = {"number": 0.1, "list": [1, 2], "text": "ü", "nothing": None}
    side_files.write(file, content)
    assert side_files.read(file) == content
    file.write_text(json.dumps(content))  # of an earlier version
    assert side_files.read(file) == content
    for text in ("", "{", "[1]", "3", "[" * 100_000, '{"a": 1, "crc32": "00000000"}'):
        file.write_text(text)
        with pytest.raises(DamagedError):
            side_files.read(file)
    file.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(DamagedError):
        side_files.read(file)
    side_files.write(file, {})
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_what_is_in_the_way_is_put_aside(tmp_path: Path) -> None:
    for _ in range(2):
        (tmp_path / "a.json").mkdir()
        side_files.write(tmp_path / "a.json", {"a": 1})
        assert side_files.read(tmp_path / "a.json") == {"a": 1}
        assert (tmp_path / "a.json.damaged").is_dir()
        (tmp_path / "a.json").unlink()
    (tmp_path / "b").write_text("other")
    (tmp_path / "b.damaged").write_text("older")
    assert side_files.put_aside(tmp_path / "b").read_text() == "other"


def test_an_archive_with_a_damaged_name_or_without_arrays_is_damaged(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    for arrays in ({}, {"one": np.ones(3), "two": np.ones(3)}):
        np.savez(file, **arrays)  # type: ignore[arg-type]
        content = file.read_bytes()
        file.write_bytes(content[::-1].replace(b"ypn.owt", b"xpn.owt", 1)[::-1])
        with pytest.raises(DamagedError, match=r"list of arrays|holds no arrays"):
            side_files.arrays(file)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "1", None, [1]])
def test_a_number_is_finite(value: object) -> None:
    with pytest.raises(ValueError, match="no number"):
        side_files.number(value)
