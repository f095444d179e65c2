"""What a person may give by mistake, or what may happen on the way: an error, and nothing lost."""

import errno
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from fixtures.file_server import serving
from fixtures.mapped import CORNER, answering_run, answers, classes, mapper, write
from rasterio.errors import RasterioIOError

from jaxseg.errors import UserError
from jaxseg.files import maps
from jaxseg.prediction import Settings
from jaxseg.prediction.archive import SceneFiles
from jaxseg.prediction.network import TileNetwork
from jaxseg.scenes.agreement import PixelSizeError


def scene(*paths: Path | str) -> list[SceneFiles]:
    return [SceneFiles("scene", tuple(map(str, paths)))]


def refused(tmp_path: Path, said: str, *paths: Path | str, **settings: Any) -> None:
    """The error, after which there is no map."""
    with pytest.raises(UserError, match=said):
        mapper(answering_run(), Settings(**settings)).map(scene(*paths), tmp_path / "map.tif")
    assert not (tmp_path / "map.tif").exists()


def test_what_is_not_a_raster_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("no image")
    refused(tmp_path, r"Cannot read .*a.tif", tmp_path / "a.tif")
    refused(tmp_path, r"b.tif: no such file", tmp_path / "b.tif")


@pytest.mark.parametrize(
    "transform",
    [
        CORNER @ CORNER.scale(1, -1),  # south-up
        CORNER @ CORNER.rotation(30),
        CORNER @ CORNER.scale(1, 2),
    ],
    ids=["south-up", "rotated", "oblong pixels"],
)
def test_any_transform_is_that_of_the_map(tmp_path: Path, transform: Any) -> None:
    image = answers(70, 90)
    path = write(tmp_path / "a.tif", image, transform=transform)
    mapper(answering_run()).map(scene(path), tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.transform.almost_equals(transform)
        np.testing.assert_array_equal(file.read(1), image[0])


def test_bounds_are_found_in_a_scene_whose_first_row_is_the_southernmost(tmp_path: Path) -> None:
    image = answers(70, 90)
    path = write(tmp_path / "a.tif", image, transform=CORNER @ CORNER.scale(1, -1))
    bounds = (600_100.0, 5_300_200.0, 600_300.0, 5_300_500.0)
    mapper(answering_run(), Settings(bounds=bounds)).map(scene(path), tmp_path / "map.tif")
    np.testing.assert_array_equal(classes(tmp_path / "map.tif"), image[0, 20:50, 10:30])


def test_a_scene_without_a_place_has_a_map_without_a_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "a.tif", answers(20, 30), crs=None, transform=None)
    mapper(answering_run(gsd=5.0)).map(scene(path), tmp_path / "map.tif")
    assert "no CRS in the scene, and none in the map" in capsys.readouterr().out
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.crs is None


def test_files_of_several_sizes_are_no_scene(tmp_path: Path) -> None:
    one = write(tmp_path / "a.tif", answers(20, 30)[:1], ("answer",))
    other = write(tmp_path / "b.tif", answers(20, 31)[:1], ("class",))
    refused(tmp_path, r"b.tif has 20 x 31 pixels", one, other)


def test_bands_of_several_pixel_sizes_are_brought_together_by_resampling(tmp_path: Path) -> None:
    image = answers(48, 80)
    one = write(tmp_path / "a.tif", image[:1], ("answer",))
    coarse = CORNER @ CORNER.scale(2, 2)
    other = write(tmp_path / "b.tif", image[1:, ::2, ::2], ("class",), transform=coarse)
    refused(tmp_path, r"b.tif has 24 x 40 pixels", one, other)
    mapper(answering_run(), Settings(resample=True)).map(scene(one, other), tmp_path / "map.tif")
    np.testing.assert_array_equal(classes(tmp_path / "map.tif"), image[0])


@pytest.mark.parametrize("gsd", [10.9, 9.2])
def test_a_pixel_size_near_that_of_the_training_is_taken_as_it_is(
    tmp_path: Path, gsd: float
) -> None:
    path = write(tmp_path / "a.tif", answers(20, 30))
    mapper(answering_run(gsd)).map(scene(path), tmp_path / "map.tif")
    assert classes(tmp_path / "map.tif").shape == (20, 30)


@pytest.mark.parametrize(
    ("form", "size"),
    [
        ({}, "10 m"),
        ({"crs": "EPSG:2263"}, "3.048 m"),  # feet
        ({"crs": "EPSG:4326", "transform": CORNER.translation(9, 60) @ CORNER.scale(1e-4)}, "7.8"),
    ],
    ids=["metres", "feet", "degrees"],
)
def test_another_pixel_size_is_an_error_that_names_both(
    tmp_path: Path, form: dict[str, Any], size: str
) -> None:
    path = write(tmp_path / "a.tif", answers(20, 30), **form)
    with pytest.raises(PixelSizeError, match=rf"pixels of {size}.* training 20 m.*--resample"):
        mapper(answering_run(20.0)).map(scene(path), tmp_path / "map.tif")
    mapper(answering_run(20.0), Settings(check=False)).map(scene(path), tmp_path / "map.tif")
    assert classes(tmp_path / "map.tif").shape == (20, 30)


