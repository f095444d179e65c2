"""Where the pixels of image files lie on the ground."""

import functools
import math

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform

from jaxseg.files.raster import Header
from jaxseg.scenes.scene import Ground, Window

AXIS, SQUARED_ECCENTRICITY = 6_378_137.0, 0.00669437999014
"""Of the ellipsoid WGS 84; the axis in metres."""


def ground_of(image: Header, area: Window) -> Ground | None:
    """Where a part of a file lies; None without a reference system, and for rotated files."""
    a, b, c, d, e, f = image.transform[:6]
    if image.crs is None or b or d:
        return None
    x = (c + a * area.x, c + a * (area.x + area.width))
    y = (f + e * area.y, f + e * (area.y + area.height))
    side = abs(a * e) ** 0.5
    return Ground(_text(image.crs), min(x), min(y), max(x), max(y), side)


@functools.lru_cache(1000)
def _text(crs: CRS) -> str:
    return str(crs.to_string())


def reprojected(
    x: NDArray[np.float64], y: NDArray[np.float64], crs: str, other: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points of one coordinate reference system in another one; infinite where there are none."""
    found = transform(CRS.from_user_input(crs), CRS.from_user_input(other), x, y)
    return np.asarray(found[0]), np.asarray(found[1])


def metres_per_pixel(image: Header, area: Window) -> float | None:
    """Metres on the ground along a row, in the middle of a part of a file; None without a CRS.

    Measured on the ellipsoid between two points a pixel apart, so that it holds in any CRS, also
    where its own metres are not those on the ground, as in Web Mercator.
    """
    if image.crs is None or not (image.crs.is_projected or image.crs.is_geographic):
        return None
    row, column = area.y + area.height / 2, area.x + area.width / 2
    points = [image.transform @ (column + side, row) for side in (-0.5, 0.5)]
    x, y = np.array(points, np.float64).T
    longitude, latitude = reprojected(x, y, _text(image.crs), "EPSG:4326")
    if not np.isfinite([longitude, latitude]).all():
        return None
    east = math.radians((longitude[1] - longitude[0] + 180) % 360 - 180)
    north = math.radians(latitude[1] - latitude[0])
    here = math.radians(latitude.mean())
    flat = 1 - SQUARED_ECCENTRICITY * math.sin(here) ** 2
    across = AXIS / flat**0.5 * math.cos(here) * east  # by the radius of the prime vertical
    along = AXIS * (1 - SQUARED_ECCENTRICITY) / flat**1.5 * north  # by that of the meridian
    return math.hypot(across, along)
