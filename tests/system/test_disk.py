"""What is written is there whole or not at all, and a disk that fails is one message."""

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from fixtures.disks import Disk
from fixtures.disks import disk as disk_
from matplotlib.figure import Figure

from jaxseg.errors import DiskError, UserError
from jaxseg.files import records, vectors
from jaxseg.files.maps import write_block
from jaxseg.pictures.written import write_figure
from jaxseg.run.kept import PIXELS, keep_pixels
from jaxseg.system.disk import check_flushed, fault, whole, whole_folder, writing
from jaxseg.weights.state_dict import write_state_dict

disk = disk_

NOISE = np.random.default_rng(0).integers(0, 255, (512, 512, 1), np.uint8)
FULL = r"^Cannot write to .*: No space left on device\. [\d.e-]+ MiB are free in /.*\. Free some"


def _figure(path: Path) -> None:
    figure = Figure()
    figure.add_subplot().imshow(NOISE[:, :, 0])
    write_figure(figure, path)


def _polygons(path: Path) -> None:
    boxes = np.array([shapely.box(x, 0, x + 1, 1) for x in range(60)])
    batch = vectors.Batch(boxes, {"number": np.arange(60)})
    vectors.write(path, iter([batch]), {"number": int}, "EPSG:4326", {})


WRITERS: dict[str, Callable[[Path], object]] = {
    "block.tif": lambda path: write_block(path, NOISE[:100, :150]),
    "picture.png": _figure,
    "polygons.geojson": _polygons,
    "polygons.gpkg": _polygons,
    "weights.safetensors": lambda path: write_state_dict({"a": NOISE}, path),
    "tiles.array_record": lambda path: records.write(path, [NOISE.tobytes()], "uncompressed"),
}


@pytest.mark.parametrize("disk", [64], indirect=True)
@pytest.mark.parametrize("name", WRITERS)
def test_a_file_for_which_there_is_no_room_is_one_message_and_leaves_nothing(
    disk: Disk, name: str
) -> None:
    for free in (0, 4096, 8192):
        disk.fill(free)
        with pytest.raises(DiskError, match=FULL) as found:
            WRITERS[name](disk.path / name)
        assert name in str(found.value)
        assert "\n" not in str(found.value)
        assert disk.files() == []


@pytest.mark.parametrize("disk", [4096], indirect=True)
def test_a_block_and_polygons_are_never_taken_for_finished_where_the_last_bytes_had_no_room(
    disk: Disk,
) -> None:
    written = 0
    for free in range(0, 32768, 4096):
        disk.fill(free)
        try:
            write_block(disk.path / "block.tif", NOISE[:100, :150])
        except DiskError:
            assert disk.files() == []
            continue
        with rasterio.open(disk.path / "block.tif") as file:
            np.testing.assert_array_equal(file.read(1), NOISE[:100, :150, 0])
        (disk.path / "block.tif").unlink()
        written += 1
    assert 0 < written < 8


def test_numbers_kept_with_a_checkpoint_are_not_cut_off(disk: Disk) -> None:
    (disk.path / "checkpoints/7").mkdir(parents=True)
    keep_pixels(disk.path, 7, {"a": np.zeros(3)})
    before = (disk.path / "checkpoints/7" / PIXELS).read_bytes()
    disk.fill(4096)
    with pytest.raises(DiskError, match=FULL):
        keep_pixels(disk.path, 7, {"a": np.random.default_rng(0).random(10**5)})
    assert (disk.path / "checkpoints/7" / PIXELS).read_bytes() == before


def test_without_room_for_what_is_known_to_be_needed_nothing_is_begun(disk: Disk) -> None:
    with (
        pytest.raises(DiskError, match=r"8 MiB are free in .*, 95\.4 MiB are needed\. Free"),
        whole(disk.path / "large", needed=1e8),
    ):
        pytest.fail("begun")


def test_a_read_only_disk_and_a_folder_that_is_gone_are_said(disk: Disk) -> None:
    with (
        pytest.raises(DiskError, match=r"Cannot write to .*disk/gone: No such file or directory\."),
        whole(disk.path / "gone" / "a.txt") as aside,
    ):
        aside.write_text("a")
    disk.read_only()
    for context in (whole, whole_folder):
        with (
            pytest.raises(DiskError, match=r"disk/a: Read-only file system\. Give another --out\."),
            context(disk.path / "a", advice="Give another --out.") as aside,  # type: ignore[operator]
        ):
            aside.write_text("a")


