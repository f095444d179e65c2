"""Folders of planes, whatever they show: sizes, types, leading bytes, grids, and their faults."""

from pathlib import Path

import numpy as np
import pytest
from fixtures.polsar_folder import write_polsarpro
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.files.polsarpro import FILES, Kind, open_folder
from jaxseg.scenes.scene import Window

ROWS, COLUMNS = 6, 9
PART = Window(2, 1, 3, 5)
CUT = (slice(2, 5), slice(1, 6))


def planes(kind: Kind) -> NDArray[np.generic]:
    """(6, 9, N) numbers that are all different."""
    count = len(FILES[kind])
    values = np.arange(ROWS * COLUMNS * count).reshape(ROWS, COLUMNS, count)
    return (values + 1j * (values + 0.5)) if kind == "S2" else values + 0.25


def header(folder: Path, name: str, old: str, new: str) -> None:
    file = folder / f"{name}.bin.hdr"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize("kind", list(FILES))
@pytest.mark.parametrize("big_endian", [False, True])
def test_windows_of_planes_are_read_in_their_order(
    tmp_path: Path, kind: Kind, *, big_endian: bool
) -> None:
    values = planes(kind)
    folder = open_folder(write_polsarpro(tmp_path / "x", kind, values, big_endian=big_endian))
    assert (folder.kind, folder.height, folder.width, folder.gsd) == (kind, ROWS, COLUMNS, None)
    assert len(folder.planes) == len(FILES[kind])
    for number, plane in enumerate(folder.planes):
        part = plane(PART)
        np.testing.assert_array_equal(part, values[CUT][..., number])
        assert part.dtype == np.dtype("c8" if kind == "S2" else "f4")
        assert part.dtype.isnative


def test_the_planes_have_the_names_of_the_format() -> None:
    parts = [f"{e}_{p}" for e in ("12", "13", "23") for p in ("real", "imag")]
    assert FILES["T3"] == ("T11", "T22", "T33", *(f"T{part}" for part in parts))
    assert FILES["C3"] == ("C11", "C22", "C33", *(f"C{part}" for part in parts))
    assert FILES["C2"] == ("C11", "C22", "C12_real", "C12_imag")
    assert FILES["S2"] == ("s11", "s12", "s21", "s22")


def test_leading_bytes_that_a_header_tells_are_skipped(tmp_path: Path) -> None:
    values = planes("T3")
    folder = write_polsarpro(tmp_path / "T3", "T3", values)
    plane = folder / "T22.bin"
    plane.write_bytes(b"\x07" * 20 + plane.read_bytes())
    with pytest.raises(
        UserError, match=r"T22\.bin has 236 bytes; .* are 216: it belongs to another"
    ):
        open_folder(folder)
    header(folder, "T22", "header offset = 0", "header offset = 20")
    opened = open_folder(folder)
    for number in range(9):
        np.testing.assert_array_equal(opened.planes[number](PART), values[CUT][..., number])
    plane.write_bytes(plane.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"has 235 bytes; 6 x 9 values of 4 bytes are 236: it"):
        open_folder(folder)


def test_kinds_are_told_by_their_planes(tmp_path: Path) -> None:
    folder = write_polsarpro(tmp_path / "C3", "C3", planes("C3"))
    assert open_folder(folder).kind == "C3"
    for name in ("C33", "C23_real", "C23_imag", "C13_real", "C13_imag"):
        (folder / f"{name}.bin").rename(folder / f"{name}.away")
    assert open_folder(folder).kind == "C2"
    for name in ("C33", "C23_imag", "C13_real"):  # any of them makes it a C3 that is not whole
        (folder / f"{name}.away").rename(folder / f"{name}.bin")
        with pytest.raises(UserError, match=r"C3 lacks C.*: a C3 folder has C11\.bin, "):
            open_folder(folder)
        (folder / f"{name}.bin").rename(folder / f"{name}.away")


@pytest.mark.parametrize("name", ["T44", "C44"])
def test_matrices_of_four_rows_are_refused(tmp_path: Path, name: str) -> None:
    folder = write_polsarpro(tmp_path / "x", "C3" if name == "C44" else "T3", planes("T3"))
    (folder / f"{name}.bin").touch()
    with pytest.raises(UserError, match="4 x 4 matrix of a bistatic radar"):
        open_folder(folder)


def test_the_size_is_that_of_config_or_else_of_a_header(tmp_path: Path) -> None:
    folder = write_polsarpro(tmp_path / "T3", "T3", planes("T3"))
    for file in folder.glob("*.hdr"):
        file.unlink()
    assert open_folder(folder)[1:3] == (ROWS, COLUMNS)
    (folder / "config.txt").write_text(" Ncol \r\n 9 \r\n---------\r\n Nrow \r\n 6 \r\n")
    assert open_folder(folder)[1:3] == (ROWS, COLUMNS)
    (folder / "config.txt").unlink()
    text = "ENVI\nlines=6\nSAMPLES = 9\ndata type = 4\n"  # in little endian, without an offset
    (folder / "T33.hdr").write_text(text)
    opened = open_folder(folder)
    assert opened[1:3] == (ROWS, COLUMNS)
    np.testing.assert_array_equal(opened.planes[2](PART), planes("T3")[CUT][..., 2])
    (folder / "T33.bin.hdr").write_text(text.replace("6", "5"))  # which counts before T33.hdr
    with pytest.raises(UserError, match=r"are 180: it belongs to another scene"):
        open_folder(folder)


