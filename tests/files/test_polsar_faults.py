"""Faults of polarimetric files are told by name: of folders, of GeoTIFFs, of four files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures.polsar_files import COLUMNS, ROWS, WHOLE, four_files, geotiff, planes
from fixtures.polsar_folder import scattering, write_polsarpro
from numpy.typing import NDArray
from rasterio.transform import from_origin

from jaxseg.errors import UserError
from jaxseg.files.polsar import open_polsar
from jaxseg.scenes.scene import Window

Fault = Callable[[Path], object]


def cut(folder: Path) -> None:
    file = folder / "T22.bin"
    file.write_bytes(file.read_bytes()[:-5])


def lengthen(folder: Path) -> None:
    file = folder / "T22.bin"
    file.write_bytes(file.read_bytes() + bytes(8))


def rewrite(name: str, old: str, new: str) -> Fault:
    return lambda folder: (folder / name).write_text((folder / name).read_text().replace(old, new))


def move(folder: Path) -> None:
    for name, east in (("T11", 500), ("T33", 510)):
        with (folder / f"{name}.bin.hdr").open("a") as file:
            file.write(f"map info = {{UTM, 1, 1, {east}, 4000, 10, 10, 32, North}}\n")


def empty(folder: Path) -> None:
    (folder / "config.txt").unlink()
    for file in folder.glob("*.bin"):
        file.write_bytes(b"")
        rewrite(f"{file.name}.hdr", "lines   = 12", "lines   = 0")(folder)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (cut, "T22.bin has 811 bytes; 12 x 17 values of 4 bytes are 816: it is truncated"),
        (lengthen, "T22.bin has 824 bytes.*it belongs to another scene"),
        (lambda folder: (folder / "T12_imag.bin").unlink(), "lacks T12_imag.bin"),
        (rewrite("config.txt", "12", "twelve"), "config.txt: no whole number below the line Nrow"),
        (
            rewrite("T33.bin.hdr", "samples = 17", "samples = 16"),
            r"T33.bin: its header says 12 x 16 pixels, the folder has 12 x 17.*one grid",
        ),
        (rewrite("T33.bin.hdr", "data type = 4", "data type = 6"), "T33.bin.*complex64"),
        (rewrite("T33.bin.hdr", "data type = 4", "data type = 2"), "T33.bin.hdr: data type 2"),
        (rewrite("T33.bin.hdr", "lines   = 12", "lines = ?"), "'lines' is \\?"),
        (lambda folder: (folder / "T44.bin").touch(), "bistatic"),
        (move, "T33.bin: its header says map info .* 510, .*T11.bin .* 500, .* one grid"),
        (empty, "T11.bin.hdr: 0 lines of 17 samples hold no pixel"),
    ],
    ids=[
        "truncated",
        "too long",
        "missing",
        "config",
        "grid",
        "complex",
        "integers",
        "no number",
        "T4",
        "other place",
        "no pixel",
    ],
)
def test_a_fault_of_a_folder_is_named(tmp_path: Path, spoil: Fault, words: str) -> None:
    folder = write_polsarpro(tmp_path / "T3", "T3", planes("T3"))
    spoil(folder)
    with pytest.raises(UserError, match=words):
        open_polsar(folder)


def test_a_file_that_shrinks_after_it_was_opened_is_named(tmp_path: Path) -> None:
    folder = write_polsarpro(tmp_path / "T3", "T3", planes("T3"))
    scene = open_polsar(folder)
    cut(folder)
    with pytest.raises(UserError, match=r"Cannot read .*T22.bin"):
        scene.read(WHOLE)


def test_a_place_without_a_scene_says_what_is_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file or folder.*PolSARpro folder"):
        open_polsar(tmp_path / "nothing")
    folder = write_polsarpro(tmp_path / "scene" / "T3", "T3", planes("T3"))
    with pytest.raises(UserError, match=r"Did you mean .*T3\?"):
        open_polsar(tmp_path / "scene")
    with pytest.raises(UserError, match=r"T11.bin is one file of a PolSARpro folder"):
        open_polsar(folder / "T11.bin")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "I11.bin").touch()
    with pytest.raises(
        UserError, match=r"other holds I11.bin: these are not planes of T3, C3, C2 or S2"
    ):
        open_polsar(tmp_path / "other")


def test_faults_of_geotiffs_are_named(tmp_path: Path) -> None:
    s = scattering(ROWS, COLUMNS)
    geotiff(tmp_path / "three.tif", s[..., :3])
    with pytest.raises(UserError, match=r"three.tif has 3 band"):
        open_polsar(tmp_path / "three.tif")
    geotiff(tmp_path / "amplitude.tif", np.abs(s))
    with pytest.raises(UserError, match=r"amplitude.tif holds float32 values, not complex"):
        open_polsar(tmp_path / "amplitude.tif")
    geotiff(tmp_path / "odd.tif", s, names=("HH", "HV", "VH", "other"))
    with pytest.raises(UserError, match=r"odd.tif has 4 band\(s\): HH, HV, VH, OTHER"):
        open_polsar(tmp_path / "odd.tif")
    folder = four_files(tmp_path / "files", s)
    geotiff(folder / "sar_vh.tif", s[:-1, :, 2:3])
    with pytest.raises(UserError, match=r"sar_vh.tif: its height is 11, that of .*sar_hh.tif"):
        open_polsar(folder)
    moved = {"transform": from_origin(5e5, 5e6 + 5, 2.5, 2.5)}
    geotiff(folder / "sar_vh.tif", s[..., 2:3], **moved)
    with pytest.raises(UserError, match=r"sar_vh.tif: its transform is .* one grid"):
        open_polsar(folder)
    (folder / "sar_vh.tif").unlink()
    with pytest.raises(UserError, match="ends in vh: none"):
        open_polsar(folder)


def test_each_of_four_files_has_one_complex_band_on_one_grid(tmp_path: Path) -> None:
    s = scattering(ROWS, COLUMNS)
    folder = four_files(tmp_path / "files", s)
    faults: list[tuple[NDArray[np.generic], dict[str, Any], str]] = [
        (s[..., :2], {}, r"sar_hv\.tif has 2 bands: it must have one"),
        (np.abs(s[..., :1]), {}, r"sar_hv\.tif holds float32 values"),
        (s[:, :-1, :1], {}, r"sar_hv\.tif: its width is 16, that of .*sar_hh\.tif is 17"),
        (s[..., :1], {"crs": "EPSG:32632"}, r"sar_hv\.tif: its crs is EPSG:32632, that of"),
    ]
    for image, more, words in faults:
        geotiff(folder / "sar_hv.tif", image, **more)
        with pytest.raises(UserError, match=words):
            open_polsar(folder)


def test_a_geotiff_that_is_cut_off_is_named(tmp_path: Path) -> None:
    s = np.repeat(scattering(64, 64), 2, axis=0)
    folder = four_files(tmp_path / "files", s)
    file = folder / "sar_vv.tif"
    file.write_bytes(file.read_bytes()[:9000])
    with pytest.raises(UserError, match=r"Cannot read .*sar_vv.tif"):
        open_polsar(folder).read(Window(0, 0, 128, 64))
