"""Arrays in files: listed by their headers, read by name, never unpickled, damage is named."""

import io as streams
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import io, sparse

from jaxseg.errors import UserError
from jaxseg.files import arrays
from jaxseg.system import limits

CUBE = np.arange(4 * 5 * 3, dtype=np.int16).reshape(4, 5, 3) - 7
TRUTH = np.arange(20, dtype=np.uint8).reshape(4, 5)


def write(folder: Path, ending: str) -> str:
    path = folder / f"scene{ending}"
    if ending == ".npy":
        np.save(path, CUBE)
    elif ending == ".npz":
        np.savez_compressed(path, cube=CUBE, truth=TRUTH)
    else:
        io.savemat(path, {"cube": CUBE, "truth": TRUTH})
    return str(path)


@pytest.mark.parametrize("ending", [".mat", ".npz"])
def test_arrays_are_listed_and_read_as_they_are(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path, ending)
    found = arrays.contents(path)
    assert [(a.name, a.shape, a.kind, a.size) for a in found] == [
        ("cube", (4, 5, 3), "int16", 120),
        ("truth", (4, 5), "uint8", 20),
    ]
    for name, expected in (("cube", CUBE), ("truth", TRUTH)):
        values = arrays.read(path, name)
        np.testing.assert_array_equal(values, expected)
        assert values.dtype == expected.dtype
    with pytest.raises(UserError, match=r"no array 'gt'.*cube \(4 x 5 x 3, int16\), truth"):
        arrays.read(path, "gt")


def test_matlab_4_and_its_own_compression_of_whole_numbers(tmp_path: Path) -> None:
    io.savemat(tmp_path / "four.mat", {"truth": TRUTH.astype(float)}, format="4")
    io.savemat(tmp_path / "small.mat", {"cube": CUBE}, do_compression=True)
    np.testing.assert_array_equal(arrays.read(str(tmp_path / "four.mat"), "truth"), TRUTH)
    np.testing.assert_array_equal(arrays.read(str(tmp_path / "small.mat"), "cube"), CUBE)


def test_npy_is_mapped_and_named_by_its_file(tmp_path: Path) -> None:
    path = write(tmp_path, ".npy")
    assert [array.name for array in arrays.contents(path)] == ["scene"]
    values = arrays.read(path, "scene")
    assert isinstance(values, np.memmap)
    assert not values.flags.writeable
    np.testing.assert_array_equal(values, CUBE)


class Bomb:
    """Calls something when it is unpickled."""

    def __reduce__(self) -> Any:
        """How to be unpickled."""
        return pytest.fail, ("unpickled",)


def test_objects_are_listed_and_never_unpickled(tmp_path: Path) -> None:
    held = np.array([Bomb(), None], dtype=object)
    np.save(tmp_path / "a.npy", held)
    np.savez(tmp_path / "a.npz", held=held, truth=TRUTH)
    for path, name in (("a.npy", "a"), ("a.npz", "held")):
        listed = arrays.contents(str(tmp_path / path))[0]
        assert (listed.kind, listed.size) == ("Python objects", 0)
        with pytest.raises(UserError, match="does not hold numbers"):
            arrays.read(str(tmp_path / path), name)
    np.testing.assert_array_equal(arrays.read(str(tmp_path / "a.npz"), "truth"), TRUTH)


def test_what_is_not_a_full_array_of_numbers_is_listed(tmp_path: Path) -> None:
    content = {"s": {"a": 1}, "t": "text", "z": sparse.csc_matrix(np.eye(4)), "truth": TRUTH}
    io.savemat(tmp_path / "a.mat", content)
    found = {a.name: (a.kind, a.size) for a in arrays.contents(str(tmp_path / "a.mat"))}
    assert found == {
        "s": ("struct", 0), "t": ("char", 0), "z": ("sparse", 0), "truth": ("uint8", 20),
    }  # fmt: skip


@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_a_header_that_claims_more_than_there_is_costs_no_memory(
    tmp_path: Path, ending: str
) -> None:
    head = streams.BytesIO()
    claim = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6, 10)}
    np.lib.format.write_array_header_1_0(head, claim)
    path = tmp_path / f"bomb{ending}"
    if ending == ".npy":
        path.write_bytes(head.getvalue() + bytes(64))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("bomb.npy", head.getvalue() + bytes(64))
    with pytest.raises(UserError, match=rf"Cannot read .*bomb\{ending}"):
        arrays.read(str(path), "bomb")


def test_an_array_above_the_memory_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(limits.ARRAY.variable, "1e-9")
    for ending in (".mat", ".npz"):
        with pytest.raises(UserError, match=r"JAXSEG_MAX_ARRAY_GIB.*Save it as \.npy"):
            arrays.read(write(tmp_path, ending), "cube")
    np.testing.assert_array_equal(arrays.read(write(tmp_path, ".npy"), "scene"), CUBE)


@pytest.mark.parametrize("start", [b"MATLAB 7.3 MAT-file, Platform", b"\x89HDF\r\n\x1a\n"])
def test_matlab_7_3_is_told_how_to_be_saved(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "new.mat"
    path.write_bytes(start + bytes(1000))
    with pytest.raises(UserError, match=r"7\.3 \(HDF5\).*save\('scene\.mat', 'NAME', '-v7'\)"):
        arrays.contents(str(path))


@pytest.mark.parametrize("ending", [".mat", ".npy", ".npz"])
def test_damage_is_an_error_that_names_the_file(tmp_path: Path, ending: str) -> None:
    path = Path(write(tmp_path, ending))
    whole = path.read_bytes()
    for share in (0.0, 0.2, 0.6, 0.97):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(UserError, match=rf"Cannot read .*scene\{ending}.*again"):
            arrays.read(str(path), "scene" if ending == ".npy" else "truth")
    path.unlink()
    with pytest.raises(UserError, match="no such file"):
        arrays.contents(str(path))


def test_damaged_tags_of_matlab_are_found_before_they_are_followed(tmp_path: Path) -> None:
    path = Path(write(tmp_path, ".mat"))
    whole = bytearray(path.read_bytes())
    tags = [n for n in range(128, len(whole) - 8, 8) if whole[n : n + 4] == b"\x03\0\0\0"]
    assert tags  # of int16 numbers
    for place, value in ((128, 200), (132, 255), (tags[-1], 99), (tags[-1] + 6, 9)):
        damaged = bytearray(whole)
        damaged[place] = value
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="tag of"):
            arrays.contents(str(path))