def test_a_resampled_scene_has_the_pixels_of_the_training(tmp_path: Path) -> None:
    image = answers(64, 96)
    path = write(tmp_path / "a.tif", image)
    mapper(answering_run(20.0), Settings(resample=True)).map(scene(path), tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.transform == CORNER @ CORNER.scale(2, 2)
        np.testing.assert_array_equal(file.read(1), image[0, ::2, ::2])


def cut_in_the_middle(tmp_path: Path) -> tuple[Path, bytes]:
    """A scene whose last rows are not in the file, and all its bytes."""
    path = tmp_path / "a.tif"
    write(tmp_path / "plain.tif", answers(2000, 300))
    with rasterio.open(tmp_path / "plain.tif") as plain:  # its header comes first
        rasterio.shutil.copy(plain, path, driver="COG", BLOCKSIZE=128, OVERVIEWS="NONE")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    return path, whole


def test_a_scene_that_ends_in_the_middle_keeps_what_was_finished(tmp_path: Path) -> None:
    path, whole = cut_in_the_middle(tmp_path)
    settings = {"tile": 128, "check": False}
    refused(tmp_path, r"Cannot read .* is kept in .*map.tif.part", path, **settings)
    kept = sorted(file.name[:19] for file in (tmp_path / "map.tif.part").glob("classes_*.tif"))
    assert kept == ["classes_00000_00000", "classes_00001_00000"]
    # The mended file is another one: nothing of the old one is continued by accident.
    path.write_bytes(whole)
    refused(tmp_path, r"begun with other settings \(scene\)", path, **settings)
    mapper(answering_run(), Settings(**settings, overwrite=True)).map(
        scene(path), tmp_path / "map.tif"
    )
    np.testing.assert_array_equal(classes(tmp_path / "map.tif"), answers(2000, 300)[0])


def test_a_full_disk_is_an_error_and_the_same_command_continues(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.tif", answers(1500, 300))
    written, calls = Path.write_bytes, []

    def full(path: Path, content: bytes) -> int:
        calls.append(path)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    refused(tmp_path, r"Cannot write .*No space left.*MiB are free", path)
    assert not list(tmp_path.rglob("*.tmp"))
    mapper(answering_run()).map(scene(path), tmp_path / "map.tif")
    np.testing.assert_array_equal(classes(tmp_path / "map.tif"), answers(1500, 300)[0])


def test_a_map_that_cannot_be_put_together_keeps_its_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.tif", answers(600, 300))

    def full(*_: object, **__: object) -> None:
        raise RasterioIOError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(maps.rasterio.shutil, "copy", full)
        refused(tmp_path, r"Cannot write .*map.tif: No space left", path)
    times = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "map.tif.part").glob("classes_*")}
    assert len(times) == 2
    mapper(answering_run()).map(scene(path), tmp_path / "map.tif")
    assert not (tmp_path / "map.tif.part").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may write everywhere")
def test_a_folder_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", answers(20, 30))
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    with pytest.raises(UserError, match=r"Cannot write to .*folder that can be written to"):
        mapper(answering_run()).map(scene(path), closed / "map.tif")


def test_a_name_that_is_a_folder_of_blocks_already_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", answers(20, 30))
    (tmp_path / "map.tif.part").write_text("not a folder")
    refused(tmp_path, r"Cannot write to .*map.tif.part", path)


def test_a_virtual_raster_whose_files_are_gone_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.vrt").write_text(vrt("gone.tif"))
    refused(tmp_path, r"Cannot read .*a.vrt", tmp_path / "a.vrt")


def vrt(source: str) -> str:
    """Two bands of 20 x 30 pixels."""
    bands = "".join(
        f'<VRTRasterBand dataType="Int16" band="{band}"><SimpleSource>'
        f'<SourceFilename relativeToVRT="{int("://" not in source)}">{source}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for band in (1, 2)
    )
    return f'<VRTDataset rasterXSize="30" rasterYSize="20">{bands}</VRTDataset>'


def test_a_scene_on_a_server_is_read_in_parts(tmp_path: Path) -> None:
    image = answers(300, 500)
    write(tmp_path / "a.tif", image, blockxsize=64, blockysize=64)
    with serving(tmp_path) as address:
        mapper(answering_run()).map(scene(f"{address}/a.tif"), tmp_path / "map.tif")
    np.testing.assert_array_equal(classes(tmp_path / "map.tif"), image[0])


def test_remote_files_of_a_local_virtual_raster_are_fetched_only_if_allowed(
    tmp_path: Path,
) -> None:
    write(tmp_path / "a.tif", answers(20, 30))
    with serving(tmp_path) as address:
        (tmp_path / "a.vrt").write_text(vrt(f"{address}/a.tif"))
        refused(
            tmp_path, r"a.vrt names files on other machines \(http:.*--remote", tmp_path / "a.vrt"
        )
        allowed = mapper(answering_run(), Settings(remote=True))
        allowed.map(scene(tmp_path / "a.vrt"), tmp_path / "map.tif")
    np.testing.assert_array_equal(classes(tmp_path / "map.tif"), answers(20, 30)[0])


def test_a_server_without_the_file_is_an_error(tmp_path: Path) -> None:
    with serving(tmp_path) as address:
        refused(tmp_path, r"Cannot read http.*none.tif.*404", f"{address}/none.tif")


def test_a_server_that_never_answers_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "1")
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "0")
    with serving(tmp_path, stalls=True) as address:
        refused(tmp_path, r"Cannot read http.*a.tif", f"{address}/a.tif")


def test_a_device_without_memory_is_an_error_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.tif", answers(40, 40))

    def full(*_: object) -> None:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")

    monkeypatch.setattr(TileNetwork, "__call__", full)
    refused(tmp_path, r"no memory for 2 tile\(s\) of 64 x 64 .*--batch or --tile", path, batch=2)


def test_a_map_names_its_scene_without_folders_and_keys(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", answers(20, 30))
    with serving(tmp_path) as address:
        mapper(answering_run()).map(scene(f"{address}/a.tif?key=secret"), tmp_path / "map.tif")
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.tags()["JAXSEG_SCENE"] == "a.tif"
