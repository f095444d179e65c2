"""The files of a scene become its image, read as the run's source reads its own."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from fixtures import painted
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from jaxseg.datasets import Folder
from jaxseg.errors import UserError
from jaxseg.prediction.image import Image, Scene, reflected
from jaxseg.prediction.opening import open_scene
from jaxseg.scenes.agreement import ScaleError
from jaxseg.scenes.scene import Window
from jaxseg.scenes.sensor import Sensor

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

TRAINED = Sensor(("answer", "class"))
WHOLE = Window(0, 0, 4, 6)
RAMP = np.arange(24).reshape(4, 6)


def write(path: Path, *bands: NDArray[Any], names: tuple[str, ...] = (), **form: Any) -> str:
    """Bands (H, W) as a GeoTIFF."""
    height, width = bands[0].shape
    kind = bands[0].dtype
    form = {"nodata": None} | form
    with rasterio.open(path, "w", "GTiff", width, height, len(bands), dtype=kind, **form) as file:
        file.write(np.stack(bands))
        for number, name in enumerate(names, start=1):
            file.set_band_description(number, name)
    return str(path)


def opened(*paths: str, source: Any = None, **fields: Any) -> Scene:
    return open_scene(paths, source or painted.Painted(), TRAINED, Image(**fields))


def read(*paths: str, **fields: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    return opened(*paths, **fields).read(WHOLE)


def test_pixels_that_a_mask_inside_the_file_hides_have_no_data(tmp_path: Path) -> None:
    seen = RAMP % 5 > 0
    path = write(tmp_path / "a.tif", *np.stack([RAMP, RAMP]).astype(np.int16))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
        file.write_mask(seen)
    np.testing.assert_array_equal(read(path)[1], seen)


@pytest.mark.parametrize(("where", "rule"), [("any_band", np.any), ("all_bands", np.all)])
def test_one_band_or_all_of_them_make_a_pixel_invalid_over_all_files(
    tmp_path: Path, where: Any, rule: Any
) -> None:
    first, second = (RAMP % 2).astype(np.int16), (RAMP % 3).astype(np.int16)
    paths = [
        write(tmp_path / "a.tif", first, nodata=0),
        write(tmp_path / "b.tif", second, nodata=0),
    ]
    missing = rule(np.stack([first == 0, second == 0]), 0)
    np.testing.assert_array_equal(read(*paths, nodata_where=where)[1], ~missing)


def test_a_value_that_is_named_means_no_data_in_files_without_a_tag(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", *np.stack([RAMP, RAMP]).astype(np.int16))
    assert read(path)[1].all()
    np.testing.assert_array_equal(read(path, nodata=7)[1], RAMP != 7)


def test_numbers_that_are_not_finite_are_no_data(tmp_path: Path) -> None:
    broken = RAMP.astype(np.float32)
    broken[1, 2], broken[3, 0] = np.nan, np.inf
    path = write(tmp_path / "a.tif", RAMP.astype(np.float32), broken)
    np.testing.assert_array_equal(read(path)[1], np.isfinite(broken))


def test_what_was_added_to_the_values_is_subtracted(tmp_path: Path) -> None:
    stored = np.stack([RAMP + 1000, 2 * RAMP + 1000]).astype(np.uint16)
    path = write(tmp_path / "a.tif", *stored, names=("B04", "B03"))
    image, _ = read(path, added=1000)
    np.testing.assert_array_equal(image, np.stack([RAMP, 2 * RAMP], -1))


def test_values_that_become_0_by_a_subtraction_are_said(tmp_path: Path) -> None:
    values = np.full((40, 50), 1500, np.uint16)
    path = write(tmp_path / "a.tif", values, values, names=("B04", "SCL"))
    assert opened(path, added=1000).clipped() == ""
    values[:, :10] = 950  # noise of dark pixels, which the product's own offset leaves room for
    path = write(tmp_path / "b.tif", values, values, names=("B04", "SCL"))
    assert opened(path).clipped() == ""
    said = opened(path, added=1000).clipped()
    assert said == "20 % of the values are below the 1000 that is subtracted, and become 0"
    values[:, :5] = 60
    path = write(tmp_path / "c.tif", values, values, names=("B04", "SCL"))
    said = opened(path, added=1000).clipped()
    assert "20 % of the values" in said
    assert "10 % are even below 700, so it was not added to them.\nIf --image.added is" in said
    values[:, :10] = 0  # no data, though nothing says so
    path = write(tmp_path / "d.tif", values, values, names=("B04", "SCL"))
    assert opened(path, added=1000).clipped() == ""
    values[0, 10] = 60  # too few
    path = write(tmp_path / "e.tif", values, values, names=("B04", "SCL"))
    assert opened(path, added=1000).clipped() == ""


def test_opacity_is_not_a_band_of_a_file_without_names(tmp_path: Path) -> None:
    bands = np.stack([np.full((4, 6), 255), RAMP, 2 * RAMP]).astype(np.uint8)
    path = write(tmp_path / "a.tif", *bands, photometric="MINISBLACK")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = (ColorInterp.alpha, ColorInterp.gray, ColorInterp.undefined)
    image, _ = read(path)
    np.testing.assert_array_equal(image, np.stack([RAMP, 2 * RAMP], -1))


def test_values_are_read_as_the_source_of_the_run_reads_them_unless_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", *np.stack([RAMP, 3 * RAMP, 5 * RAMP]).astype(np.int16))
    source = Folder(
        images="none", masks="none", classes=("a", "b"), multiply=0.5, band_numbers=(3, 1)
    )
    given = opened(path, source=source).read(WHOLE)[0]
    np.testing.assert_allclose(given, np.stack([2.5 * RAMP, 0.5 * RAMP], -1))
    told = opened(path, source=source, multiply=2.0, band_numbers=(1, 2)).read(WHOLE)[0]
    np.testing.assert_allclose(told, np.stack([2.0 * RAMP, 6.0 * RAMP], -1))


def test_bands_of_several_files_are_counted_over_all_of_them(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "a.tif", *np.stack([RAMP, 2 * RAMP]).astype(np.int16)),
        write(tmp_path / "b.tif", *np.stack([3 * RAMP, 4 * RAMP]).astype(np.int16)),
    ]
    image, _ = read(*paths, band_numbers=(2, 4))
    np.testing.assert_array_equal(image, np.stack([2 * RAMP, 4 * RAMP], -1))
    with pytest.raises(UserError, match="in another order"):
        opened(*paths, band_numbers=(3, 1))


@pytest.mark.parametrize("limit", [1, 2, 5, 8])
def test_beyond_its_ends_a_scene_is_mirrored_without_repeating_the_edge(limit: int) -> None:
    mirrored = np.pad(np.arange(limit), 12, mode="reflect")
    np.testing.assert_array_equal(reflected(-12, limit + 24, limit), mirrored)
    np.testing.assert_array_equal(reflected(-3, limit, limit), mirrored[9:][:limit])


def test_a_window_beyond_two_ends_is_the_mirrored_scene(tmp_path: Path) -> None:
    image = np.stack([RAMP, -RAMP], -1).astype(np.int16)
    path = write(tmp_path / "a.tif", image[..., 0], image[..., 1], nodata=7)
    found, valid = opened(path).padded(Window(-2, 3, 5, 6))
    around = ((2, 0), (0, 3))
    expected = np.pad(image, (*around, (0, 0)), mode="reflect")[:5, 3:]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(valid, (expected != 7).all(-1))


def test_the_values_that_are_compared_come_from_all_over_the_scene(tmp_path: Path) -> None:
    image = np.ones((200, 300), np.int16)
    image[150:, 200:] = 5000
    path = write(tmp_path / "a.tif", image, image)
    quantiles = opened(path).typical().typical
    assert quantiles == ((1.0, 1.0, 5000.0),) * 2


def test_a_scene_without_data_has_no_typical_values(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", *np.zeros((2, 4, 6), np.int16), nodata=0)
    scene = opened(path)
    assert scene.typical() == dataclasses.replace(scene.sensor, typical=())


def two_files(folder: Path, **of_second: Any) -> list[str]:
    """Band B04 and band B03 of 4 x 6 pixels, each with the tag of its wavelength."""
    paths = []
    for name, centre in (("B04", "665"), ("B03", "560")):
        paths.append(str(folder / f"{name}.tif"))
        with rasterio.open(paths[-1], "w", "GTiff", 6, 4, 1, dtype="uint16") as file:
            file.write(np.ones((1, 4, 6), np.uint16))
            file.set_band_description(1, name)
            file.update_tags(1, wavelength=centre, wavelength_units="nanometers")
            for fact, value in of_second.items() if name == "B03" else ():
                setattr(file, fact, value)
    return paths


def test_bands_of_several_files_keep_their_wavelengths(tmp_path: Path) -> None:
    trained = Sensor(("B04", "B03"))
    scene = open_scene(two_files(tmp_path), painted.Painted(), trained, Image())
    assert scene.sensor.wavelengths == (665.0, 560.0)


def test_files_of_several_scales_are_no_scene(tmp_path: Path) -> None:
    trained = Sensor(("B04", "B03"))
    with pytest.raises(ScaleError, match=r"B03.tif is tagged with scale .*B04.tif"):
        open_scene(two_files(tmp_path, scales=(1e-3,)), painted.Painted(), trained, Image())
