"""Vectors as pixels: the features that a window meets, drawn onto its grid."""

import functools

import numpy as np
import rasterio.features
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from jaxseg.errors import UserError
from jaxseg.files import vectors
from jaxseg.files.ground import reprojected
from jaxseg.files.raster import METRES_PER_DEGREE
from jaxseg.files.vectors import Features, Geometries
from jaxseg.files.virtual import Frame, time_of
from jaxseg.scenes.scene import Window

_WORLD = "EPSG:4326"

_WITHOUT_AREA = (0, 1, 2, 4, 5)
"""Points, lines, rings and several of them, as shapely numbers kinds of geometries."""


def features_in(
    path: str, attribute: str, grid: Frame, window: Window, *, buffer: float, flag: str
) -> Features:
    """The features of a file that may meet a window, in the CRS of its image.

    Args:
        path: The file.
        attribute: Whose values are read; empty = none.
        grid: Of the image.
        window: Of the image.
        buffer: Metres around points and lines.
        flag: What the command line calls the buffer.

    Raises:
        UserError: The file cannot be read, image or file have no CRS, or points and lines have no
            width.
    """
    import shapely

    crs = _checked(path, grid)
    bounds = _bounds(window, grid, crs, buffer)
    found = _placed(vectors.read(path, attribute, bounds), crs, grid)
    geometry = found.geometry
    thin = np.isin(shapely.get_type_id(geometry), _WITHOUT_AREA)
    if thin.any():
        if not buffer:
            raise UserError(
                f"{path} holds points or lines, which have no area. {flag} 2.5 draws all that lies "
                "within so many metres of them."
            )
        geometry = geometry.copy()
        geometry[thin] = _widened(geometry[thin], buffer, grid)
    return found._replace(geometry=geometry)


def all_features(path: str, attribute: str, grid: Frame) -> Features:
    """All features of a file in the CRS of an image; see `features_in`."""
    crs = _checked(path, grid)
    return _placed(vectors.read(path, attribute), crs, grid)


def drawn(
    geometry: Geometries,
    numbers: NDArray[np.uint8],
    grid: Frame,
    window: Window,
    *,
    fill: int,
    all_touched: bool,
) -> NDArray[np.uint8]:
    """(h, w) numbers of the features that pixels lie in, the last one of several.

    Args:
        geometry: (N,) in the CRS of the grid.
        numbers: (N,) what is drawn.
        grid: Of the image.
        window: Of the image.
        fill: Number of pixels in no feature.
        all_touched: Whether every pixel counts that a feature touches, not only those whose centre
            lies in it.
    """
    shape = window.height, window.width
    if not len(geometry):
        return np.full(shape, fill, np.uint8)
    found: NDArray[np.uint8] = rasterio.features.rasterize(
        zip(geometry, numbers.tolist(), strict=True),
        shape,
        fill=fill,
        transform=grid.transform @ Affine.translation(window.x, window.y),
        all_touched=all_touched,
        dtype="uint8",
    )
    return found


def _checked(path: str, grid: Frame) -> CRS | None:
    """The CRS of a file that lies on the same ground as an image."""
    vectors.check_extra()
    crs = _crs(path, time_of(path))
    if (crs is None) != (grid.crs is None):
        raise UserError(
            f"{path} has the CRS {crs}, its image {grid.crs}: it is not known where the features "
            "lie in the image. Give both files their CRS."
        )
    return crs


def _placed(found: Features, crs: CRS | None, grid: Frame) -> Features:
    """Features in the CRS of an image."""
    if crs is None or grid.crs is None or crs == grid.crs:
        return found
    return found._replace(geometry=_moved(found.geometry, crs.to_wkt(), grid.crs.to_wkt()))


@functools.lru_cache(1000)
def _crs(path: str, _: int) -> CRS | None:
    text = vectors.crs_of(path)
    return None if text is None else CRS.from_user_input(text)


def _bounds(
    window: Window, grid: Frame, crs: CRS | None, buffer: float
) -> tuple[float, float, float, float]:
    """A rectangle in the CRS of the features around the window, its border and the buffer."""
    rows, columns = (
        (window.y - 1, window.y + window.height + 1),
        (window.x - 1, window.x + window.width + 1),
    )
    x, y = zip(*(grid.transform @ (column, row) for row in rows for column in columns), strict=True)
    bounds = min(x), min(y), max(x), max(y)
    if crs is None or (crs == grid.crs and not buffer):
        return bounds
    left, bottom, right, top = transform_bounds(grid.crs, _WORLD, *bounds)
    high = 1.01 * buffer / METRES_PER_DEGREE
    wide = high / max(0.01, np.cos(np.radians(max(abs(bottom), abs(top)))))
    world = left - wide, bottom - high, right + wide, top + high
    found: tuple[float, float, float, float] = transform_bounds(_WORLD, crs, *world)
    return found


def _moved(geometry: Geometries, crs: str, other: str) -> Geometries:
    import shapely

    if not len(geometry):
        return geometry
    found: Geometries = shapely.transform(
        geometry, lambda xy: np.stack(reprojected(xy[:, 0], xy[:, 1], crs, other), axis=1)
    )
    return found


def _widened(geometry: Geometries, buffer: float, grid: Frame) -> Geometries:
    """All within so many metres, measured in the plane that touches the middle of the image."""
    import shapely

    if grid.crs is None:
        raise UserError("A buffer is in metres, and the image has no CRS. Give it one.")
    own = grid.crs.to_wkt()
    x, y = grid.transform @ (grid.width / 2, grid.height / 2)
    longitude, latitude = (
        float(part[0]) for part in reprojected(np.array([x]), np.array([y]), own, _WORLD)
    )
    plane = f"+proj=aeqd +lat_0={latitude!r} +lon_0={longitude!r} +datum=WGS84 +units=m"
    return _moved(shapely.buffer(_moved(geometry, own, plane), buffer), plane, own)
