"""The maps of doubted labels: where the pixels of scenes lie, and the files that say so."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from jaxseg.evaluation.doubts.passes import NO_LABEL, STEPS, SceneDoubts
from jaxseg.files import raster
from jaxseg.files.maps import BLOCK, MapBand, MapFacts, assemble, write_block
from jaxseg.metrics.confident_learning import UNDOUBTED
from jaxseg.scenes.scene import Around, OfFiles, Scenes, Source, Window

MAPS = "maps"
"""The folder of the maps."""


class Place(NamedTuple):
    """Where the pixels of a scene lie: in a file, and on the ground.

    Attributes:
        file: The image; empty if the scene is not a file.
        row: First row of the scene in the file.
        column: First column.
        header: Of the file, or None.
    """

    file: str
    row: int
    column: int
    header: raster.Header | None

    @property
    def transform(self) -> Affine:
        """(column, row) of the scene -> (x, y)."""
        if self.header is None:
            return Affine.identity()
        return self.header.transform @ Affine.translation(self.column, self.row)


def place_of(scenes: Scenes, index: int) -> Place:
    """Where the pixels of a scene lie."""
    while isinstance(scenes, Around):
        scenes = scenes.inner
    if not isinstance(scenes, OfFiles):
        return Place("", 0, 0, None)
    extent = scenes.extent(index)
    return Place(extent.file, extent.area.y, extent.area.x, raster.header(extent.file))


def file_names(scenes: Scenes) -> list[str]:
    """A file for each scene, within the folder, called like it; equal names are numbered."""
    taken: set[str] = set()
    found = []
    for index in range(len(scenes)):
        stem = re.sub(r"\.[A-Za-z]\w{1,4}$", "", scenes.name(index).rpartition("/")[2])
        stem = re.sub(r"[^\w.-]+", "_", stem)[-60:].lstrip(".") or "scene"
        name, number = stem, 1
        while {name, f"{name}_doubt"} & taken:
            number += 1
            name = f"{stem}_{number}"
        taken |= {name, f"{name}_doubt"}
        found.append(f"{MAPS}/{name}.tif")
    return found


def doubt_file(path: Path) -> Path:
    """The map of doubts beside that of suggested classes."""
    return path.with_name(f"{path.stem}_doubt.tif")


def facts_of(found: SceneDoubts, place: Place, source: Source, tags: dict[str, str]) -> MapFacts:
    """What the map of suggested classes is."""
    height, width = found.label.shape
    return MapFacts(
        height=height,
        width=width,
        dtype="uint8",
        bands=(MapBand("class"),),
        nodata=UNDOUBTED,
        crs=None if place.header is None else place.header.crs,
        transform=place.transform,
        classes=source.classes,
        colors=source.colors,
        tags=tags,
    )


def write_maps(found: SceneDoubts, facts: MapFacts, path: Path) -> None:
    """The two maps of a scene."""
    _write_map(found.suggested, facts, path)
    doubt = facts._replace(
        bands=(MapBand("doubt", 1 / STEPS),), nodata=NO_LABEL, classes=(), colors=()
    )
    _write_map(found.doubt, doubt, doubt_file(path))


def _write_map(values: NDArray[np.uint8], facts: MapFacts, path: Path) -> None:
    blocks = []
    try:
        for y in range(0, facts.height, BLOCK):
            for x in range(0, facts.width, BLOCK):
                window = Window(y, x, min(BLOCK, facts.height - y), min(BLOCK, facts.width - x))
                part = values[y : y + BLOCK, x : x + BLOCK, None]
                block = path.with_name(f"{path.stem}.{y}.{x}.block.tif")
                blocks.append((block, window))
                write_block(block, part)
        assemble(blocks, facts, path)
    finally:
        for block, _ in blocks:
            block.unlink(missing_ok=True)
