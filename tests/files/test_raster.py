"""Windows of files equal slices, and damage is reported."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from fixtures.tiffs import H, W, numbers, write_tiff
from PIL import Image

from jaxseg.errors import UserError
from jaxseg.files import raster
from jaxseg.scenes.scene import Window

pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),  # rasterio's use of affine
]


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


def test_the_reason_is_gdals_and_names_the_file_once(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    write_tiff(path, np.random.default_rng(0).random((99, 99, 3)))
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(UserError) as told:
        raster.read(str(path), Window(0, 0, 99, 99))
    said = str(told.value)
    assert said.count(str(path)) == 1
    assert "previous exception" not in said  # rasterio's word for what GDAL says
    assert ".." not in said


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


@pytest.mark.parametrize("inside", [True, False])
def test_a_mask_inside_of_a_file_or_beside_it_is_seen(tmp_path: Path, *, inside: bool) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint8", 2))
    known = np.random.default_rng(0).random((H, W)) < 0.7
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside), rasterio.open(path, "r+") as file:
        file.write_mask(known)
    assert Path(f"{path}.msk").exists() != inside
    header = raster.header(path)
    assert (header.masked, header.alpha, header.bands) == (True, None, 2)
    window = Window(4, 9, 20, 31)
    np.testing.assert_array_equal(raster.read_mask(path, window), known[4:24, 9:40])


def test_what_is_not_wholly_transparent_is_valid(tmp_path: Path) -> None:
    pixels = np.full((H, W, 4), 9, np.uint8)
    pixels[0, :, 3], pixels[1, :, 3], pixels[2, :, 3] = 0, 1, 128
    Image.fromarray(pixels).save(tmp_path / "a.png")
    mask = raster.read_mask(str(tmp_path / "a.png"), Window(0, 0, 3, 2))
    assert mask[:, 0].tolist() == [False, True, True]


def test_numbers_lie_together_in_memory_band_by_band_of_every_pixel(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint16", 3))
    assert raster.read(path, Window(2, 3, 5, 6)).flags.c_contiguous


@pytest.mark.parametrize(
    "window", [(-1, 0, 5, 5), (0, -1, 5, 5), (H - 4, 0, 5, 3), (0, W - 4, 3, 5)]
)
@pytest.mark.parametrize("read", [raster.read, raster.read_mask])
def test_a_window_may_touch_the_border_but_not_leave_it(
    tmp_path: Path, window: tuple[int, int, int, int], read: Callable[[str, Window], Any]
) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint8", 1))
    with pytest.raises(ValueError, match=f"leaves .* {H} x {W} pixels"):
        read(path, Window(*window))
    assert read(path, Window(H - 5, W - 3, 5, 3)).shape[:2] == (5, 3)
    assert read(path, Window(H - 3, W - 5, 3, 5)).shape[:2] == (3, 5)
    assert read(path, Window(0, 0, H, W)).shape[:2] == (H, W)
