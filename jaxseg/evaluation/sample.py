"""A reference sample of a map: points with their true class, and the areas that follow from them.

The sample has to be drawn at random within each class of the map (stratified), as Olofsson et al.
2014 recommend; then the estimates are without bias, however wrong the map is.
"""

import csv
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxseg.datasets.folder import Vectors
from jaxseg.errors import UserError
from jaxseg.evaluation.map_data import Maps
from jaxseg.evaluation.report import ELSEWHERE, no_formula, refuse_other_files
from jaxseg.files import drawing, raster
from jaxseg.files.areas import Areas
from jaxseg.files.maps import BLOCK
from jaxseg.files.virtual import frame_of
from jaxseg.metrics.area_estimates import AreaEstimates, Z, area_estimates
from jaxseg.metrics.measure import percent
from jaxseg.scenes.scene import IGNORE, Window
from jaxseg.system.console import say
from jaxseg.system.disk import whole_folder


class Sampled(NamedTuple):
    """What a sample says about a map.

    Attributes:
        classes: Their names.
        estimates: Areas and accuracies.
        unit: Of the areas: m2, or px of a map without a CRS.
        places: Points that count.
        left_out: Points outside the map, where it has no data, or that are ignored.
    """

    classes: tuple[str, ...]
    estimates: AreaEstimates
    unit: str
    places: int
    left_out: int


def sampled(source: Maps, path: str) -> Sampled:
    """The estimates of one map.

    Args:
        source: The map, its classes, and how the class of a point is told.
        path: Vector file of points.

    Raises:
        UserError: There is more than one map, a file cannot be read, features are not points, or a
            class of the map has fewer than two of them.
    """
    if not Path(source.images).is_file():
        raise UserError(f"--sample belongs to one map, a file; --map is {source.images}.")
    header = raster.header(source.images)
    source.check_first(header)
    numbers, classes = _places(source, header, path)
    areas = Areas(header.crs, header.transform)
    mapped = _mapped(source, header, areas)
    both = (numbers >= 0) & (classes != IGNORE)
    count = len(source.classes)
    counts = np.zeros((count, count), np.int64)
    np.add.at(counts, (numbers[both], classes[both]), 1)
    found = area_estimates(counts, mapped, source.classes)
    return Sampled(source.classes, found, areas.unit, int(both.sum()), int((~both).sum()))


def _places(
    source: Maps, header: raster.Header, path: str
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Class of the map at each point, -1 where there is none, and of the reference."""
    import shapely

    how: Vectors = source.vectors
    how.check(source.classes)
    grid = frame_of(header)
    found = drawing.all_features(path, how.attribute, grid)
    if (shapely.get_type_id(found.geometry) != 0).any():
        raise UserError(f"{path} holds features that are not points: a sample is points.")
    inverse = ~header.transform
    classes = how.numbers(path, source.classes, found.values)
    numbers = np.full(len(classes), -1, np.int64)
    for place, (x, y) in enumerate(shapely.get_coordinates(found.geometry)):
        column, row = (int(np.floor(part)) for part in inverse @ (x, y))
        if 0 <= row < header.height and 0 <= column < header.width:
            value = raster.read(header.path, Window(row, column, 1, 1))[0, 0, 0]
            if value != header.nodata[0]:
                numbers[place] = _class(value.item(), source, header)
    return numbers, classes


def _mapped(source: Maps, header: raster.Header, areas: Areas) -> NDArray[np.float64]:
    """Area of each class in the map, row by row: pixels in degrees have different ones."""
    of_rows = areas.of_rows(header.height)
    total = np.zeros(len(source.classes))
    for top in range(0, header.height, BLOCK):
        window = Window(top, 0, min(BLOCK, header.height - top), header.width)
        values = raster.read(header.path, window)[..., 0]
        row_area = np.broadcast_to(of_rows[top : top + window.height, None], values.shape)
        for value in np.unique(values):
            if value != header.nodata[0]:
                number = _class(value.item(), source, header)
                total[number] += row_area[values == value].sum()
    return total


def _class(value: int, source: Maps, header: raster.Header) -> int:
    if not 0 <= value < len(source.classes):
        raise UserError(
            f"{header.path}: {value} is not one of the {len(source.classes)} classes "
            f"({', '.join(source.classes)}). If it means no data, tag it as nodata."
        )
    return value


def show(found: Sampled, console: Console) -> None:
    """Prints areas and accuracies with their 95 % intervals."""
    estimates = found.estimates
    divisor, unit = (1e4, "ha") if found.unit == "m2" else (1.0, "pixels")
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("class", max_width=24, no_wrap=True, overflow="ellipsis")
    for heading in (f"mapped {unit}", f"area {unit}", "+-", "user's %", "+-", "producer's %", "+-"):
        table.add_column(heading, justify="right", no_wrap=True)
    for k, name in enumerate(found.classes):
        table.add_row(
            Text(name),
            f"{estimates.mapped[k] / divisor:.6g}",
            f"{estimates.area[k] / divisor:.6g}",
            f"{Z * estimates.area_error[k] / divisor:.3g}",
            percent(estimates.users[k]),
            percent(Z * estimates.users_error[k]),
            percent(estimates.producers[k]),
            percent(Z * estimates.producers_error[k]),
        )
    console.print(table)
    say(
        console,
        f"overall accuracy {percent(estimates.overall)} +- "
        f"{percent(Z * estimates.overall_error)} %; 95 % intervals of {found.places} places, drawn "
        "at random in each class of the map (Olofsson et al. 2014)",
    )
    if found.left_out:
        say(
            console,
            f"{found.left_out} place(s) left out: outside the map, without data, or ignored",
        )


def write(found: Sampled, folder: Path) -> Path:
    """Writes `areas.csv` and `areas.json`; returns their folder."""
    names = ("mapped", "area", "area_error", "users", "users_error", "producers", "producers_error")
    columns = {name: getattr(found.estimates, name).tolist() for name in names}
    content: dict[str, Any] = {
        "unit": found.unit,
        "places": found.places,
        "left_out": found.left_out,
        "overall": found.estimates.overall,
        "overall_error": found.estimates.overall_error,
        "counts": found.estimates.counts.tolist(),
        "classes": {
            name: {c: None if np.isnan(columns[c][k]) else columns[c][k] for c in names}
            for k, name in enumerate(found.classes)
        },
    }
    refuse_other_files(folder)
    with whole_folder(folder, lambda file: file.stem == "areas", ELSEWHERE) as aside:
        with (aside / "areas.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["class", *names])
            for k, name in enumerate(found.classes):
                cells = (columns[column][k] for column in names)
                rows.writerow(
                    [no_formula(name), *("" if np.isnan(cell) else f"{cell:.6g}" for cell in cells)]
                )
        (aside / "areas.json").write_text(json.dumps(content, indent=2) + "\n")
    return folder
