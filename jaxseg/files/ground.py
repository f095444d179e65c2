"""Where the pixels of image files lie on the ground."""

import functools

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform

from jaxseg.files.raster import Header
from jaxseg.scenes.scene import Ground, Window


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
