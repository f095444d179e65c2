"""Polarimetric files: every layout gives the same matrices, every fault is told by name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import rasterio
from fixtures.places import SHARED
from fixtures.polsar_folder import scattering, write_polsarpro
from numpy.typing import NDArray
from rasterio.transform import from_origin

from jaxseg.errors import UserError
from jaxseg.files.polsar import Matrices, PolsarScene, open_polsar
from jaxseg.files.polsarpro import Kind
from jaxseg.physics import polsar
from jaxseg.scenes.scene import Window

DATA = SHARED / "data"
ROWS, COLUMNS = 12, 17
WHOLE = Window(0, 0, ROWS, COLUMNS)


def planes(kind: Kind) -> NDArray[np.generic]:
    s = scattering(ROWS, COLUMNS)
    if kind == "S2":
        return s
    if kind == "C2":
        return np.asarray(polsar.c3_from_s2(jnp.asarray(s)))[..., [0, 1, 3, 4]]
    make = polsar.t3_from_s2 if kind == "T3" else polsar.c3_from_s2
    return np.asarray(make(jnp.asarray(s)))


def geotiff(path: Path, image: NDArray[np.generic], **more: Any) -> None:
    rows, columns, bands = image.shape
    grid = {"crs": "EPSG:32631", "transform": from_origin(5e5, 5e6, 2.5, 2.5)}
    profile = grid | {"dtype": image.dtype} | more
    names = profile.pop("names", ())
    with rasterio.open(path, "w", "GTiff", columns, rows, bands, **profile) as file:
        file.write(np.moveaxis(image, -1, 0))
        for number, name in enumerate(names, start=1):
            file.set_band_description(number, name)


def four_files(folder: Path, s: NDArray[np.complex64]) -> Path:
    folder.mkdir()
    for number, name in enumerate(("hh", "hv", "vh", "vv")):
        geotiff(folder / f"sar_{name}.tif", s[..., number : number + 1])
    return folder


@pytest.mark.parametrize("kind", ["S2", "T3", "C3"])
@pytest.mark.parametrize("big_endian", [False, True])
def test_polsarpro_folders_give_the_same_coherency(
    tmp_path: Path, kind: Kind, *, big_endian: bool
) -> None:
    folder = write_polsarpro(tmp_path / kind, kind, planes(kind), big_endian=big_endian)
    scene = open_polsar(folder)
    assert (scene.kind, scene.height, scene.width, scene.gsd) == (kind, ROWS, COLUMNS, None)
    window = Window(3, 5, 7, 9)
    bands, known, good = scene.matrices(window)
    assert good.all()
    assert bands.dtype == np.float32
    assert known.all()
    np.testing.assert_allclose(bands, planes("T3")[3:10, 5:14], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(scene.read(window), planes(kind)[3:10, 5:14])


def test_two_channels_stay_two(tmp_path: Path) -> None:
    scene = open_polsar(write_polsarpro(tmp_path / "C2", "C2", planes("C2")))
    assert scene.kind == "C2"
    np.testing.assert_array_equal(scene.matrices(WHOLE).bands, planes("C2"))


def test_complex_geotiffs_give_the_same_coherency(tmp_path: Path) -> None:
    s = scattering(ROWS, COLUMNS)
    geotiff(tmp_path / "four.tif", s)
    shuffled = s[..., [3, 0, 2, 1]]
    geotiff(tmp_path / "named.tif", shuffled, names=("VV", "HH", "VH", "HV"))
    for path in (four_files(tmp_path / "files", s), tmp_path / "four.tif", tmp_path / "named.tif"):
        scene = open_polsar(path)
        assert (scene.kind, scene.gsd) == ("S2", 2.5)
        np.testing.assert_allclose(scene.matrices(WHOLE).bands, planes("T3"), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["T3", "C3"])
def test_a_geotiff_of_all_nine_elements_has_to_be_hermitian(tmp_path: Path, kind: Kind) -> None:
    full = np.array(polsar.matrices(jnp.asarray(planes(kind)))).reshape(ROWS, COLUMNS, 9)
    names = [f"{kind[0]}{row}{column}" for row in (1, 2, 3) for column in (1, 2, 3)]
    geotiff(tmp_path / "full.tif", full[..., ::-1], names=names[::-1])
    scene = open_polsar(tmp_path / "full.tif")
    bands, _, good = scene.matrices(WHOLE)
    assert good.all()
    np.testing.assert_allclose(bands, planes("T3"), rtol=1e-5, atol=1e-5)
    full[3, 4, 1] *= 1j
    full[5, 6, 4] += 0.5j
    geotiff(tmp_path / "two.tif", full, names=names)
    assert (~open_polsar(tmp_path / "two.tif").usable(WHOLE)[1]).sum() == 2
    full[..., 1] = 0
    geotiff(tmp_path / "none.tif", full, names=names)
    with pytest.raises(
        UserError, match=r"none.tif.* 204 of 204 pixels \(100.0%\) are not Hermitian"
    ):
        open_polsar(tmp_path / "none.tif").refuse_impossible()
    geotiff(tmp_path / "nameless.tif", full)
    with pytest.raises(UserError, match=r"nameless.tif has 9 band.*named T11, T12"):
        open_polsar(tmp_path / "nameless.tif")


def test_a_folder_needs_only_one_of_config_and_headers(tmp_path: Path) -> None:
    folder = write_polsarpro(tmp_path / "T3", "T3", planes("T3"))
    (folder / "config.txt").unlink()
    (folder / "T11.bin.hdr").rename(folder / "T11.hdr")
    assert open_polsar(folder).width == COLUMNS
    text = (folder / "T11.hdr").read_text()
    for file in folder.glob("*.hdr"):
        file.unlink()
    with pytest.raises(UserError, match=r"neither config\.txt nor \.hdr"):
        open_polsar(folder)
    (folder / "config.txt").write_text(f"Nrow\n{ROWS}\n---------\nNcol\n{COLUMNS}\n")
    assert open_polsar(folder).gsd is None
    info = "map info = {UTM, 1, 1, 500000, 5000000, 10.0, 10.0, 31, North, WGS-84}\n"
    (folder / "T11.bin.hdr").write_text(text + info)
    assert open_polsar(folder).gsd == 10.0


def test_a_window_of_a_scene_larger_than_memory_is_read(tmp_path: Path) -> None:
    # 10^10 pixels: files of holes, which take no room on the disk.
    folder = write_polsarpro(tmp_path / "T3", "T3", planes("T3"))
    (folder / "config.txt").write_text("Nrow\n100000\n---------\nNcol\n100000\n")
    for file in folder.glob("*.hdr"):
        file.unlink()
    for number, file in enumerate(sorted(folder.glob("*.bin"))):
        with file.open("wb") as stream:
            stream.truncate(4 * 10**10)
            stream.seek(4 * (99_990 * 100_000 + 99_980))
            stream.write(np.full(3, number + 1, "<f4").tobytes())
    scene = open_polsar(folder)
    bands, known, _ = scene.matrices(Window(99_980, 99_970, 20, 30))
    assert known.sum() == 3
    assert known[10, 10:13].all()
    assert bands[10, 11, 0] == 1  # T11 comes first by name
    assert bands[10, 11, 2] == 9


def test_pixels_without_data_and_impossible_ones_are_marked(tmp_path: Path) -> None:
    t3 = planes("T3").copy()
    t3[2] = 0
    t3[4, 5] = np.nan
    t3[6, 7, 1] = -1
    scene = open_polsar(write_polsarpro(tmp_path / "T3", "T3", t3))
    bands, known, good = scene.matrices(WHOLE)
    assert (~known).sum() == COLUMNS + 1
    assert np.isfinite(bands).all()
    assert (known & ~good).sum() == 1
    bands, usable = scene.usable(WHOLE)
    np.testing.assert_array_equal(usable, good)
    assert not bands[6, 7].any()


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


def test_a_geotiff_of_integer_pairs_and_tagged_nodata_is_read(tmp_path: Path) -> None:
    s = np.round(100 * scattering(ROWS, COLUMNS))
    s[3] = -9999
    geotiff(tmp_path / "s2.tif", s, dtype="complex_int16", nodata=-9999)
    scene = open_polsar(tmp_path / "s2.tif")
    assert scene.kind == "S2"
    bands, known, _ = scene.matrices(WHOLE)
    np.testing.assert_array_equal(known, np.arange(ROWS)[:, None].repeat(COLUMNS, 1) != 3)
    np.testing.assert_allclose(bands[known], np.asarray(polsar.t3_from_s2(s))[known], rtol=1e-6)


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


@pytest.mark.parametrize("names", [("HH.TIF", "a-hv.tiff", "b_VH.tif", "c vv.tif"), None])
def test_four_files_are_known_by_how_their_names_end(
    tmp_path: Path, names: tuple[str, ...] | None
) -> None:
    s = scattering(ROWS, COLUMNS)
    for number, name in enumerate(names or ("1hh.tif", "2hv.tif", "3vh.tif", "4vv.tif")):
        geotiff(tmp_path / name, s[..., number : number + 1])
    (tmp_path / "notes_hh.txt").touch()
    geotiff(tmp_path / "overvv.tif", s[..., :1])  # the end of a word
    scene = open_polsar(tmp_path)
    assert (scene.kind, scene.path, len(scene.planes)) == ("S2", str(tmp_path), 4)
    np.testing.assert_array_equal(scene.read(WHOLE), s)
    assert scene.names[0].startswith("band 1 of ")
    assert scene.header is not None
    geotiff(tmp_path / "second_vh.tif", s[..., :1])
    with pytest.raises(UserError, match=r"ends in vh: .*, second_vh\.tif\. "):
        open_polsar(tmp_path)


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


def test_a_tag_of_nodata_that_is_zero_leaves_zeros_as_they_are(tmp_path: Path) -> None:
    """A single zero is a number; a pixel has no data where all planes are zero."""
    s = scattering(ROWS, COLUMNS).copy()
    s[2, 3, 0], s[4] = 0, 0
    geotiff(tmp_path / "s2.tif", s, nodata=0)
    scene = open_polsar(tmp_path / "s2.tif")
    np.testing.assert_array_equal(scene.read(WHOLE), s)
    known = scene.matrices(WHOLE).known
    assert known[2, 3]
    assert not known[4].any()


def test_names_of_bands_count_in_any_case_and_files_of_a_folder_are_told(tmp_path: Path) -> None:
    s = scattering(ROWS, COLUMNS)
    geotiff(tmp_path / "s2.tif", s[..., [1, 0, 3, 2]], names=("hv", "Hh", "vv", "vH"))
    np.testing.assert_array_equal(open_polsar(tmp_path / "s2.tif").read(WHOLE), s)
    folder = write_polsarpro(tmp_path / "T3", "T3", planes("T3"))
    for name in ("config.txt", "T11.bin.hdr"):
        with pytest.raises(UserError, match=rf"{name} is one file of a .* folder: give .*T3"):
            open_polsar(folder / name)
    scene = open_polsar(folder)
    assert scene.names[:2] == ("T11.bin", "T22.bin")
    assert scene.header is None
    assert scene.path == str(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty holds no \.bin and no GeoTIFF file\. Give"):
        open_polsar(tmp_path / "empty")


def test_a_geotiff_that_is_cut_off_is_named(tmp_path: Path) -> None:
    s = np.repeat(scattering(64, 64), 2, axis=0)
    folder = four_files(tmp_path / "files", s)
    file = folder / "sar_vv.tif"
    file.write_bytes(file.read_bytes()[:9000])
    with pytest.raises(UserError, match=r"Cannot read .*sar_vv.tif"):
        open_polsar(folder).read(Window(0, 0, 128, 64))


@pytest.mark.parametrize("spoil", ["decibel", "swapped"])
def test_a_scene_of_impossible_matrices_is_refused_with_their_share(
    tmp_path: Path, spoil: str
) -> None:
    t3 = planes("T3").copy()
    if spoil == "decibel":
        t3[..., :3] = 10 * np.log10(t3[..., :3]) - 20
    else:
        t3 = t3[..., [3, 1, 2, 0, 4, 5, 6, 7, 8]]
    scene = open_polsar(write_polsarpro(tmp_path / "T3", "T3", t3))
    with pytest.raises(UserError, match=r"T3.*pixels \(\d+.\d%\) are not Hermitian, positive"):
        scene.refuse_impossible()


def judged(
    monkeypatch: pytest.MonkeyPatch, known: NDArray[np.bool_], good: NDArray[np.bool_]
) -> list[Window]:
    """Looks at a scene of such pixels; the windows that were looked at."""
    height, width = known.shape
    scene = PolsarScene("scene", "T3", height, width, None, (), ())
    seen = []

    def matrices(self: PolsarScene, window: Window) -> Matrices:
        seen.append(window)
        y, x, rows, columns = window
        assert 0 <= y <= height - rows
        assert 0 <= x <= width - columns
        part = (slice(y, y + rows), slice(x, x + columns))
        return Matrices(np.zeros((rows, columns, 9), np.float32), known[part], good[part])

    monkeypatch.setattr(PolsarScene, "matrices", matrices)
    scene.refuse_impossible()
    return seen


def test_a_scene_is_judged_by_windows_across_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = np.ones((1000, 700), bool)
    seen = judged(monkeypatch, fine, fine)
    assert len(set(seen)) == 64
    assert {(window.height, window.width) for window in seen} == {(64, 64)}
    tops, lefts = ({window[axis] for window in seen} for axis in (0, 1))
    assert (len(tops), len(lefts)) == (8, 8)
    assert (min(tops), max(tops), min(lefts), max(lefts)) == (0, 936, 0, 636)
    small = np.ones((12, 100), bool)
    windows = judged(monkeypatch, small, small)
    assert {(w.y, w.height, w.width) for w in windows} == {(0, 12, 64)}
    assert {w.x for w in windows} >= {0, 36}


def test_more_than_half_of_the_pixels_with_data_have_to_be_matrices(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known, good = np.ones((10, 20), bool), np.ones((10, 20), bool)
    good[:5] = False
    judged(monkeypatch, known, good)  # half of them may be bad
    good[5, 0] = False
    with pytest.raises(UserError, match=r"scene: 101 of 200 pixels \(50\.5%\) are "):
        judged(monkeypatch, known, good)
    known[:5, 0] = False  # pixels without data are neither
    judged(monkeypatch, known, good)
    judged(monkeypatch, np.zeros_like(known), np.zeros_like(good))  # told elsewhere


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "kind", "size", "gsd"),
    [
        ("polsar_sf_airsar/T3", "T3", (544, 368), None),
        ("sar_complex_spacenet6", "S2", (200, 200), 2.5),
    ],
)
def test_real_scenes_are_matrices_of_radars(
    name: str, kind: str, size: tuple[int, int], gsd: float | None
) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"{DATA / name} is absent: the real sets lie beside the checkout")
    scene = open_polsar(DATA / name)
    assert (scene.kind, (scene.height, scene.width), scene.gsd) == (kind, size, gsd)
    bands, good = scene.usable(Window(0, 0, *size))
    assert good.all()
    back = polsar.t3_from_c3(polsar.c3_from_t3(jnp.asarray(bands)))
    off = np.abs(np.asarray(back) - bands).max(-1) / bands[..., :3].sum(-1)
    assert off.max() < 1e-6
