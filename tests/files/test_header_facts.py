"""What a header says of a file, one fact at a time."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from fixtures.tiffs import H, W, numbers, write_tiff
from PIL import Image
from rasterio.transform import from_origin

from jaxseg.errors import UserError
from jaxseg.files import raster, tagged
from jaxseg.scenes.scene import Window

pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),  # rasterio's use of affine
]


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
        ("EPSG:4326", 0.001, 110.6),  # degrees, at 9 degrees of latitude
        (None, 10.0, None),
    ],
)
def test_the_ground_sample_distance_is_in_metres_or_unknown(
    tmp_path: Path, crs: str | None, width: float, metres: float | None
) -> None:
    place = from_origin(5, 9, width, width)
    path = write_tiff(tmp_path / "a.tif", numbers("uint8", 1), crs=crs, transform=place)
    found = raster.header(path).gsd
    assert found is None if metres is None else found == pytest.approx(metres, rel=1e-3)


def test_a_palette_picture_gives_indices_and_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(numbers("uint8", 1)[..., 0] % 3, mode="P")
    picture.putpalette([1, 2, 3, 40, 50, 60, 7, 8, 9])
    path = str(tmp_path / "a.png")
    picture.save(path)
    palette = raster.header(path).palette
    assert palette is not None
    assert palette[:3].tolist() == [[1, 2, 3], [40, 50, 60], [7, 8, 9]]
    assert set(np.unique(raster.read(path, Window(0, 0, H, W)))) == {0, 1, 2}


def vrt(path: Path, parts: list[tuple[str, str]], nodata: tuple[float, ...] = ()) -> str:
    """A virtual file of one band of each of the parts, (path, type), each with its own nodata."""
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{number}">'
        + (f"<NoDataValue>{nodata[number - 1]}</NoDataValue>" if nodata else "")
        + f"<SimpleSource><SourceFilename>{part}</SourceFilename><SourceBand>1</SourceBand>"
        f'<SrcRect xOff="0" yOff="0" xSize="{W}" ySize="{H}"/>'
        f'<DstRect xOff="0" yOff="0" xSize="{W}" ySize="{H}"/></SimpleSource></VRTRasterBand>'
        for number, (part, kind) in enumerate(parts, start=1)
    )
    path.write_text(f'<VRTDataset rasterXSize="{W}" rasterYSize="{H}">{bands}</VRTDataset>')
    return str(path)


def test_every_band_has_its_own_nodata_scale_and_offset(tmp_path: Path) -> None:
    part = write_tiff(tmp_path / "part.tif", numbers("int16", 1))
    path = vrt(tmp_path / "a.vrt", [(part, "Int16")] * 2, nodata=(-9999.0, -1.0))
    assert raster.header(path).nodata == (-9999, -1)
    path = write_tiff(tmp_path / "a.tif", numbers("int16", 2))
    plain = raster.header(path)
    assert (plain.nodata, plain.scales, plain.offsets) == ((None, None), (1, 1), (0, 0))
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (1e-4, 2.0), (-0.1, 3.0)
        file.update_tags(PROCESSING_BASELINE="05.09")
    told = raster.header(path)
    assert (told.scales, told.offsets) == ((1e-4, 2.0), (-0.1, 3.0))
    assert told.tags["PROCESSING_BASELINE"] == "05.09"
    assert told.path == path


def test_bands_of_different_types_are_read_where_the_chosen_ones_agree(tmp_path: Path) -> None:
    pixels = numbers("uint8", 1)
    part = write_tiff(tmp_path / "part.tif", pixels)
    path = vrt(tmp_path / "a.vrt", [(part, "Byte"), (part, "UInt16"), (part, "Byte")])
    header = raster.header(path)
    assert [dtype.name for dtype in header.dtypes] == ["uint8", "uint16", "uint8"]
    assert header.dtype_of((1, 3)).name == "uint8"
    with pytest.raises(UserError, match=r"a\.vrt: .* types \(uint8 in 1, 3; uint16 in 2\)"):
        header.dtype  # noqa: B018
    read = raster.read(path, Window(0, 0, H, W), bands=(3, 1))
    np.testing.assert_array_equal(read, pixels[..., [0, 0]])


def test_pairs_of_integers_are_read_as_complex_numbers(tmp_path: Path) -> None:
    pixels = np.full((H, W, 1), 3 - 4j, np.complex64)
    with rasterio.open(tmp_path / "a.tif", "w", "GTiff", W, H, 1, dtype="complex_int16") as file:
        file.write(np.moveaxis(pixels, -1, 0))
    path = str(tmp_path / "a.tif")
    assert raster.header(path).dtype == np.complex64
    np.testing.assert_array_equal(raster.read(path, Window(0, 0, H, W)), pixels)


def test_of_several_bands_of_opacity_the_first_counts(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint8", 4))
    with rasterio.open(path, "r+") as file:
        alpha, gray = rasterio.enums.ColorInterp.alpha, rasterio.enums.ColorInterp.gray
        file.colorinterp = (gray, alpha, gray, alpha)
    assert raster.header(path).alpha == 2


def test_a_nodata_tag_is_no_mask_beside_the_numbers(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint8", 2), nodata=0)
    assert not raster.header(path).masked


def test_a_description_is_a_bands_name_before_its_colour(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint8", 3), photometric="rgb")
    assert raster.header(path).descriptions == ("red", "green", "blue")
    with rasterio.open(path, "r+") as file:
        file.set_band_description(2, "NIR")
    assert raster.header(path).descriptions == ("red", "NIR", "blue")
    gray = write_tiff(tmp_path / "b.tif", numbers("uint8", 1), photometric="minisblack")
    assert raster.header(gray).descriptions == (None,)


def test_the_ground_sample_distance_is_that_of_a_square_of_the_same_area(tmp_path: Path) -> None:
    turned = rasterio.Affine(0, 40, 500, -10, 0, 900)  # rows run east
    for place in (from_origin(5, 9, 10, 40), turned):
        path = write_tiff(
            tmp_path / "a.tif", numbers("uint8", 1), crs="EPSG:32633", transform=place
        )
        assert raster.header(path).gsd == pytest.approx(20)


@pytest.mark.parametrize(
    ("tags", "nanometres"),
    [
        ({"wavelength": "0.49"}, 490),  # without a unit the number tells it
        ({"wavelength": "49.9"}, 49_900),
        ({"wavelength": "50"}, 50),
        ({"wavelength": "490"}, 490),
        ({"WAVELENGTH": "490", "WAVELENGTH_UNITS": "nm"}, 490),
        ({"wavelength": "0.49", "wavelength_units": "um"}, 490),
        ({"wavelength": "60", "wavelength_units": "\N{MICRO SIGN}m"}, 60_000),
        ({"wavelength": "60", "wavelength_units": "Micrometers"}, 60_000),
        ({"wavelength": "60", "wavelength_unit": "um"}, 60_000),
        ({"wavelength": "49", "wavelength_units": "Nanometers"}, 49),
        ({"wavelength": "blue"}, 0),
        ({}, 0),
    ],
)
def test_a_wavelength_is_read_in_its_unit(
    tmp_path: Path, tags: dict[str, str], nanometres: float
) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint8", 2))
    with rasterio.open(path, "r+") as file:
        file.update_tags(2, **tags)
    assert tagged.wavelengths(path) == pytest.approx((0, nanometres))


def test_gdals_own_tag_of_a_wavelength_counts_first(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint8", 3))
    with rasterio.open(path, "r+") as file:
        file.update_tags(1, ns="IMAGERY", CENTRAL_WAVELENGTH_UM="0.665")
        file.update_tags(1, wavelength="490")
        file.update_tags(2, ns="IMAGERY", CENTRAL_WAVELENGTH_UM="60")
        file.update_tags(3, wavelength="560")
    assert tagged.wavelengths(path) == pytest.approx((665, 60_000, 560))


def test_a_palette_may_be_longer_than_8_bits_reach(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", numbers("uint16", 1), photometric="palette")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: (1, 2, 3, 255), 255: (4, 5, 6, 0), 256: (7, 8, 9, 255)})
    palette = raster.header(path).palette
    assert palette is not None
    assert (palette.shape, palette.dtype) == ((256, 3), np.uint8)
    assert (palette[0].tolist(), palette[255].tolist()) == ([1, 2, 3], [4, 5, 6])
    assert not palette[1:255].any()
