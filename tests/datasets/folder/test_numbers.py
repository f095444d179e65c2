"""What the numbers of a folder's files mean: tags, conversions, Sentinel-2's baseline."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.transform import from_origin

from jaxseg.datasets.folder.source import Folder
from jaxseg.errors import UserError
from jaxseg.scenes.agreement import BandOrderError, ScaleError
from jaxseg.scenes.scene import Window

pytestmark = [
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),  # rasterio's use of affine
]

H, W = 12, 16
ALL = Window(0, 0, H, W)
OLD = "S2A_MSIL2A_20210704T101031_N0301_R022_T33UVR_20210704T130000"
NEW = "S2A_MSIL2A_20230704T101031_N0509_R022_T33UVR_20230704T130000"


def write(
    path: Path,
    pixels: NDArray[np.generic],
    names: tuple[str, ...] = (),
    *,
    tags: dict[str, str] | None = None,
    scale: float | tuple[float, ...] = 1.0,
    offset: float | tuple[float, ...] = 0.0,
    band_tags: tuple[dict[str, str], ...] = (),
    **more: object,
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count = pixels.shape[-1]
    profile = {"height": H, "width": W, "count": count, "dtype": pixels.dtype, "nodata": 0}
    with rasterio.open(path, "w", driver="GTiff", **(profile | more)) as file:
        file.write(np.moveaxis(pixels, -1, 0))
        file.scales = scale if isinstance(scale, tuple) else (scale,) * count
        file.offsets = offset if isinstance(offset, tuple) else (offset,) * count
        file.update_tags(**(tags or {}))
        for number, name in enumerate(names, start=1):
            file.set_band_description(number, name)
        for number, more in enumerate(band_tags, start=1):
            file.update_tags(number, **more)


def source(folder: Path, **fields: object) -> Folder:
    for image in (folder / "images").glob("*.tif"):
        mask = np.resize(np.array([0, 1], np.uint8), (H, W, 1)) + np.uint8(1)
        write(folder / "masks" / image.name, mask)
    usual = {
        "images": str(folder / "images"),
        "masks": str(folder / "masks"),
        "classes": ("ground", "house"),
        "ids": (1, 2),
        "fractions": (1.0, 0.0, 0.0),
    }
    return Folder(**usual | fields)  # type: ignore[arg-type]


def numbers(value: float, bands: int = 1, dtype: str = "uint16") -> NDArray[np.generic]:
    return np.full((H, W, bands), value, dtype)


def first(found: Folder, index: int = 0) -> NDArray[np.generic]:
    return found.scenes("train").read(index, ALL)["image"]


def test_what_sentinel2_added_since_2022_is_taken_off_by_the_products_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("B04", "SCL")
    write(tmp_path / "images" / f"{OLD}.tif", numbers(300, 2), names)
    later = numbers(1300, 2)
    later[0, 0], later[0, 1], later[0, 2] = (0, 0), (990, 4), (1300, 6)
    write(tmp_path / "images" / f"{NEW}.tif", later, names)
    found = source(tmp_path)
    scenes = found.scenes("train")
    old, new = (scenes.read(index, ALL) for index in (0, 1))
    assert (old["image"] == 300).all()
    assert (new["image"][1:, :, 0] == 300).all()
    assert new["image"].dtype == np.uint16
    assert not new["valid"][0, 0]  # no data is told by the file's own number
    assert (new["image"][0, 1:3, 0] == (0, 300)).all()  # and nothing wraps around
    assert (new["image"][0, 1:3, 1] == (4, 6)).all()  # the scene classification is none of it
    assert "1 of 2 scenes are Sentinel-2" in capsys.readouterr().err
    assert (found.sensor.unit, found.sensor.scale, found.sensor.offset) == ("reflectance", 1e-4, 0)


@pytest.mark.parametrize(("baseline", "left"), [("03.01", 1300), ("04.00", 300), ("05.11", 300)])
def test_and_by_the_baseline_in_the_files_tags(tmp_path: Path, baseline: str, left: int) -> None:
    tags = {"PROCESSING_BASELINE": baseline}
    write(tmp_path / "images" / "tile.tif", numbers(1300), ("B04",), tags=tags)
    assert (first(source(tmp_path)) == left).all()


def test_and_by_the_name_of_a_folder_above(tmp_path: Path) -> None:
    write(tmp_path / f"{NEW}.SAFE" / "images" / "tile.tif", numbers(1300), ("B04",))
    assert (first(source(tmp_path / f"{NEW}.SAFE")) == 300).all()


def test_and_by_the_user_where_nothing_tells(tmp_path: Path) -> None:
    write(tmp_path / "images" / "tile.tif", numbers(1300), ("B04",))
    assert (first(source(tmp_path)) == 1300).all()
    assert (first(source(tmp_path, added=1000)) == 300).all()
    assert source(tmp_path).sensor.scale is None
    assert source(tmp_path, added=0).sensor.scale == 1e-4
    write(
        tmp_path / "images" / "tile.tif",
        numbers(1300),
        ("B04",),
        tags={"PRODUCT_URI": NEW + ".SAFE"},
    )
    assert (first(source(tmp_path, added=0)) == 1300).all()


def test_scale_and_offset_come_from_the_tags(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.tif", numbers(8000), scale=2.75e-5, offset=-0.2)
    found = source(tmp_path, unit="reflectance")
    assert (found.sensor.scale, found.sensor.offset) == (2.75e-5, -0.2)
    assert (first(found) == 8000).all()
    assert found.sensor.nodata is None


def test_files_of_different_scales_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.tif", numbers(8000), scale=1e-4)
    write(tmp_path / "images" / "b.tif", numbers(8000))
    with pytest.raises(ScaleError, match=r"b.tif is tagged with scale none, .*a.tif with 0\.0001"):
        source(tmp_path).scenes("train")


def test_wavelengths_come_from_the_tags_in_whatever_unit(tmp_path: Path) -> None:
    tags = (
        {"wavelength": "0.49", "wavelength_units": "Micrometers"},
        {"wavelength": "560.0", "wavelength_units": "Nanometers"},
    )
    write(tmp_path / "images" / "a.tif", numbers(1, 2), band_tags=tags)
    assert source(tmp_path).sensor.wavelengths == pytest.approx((490.0, 560.0))
    said = source(tmp_path, band_numbers=(2,), wavelengths=(555.0,))
    assert said.sensor.wavelengths == (555.0,)


def test_bands_named_by_polarisation_are_a_radars(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.tif", numbers(1, 2, "float32"), ("vv", "VH"))
    assert source(tmp_path).sensor.polarisations == ("VV", "VH")


@pytest.mark.parametrize(
    ("convert", "stored", "read", "unit"),
    [
        ("power-to-decibel", 0.01, -20.0, "decibel"),
        ("amplitude-to-decibel", 0.1, -20.0, "decibel"),
        ("decibel-to-power", -20.0, 0.01, "power"),
    ],
)
def test_units_are_converted_while_reading(
    tmp_path: Path, convert: str, stored: float, read: float, unit: str
) -> None:
    write(tmp_path / "images" / "a.tif", numbers(stored, 1, "float32"), ("VV",))
    found = source(tmp_path, convert=convert)
    np.testing.assert_allclose(first(found), read, rtol=1e-5)
    assert found.sensor.unit == unit


def test_a_factor_brings_reflectance_to_the_numbers_of_a_run(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.tif", numbers(0.25, 1, "float32"))
    found = source(tmp_path, multiply=10_000.0)
    np.testing.assert_allclose(first(found), 2500)
    assert first(found).dtype == np.float32


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"multiply": 0.0}, "multiply 0.0: give a finite factor"),
        ({"added": -1000}, "added -1000: give 0 or more"),
        ({"convert": "power-to-decibel", "unit": "decibel"}, "is for values of power"),
    ],
)
def test_what_contradicts_itself_is_refused(
    tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    write(tmp_path / "images" / "a.tif", numbers(1))
    with pytest.raises(UserError, match=message):
        _ = source(tmp_path, **fields).sensor


def test_what_was_added_is_not_taken_off_numbers_that_cannot_hold_it(tmp_path: Path) -> None:
    write(tmp_path / "images" / f"{NEW}.tif", numbers(200, 3, "uint8"), ("R", "G", "B"))
    found = source(tmp_path)
    assert (first(found) == 200).all()
    assert (found.sensor.unit, found.sensor.scale) == ("", None)
    with pytest.raises(ScaleError, match=r"added 1000: .* holds uint8, up to 255"):
        first(source(tmp_path, added=1000))


def test_numbers_with_a_point_are_not_guessed_at(tmp_path: Path) -> None:
    write(tmp_path / "images" / f"{NEW}.tif", numbers(0.25, 1, "float32"), ("B04",))
    with pytest.raises(ScaleError, match=r"baseline 05\.09.*added 0 for reflectance"):
        source(tmp_path).scenes("train")
    found = source(tmp_path, added=0, multiply=10_000)
    assert (first(found) == 2500).all()
    assert (found.sensor.unit, found.sensor.scale) == ("reflectance", None)
    assert (first(source(tmp_path, added=1000)) == 0).all()
    assert source(tmp_path, added=1000).sensor.scale == 1e-4


def test_a_file_with_its_bands_in_another_order_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.tif", numbers(1, 3), ("B02", "B03", "B04"))
    write(tmp_path / "images" / "b.tif", numbers(1, 3), ("B2", "B3", "B4"))  # the same names
    write(tmp_path / "images" / "c.tif", numbers(1, 3), ("2019_B2", "2019_B3", "2019_B4"))
    assert len(source(tmp_path).scenes("train")) == 3
    write(tmp_path / "images" / "d.tif", numbers(1, 3), ("B04", "B03", "B02"))
    with pytest.raises(BandOrderError, match=r"d.tif: band 1 is B04, in .*a.tif it is B02"):
        source(tmp_path).scenes("train")
    assert len(source(tmp_path, band_numbers=(2,)).scenes("train")) == 4
    assert len(source(tmp_path, band_names=("x", "y", "z")).scenes("train")) == 4


# What a file and a user say of the numbers, one thing at a time.


def test_power_of_zero_becomes_the_decibel_of_the_floor(tmp_path: Path) -> None:
    power = numbers(0.01, 1, "float32")
    power[0, 0], power[0, 1], power[0, 2] = 0, -0.5, 1e-13
    write(tmp_path / "images" / "a.tif", power, nodata=None)
    decibel = first(source(tmp_path, convert="power-to-decibel"))
    np.testing.assert_allclose(decibel[0, :4, 0], (-100, -100, -100, -20), rtol=1e-5)
    amplitude = first(source(tmp_path, convert="amplitude-to-decibel"))
    np.testing.assert_allclose(amplitude[0, 0, 0], -100, rtol=1e-5)


def test_the_factor_comes_after_the_conversion(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.tif", numbers(0.01, 1, "float32"))
    found = source(tmp_path, convert="power-to-decibel", multiply=0.5)
    np.testing.assert_allclose(first(found), -10, rtol=1e-5)
    assert first(found).dtype == np.float32


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_whole_numbers_are_converted_as_numbers_with_a_point(tmp_path: Path, dtype: str) -> None:
    write(tmp_path / "images" / "a.tif", numbers(300, 1, dtype))  # 300^2 is beyond 16 bits
    decibel = first(source(tmp_path, convert="amplitude-to-decibel"))
    np.testing.assert_allclose(decibel, 20 * np.log10(300), rtol=1e-6)
    third = first(source(tmp_path, multiply=0.3))
    np.testing.assert_allclose(third, 90, rtol=1e-6)
    assert decibel.dtype == third.dtype == np.float32


@pytest.mark.parametrize("multiply", [10.0, 0.5])
def test_a_factor_of_the_numbers_divides_their_scale_and_leaves_the_offset(
    tmp_path: Path, multiply: float
) -> None:
    # Physical value = scale x number + offset, whatever the number was multiplied by.
    write(tmp_path / "images" / "a.tif", numbers(8000), scale=1e-4, offset=-0.2)
    found = source(tmp_path, multiply=multiply)
    assert found.sensor.scale == pytest.approx(1e-4 / multiply)
    assert found.sensor.offset == -0.2
    physical = found.sensor.scale * first(found) + found.sensor.offset
    np.testing.assert_allclose(physical, 0.6, rtol=1e-6)


def test_the_scale_of_tags_is_not_that_of_converted_numbers(tmp_path: Path) -> None:
    pixels = numbers(0.01, 1, "float32")
    write(tmp_path / "images" / "a.tif", pixels, ("VV",), scale=0.5, offset=3.0)
    converted = source(tmp_path, convert="power-to-decibel").sensor
    assert (converted.unit, converted.scale, converted.offset) == ("decibel", None, 0.0)
    told = source(tmp_path, convert="decibel-to-power", unit="decibel").sensor
    assert (told.unit, told.scale) == ("power", None)
    for convert, unit in (("amplitude-to-decibel", "power"), ("decibel-to-power", "power")):
        with pytest.raises(UserError, match=f"values of {convert.partition('-')[0]}; .*{unit}"):
            _ = source(tmp_path, convert=convert, unit=unit).sensor


def test_scales_that_differ_between_the_bands_read_are_none(tmp_path: Path) -> None:
    pixels = numbers(5, 3)
    write(tmp_path / "images" / "a.tif", pixels, scale=(1e-4, 1e-4, 2.0), offset=(0.5, 0.5, 0.0))

    def scale(*bands: int) -> tuple[float | None, float]:
        sensor = source(tmp_path, band_numbers=bands).sensor
        return sensor.scale, sensor.offset

    assert scale(1, 2) == (1e-4, 0.5)
    assert scale(3) == (2.0, 0.0)
    assert scale(1, 3) == (None, 0.0)
    write(tmp_path / "images" / "a.tif", pixels, scale=1.0, offset=(0.0, -7.0, -7.0))
    assert scale(1) == (None, 0.0)  # what GDAL tells where nothing is tagged
    assert scale(2, 3) == (1.0, -7.0)
    assert scale(1, 2) == (None, 0.0)


def test_only_the_bands_that_are_read_have_to_be_on_one_scale(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.tif", numbers(5, 2), scale=(1e-4, 1.0))
    write(tmp_path / "images" / "b.tif", numbers(5, 2), scale=(1e-4, 3.0))
    assert len(source(tmp_path, band_numbers=(1,)).scenes("train")) == 2
    with pytest.raises(ScaleError, match=r"b.tif is tagged with scale 3 and offset 0, .*none"):
        source(tmp_path, band_numbers=(2,)).scenes("train")
    write(tmp_path / "images" / "b.tif", numbers(5, 2), scale=(1e-4, 1.0), offset=(-0.1, 0.0))
    with pytest.raises(ScaleError, match=r"scale 0\.0001 and offset -0\.1, .*offset 0: equal"):
        source(tmp_path, band_numbers=(1,)).scenes("train")


def test_sentinel2_is_on_its_own_scale_whatever_its_tags_say(tmp_path: Path) -> None:
    write(tmp_path / "images" / f"{OLD}.tif", numbers(300), ("B04",))
    write(tmp_path / "images" / f"{NEW}.tif", numbers(1300), ("B04",), scale=1e-4, offset=-0.1)
    found = source(tmp_path)
    assert (first(found, 0) == first(found, 1)).all()
    assert (first(found) == 300).all()
    (tmp_path / "images" / f"{OLD}.tif").unlink()
    (tmp_path / "masks" / f"{OLD}.tif").unlink()
    sensor = source(tmp_path, unit="digital number").sensor
    assert (sensor.scale, sensor.offset) == (1e-4, 0.0)
    assert sensor.unit == "digital number"  # the user's word counts
    assert source(tmp_path, multiply=0.5).sensor.scale == 2e-4


def test_what_was_added_may_be_told_of_any_spectral_band(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.tif", numbers(50, 2, "uint8"), ("red", "SCL"))
    assert first(source(tmp_path, added=20))[0, 0].tolist() == [30, 50]
    assert (first(source(tmp_path, added=255))[..., 0] == 0).all()
    with pytest.raises(ScaleError, match=r"added 256: .* up to 255"):
        first(source(tmp_path, added=256))
    # The scene classification alone has nothing added, so that it need not hold it.
    assert (first(source(tmp_path, added=1000, band_numbers=(2,))) == 50).all()


def test_numbers_below_0_stay_where_nothing_was_added(tmp_path: Path) -> None:
    pixels = numbers(-3, 2, "int16")
    write(tmp_path / "images" / "a.tif", pixels, ("B04", "SCL"))
    assert (first(source(tmp_path)) == -3).all()
    assert first(source(tmp_path, added=1000))[0, 0].tolist() == [0, -3]
    assert first(source(tmp_path, added=1000)).dtype == np.int16


def test_wavelengths_are_those_of_the_bands_in_the_order_they_are_read_in(tmp_path: Path) -> None:
    tags = tuple({"wavelength": str(nm)} for nm in (490, 560, 665))
    write(tmp_path / "images" / "a.tif", numbers(1, 3), band_tags=tags)
    assert source(tmp_path, band_numbers=(3, 1)).sensor.wavelengths == (665, 490)
    write(tmp_path / "images" / "a.tif", numbers(1, 3), band_tags=tags[:1])
    assert source(tmp_path).sensor.wavelengths == (490, 0, 0)
    assert source(tmp_path, band_numbers=(2, 3)).sensor.wavelengths == ()


def test_the_sensor_holds_what_the_user_and_the_georeference_say(tmp_path: Path) -> None:
    place = {"crs": "EPSG:32633", "transform": from_origin(5000, 9000, 2.5, 2.5)}
    write(tmp_path / "images" / "a.tif", numbers(1, 2), ("VV", "angle"), **place)
    found = source(tmp_path, nodata=7.0, unit="amplitude").sensor
    assert (found.bands, found.polarisations) == (("VV", "angle"), ())
    assert (found.unit, found.nodata, found.gsd) == ("amplitude", 7.0, 2.5)
    told = source(tmp_path, band_names=("hh", "HV")).sensor
    assert (told.bands, told.polarisations) == (("hh", "HV"), ("HH", "HV"))