def test_an_error_of_the_code_is_not_taken_for_the_disks(disk: Disk) -> None:
    disk.fill()
    with pytest.raises(TypeError), writing(disk.path / "a"):
        raise TypeError("unsupported operand")
    with pytest.raises(UserError, match="a mistake"), writing(disk.path / "a"):
        raise UserError("a mistake")
    with pytest.raises(DiskError, match=FULL), writing(disk.path / "a"):
        raise RuntimeError("the library does not say why")
    with pytest.raises(DiskError, match=FULL):
        check_flushed(disk.path / "a")
    disk.empty()
    check_flushed(disk.path / "a")
    with pytest.raises(RuntimeError, match="does not say"), writing(disk.path / "a"):
        raise RuntimeError("the library does not say why")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.EROFS, "x", "/a/b"), "/a/b: Read-only file system."),
        (PermissionError(errno.EACCES, "x", b"/a"), "/a: Permission denied."),
        (FileNotFoundError(errno.ENOENT, "x", "/a"), "/a: No such file or directory."),
        (OSError(errno.EIO, "x"), "A file: Input/output error."),
        (OSError(errno.ENOSPC, "x"), "A file: No space left on device. Free some space, and"),
        (ValueError("I/O error: No space left on device (os error 28)"), "A file: No space left"),
        (RuntimeError("sqlite: database or disk is full"), "A file: No space left on device."),
        (ConnectionResetError(errno.ECONNRESET, "x"), ""),
        (ValueError("RESOURCE_EXHAUSTED: Out of memory"), ""),
    ],
)
def test_what_an_error_says_of_a_disk(error: Exception, told: str) -> None:
    wrapped = RuntimeError("the library's own")
    wrapped.__cause__ = error
    for each in (error, wrapped):
        said = fault(each)
        assert said.startswith(told)
        assert bool(said) == bool(told)


# -- folders ---------------------------------------------------------------------------------------


def test_files_of_two_evaluations_never_mix(tmp_path: Path) -> None:
    folder = tmp_path / "test"
    with whole_folder(folder) as aside:
        (aside / "scores").write_text("40")
        (aside / "curves").write_text("40")

    def stopped() -> None:
        with whole_folder(folder) as aside:
            (aside / "scores").write_text("60")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "scores": "40",
        "curves": "40",
    }
    with whole_folder(folder) as aside:
        (aside / "scores").write_text("60")
        assert (folder / "scores").read_text() == "40"  # until all is there
    assert [path.name for path in folder.iterdir()] == ["scores"]
    assert [path.name for path in tmp_path.iterdir()] == ["test"]


def test_files_that_are_not_replaced_stay(tmp_path: Path) -> None:
    folder = tmp_path / "test"
    (folder / "mine").mkdir(parents=True)
    (folder / "mine/notes.txt").write_text("mine")
    (folder / "old.csv").touch()
    with whole_folder(folder, lambda file: file.suffix == ".csv") as aside:
        (aside / "new.csv").touch()
    assert (folder / "mine/notes.txt").read_text() == "mine"
    assert sorted(path.name for path in folder.iterdir()) == ["mine", "new.csv"]


def test_a_link_to_a_folder_stays_one(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "test").symlink_to(tmp_path / "elsewhere")
    with whole_folder(tmp_path / "test") as aside:
        (aside / "a").touch()
    assert (tmp_path / "test").is_symlink()
    assert (tmp_path / "elsewhere/a").exists()


def test_what_a_killed_process_has_left_is_removed_and_that_of_a_living_one_is_not(
    tmp_path: Path,
) -> None:
    alive = f"test.{'a' * 12}.tmp"
    for name in (alive, f"test.{'b' * 12}.tmp", "test.my.tmp"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").touch()
    handle = os.open(tmp_path / alive, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with whole_folder(tmp_path / "test"):
        pass
    os.close(handle)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test", alive, "test.my.tmp"]


def test_an_old_folder_is_there_again_if_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with whole_folder(tmp_path / "test") as aside:
        (aside / "a").write_text("old")
    rename = Path.rename

    def failing(path: Path, target: Path) -> Path:
        if path.suffix == ".tmp" and (path / "a").read_text() == "new":
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(DiskError, match="Input/output"), whole_folder(tmp_path / "test") as aside:
        (aside / "a").write_text("new")
    assert (tmp_path / "test/a").read_text() == "old"
    (tmp_path / "test").rename(tmp_path / f"test.{'c' * 12}.old")  # as a kill leaves it
    with pytest.raises(DiskError), whole_folder(tmp_path / "test") as aside:
        (aside / "a").write_text("new")
    assert (tmp_path / "test/a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["test"]
