"""Broken radar and hyperspectral files: each fault is told with the name of its file."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from jaxseg.datasets.folder.source import Folder
from jaxseg.datasets.paired import Stacked
from jaxseg.errors import UserError
from jaxseg.pipeline.windows import Data, training_batches
from jaxseg.run import fitting
from jaxseg.scenes.scene import Window
from jaxseg.transforms.hyperspectral import PCA, RemoveBands
from jaxseg.transforms.radiometry import LogIntensity, Standardize
from jaxseg.transforms.sar import RatioBand

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # rasterio's affine

SIDE = 40

SENSORS = {
    "sar": {"bands": 2, "dtype": "float32", "nodata": float("nan")},
    "hyperspectral": {"bands": 50, "dtype": "int16", "nodata": -9999},
}


def pixels(sensor: str, *, bands: int | None = None) -> Any:
    """(bands, 40, 40) in the sensor's type."""
    facts = SENSORS[sensor]
    random = np.random.default_rng(0)
    count = int(facts["bands"]) if bands is None else bands  # type: ignore[call-overload]
    shape = (count, SIDE, SIDE)
    if sensor == "sar":
        return random.gamma(4, 0.25, shape).astype(np.float32)
    return random.integers(100, 9000, shape).astype(np.int16)


def write(path: Path, values: Any, *, shift: float = 0.0, **profile: Any) -> Path:
    """A GeoTIFF of 10 m pixels, moved by `shift` metres."""
    path.parent.mkdir(exist_ok=True)
    shape = {"count": len(values), "height": values.shape[1], "width": values.shape[2]}
    place = {"crs": "EPSG:32633", "transform": from_origin(5000 + shift, 9000, 10, 10)}
    with rasterio.open(
        path, "w", driver="GTiff", dtype=values.dtype, **shape, **place, **profile
    ) as file:
        file.write(values)
    return path


@pytest.fixture(params=SENSORS)
def sensor(request: pytest.FixtureRequest) -> str:
    """Each sensor in turn."""
    name: str = request.param
    return name


@pytest.fixture
def folder(tmp_path: Path, sensor: str) -> Folder:
    """Scenes a, b, c of the sensor with masks; a test breaks one of them."""
    for name in "abc":
        tag = SENSORS[sensor]["nodata"]
        write(tmp_path / "images" / f"{name}.tif", pixels(sensor), nodata=tag)
        mask = np.resize(np.array([0, 1], np.uint8), (1, SIDE, SIDE))
        write(tmp_path / "masks" / f"{name}.tif", mask)
    return Folder(
        images=str(tmp_path / "images"),
        masks=str(tmp_path / "masks"),
        classes=("land", "water"),
        fractions=(1.0, 0.0, 0.0),
    )


@pytest.mark.parametrize("compress", ["none", "deflate"])
@pytest.mark.parametrize("share", [0.002, 0.5, 0.9])
def test_a_truncated_file_is_named(
    folder: Folder, tmp_path: Path, sensor: str, compress: str, share: float
) -> None:
    path = write(tmp_path / "images" / "b.tif", pixels(sensor), compress=compress)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=r"Cannot read .*b\.tif: .*damaged.*fetch it again"):
        folder.scenes("train").read(1, Window(0, 0, SIDE, SIDE))


