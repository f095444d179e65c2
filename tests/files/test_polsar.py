"""Polarimetric files: every layout gives the same matrices."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.places import SHARED
from fixtures.polsar_files import COLUMNS, ROWS, WHOLE, four_files, geotiff, planes
from fixtures.polsar_folder import scattering, write_polsarpro

from jaxseg.errors import UserError
from jaxseg.files.polsar import open_polsar
from jaxseg.files.polsarpro import Kind
from jaxseg.physics import polsar
from jaxseg.scenes.scene import Window

DATA = SHARED / "data"


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


def test_a_geotiff_of_integer_pairs_and_tagged_nodata_is_read(tmp_path: Path) -> None:
    s = np.round(100 * scattering(ROWS, COLUMNS))
    s[3] = -9999
    geotiff(tmp_path / "s2.tif", s, dtype="complex_int16", nodata=-9999)
    scene = open_polsar(tmp_path / "s2.tif")
    assert scene.kind == "S2"
    bands, known, _ = scene.matrices(WHOLE)
    np.testing.assert_array_equal(known, np.arange(ROWS)[:, None].repeat(COLUMNS, 1) != 3)
    np.testing.assert_allclose(bands[known], np.asarray(polsar.t3_from_s2(s))[known], rtol=1e-6)


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
