"""Opacity hides pixels in files of any number of bands, not only of those that GDAL expects."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from jaxseg.datasets.folder import scenes
from jaxseg.datasets.folder.entries import Facts
from jaxseg.files import pool, raster
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
    for chosen in ((1,), tuple(range(1, bands + 1)), (bands, 1)):  # opacity itself, too
        planes, mask = raster.read_with_mask(path, window, bands=chosen)
        np.testing.assert_array_equal(planes, raster.read_planes(path, window, bands=chosen))
        np.testing.assert_array_equal(mask, OPACITY[1:, 2:] > 0)


@pytest.mark.parametrize("bands", [2, 4, 5])
def test_opacity_of_16_bits_hides_where_it_is_0(tmp_path: Path, bands: int) -> None:
    pixels = np.full((bands, 1, 4), 7, np.uint16)
    pixels[-1] = 0, 1, 256, 65535
    path = str(tmp_path / "a.tif")
    with rasterio.open(path, "w", "GTiff", 4, 1, bands, dtype="uint16") as file:
        file.colorinterp = [*[ColorInterp.gray] * (bands - 1), ColorInterp.alpha]
        file.write(pixels)
    window = Window(0, 0, 1, 4)
    planes, mask = raster.read_with_mask(path, window, bands=(1,))
    assert planes.tolist() == [[[7, 7, 7, 7]]]
    assert mask.tolist() == raster.read_mask(path, window).tolist() == [[False, True, True, True]]


@pytest.mark.parametrize("bands", [1, 4])
def test_a_mask_beside_the_bands_is_read_before_opacity(tmp_path: Path, bands: int) -> None:
    path = write(tmp_path / "a.tif", 4, 4)
    known = np.arange(24).reshape(4, 6) % 3 > 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(known)
    window = Window(0, 0, 4, 6)
    planes, mask = raster.read_with_mask(path, window, bands=range(1, bands + 1))
    np.testing.assert_array_equal(mask, known)
    np.testing.assert_array_equal(mask, raster.read_mask(path, window))
    np.testing.assert_array_equal(planes[0], np.full((4, 6), 7))


def test_opacity_of_another_type_than_the_bands_is_read(tmp_path: Path) -> None:
    parts = [write(tmp_path / f"{n}.tif", 2, 2) for n in range(2)]
    path = tmp_path / "a.vrt"
    source = "<SimpleSource><SourceFilename>{}</SourceFilename><SourceBand>{}</SourceBand>"
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{n + 1}"><ColorInterp>{meaning}</ColorInterp>'
        f"{source.format(parts[n], n + 1)}</SimpleSource></VRTRasterBand>"
        for n, (kind, meaning) in enumerate([("UInt16", "Gray"), ("Byte", "Alpha")])
    )
    path.write_text(f'<VRTDataset rasterXSize="6" rasterYSize="4">{bands}</VRTDataset>')
    planes, mask = raster.read_with_mask(str(path), Window(0, 0, 4, 6), bands=(1,))
    assert planes.dtype == np.uint16
    np.testing.assert_array_equal(mask, OPACITY > 0)


def test_an_image_and_its_opacity_are_decoded_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, borrowed = write(tmp_path / "a.tif", 5, 5), []
    real = pool.lent

    def counted(path: str) -> object:
        borrowed.append(path)
        return real(path)

    header = raster.header(path)
    monkeypatch.setattr(raster, "lent", counted)
    facts = Facts((None,) * 4, header.masked, b"", (1, 2, 3, 4))
    planes, known = scenes._read(path, facts, Window(0, 0, 4, 6))
    assert borrowed == [path]
    assert planes.shape == (4, 4, 6)
    np.testing.assert_array_equal(known, OPACITY > 0)


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_without_opacity_no_pixel_is_masked(tmp_path: Path, bands: int) -> None:
    path = str(tmp_path / "a.tif")
    with rasterio.open(path, "w", "GTiff", 6, 4, bands, dtype="uint8") as file:
        file.write(np.zeros((bands, 4, 6), np.uint8))
    header = raster.header(path)
    assert (header.alpha, header.masked) == (None, False)
    assert raster.read_mask(path, Window(0, 0, 4, 6)).all()