@pytest.mark.parametrize(
    "text",
    ["Nrow\n", "Nrow\n0\n", "Nrow\n-6\nNcol\n9\n", "Nrow\n6.0\nNcol\n9\n", "6\n9\n", "Ncol\n9\n"],
)
def test_a_config_without_a_number_of_rows_is_refused(tmp_path: Path, text: str) -> None:
    folder = write_polsarpro(tmp_path / "T3", "T3", planes("T3"))
    (folder / "config.txt").write_text(text)
    with pytest.raises(UserError, match=r"config\.txt: no whole number below the line Nrow"):
        open_folder(folder)
    (folder / "config.txt").write_text("Nrow\n6\n---------\nNcol\n")
    with pytest.raises(UserError, match="below the line Ncol"):
        open_folder(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("samples = 9", "", "'samples' is missing"),
        ("samples = 9", "samples = 0", "6 lines of 0 samples hold no pixel"),
        ("lines   = 6", "lines = -6", "'lines' is -6; it must be a whole number"),
        ("data type = 4", "", "'data type' is missing"),
        ("data type = 4", "data type = 5", r"data type 5\. PolSARpro has 4 \(float32\) or 6"),
        ("byte order = 0", "byte order = big", "'byte order' is big"),
        ("header offset = 0", "header offset = -4", "'header offset' is -4"),
    ],
)
def test_a_fault_of_a_header_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    folder = write_polsarpro(tmp_path / "T3", "T3", planes("T3"))
    header(folder, "T12_imag", old, new)
    with pytest.raises(UserError, match=rf"T12_imag\.bin\.hdr: {message}"):
        open_folder(folder)


@pytest.mark.parametrize(("kind", "code"), [("T3", 6), ("S2", 4)])
def test_numbers_of_another_type_than_the_kinds_are_refused(
    tmp_path: Path, kind: Kind, code: int
) -> None:
    folder = write_polsarpro(tmp_path / "x", kind, planes(kind))
    first = FILES[kind][0]
    header(folder, first, f"data type = {10 - code}", f"data type = {code}")
    with pytest.raises(UserError, match=rf"{first}\.bin: its header says .*, but {kind} has"):
        open_folder(folder)


UTM = "{{UTM, 1, 1, {east}, 4000, {width}, {height}, 32, North, WGS-84}}"


def with_place(folder: Path, name: str, place: str) -> None:
    with (folder / f"{name}.bin.hdr").open("a") as file:
        file.write(f"map info = {place}\n")


@pytest.mark.parametrize(
    ("place", "metres"),
    [
        (UTM.format(east=500, width=10, height=10), 10.0),
        (UTM.format(east=500, width="2.5", height=10), 5.0),
        (UTM.format(east=500, width=10, height=-40), 20.0),
        ("{Geographic Lat/Lon, 1, 1, 7.5, 48.1, 0.01, 0.01, WGS-84, units=Degrees}", None),
        ("{Arbitrary, 1, 1, 0, 0, 0.01, 0.01, units=Degrees}", None),
        ("{UTM, 1, 1, 500, 4000, 10}", None),
        ("{UTM, 1, 1, 500, 4000, wide, high, 32, North}", None),
    ],
)
def test_pixels_are_squares_of_the_same_area_in_metres(
    tmp_path: Path, place: str, metres: float | None
) -> None:
    folder = write_polsarpro(tmp_path / "T3", "T3", planes("T3"))
    with_place(folder, "T11", place)
    assert open_folder(folder).gsd == metres


def test_planes_of_one_place_may_write_it_differently_but_not_mean_another(tmp_path: Path) -> None:
    folder = write_polsarpro(tmp_path / "T3", "T3", planes("T3"))
    here = UTM.format(east=500, width=10, height=10)
    with_place(folder, "T11", here)
    with_place(folder, "T22", here.replace(", ", ",\n   ").replace(",\n", ", \n"))
    with_place(folder, "T33", here.replace(" 1,", "  1,"))
    assert open_folder(folder).gsd == 10.0
    with_place(folder, "T13_real", UTM.format(east=510, width=10, height=10))
    with pytest.raises(UserError, match=r"T13_real\.bin: its header says map .* of .*T11\.bin"):
        open_folder(folder)


def test_a_folder_of_other_planes_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "b.bin").touch()
    (tmp_path / "a.bin").touch()
    with pytest.raises(
        UserError, match=r"holds a\.bin, b\.bin: these are not planes of T3, C3, C2 or S2"
    ):
        open_folder(tmp_path)
