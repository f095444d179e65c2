"""What `jaxseg doubts` writes: something a labelling campaign can act on.

    FOLDER/                    RUN/doubts/SPLIT
        doubts.csv             one row per region, the most doubted first
        doubts.json            thresholds, estimated errors, the map of each scene
        doubts.png             the first regions: image, label, suggested class, doubt
        maps/NAME.tif          suggested class of each doubted pixel, 255 elsewhere
        maps/NAME_doubt.tif    doubt of each labelled pixel, 0..1
        maps/NAME.gpkg         polygons of the regions, if they are asked for

Maps lie where their scenes do, if these state their place. The folder appears when it is complete.
"""

import csv
import importlib.metadata
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets.without_doubts import INDEX
from jaxseg.errors import UserError
from jaxseg.evaluation.doubts.maps import (
    MAPS,
    doubt_file,
    facts_of,
    file_names,
    place_of,
    write_maps,
)
from jaxseg.evaluation.doubts.passes import NO_LABEL, STEPS, Doubts, Region, regions_of
from jaxseg.evaluation.doubts.polygons import write_polygons
from jaxseg.evaluation.report import no_formula
from jaxseg.files import raster
from jaxseg.files.maps import CLASSES
from jaxseg.metrics.confident_learning import UNDOUBTED
from jaxseg.pictures.doubts import View, doubts_figure
from jaxseg.pictures.tiles import DPI, stretch
from jaxseg.scenes.scene import Scenes, Source, Window
from jaxseg.system.disk import whole_folder

SHOWN = 6
"""Regions in the picture."""

MARGIN = 24
"""Pixels around a region in the picture, at least."""

SIDE = 256
"""Rows and columns of what is shown of a region, at most."""


class Found(NamedTuple):
    """What was found, without the maps.

    Attributes:
        source: The data.
        split: Name of the split.
        step: Of the checkpoint.
        scenes: Names of its scenes.
        origins: Row and column of the first pixel of each scene in its file.
        regions: The most doubted first.
        doubts: Thresholds and the estimated joint.
        doubted: (K, K) doubted pixels, rows = label, columns = suggested class.
        notes: What has to be said about them, in lines.
    """

    source: Source
    split: str
    step: int
    scenes: tuple[str, ...]
    origins: tuple[tuple[int, int], ...]
    regions: tuple[Region, ...]
    doubts: Doubts
    doubted: NDArray[np.int64]
    notes: tuple[str, ...] = ()


def write(
    doubts: Doubts,
    scenes: Scenes,
    source: Source,
    folder: Path,
    *,
    split: str,
    step: int,
    run: str = "",
    smallest: int = 1,
    polygons: bool = False,
) -> Found:
    """Makes the second pass and writes the files listed above.

    Args:
        doubts: After the first pass.
        scenes: The split.
        source: What the scenes belong to.
        folder: Folder of the files; what is there of an earlier command is replaced.
        split: Name of the split.
        step: Of the checkpoint.
        run: Name of the run, for the maps.
        smallest: Pixels that a region needs to be listed; maps hold all.
        polygons: Whether regions are written as polygons, too.

    Raises:
        UserError: The folder cannot be written, or holds something else.
    """
    refuse_other_files(folder)
    regions: list[Region] = []
    origins: list[tuple[int, int]] = []
    pairs = np.zeros(256 * 256, np.int64)
    with whole_folder(folder, _is_own) as aside:
        files = file_names(scenes)
        (aside / MAPS).mkdir()
        tags = {
            "SOFTWARE": f"jaxseg {importlib.metadata.version('jaxseg')}",
            "JAXSEG_RUN": run or "not known",
            "JAXSEG_STEP": str(step),
            CLASSES: ", ".join(source.classes),
        }
        for found in doubts.scenes():
            own = regions_of(found, smallest)
            path = aside / files[found.scene]
            place = place_of(scenes, found.scene)
            origins.append((place.row, place.column))
            facts = facts_of(found, place, source, tags)
            write_maps(found, facts, path)
            if polygons and own:
                write_polygons(path.with_suffix(".gpkg"), found, own, facts, source.classes)
            regions += own
            wrong = found.suggested != UNDOUBTED
            both = found.label[wrong].astype(np.int64) * 256 + found.suggested[wrong]
            pairs += np.bincount(both, minlength=len(pairs))
        regions.sort(key=lambda region: (-region.doubt, -region.pixels))
        names = tuple(map(scenes.name, range(len(scenes))))
        doubted = pairs.reshape(256, 256)[: len(source.classes), : len(source.classes)]
        result = Found(source, split, step, names, tuple(origins), tuple(regions), doubts, doubted)
        _write_table(aside / "doubts.csv", result, scenes, files)
        (aside / INDEX).write_text(json.dumps(_report(result, files), indent=2) + "\n")
        if regions:
            shown = [
                _view(rank, region, result, scenes, aside / files[region.scene])
                for rank, region in enumerate(regions[:SHOWN], 1)
            ]
            figure = doubts_figure(shown, source.colors, source.classes)
            figure.savefig(aside / "doubts.png", dpi=DPI, metadata={"Step": str(step)})
    return result


