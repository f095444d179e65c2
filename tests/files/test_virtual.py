"""Virtual rasters: the same pixels, at their places, and nothing where there is nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from fixtures.mapped import CORNER, write
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from jaxseg.errors import UserError
from jaxseg.files import raster, virtual
from jaxseg.scenes.scene import Window


def everything(path: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    found = raster.header(path)
    window = Window(0, 0, found.height, found.width)
    mask = raster.read_mask(path, window) if found.masked else np.ones(window[2:], bool)
    return raster.read(path, window), mask


def numbers(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    found = np.random.default_rng(seed).integers(1, 255, (2, height, width), np.uint8)
    return np.asarray(found, np.uint8)


def test_virtual_rasters_that_name_each_other_have_an_end(tmp_path: Path) -> None:
    path = tmp_path / "a.vrt"
    path.write_text('<SourceFilename relativeToVRT="1">a.vrt</SourceFilename>' * 20)
    assert virtual.remote_sources(str(path)) == []


def test_the_last_scene_with_data_counts_where_two_overlap(tmp_path: Path) -> None:
    first, second = numbers(30, 40, 0), numbers(20, 20, 1)
    second[:, :, :10] = 0
    write(tmp_path / "a.tif", first)
    write(tmp_path / "b.tif", second, nodata=0, transform=CORNER @ CORNER.translation(30, -5))
    headers = [raster.header(str(tmp_path / name)) for name in ("a.tif", "b.tif")]
    path = virtual.mosaic(headers)
    assert raster.header(path).transform == CORNER @ CORNER.translation(0, -5)
    assert raster.header(path).descriptions == ("answer", "class")
    image, valid = everything(path)
    expected, known = np.zeros((35, 50, 2), np.uint8), np.zeros((35, 50), bool)
    expected[5:, :40], known[5:, :40] = np.moveaxis(first, 0, -1), True
    expected[:20, 40:], known[:20, 40:] = np.moveaxis(second, 0, -1)[:, 10:], True
    np.testing.assert_array_equal(valid, known)
    np.testing.assert_array_equal(image[known], expected[known])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"crs": "EPSG:32633"}, "has the CRS"),
        ({"transform": CORNER @ CORNER.scale(2, 2)}, "off the grid"),
        ({"names": ("class", "answer")}, "has the bands"),
        ({"image": np.zeros((2, 20, 20), np.uint16)}, "has the data type"),
    ],
    ids=lambda change: next(iter(change)) if isinstance(change, dict) else "",
)
def test_scenes_that_are_not_alike_make_no_mosaic(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    write(tmp_path / "a.tif", numbers(20, 20, 0))
    write(**{"path": tmp_path / "b.tif", "image": numbers(20, 20, 1)} | change)
    headers = [raster.header(str(tmp_path / name)) for name in ("a.tif", "b.tif")]
    with pytest.raises(UserError, match=f"b.tif .*{said}|b.tif lies .*{said}"):
        virtual.mosaic(headers)


def test_larger_pixels_are_means_of_those_with_data(tmp_path: Path) -> None:
    image = numbers(60, 80, 0)
    image[:, :, 40:] = 0
    image[:, 1::2, 40:60] = 7
    path = write(tmp_path / "a.tif", image, nodata=0)
    frame = virtual.scaled(virtual.frame_of(raster.header(path)), 2)
    found, _ = everything(virtual.resampled(raster.header(path), frame))
    means = image[:, :, :40].reshape(2, 30, 2, 20, 2).mean((2, 4))
    assert abs(np.moveaxis(found, -1, 0)[:, :, :20] - means).max() <= 0.5
    np.testing.assert_array_equal(found[:, 20:30], 7)
    np.testing.assert_array_equal(found[:, 30:], 0)


def test_a_file_on_a_grid_of_another_crs_has_no_data_beyond_its_edges(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", numbers(40, 60, 0))
    degrees = write(
        tmp_path / "b.tif",
        numbers(50, 70, 1),
        crs="EPSG:4326",
        transform=CORNER.translation(10.3, 47.85) @ CORNER.scale(1e-4, -1e-4),
    )
    like = virtual.frame_of(raster.header(path))
    frame = virtual.covering(raster.header(degrees), like)
    _, valid = everything(virtual.resampled(raster.header(degrees), frame))
    assert 0.8 < valid.mean() < 1
    assert not valid[0, 0] or not valid[0, -1]


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 5])
def test_opacity_counts_as_the_last_band_of_any_number(tmp_path: Path, bands: int) -> None:
    image = np.full((bands + 1, 8, 8), 9, np.uint8)
    image[-1, :, 4:] = 0
    path = write(tmp_path / "a.tif", image, (), photometric="minisblack")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = (
            ColorInterp.gray,
            *[ColorInterp.undefined] * (bands - 1),
            ColorInterp.alpha,
        )
    assert raster.header(path).alpha == bands + 1
    _, valid = everything(path)
    np.testing.assert_array_equal(valid, image[-1] > 0)


def test_a_virtual_raster_tells_which_remote_files_it_names(tmp_path: Path) -> None:
    def named(relative: int, name: str) -> str:
        return (
            "<VRTDataset><VRTRasterBand><SimpleSource>"
            f'<SourceFilename relativeToVRT="{relative}">{name}</SourceFilename>'
            "</SimpleSource></VRTRasterBand></VRTDataset>"
        )

    (tmp_path / "inner.vrt").write_text(named(0, "/vsicurl/https://example.org/a.tif"))
    (tmp_path / "outer.vrt").write_text(named(1, "inner.vrt"))
    (tmp_path / "local.vrt").write_text(named(1, "a.tif"))
    remote = ["/vsicurl/https://example.org/a.tif"]
    assert virtual.remote_sources(str(tmp_path / "outer.vrt")) == remote
    assert virtual.remote_sources(str(tmp_path / "local.vrt")) == []


@pytest.mark.parametrize(
    ("path", "remote"),
    [
        ("https://h/a.tif", True),
        ("s3://b/a.tif", True),
        ("/vsis3/b/a.tif", True),
        ("/vsizip//vsicurl/https://h/a.zip/a.tif", True),
        ("/vsizip/a.zip/a.tif", False),
        ("zip:///a.zip!a.tif", False),
        ("file:///a.tif", False),
        ("a.tif", False),
    ],
)
def test_remote_paths_are_told_from_local_ones(path: str, remote: bool) -> None:
    assert raster.is_remote(path) is remote
