"""Open files: opened once, shared by no two threads, and never those of an earlier state."""

import multiprocessing
import os
import threading
import time
import warnings
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fixtures.tiffs import H, W, numbers, write_tiff
from PIL import Image

from jaxseg.errors import UserError
from jaxseg.files import pool, raster
from jaxseg.scenes.scene import Window

pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),  # rasterio's use of affine
]


def test_a_file_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for value in (3, 4):
        pixels = np.full((H + value, W, 1), value, np.uint8)
        read = raster.read(write_tiff(path, pixels), Window(0, 0, H, W))
        assert (read == value).all()


def test_many_threads_read_what_one_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "OPEN_FILES", 3)  # so that files are closed and opened all the time
    paths = [
        write_tiff(tmp_path / f"{seed}.tif", numbers("uint16", 3, seed), compress="deflate")
        for seed in range(8)
    ]
    random = np.random.default_rng(1)
    jobs = [
        (paths[random.integers(8)], Window(int(y), int(x), 16, 16))
        for y, x in random.integers(0, 32, (300, 2))
    ]
    serial = [raster.read(path, window) for path, window in jobs]
    with ThreadPoolExecutor(8) as threads:
        parallel = list(threads.map(lambda job: raster.read(*job), jobs))
    for one, other in zip(serial, parallel, strict=True):
        np.testing.assert_array_equal(one, other)


def _total(path: str) -> int:
    return int(raster.read(path, Window(0, 0, H, W)).sum())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")
def test_a_forked_process_opens_files_of_its_own(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint16", 3), compress="deflate")
    expected = _total(path)
    with multiprocessing.get_context("fork").Pool(2) as processes:
        assert processes.map(_total, [path] * 8) == [expected] * 8


@pytest.mark.parametrize("changed", ["time", "size"])
def test_a_file_is_another_one_by_its_time_or_its_size(tmp_path: Path, changed: str) -> None:
    path = tmp_path / "a.tif"
    for value, rows in ((3, H), (4, H if changed == "time" else H + 9)):
        write_tiff(path, np.full((rows, W, 1), value, np.uint8))
        when = 1_700_000_000 + (value if changed == "time" else 0)
        os.utime(path, (when, when))
        assert (raster.read(str(path), Window(0, 0, H, W)) == value).all()


def test_a_forked_process_leaves_the_files_of_its_parent_alone(
    tmp_path: Path, opened: list[str]
) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint16", 3), compress="deflate")
    raster.header(path)
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe()

    def look() -> None:
        opened.clear()
        raster.header(path)
        there.send(list(opened))

    with warnings.catch_warnings():  # of threads, which a fork does not copy
        warnings.simplefilter("ignore")
        process = fork.Process(target=look)
        process.start()
    assert here.recv() == ["a.tif"]
    process.join()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are opened from now on, in this order."""
    names: list[str] = []
    real = pool._opened

    def counted(path: str) -> object:
        names.append(Path(path).name)
        return real(path)

    monkeypatch.setattr(pool, "_opened", counted)
    return names


def test_the_next_window_of_a_file_costs_no_second_opening(
    tmp_path: Path, opened: list[str]
) -> None:
    path = str(tmp_path / "a.png")
    Image.fromarray(numbers("uint8", 3)).save(path)
    for row in range(5):
        raster.read(path, Window(row, 0, 2, 2))
    raster.read_mask(path, Window(0, 0, 2, 2))
    raster.header(path)
    assert opened == ["a.png"]


def test_as_many_files_stay_open_as_allowed_and_the_oldest_is_closed(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "_POOL", pool._Pool())
    monkeypatch.setattr(pool, "OPEN_FILES", 3)
    monkeypatch.setattr(pool, "CORES", 2)
    paths = []
    for name in "abcd":
        paths.append(str(tmp_path / f"{name}.png"))
        Image.fromarray(numbers("uint8", 3)).save(paths[-1])

    def look(names: str) -> list[str]:
        opened.clear()
        for name in names:
            raster.header(str(tmp_path / f"{name}.png"))
        return [Path(name).stem for name in opened]

    assert look("abcabc") == ["a", "b", "c"]
    assert look("ad") == ["d"]  # b is the one unused for longest, and closed
    assert look("acd") == []
    assert look("b") == ["b"]  # and a is closed
    with pool.lent(paths[0]), pool.lent(paths[0]):
        pass  # which closes c and d
    assert look("ba") == []
    assert look("ca") == ["c"]  # b was unused for longer than either of a
    if Path("/proc/self/fd").is_dir():  # as Linux tells
        held = [
            str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()
        ]
        assert sum(name in paths for name in held) == 3


def test_two_threads_have_two_files_of_one_path(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CORES", 2)
    path = str(tmp_path / "a.png")
    Image.fromarray(numbers("uint8", 3)).save(path)
    with pool.lent(path) as one, pool.lent(path) as other:
        assert one is not other
    with pool.lent(path), pool.lent(path):
        assert len(opened) == 2


def test_a_damaged_file_is_opened_afresh_by_the_next_reader(
    tmp_path: Path, opened: list[str]
) -> None:
    path = tmp_path / "a.png"
    noise = np.random.default_rng(0).integers(0, 255, (H, W, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    for _ in range(2):
        with pytest.raises(UserError, match=r"Cannot read .*a\.png"):
            raster.read(str(path), Window(0, 0, H, W))
    path.write_bytes(whole)
    np.testing.assert_array_equal(raster.read(str(path), Window(0, 0, H, W)), noise)


def test_no_more_threads_read_a_file_at_a_time_than_there_are_cores(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CORES", 2)
    paths = [str(tmp_path / name) for name in ("a.png", "b.png")]
    for path in paths:
        Image.fromarray(numbers("uint8", 3)).save(path)
    together, most, lock = Counter[str](), Counter[str](), threading.Lock()

    def read(path: str) -> None:
        with pool.lent(path):
            with lock:
                together[path] += 1
                most[path] = max(most[path], together[path])
            time.sleep(0.005)
            with lock:
                together[path] -= 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(read, paths * 20))
    assert dict(most) == dict.fromkeys(paths, 2)
    assert sorted(opened) == ["a.png"] * 2 + ["b.png"] * 2


def test_a_file_that_all_cores_read_keeps_no_reader_of_another_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CORES", 1)
    paths = [str(tmp_path / name) for name in ("a.png", "b.png")]
    for path in paths:
        Image.fromarray(numbers("uint8", 3)).save(path)
    with pool.lent(paths[0]), ThreadPoolExecutor(1) as threads:
        assert threads.submit(raster.header, paths[1]).result(timeout=60).bands == 3


def test_files_that_gdal_alone_finds_are_read_by_all_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CORES", 1)  # their servers answer late, and many at a time
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        Image.fromarray(numbers("uint8", 3)).save(tmp_path / "a.png")
        archive.write(tmp_path / "a.png", "a.png")
    path = f"/vsizip/{tmp_path}/a.zip/a.png"
    with pool.lent(path), ThreadPoolExecutor(1) as threads:
        assert threads.submit(raster.header, path).result(timeout=60).bands == 3


def test_an_error_while_reading_ends_the_turn_of_its_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "CORES", 1)
    (tmp_path / "a.png").write_bytes(b"not a picture")
    with ThreadPoolExecutor(1) as threads:
        for _ in range(2):
            told = threads.submit(raster.header, str(tmp_path / "a.png")).exception(timeout=60)
            assert isinstance(told, UserError)