def refuse_other_files(folder: Path) -> None:
    """Rejects a folder with other files than those of doubts: it would be replaced.

    Raises:
        UserError: It has.
    """
    is_other = not folder.is_dir() or any(folder.iterdir())
    if folder.exists() and is_other and not (folder / INDEX).is_file():
        raise UserError(
            f"{folder} is there and is not a folder of doubts: give another --out, or move it away."
        )


def _is_own(file: Path) -> bool:
    """Whether a file within the folder is one of an earlier command."""
    return file.parts[0] == MAPS or file.name in ("doubts.csv", "doubts.png", INDEX)


def _write_table(path: Path, found: Found, scenes: Scenes, files: Sequence[str]) -> None:
    """One row per region; x and y are those of the scene's CRS, empty without one."""
    classes = found.source.classes
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(
            [
                *("rank", "scene", "row", "column", "x", "y", "crs", "pixels", "label"),
                *("suggested", "doubt", "map", "step"),
            ]
        )
        places = {n: place_of(scenes, n) for n in {region.scene for region in found.regions}}
        for rank, region in enumerate(found.regions, 1):
            place = places[region.scene]
            x = y = crs = ""
            if place.header is not None and place.header.crs is not None:
                point = place.transform @ (region.column + 0.5, region.row + 0.5)
                x, y = (f"{part:.10g}" for part in point)
                crs = place.header.crs.to_string()
            cells: Iterable[object] = (
                *(rank, found.scenes[region.scene], place.row + region.row),
                *(place.column + region.column, x, y, crs, region.pixels),
                *(classes[region.label], classes[region.suggested], f"{region.doubt:.4f}"),
                *(files[region.scene], found.step),
            )
            rows.writerow([no_formula(str(cell)) for cell in cells])


def _report(found: Found, files: Sequence[str]) -> dict[str, object]:
    """The content of doubts.json; a threshold is None where no pixel has the label."""
    thresholds = [float(t) if np.isfinite(t) else None for t in found.doubts.thresholds]
    return {
        "split": found.split,
        "step": found.step,
        "classes": list(found.source.classes),
        "pixels": found.doubts.count.tolist(),
        "doubted": found.doubted.tolist(),
        "thresholds": thresholds,
        "joint": found.doubts.joint.tolist(),
        "scenes": dict(zip(found.scenes, files, strict=True)),
    }


def _view(rank: int, region: Region, found: Found, scenes: Scenes, path: Path) -> View:
    """What the picture shows of a region."""
    source, classes = found.source, found.source.classes
    size, box, name = scenes.size(region.scene), region.box, found.scenes[region.scene]
    top, left = found.origins[region.scene]
    y, height = _around(box.y, box.height, size[0], region.row)
    x, width = _around(box.x, box.width, size[1], region.column)
    window = Window(y, x, height, width)
    sample = scenes.read(region.scene, window)
    valid = sample["valid"].astype(bool)
    doubt = raster.read(str(doubt_file(path)), window)[..., 0].astype(np.float32)
    return View(
        title=(
            f"{rank}. {classes[region.label]}: {classes[region.suggested]}?  "
            f"{name if len(name) <= 40 else '…' + name[-39:]}, row {top + region.row}, "
            f"column {left + region.column}, {region.pixels} pixels, doubt {region.doubt:.2f}"
        ),
        at=(region.row - y, region.column - x),
        rgb=stretch(source.rgb(sample["image"]), valid),
        label=sample["label"].astype(np.uint8),
        suggested=raster.read(str(path), window)[..., 0].astype(np.uint8),
        doubt=np.where(doubt == NO_LABEL, np.nan, doubt / STEPS),
    )


def _around(start: int, length: int, of: int, middle: int) -> tuple[int, int]:
    """First pixel and number of pixels along rows or columns: the region and what is around it."""
    wanted = min(SIDE, of, max(length + 2 * MARGIN, 4 * MARGIN))
    centre = start + length // 2 if length + 2 * MARGIN <= SIDE else middle
    first = min(max(0, centre - wanted // 2), of - wanted)
    return first, wanted