def test_one_scene_without_data_is_named_and_left_out(
    folder: Folder, tmp_path: Path, sensor: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tag = SENSORS[sensor]["nodata"]
    write(tmp_path / "images" / "b.tif", np.full_like(pixels(sensor), tag), nodata=tag)
    (found,) = fitting.fitted((Standardize(),), Data(source=folder, crop=SIDE))
    assert isinstance(found, Standardize)
    assert "1 of 3 training scenes" in capsys.readouterr().err
    known = pixels(sensor).astype(np.float64)
    np.testing.assert_allclose(found.mean, known.mean((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found.std, known.std((1, 2)), rtol=1e-5)
    sample = folder.scenes("train").read(1, Window(0, 0, SIDE, SIDE))
    assert not sample["valid"].any()


@pytest.mark.parametrize("step", [Standardize(), PCA(2), RemoveBands()], ids=repr)
def test_data_without_one_valid_pixel_are_refused(
    folder: Folder, tmp_path: Path, sensor: str, step: Any
) -> None:
    tag = SENSORS[sensor]["nodata"]
    for name in "abc":
        write(tmp_path / "images" / f"{name}.tif", np.full_like(pixels(sensor), tag), nodata=tag)
    data = Data(source=folder, crop=SIDE)
    with pytest.raises(UserError, match=r"No valid, labelled.*images/a\.tif.*nodata"):
        fitting.fitted((step,), data)


@pytest.mark.parametrize("what", ["image", "mask"])
def test_a_split_without_a_pixel_that_counts_is_refused_before_it_trains(
    folder: Folder, tmp_path: Path, sensor: str, what: str
) -> None:
    tag = SENSORS[sensor]["nodata"]
    folder = dataclasses.replace(folder, ignore_ids=(7,))
    data = Data(source=folder, crop=SIDE // 2, batch_size=1)
    for name in "abc":
        if what == "image":
            blank = np.full_like(pixels(sensor), tag)
            write(tmp_path / "images" / f"{name}.tif", blank, nodata=tag)
        else:
            write(tmp_path / "masks" / f"{name}.tif", np.full((1, SIDE, SIDE), 7, np.uint8))
    with pytest.raises(UserError, match=r"split train has no labelled.*images/a\.tif.*nodata"):
        training_batches(data, seed=0, positions=[0], first=0, last=1)
    # One pixel that counts is enough, in the last window of the last scene.
    if what == "image":
        known = np.full_like(pixels(sensor), tag)
        known[:, -1, -1] = 1
        write(tmp_path / "images" / "c.tif", known, nodata=tag)
    else:
        mask = np.full((1, SIDE, SIDE), 7, np.uint8)
        mask[0, -1, -1] = 1
        write(tmp_path / "masks" / "c.tif", mask)
    assert next(training_batches(data, seed=0, positions=[0], first=0, last=1))


def test_masks_on_another_grid_are_refused(folder: Folder, tmp_path: Path) -> None:
    mask = np.zeros((1, SIDE, SIDE), np.uint8)
    write(tmp_path / "masks" / "b.tif", mask[:, :-2])
    with pytest.raises(UserError, match=r"masks/b\.tif has 38 x 40 pixels, its image .*b\.tif"):
        folder.scenes("train")
    write(tmp_path / "masks" / "b.tif", mask, shift=20.0)
    with pytest.raises(UserError, match=r"masks/b\.tif lies 2 pixels off its image .*b\.tif"):
        folder.scenes("train")


def polarisations(tmp_path: Path) -> Stacked:
    """VV and VH in files of their own, beside one mask."""
    for name in "ab":
        for number, band in enumerate(("VV", "VH")):
            values = pixels("sar")[number : number + 1]
            write(tmp_path / "images" / f"{name}_{band}.tif", values, nodata=float("nan"))
        mask = np.resize(np.array([0, 1], np.uint8), (1, SIDE, SIDE))
        write(tmp_path / "masks" / f"{name}.tif", mask)
    vv, vh = (
        Folder(
            images=str(tmp_path / "images"),
            masks=str(tmp_path / "masks"),
            image_suffix=f"_{band}",
            band_names=(band,),
            classes=("land", "water"),
            fractions=(1.0, 0.0, 0.0),
        )
        for band in ("VV", "VH")
    )
    return Stacked(vv, vh)


def test_polarisations_in_files_of_their_own_are_one_image(tmp_path: Path) -> None:
    source = polarisations(tmp_path)
    assert source.sensor.bands == source.sensor.polarisations == ("VV", "VH")
    scenes = source.scenes("train")
    image = scenes.read(1, Window(3, 5, 10, 12))["image"]
    np.testing.assert_array_equal(image, np.moveaxis(pixels("sar"), 0, -1)[3:13, 5:17])


def test_polarisations_on_different_grids_are_refused_by_the_file_that_is_off(
    tmp_path: Path,
) -> None:
    source = polarisations(tmp_path)
    off = tmp_path / "images" / "b_VH.tif"
    write(off, pixels("sar")[1:, :-4], nodata=float("nan"))
    with pytest.raises(UserError, match=r"b\.tif has 40 x 40 .* its image .*b_VH\.tif 36 x 40"):
        source.scenes("train")
    write(off, pixels("sar")[1:], shift=30.0, nodata=float("nan"))
    with pytest.raises(UserError, match=r"b\.tif lies 3 pixels off its image .*b_VH\.tif"):
        source.scenes("train")


def test_a_scene_of_other_bands_or_type_is_named(
    folder: Folder, tmp_path: Path, sensor: str
) -> None:
    count = SENSORS[sensor]["bands"]
    write(tmp_path / "images" / "b.tif", pixels(sensor, bands=1))
    with pytest.raises(UserError, match=rf"b\.tif has 1 band\(s\) .*a\.tif has {count} of"):
        folder.scenes("train")
    write(tmp_path / "images" / "b.tif", pixels(sensor).astype(np.float64))
    with pytest.raises(UserError, match=r"b\.tif has .* of float64"):
        folder.scenes("train")


def test_radiometry_of_bands_that_a_file_lacks_is_refused(folder: Folder, sensor: str) -> None:
    data = Data(source=folder, crop=SIDE)
    steps = (LogIntensity(), RatioBand(numerator=51, denominator=1), Standardize())
    count = SENSORS[sensor]["bands"]
    with pytest.raises(UserError, match=rf"RatioBand of bands 51 and 1 for images of {count}"):
        fitting.fitted(steps, data)
    with pytest.raises(UserError, match=rf"PCA to 51 components of {count} bands"):
        fitting.fitted((PCA(51),), data)
