"""Areas in square metres: in the plane of a projected CRS, on the ellipsoid of a geographic one."""

from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS

from jaxseg.files.vectors import Geometries, check_extra

LONGEST = 0.01
"""Degrees of an edge: a longer one is divided, as an edge of pixels is not the shortest way."""


class Areas:
    """Areas on the grid of a map.

    Attributes:
        unit: `m2`, or `px` of a map without a CRS.
    """

    def __init__(self, crs: CRS | None, transform: Affine) -> None:
        """Looks at the CRS.

        Args:
            crs: Of the map; None or of another kind = areas are in pixels.
            transform: (column, row) -> (x, y).

        Raises:
            UserError: The CRS is in degrees, and the extra `vector` is not installed.
        """
        self._transform, self._geod = transform, None
        known = crs is not None and (crs.is_projected or crs.is_geographic)
        self.unit = "m2" if known else "px"
        self._factor = 1 / abs(transform.determinant)
        if crs is not None and crs.is_projected:
            self._factor = float(crs.linear_units_factor[1]) ** 2
        elif crs is not None and crs.is_geographic:
            check_extra()
            import pyproj

            self._geod = pyproj.CRS.from_wkt(crs.to_wkt()).get_geod()

    def placed(self, polygons: Geometries) -> Geometries:
        """Polygons of columns and rows in the CRS of the map."""
        import shapely

        return np.asarray(shapely.transform(polygons, self._points))

    def of(self, polygons: Geometries) -> NDArray[np.float64]:
        """(N,) areas of polygons in the CRS of the map."""
        import shapely

        if self._geod is None:
            return np.asarray(shapely.area(polygons) * self._factor)
        fine = shapely.segmentize(polygons, LONGEST)
        areas = [abs(self._geod.geometry_area_perimeter(polygon)[0]) for polygon in fine]
        return np.array(areas, np.float64)

    def of_rows(self, height: int) -> NDArray[np.float64]:
        """(H,) area of a pixel in each row."""
        if self._geod is None:
            return np.full(height, abs(self._transform.determinant) * self._factor)
        rows = np.arange(height + 1)
        left, right = (self._points(np.stack([np.full(len(rows), x), rows], 1)) for x in (0, 1))
        found = np.empty(height)
        for row in range(height):
            corners: Any = np.concatenate([left[row : row + 2], right[row : row + 2][::-1]])
            found[row] = abs(self._geod.polygon_area_perimeter(*corners.T)[0])
        return found

    def _points(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        a, b, c, d, e, f = self._transform[:6]
        x, y = xy[:, 0], xy[:, 1]
        return np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)
