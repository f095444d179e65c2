"""Connected regions of a strip of pixels, their outlines as polygons, and what puts them together.

    classes (h, w)  --components-->  a number for each region  --outlines-->  a polygon for each

Coordinates are columns and rows of the map, whole numbers, so that the polygons of two strips fit
together exactly. Pixels that touch at a corner alone are not connected.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import rasterio.features
from affine import Affine
from numpy.typing import NDArray
from scipy import sparse

from jaxseg.files.vectors import Geometries

Ids = NDArray[np.int32]


def components(values: NDArray[np.generic]) -> tuple[int, Ids]:
    """Number of 4-connected regions of equal values, and which one each pixel belongs to, from 0.

    Runs of equal pixels along rows are linked where they touch the row below, so that the time does
    not depend on the number of values.
    """
    begins = np.ones(values.shape, bool)
    begins[:, 1:] = values[:, 1:] != values[:, :-1]
    runs = np.cumsum(begins.ravel(), dtype=np.int32).reshape(values.shape) - 1
    # Two runs that touch do so first where one of them begins.
    touch = (values[1:] == values[:-1]) & (begins[1:] | begins[:-1])
    above, below = runs[:-1][touch], runs[1:][touch]
    count = int(runs[-1, -1]) + 1
    links = sparse.coo_array((np.ones(len(above), bool), (above, below)), (count, count))
    regions, of_run = sparse.csgraph.connected_components(links, directed=False)
    return int(regions), of_run.astype(np.int32)[runs]


def outlines(regions: Ids, wanted: NDArray[np.bool_], row: int) -> tuple[Ids, Geometries]:
    """Numbers of regions, and their polygons.

    Args:
        regions: (h, w) from `components`.
        wanted: (h, w), False where regions have no polygon.
        row: Of the map, in which the strip begins.
    """
    import shapely

    points: list[NDArray[np.float64]] = []
    rings, polygons, numbers = [0], [0], []
    traced = rasterio.features.shapes(
        regions, wanted, connectivity=4, transform=Affine.translation(0, row)
    )
    for outline, number in traced:
        for ring in outline["coordinates"]:
            points.append(np.array(ring))
            rings.append(rings[-1] + len(ring))
        polygons.append(len(rings) - 1)
        numbers.append(number)
    if not numbers:
        return np.zeros(0, np.int32), np.zeros(0, object)
    made: Geometries = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON,
        np.concatenate(points),
        (np.array(rings), np.array(polygons)),
    )
    return np.array(numbers, np.int32), made


def simplified(polygons: Geometries, tolerance: float) -> Geometries:
    """Polygons that cover a strip without gaps, with fewer vertices, and still without gaps.

    The outer border of the strip stays, so that it fits to the next one. The tracer leaves out
    vertices where three regions meet on a straight line; they are put in first, because a border
    that two polygons share needs equal vertices on both sides.

    Args:
        polygons: All regions of a strip, those without data included.
        tolerance: In pixels: triangles up to its square are removed.

    **Source:** Visvalingam and Whyatt, Line generalisation by repeated elimination of points, The
    Cartographic Journal 1993, as GEOS applies it to coverages.
    """
    import shapely

    # The points between are computed; at whole numbers they are the same on both sides.
    whole = shapely.transform(shapely.segmentize(polygons, 1.0), np.rint)
    found: Geometries = shapely.coverage_simplify(whole, tolerance, simplify_boundary=False)
    return found


class Rings(NamedTuple):
    """Closed rings, in a third of the memory that polygons take.

    Attributes:
        points: (N, 2) whole numbers, ring after ring.
        counts: (R,) points of each ring.
    """

    points: NDArray[np.int32]
    counts: NDArray[np.int64]


def rings_of(polygon: Any) -> tuple[Rings, Rings]:  # noqa: ANN401
    """The shell of a polygon, and its holes."""
    import shapely

    _, points, (starts, _) = shapely.to_ragged_array([polygon])
    points, counts = points.astype(np.int32), np.diff(starts)
    first = int(counts[0])
    return Rings(points[:first], counts[:1]), Rings(points[first:], counts[1:])


def joined(shells: Sequence[Rings], holes: Sequence[Rings], *, straight: bool) -> Any:  # noqa: ANN401
    """One polygon of the parts of a region in several strips.

    A hole within a strip stays one; what lies between parts is found by the union of their shells
    alone. Parts of one strip are never inside each other's holes: they would not be connected.

    Args:
        shells: Outlines of the parts.
        holes: Of the parts.
        straight: Whether vertices on straight lines are left out of what is put together.
    """
    import shapely

    outer = np.array([shapely.union_all([shapely.polygons(shell.points) for shell in shells])])
    _, points, (starts, _) = shapely.to_ragged_array(straightened(outer) if straight else outer)
    counts = [np.diff(starts), *(each.counts for each in holes)]
    ends = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return shapely.from_ragged_array(
        shapely.GeometryType.POLYGON,
        np.concatenate([points, *(each.points for each in holes)]),
        (ends, np.array([0, len(ends) - 1])),
    )[0]


def straightened(polygons: Geometries, needed: NDArray[np.bool_] | None = None) -> Geometries:
    """Polygons without vertices on straight lines.

    Args:
        polygons: With whole numbers as coordinates.
        needed: (N,) for the vertices as `shapely.get_coordinates` lists them, True for those that
            stay; None = none has to.
    """
    import shapely

    if not len(polygons):
        return polygons
    _, exact, (rings, parts) = shapely.to_ragged_array(polygons)
    points = exact.astype(np.int32)
    before, after = np.roll(points, 1, axis=0), np.roll(points, -1, axis=0)
    first, last = rings[:-1], rings[1:] - 1  # the same point
    before[first] = before[last] = points[last - 1]
    after[first] = after[last] = points[first + 1]
    before, after = points - before, after - points
    # A step is shorter than 2^31 in both directions, a product is not.
    stay = (
        before[:, 0].astype(np.int64) * after[:, 1] != before[:, 1].astype(np.int64) * after[:, 0]
    )
    if needed is not None:
        stay |= needed
    kept = np.concatenate([[0], np.cumsum(stay)])
    starts = kept[rings]
    # A ring that does not begin at a vertex that stays has to be closed at another one.
    reopened = ~stay[first]
    points = points[stay]
    if reopened.any():
        begin, end = starts[:-1][reopened], starts[1:][reopened]
        points = np.insert(points, end, points[begin], axis=0)
        starts = starts + np.concatenate([[0], np.cumsum(reopened)])
    found: Geometries = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, points, (starts, parts)
    )
    return found


def without_holes(
    polygons: Geometries, minimum: float, area: Callable[[Geometries], NDArray[np.float64]]
) -> Geometries:
    """Polygons whose small holes are filled.

    Args:
        polygons: Some of which have holes.
        minimum: Area below which a hole is filled.
        area: Measures polygons.
    """
    import shapely

    found = polygons.copy()
    places = np.flatnonzero(shapely.get_num_interior_rings(polygons) > 0)
    holes = [np.array(polygons[place].interiors, object) for place in places]
    if not holes:
        return found
    large = area(shapely.polygons(np.concatenate(holes))) >= minimum
    ends = np.cumsum([len(of) for of in holes])[:-1]
    for place, rings, stay in zip(places, holes, np.split(large, ends), strict=True):
        if not stay.all():
            found[place] = shapely.polygons(polygons[place].exterior, rings[stay])
    return found
