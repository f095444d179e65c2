"""How large a pixel is on the ground."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from fixtures.mapped import write
from rasterio.transform import from_origin

from jaxseg.files import raster
from jaxseg.files.ground import metres_per_pixel
from jaxseg.scenes.scene import Window

METRES_OF_A_DEGREE = 111_319.49
"""On the equator, of longitude."""

AT_60 = 0.5 * 1.002521
"""A degree of longitude at 60 degrees north, to one on the equator: cos 60 and the ellipsoid."""


def metres(path: Path, crs: str | None, west: float, north: float, size: float) -> float | None:
    """Of a pixel in the middle of a file of 20 x 40 pixels."""
    image = np.zeros((1, 20, 40), np.uint8)
    where = from_origin(west, north, size, size)
    header = raster.header(write(path, image, ("a",), crs=crs, transform=where))
    return metres_per_pixel(header, Window(0, 0, 20, 40))


@pytest.mark.parametrize(
    ("crs", "west", "north", "size", "expected"),
    [
        ("EPSG:32632", 500_000, 5_300_000, 10, 10 / 0.9996),  # UTM's own scale at its meridian
        ("EPSG:3857", 1_000_000, 8_399_837, 10, 10 * AT_60),  # Web Mercator at 60 degrees north
        ("EPSG:4326", 12, 60.01, 0.001, METRES_OF_A_DEGREE * 0.001 * AT_60),
        ("EPSG:4326", 179.99, 0, 0.001, METRES_OF_A_DEGREE * 0.001),  # over the date line
        ("EPSG:2263", 984_000, 190_000, 100, 30.48),  # feet
    ],
)
def test_metres_are_those_on_the_ground(
    tmp_path: Path, crs: str, west: float, north: float, size: float, expected: float
) -> None:
    found = metres(tmp_path / "a.tif", crs, west, north, size)
    assert found == pytest.approx(expected, rel=2e-4)


def test_without_a_reference_system_nothing_is_in_metres(tmp_path: Path) -> None:
    assert metres(tmp_path / "a.tif", None, 0, 0, 1) is None


def test_a_part_has_the_scale_of_its_own_place(tmp_path: Path) -> None:
    where = from_origin(0, 60, 1, 1)
    path = write(
        tmp_path / "a.tif", np.zeros((1, 60, 4), np.uint8), ("a",), crs="EPSG:4326", transform=where
    )
    header = dataclasses.replace(raster.header(path))
    north, south = (metres_per_pixel(header, Window(y, 0, 2, 4)) for y in (0, 58))
    assert north is not None
    assert south is not None
    assert north / south == pytest.approx(np.cos(np.radians(59)) / np.cos(np.radians(1)), rel=3e-3)


def test_fewer_pixels_are_read_where_a_shape_is_given(tmp_path: Path) -> None:
    image = np.arange(2 * 40 * 60, dtype=np.uint16).reshape(2, 40, 60)
    image[:, :, 50:] = 9
    path = write(tmp_path / "a.tif", image, ("a", "b"), nodata=9)
    part = raster.read_planes(path, Window(0, 0, 40, 40), bands=[2], shape=(20, 10))
    assert part.shape == (1, 20, 10)
    inside = [np.isin(row, image[1, 2 * y : 2 * y + 2]).all() for y, row in enumerate(part[0])]
    assert all(inside)
    assert raster.read_planes(path, Window(0, 0, 40, 60), shape=(4, 6)).shape == (2, 4, 6)
    mask = raster.read_mask(path, Window(0, 0, 40, 60), shape=(4, 6))
    np.testing.assert_array_equal(mask, [[True] * 5 + [False]] * 4)
