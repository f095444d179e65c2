"""Opacity hides pixels in files of any number of bands, not only of those that GDAL expects."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from jaxseg.files import raster
from jaxseg.scenes.scene import Window

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

OPACITY = np.where(np.arange(24).reshape(4, 6) % 5 == 0, 0, 200).astype(np.uint8)


def write(path: Path, bands: int, place: int) -> str:
    """Numbers in all bands but one, which is the opacity."""
    pixels: NDArray[np.uint8] = np.full((bands, 4, 6), 7, np.uint8)
    pixels[place - 1] = OPACITY
    meanings = [ColorInterp.gray, *[ColorInterp.undefined] * (bands - 1)]
    meanings[place - 1] = ColorInterp.alpha
    with rasterio.open(path, "w", "GTiff", 6, 4, bands, dtype="uint8") as file:
        file.colorinterp = meanings
        file.write(pixels)
    return str(path)


@pytest.mark.parametrize(("bands", "place"), [(2, 2), (3, 3), (4, 4), (5, 5), (5, 2), (7, 4)])
def test_transparent_pixels_are_masked(tmp_path: Path, bands: int, place: int) -> None:
    path = write(tmp_path / "a.tif", bands, place)
    header = raster.header(path)
    assert (header.alpha, header.masked) == (place, True)
    window = Window(1, 2, 3, 4)
    np.testing.assert_array_equal(raster.read_mask(path, window), OPACITY[1:, 2:] > 0)


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_without_opacity_no_pixel_is_masked(tmp_path: Path, bands: int) -> None:
    path = str(tmp_path / "a.tif")
    with rasterio.open(path, "w", "GTiff", 6, 4, bands, dtype="uint8") as file:
        file.write(np.zeros((bands, 4, 6), np.uint8))
    header = raster.header(path)
    assert (header.alpha, header.masked) == (None, False)
    assert raster.read_mask(path, Window(0, 0, 4, 6)).all()
