"""What the numbers of a folder's files mean: tags, conversions, Sentinel-2's baseline."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from jaxseg.datasets.folder.source import Folder
from jaxseg.errors import UserError
from jaxseg.scenes.agreement import BandOrderError, ScaleError
from jaxseg.scenes.scene import Window

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

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
    scale: float = 1.0,
    offset: float = 0.0,
    band_tags: tuple[dict[str, str], ...] = (),
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"height": H, "width": W, "count": pixels.shape[-1], "dtype": pixels.dtype}
    with rasterio.open(path, "w", driver="GTiff", nodata=0, **profile) as file:
        file.write(np.moveaxis(pixels, -1, 0))
        file.scales = (scale,) * pixels.shape[-1]
        file.offsets = (offset,) * pixels.shape[-1]
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
        ({"added": -1000}, "added -1000: nothing"),
        ({"convert": "power-to-decibel", "unit": "decibel"}, "is for numbers of power"),
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
    with pytest.raises(ScaleError, match=r"baseline 05\.09.*added 0 if they are reflectance"):
        source(tmp_path).scenes("train")
    found = source(tmp_path, added=0, multiply=10_000)
    assert (first(found) == 2500).all()
    assert (found.sensor.unit, found.sensor.scale) == ("reflectance", None)
    assert (first(source(tmp_path, added=1000)) == 0).all()


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
