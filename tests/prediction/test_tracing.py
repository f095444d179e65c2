"""Regions traced by strips are those of the whole map, whatever way they wind."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import rasterio.features
import shapely
from numpy.typing import NDArray

from jaxseg.files.regions import components
from jaxseg.prediction import tracing
from jaxseg.prediction.tracing import Pixels, Regions, trace
from jaxseg.scenes.scene import Window

NODATA = 255
Classes = NDArray[np.uint8]


def noise(seed: int, classes: int = 3, side: tuple[int, int] = (21, 27)) -> Classes:
    return np.random.default_rng(seed).integers(0, classes, side).astype(np.uint8)


def blocks(seed: int) -> Classes:
    """Regions of several pixels that touch in corners, too."""
    return np.kron(noise(seed, 4, (10, 13)), np.ones((3, 3), np.uint8))


def rings() -> Classes:
    """Squares within squares."""
    rows, columns = np.mgrid[:31, :31]
    return (np.maximum(abs(rows - 15), abs(columns - 15)) % 2).astype(np.uint8)


def spiral() -> Classes:
    """One line that goes around and in, through every strip many times."""
    found = np.zeros((30, 30), np.uint8)
    top, left, bottom, right = 0, 0, 29, 29
    while top < bottom and left < right:
        found[top, left : right + 1] = 1
        found[top : bottom + 1, right] = 1
        found[bottom, left : right + 1] = 1
        found[top + 2 : bottom + 1, left] = 1
        found[top + 2, left : left + 2] = 1
        top, left, bottom, right = top + 2, left + 2, bottom - 2, right - 2
    return found


def combs() -> Classes:
    """U-shapes that open upwards and downwards and interlock: parts join late."""
    found = np.zeros((32, 41), np.uint8)
    found[2:28, 1::4] = 1
    found[27, 1:] = 1
    found[4:30, 3::4] = 2
    found[29, 3:] = 2
    return found


def without_data() -> Classes:
    found = blocks(5)
    found[noise(9, 5, found.shape) == 0] = NODATA
    found[12:15] = NODATA
    return found


def steps() -> Classes:
    """Neighbours that touch only in corners."""
    return np.eye(24, dtype=np.uint8) + 2 * np.eye(24, dtype=np.uint8)[::-1]


MAPS: dict[str, Callable[[], Classes]] = {
    **{"noise": lambda: noise(1), "two classes": lambda: noise(2, 2), "blocks": lambda: blocks(3)},
    **{"rings": rings, "spiral": spiral, "combs": combs, "nodata": without_data, "steps": steps},
    "one row": lambda: noise(4, 3, (1, 40)),
    "one column": lambda: noise(4, 3, (40, 1)),
}


def traced(classes: Classes, rows: int, nodata: int = NODATA, **how: Any) -> Regions:
    def read(window: Window) -> Pixels:
        part = classes[window.y : window.y + window.height]
        return Pixels(part, part != nodata, np.where(part == 1, np.nan, part * 0.5))

    found = list(trace(read, classes.shape, rows, **how))
    return Regions(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def of_whole(classes: Classes) -> list[tuple[int, str]]:
    """The polygons of rasterio, in a form that can be compared."""
    shapes = rasterio.features.shapes(classes, classes != NODATA, connectivity=4)
    return sorted((int(value), _text(shapely.geometry.shape(outline))) for outline, value in shapes)


def _text(polygon: Any) -> str:
    return str(shapely.to_wkt(shapely.normalize(polygon)))


@pytest.mark.parametrize("rows", [1, 7, 100])
@pytest.mark.parametrize("name", MAPS)
def test_regions_of_strips_are_those_of_the_whole_map(name: str, rows: int) -> None:
    classes = MAPS[name]()
    found = traced(classes, rows)
    assert shapely.is_valid(found.polygons).all()
    own = zip(found.classes.tolist(), map(_text, found.polygons), strict=True)
    assert sorted(own) == of_whole(classes)
    assert shapely.area(found.polygons).sum() == (classes != NODATA).sum()


def test_large_regions_are_put_together_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "AT_A_TIME", 1)
    found = traced(combs(), 5)
    own = zip(found.classes.tolist(), map(_text, found.polygons), strict=True)
    assert sorted(own) == of_whole(combs())


def test_the_mean_of_a_region_is_that_of_its_pixels_with_a_quantity() -> None:
    found = traced(without_data(), 4)
    known = found.classes != 1
    pixels = shapely.area(found.polygons)
    np.testing.assert_array_equal(found.known, np.where(known, pixels, 0))
    np.testing.assert_allclose(found.total, np.where(known, pixels * found.classes * 0.5, 0))


@pytest.mark.parametrize("rows", [4, 100])
@pytest.mark.parametrize("name", ["noise", "rings", "combs", "nodata"])
def test_simplified_borders_stay_shared(name: str, rows: int) -> None:
    classes = MAPS[name]()
    found = traced(classes, rows, nodata=-1, simplify=1.5)
    plain = traced(classes, rows, nodata=-1)
    assert len(found.classes) == len(plain.classes)
    assert shapely.coverage_is_valid(found.polygons)
    assert shapely.area(found.polygons).sum() == pytest.approx(classes.size, rel=1e-12)
    fewer = [shapely.get_num_coordinates(each.polygons).sum() for each in (found, plain)]
    assert fewer[0] < fewer[1] or name != "noise"  # straight borders have no vertex too many


def test_a_simplified_border_does_not_depend_on_whether_its_other_side_is_wanted() -> None:
    classes = blocks(7)

    def read(window: Window) -> Pixels:
        part = classes[window.y : window.y + window.height]
        return Pixels(part, part == 2, None)

    alone = np.concatenate([each.polygons for each in trace(read, classes.shape, 8, 1.5)])
    every = traced(classes, 8, nodata=-1, simplify=1.5)
    assert {_text(p) for p in alone} == {_text(p) for p in every.polygons[every.classes == 2]}


@pytest.mark.parametrize("name", MAPS)
def test_components_are_those_of_scipy(name: str) -> None:
    from scipy import ndimage

    classes = MAPS[name]()
    count, labels = components(classes)
    own = sum(ndimage.label(classes == value)[1] for value in np.unique(classes))
    assert count == own == len(np.unique(labels))
    pairs = np.unique(np.stack([labels.ravel(), classes.ravel()]), axis=1)
    assert pairs.shape[1] == count  # one class for each
