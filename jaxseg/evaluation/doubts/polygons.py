"""The regions of doubted labels of a scene as polygons, for a GIS."""

from pathlib import Path

import numpy as np

from jaxseg.evaluation.doubts.passes import Region, SceneDoubts, numbered
from jaxseg.files import vectors
from jaxseg.files.areas import Areas
from jaxseg.files.maps import MapFacts
from jaxseg.files.regions import outlines
from jaxseg.files.vectors import Batch


def write_polygons(
    path: Path, found: SceneDoubts, regions: list[Region], facts: MapFacts, classes: tuple[str, ...]
) -> None:
    """Writes one polygon per region: label, suggested class, doubt, pixels, area.

    Args:
        path: The file, .gpkg.
        found: The scene.
        regions: Those of its regions that are written.
        facts: Of its map: where it lies.
        classes: Names of the classes.

    Raises:
        UserError: The extra `vector` is not installed, or the file cannot be written.
    """
    vectors.check_extra()
    areas = Areas(facts.crs, facts.transform)
    area = f"area_{areas.unit}"
    types = {"label": str, "suggested": str, "doubt": float, "pixels": int, area: float}
    of_pixel = numbered(found)
    wanted = np.isin(of_pixel, [region.number for region in regions])
    numbers, polygons = outlines(of_pixel, wanted, 0)
    by_number = {region.number: region for region in regions}
    own = [by_number[number] for number in numbers.tolist()]
    placed = areas.placed(polygons)
    batch = Batch(
        placed,
        {
            "label": np.array([classes[region.label] for region in own], object),
            "suggested": np.array([classes[region.suggested] for region in own], object),
            "doubt": np.array([region.doubt for region in own], np.float64),
            "pixels": np.array([region.pixels for region in own], np.int64),
            area: areas.of(placed),
        },
    )
    crs = None if facts.crs is None else facts.crs.to_wkt()
    vectors.write(path, [batch], types, crs, facts.tags)
