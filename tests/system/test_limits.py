"""Sizes that a header claims are compared with a named limit before anything is made."""

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxseg.datasets.tiles import picture
from jaxseg.errors import UserError
from jaxseg.metrics.measure import Setting, measures
from jaxseg.metrics.scene_shapes import SceneShapes
from jaxseg.pipeline import windows as pipeline
from jaxseg.pipeline.windows import Data
from jaxseg.run import data_files
from jaxseg.scenes.cover import Cover
from jaxseg.scenes.scene import Window
from jaxseg.system import limits
from jaxseg.weights.state_dict import read_state_dict

MILLION = 1_000_000


class Claimed:
    """Scenes that say how large they are, and cannot be read."""

    classes = ("a", "b")

    def __init__(self, *sizes: tuple[int, int]) -> None:  # noqa: D107
        self.sizes = sizes

    def __len__(self) -> int:  # noqa: D105
        return len(self.sizes)

    def size(self, index: int) -> tuple[int, int]:  # noqa: D102
        return self.sizes[index]

    def name(self, index: int) -> str:  # noqa: D102
        return f"scene {index}"


def npz(path: Path, shape: tuple[int, ...], numbers: bytes) -> Path:
    head = io.BytesIO()
    facts = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, facts)  # type: ignore[arg-type]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", head.getvalue() + numbers)
    return path


def test_a_header_of_a_million_rows_and_columns_costs_no_memory() -> None:
    scenes: Any = Claimed((MILLION, MILLION), (64, 64))
    tracemalloc.start()
    cells = pipeline.training_cells(scenes, Data(scenes, crop=32))
    windows = Cover(32, 24).windows(scenes)
    assert cells.total == 31_250**2 + 4
    assert [cells.scene(n) for n in (0, 31_250**2 - 1, 31_250**2)] == [0, 0, 1]
    assert len(windows) == 41_667**2 + 9
    assert windows[41_667 * 5 + 2] == (0, Window(120, 48, 32, 32))
    assert windows[-1] == (1, Window(48, 48, 32, 32))
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_computed_windows_are_those_of_the_list_in_their_order() -> None:
    scenes: Any = Claimed((70, 33), (8, 8), (9, 200), (31, 1))
    for cover in (Cover(8, 8), Cover(8, 5)):
        windows = cover.windows(scenes)
        starts = [
            (index, y, x)
            for index, (height, width) in enumerate(scenes.sizes)
            for y in range(0, max(1, height - cover.shared), cover.step)
            for x in range(0, max(1, width - cover.shared), cover.step)
        ]
        expected = [(index, Window(y, x, 8, 8)) for index, y, x in starts]
        assert list(windows) == expected == [windows[n] for n in range(len(windows))]
        assert windows[3:7] == expected[3:7]
        with pytest.raises(IndexError):
            windows[len(expected)]


def test_an_evaluation_of_too_many_windows_names_scene_limit_and_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scenes: Any = Claimed((8, 8), (MILLION, MILLION))
    with pytest.raises(UserError, match=r"976562501 .*scene 1, .*JAXSEG_MAX_WINDOWS=976562501"):
        pipeline.evaluation_windows(scenes, Data(scenes, crop=32))
    monkeypatch.setenv(limits.WINDOWS.variable, "976562501")
    assert len(pipeline.evaluation_windows(scenes, Data(scenes, crop=32))) == 976562501


@pytest.mark.parametrize("given", ["many", "0", "-1", "nan"])
def test_a_limit_that_is_not_a_number_is_refused(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(limits.WINDOWS.variable, given)
    with pytest.raises(UserError, match="JAXSEG_MAX_WINDOWS is"):
        limits.WINDOWS.now()


def test_a_map_that_measures_could_not_hold_is_refused_before_the_first_window() -> None:
    scenes: Any = Claimed((MILLION, 10 * MILLION))
    cover = Cover(64, 64)
    started = [measure.start(Setting(2, 64, 1.0)) for measure in measures()]
    with pytest.raises(UserError, match="JAXSEG_MAX_ARRAY_GIB"):
        SceneShapes(scenes, cover.windows(scenes), cover, started)
    SceneShapes(scenes, cover.windows(scenes), cover, [])


def test_a_compressed_array_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = npz(tmp_path / "a.npz", (2**22,), bytes(2**22))
    assert path.stat().st_size < 10_000
    monkeypatch.setenv(limits.ARRAY.variable, "0.001")
    with pytest.raises(UserError, match="JAXSEG_MAX_ARRAY_GIB"):
        read_state_dict(path)
    monkeypatch.setenv(limits.ARRAY.variable, "0.01")
    assert read_state_dict(path)["a"].shape == (2**22,)


def test_an_array_shorter_than_its_header_is_damaged_not_made(tmp_path: Path) -> None:
    path = npz(tmp_path / "a.npz", (10**15,), bytes(100))
    with pytest.raises(UserError, match="shorter than its header says"):
        read_state_dict(path)


def test_a_picture_of_too_many_pixels_is_one_message() -> None:
    small = io.BytesIO()
    Image.new("L", (2, 2)).save(small, "BMP")
    content = bytearray(small.getvalue())
    content[18:26] = (100_000).to_bytes(4, "little") * 2  # width and height
    with pytest.raises(UserError, match=r"Cannot decode the picture of a: .*exceeds limit"):
        picture(bytes(content), "a")


def test_a_list_of_files_that_swells_is_not_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import gzip

    monkeypatch.setattr(data_files, "MOST", 1000)
    with gzip.open(tmp_path / data_files.NAME, "wt") as file:
        file.writelines(f"1 2 /a/{n}\n" for n in range(200))
    source: Any = Claimed()
    (line,) = data_files.changed(tmp_path, source)
    assert "cannot be read" in line


def test_a_batch_beyond_the_memory_is_refused_before_a_window_is_read() -> None:
    class Source(Claimed):
        def scenes(self, split: str) -> None:
            raise AssertionError(split)

    data = Data(Source(), crop=65_536, batch_size=10_000)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="A batch of 10000 windows of 65536"):
        pipeline.training_batches(data, seed=0, positions=list(range(10_000)), first=0, last=1)
