"""Tests of `jaxseg.files.raster`: windows equal slices, damage is told, threads stay apart."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.transform import from_origin

from jaxseg.errors import UserError
from jaxseg.files import raster
from jaxseg.scenes.scene import Window

pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),  # rasterio's use of affine
]

H, W = 48, 64


def write_tiff(path: Path, pixels: NDArray[np.generic], **profile: object) -> str:
    """(H, W, C) as a GeoTIFF."""
    height, width, count = pixels.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=count,
        dtype=pixels.dtype,
        **profile,
    ) as file:
        file.write(np.moveaxis(pixels, -1, 0))
    return str(path)


def numbers(dtype: str, bands: int, seed: int = 0) -> NDArray[np.generic]:
    values = np.random.default_rng(seed).integers(0, 120, (H, W, bands))
    return values.astype(dtype)


@pytest.mark.parametrize("bands", [1, 3, 10])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_a_window_equals_the_slice_of_the_whole(tmp_path: Path, dtype: str, bands: int) -> None:
    pixels = numbers(dtype, bands)
    path = write_tiff(tmp_path / "a.tif", pixels, tiled=True, blockxsize=16, blockysize=16)
    part = raster.read(path, Window(5, 7, 20, 30))
    assert part.dtype == pixels.dtype
    np.testing.assert_array_equal(part, pixels[5:25, 7:37])


def test_bands_are_picked_by_number(tmp_path: Path) -> None:
    pixels = numbers("uint16", 5)
    path = write_tiff(tmp_path / "a.tif", pixels)
    picked = raster.read(path, Window(0, 0, H, W), bands=(4, 1))
    np.testing.assert_array_equal(picked, pixels[..., [3, 0]])


def test_the_header_tells_what_the_file_says(tmp_path: Path) -> None:
    path = write_tiff(
        tmp_path / "a.tif",
        numbers("int16", 2),
        nodata=-9999,
        crs="EPSG:32633",
        transform=from_origin(500, 900, 10, 10),
    )
    with rasterio.open(path, "r+") as file:
        file.set_band_description(1, "VV")
    header = raster.header(path)
    assert (header.height, header.width, header.bands) == (H, W, 2)
    assert header.dtype == np.int16
    assert header.nodata == (-9999, -9999)
    assert header.descriptions == ("VV", None)
    assert header.crs.to_epsg() == 32633
    assert tuple(header.transform)[:6] == (10, 0, 500, 0, -10, 900)
    assert (header.alpha, header.masked, header.palette) == (None, False, None)


@pytest.mark.parametrize(
    ("crs", "width", "metres"),
    [
        ("EPSG:32633", 10.0, 10.0),
        ("EPSG:2263", 10.0, 3.048),  # US feet
        ("EPSG:4326", 0.001, None),  # degrees
        (None, 10.0, None),
    ],
)
def test_the_ground_sample_distance_is_in_metres_or_unknown(
    tmp_path: Path, crs: str | None, width: float, metres: float | None
) -> None:
    place = from_origin(5, 9, width, width)
    path = write_tiff(tmp_path / "a.tif", numbers("uint8", 1), crs=crs, transform=place)
    found = raster.header(path).gsd
    assert found is None if metres is None else found == pytest.approx(metres, rel=1e-4)


def test_opacity_is_a_mask(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (H, W, 4)).astype(np.uint8)
    pixels[..., 3] = 255
    pixels[:10, :, 3] = 0
    path = str(tmp_path / "a.png")
    Image.fromarray(pixels).save(path)
    header = raster.header(path)
    assert header.descriptions == ("red", "green", "blue", None)
    assert (header.alpha, header.masked) == (4, True)
    mask = raster.read_mask(path, Window(5, 0, 10, W))
    assert not mask[:5].any()
    assert mask[5:].all()


def test_a_palette_picture_gives_indices_and_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(numbers("uint8", 1)[..., 0] % 3, mode="P")
    picture.putpalette([1, 2, 3, 40, 50, 60, 7, 8, 9])
    path = str(tmp_path / "a.png")
    picture.save(path)
    palette = raster.header(path).palette
    assert palette is not None
    assert palette[:3].tolist() == [[1, 2, 3], [40, 50, 60], [7, 8, 9]]
    assert set(np.unique(raster.read(path, Window(0, 0, H, W)))) == {0, 1, 2}


@pytest.mark.parametrize("ending", ["tif", "png", "jpg"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.6])
def test_a_cut_off_file_is_an_error_that_names_it(
    tmp_path: Path, ending: str, share: float
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3)).astype(np.uint8)
    path = tmp_path / f"a.{ending}"
    if ending == "tif":
        write_tiff(path, noise, compress="deflate")
    else:
        Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=rf"Cannot read .*a\.{ending}: .*fetch it again"):
        raster.read(str(path), Window(0, 0, 200, 200))


def test_a_fault_is_not_told_of_the_next_file(tmp_path: Path) -> None:
    whole = write_tiff(tmp_path / "whole.tif", numbers("float32", 2))
    raster.header(whole)  # it waits in the pool, so that nothing is opened below
    cut = Path(write_tiff(tmp_path / "cut.tif", numbers("float32", 2)))
    cut.write_bytes(cut.read_bytes()[:9000])
    with pytest.raises(UserError, match=r"cut\.tif"):
        raster.read(str(cut), Window(0, 0, H, W))
    assert raster.header(whole).bands == 2


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"b\.tif: no such file"):
        raster.header(str(tmp_path / "b.tif"))


def test_a_window_outside_is_refused_instead_of_cut(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint8", 1))
    with pytest.raises(ValueError, match="leaves"):
        raster.read(path, Window(H - 4, 0, 8, 8))


def test_a_file_written_anew_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for value in (3, 4):
        pixels = np.full((H + value, W, 1), value, np.uint8)
        read = raster.read(write_tiff(path, pixels), Window(0, 0, H, W))
        assert (read == value).all()


def test_many_threads_read_what_one_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raster, "OPEN_FILES", 3)  # so that files are closed and opened all the time
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
