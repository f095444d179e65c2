"""The report of an assessment: files in the run's folder.

The files that `write` creates:

    WORKDIR/evaluation/SPLIT/        (WORKDIR/evaluation/DATA/SPLIT/ for other data,
                                      SPLIT-tile-512-overlap-0.25/ for other windows,
                                      SPLIT-adapted-statistics/ of an adapted network)
        scores.json       everything below as numbers
        classes.csv       one row per class: pixels, borders, confidence
        confusion.csv     rows = reference
        MEASURE.csv       one row per class, for each measure with a separate table (objects)
        reliability.csv   one row per bin of confidence
        confusion.png, classes.png, reliability.png, worst.png, median.png
        MEASURE.png       for each measure that draws curves (objects)
        tiles.npz         worst and best windows, for `jaxseg report`
        scenes/           whole scenes, from the worst: 1_NAME.png, 2_NAME.png, ...

Each of them names the step of the checkpoint: in a column of a table, in the metadata of a picture.
All are written into a new folder, which takes the place of the old one in the end, so that files of
two steps never lie side by side.

What belongs to the run is kept beside its checkpoint (`jaxseg.run.kept`).
"""

import csv
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.evaluation.evaluate import Assessment
from jaxseg.evaluation.kept_tiles import NAME as TILES
from jaxseg.evaluation.kept_tiles import keep_tiles
from jaxseg.metrics.calibration import BINS, Reliability
from jaxseg.metrics.intervals import DRAWS
from jaxseg.metrics.measure import mean
from jaxseg.pictures import charts
from jaxseg.pictures import tiles as pictures
from jaxseg.pictures.tiles import DPI
from jaxseg.run.kept import keep_calibration, keep_pixels
from jaxseg.system.disk import whole_folder
from jaxseg.system.side_files import put_aside

ELSEWHERE = (
    "`jaxseg evaluate --out FOLDER` writes to another place, `jaxseg report --evaluation` reads it."
)

_NUMBER = re.compile(r"-?[0-9.]+")


def write(
    found: Assessment, workdir: Path, folder: Path | None = None, *, keep: bool = True
) -> Path:
    """Writes the files listed above; returns their folder, which appears when it is complete.

    Args:
        found: What to write.
        workdir: The run's folder.
        folder: Folder of the files, called like the split; None = WORKDIR/evaluation/SPLIT. If
            windows lay in another way than the run says, or the network was adapted, that is added
            to its name.
        keep: Whether what belongs to the run is kept in it; else nothing is written there.

    Raises:
        UserError: The folder cannot be written, or holds something else than an evaluation.
    """
    folder = folder or workdir / "evaluation" / found.split
    split = folder.name
    folder = folder.with_name(split + found.variant)
    refuse_other_files(folder)
    step = "" if found.of_map else str(found.step)
    with whole_folder(folder, _is_own, ELSEWHERE) as aside:
        for old in (folder / "scores.json", folder / TILES):
            if old.is_dir():
                put_aside(old)
        content = json.dumps(_report(found) | {"split": split}, indent=2)
        (aside / "scores.json").write_text(content + "\n")
        for name, rows in tables(found).items():
            with (aside / f"{name}.csv").open("w", newline="") as file:
                csv.writer(file).writerows([*map(no_formula, row)] for row in of_step(rows, step))
        figures = _figures(found)
        (aside / "scenes").mkdir()
        for number, tile in enumerate(found.scenes, 1):
            name = _file_name(tile.name.partition(", every ")[0])
            figure = pictures.scene_figure(tile, found.source.colors, found.source.classes)
            figures[f"scenes/{number}_{name}"] = figure
        for name, figure in figures.items():
            figure.savefig(aside / f"{name}.png", dpi=DPI, metadata={"Step": step})
        keep_tiles(aside, found.halves, found.step)
    if keep and found.calibration is not None:
        keep_calibration(workdir, found.step, found.calibration)
    if keep and found.classifiers is not None:
        keep_pixels(workdir, found.step, found.classifiers.arrays())
    return folder


def refuse_other_files(folder: Path) -> None:
    """Rejects a folder with other files than those of an evaluation: it would be replaced.

    Raises:
        UserError: It has.
    """
    known = ("scores.json", "areas.json")
    is_other = not folder.is_dir() or any(folder.iterdir())
    if folder.exists() and is_other and not any((folder / name).exists() for name in known):
        raise UserError(
            f"{folder} is there and is not the folder of an evaluation: give another --out, or "
            "move it away."
        )


def _is_own(file: Path) -> bool:
    """Whether a file within the folder is an evaluation's; those of a sample (areas) are not."""
    if len(file.parts) > 1:
        return file.match("scenes/[0-9]*_*.png")
    of_a_kind = file.suffix in (".csv", ".png") and file.stem != "areas"
    return of_a_kind or file.name in ("scores.json", "tiles.npz")


def of_step(rows: list[list[str]], step: str) -> list[list[str]]:
    """A table with the step of the checkpoint in a last column; a map's has none."""
    if not rows or not step:
        return rows
    header, *rest = rows
    return [[*header, "step"], *([*row, step] for row in rest)]


def _file_name(scene: str) -> str:
    """The name of a scene, or that of its file without the ending, as part of a file's name."""
    stem = re.sub(r"\.[A-Za-z]\w{1,4}$", "", scene.rpartition("/")[2])
    return re.sub(r"[^\w.-]+", "_", stem)[-60:]


def _report(found: Assessment) -> dict[str, Any]:
    """The content of scores.json; NaN becomes None."""
    scores, classes = found.network.scores, found.network.scores.classes
    network = scores.as_json() | {"confusion": found.network.confusion.tolist()}
    ends = (found.intervals.low, found.intervals.high)
    network["intervals"] = {
        "unit": found.intervals.unit,
        "blocks": found.intervals.blocks,
        "draws": DRAWS,
        **{name: _plain(np.stack([end[name] for end in ends], axis=-1)) for name in ends[0]},
    }
    for measure in found.measures:
        network[measure.name] = _plain(measure.as_json(classes))
    calibration = found.calibration
    temperature = None if calibration is None else calibration.temperature
    network["calibration"] = {"temperature": temperature} | {
        name: {
            "ece": _plain(part.ece()[0]),
            "classwise_ece": _plain(mean(part.ece()[1:])),
            "nll": _plain(part.nll),
            "per_class": dict(zip(classes, _plain(part.ece()[1:]), strict=True)),
        }
        for name, part in _reliabilities(found).items()
    }
    report = {"split": found.split, "step": found.step, "network": network}
    if found.of_map:
        report |= {"map": found.of_map, "step": None}
    report["shared_ground"] = found.shared_ground
    report["windows"] = {"side": found.cover.side, "shared": found.cover.shared}
    if found.adapted != "none":
        report["adapted"] = found.adapted
    if found.notes:
        report["notes"] = list(found.notes)
    if found.baseline is not None:
        report["per_pixel_baseline"] = found.baseline.scores.as_json()
    if found.wishart is not None:
        report["wishart_baseline"] = found.wishart.scores.as_json()
    return report


def _reliabilities(found: Assessment) -> dict[str, Reliability]:
    """As trained, and after division by the temperature if it is known; none of a map."""
    if found.reliability is None:
        return {}
    before, after = found.reliability
    return {"before": before} | ({} if found.calibration is None else {"after": after})


def tables(found: Assessment) -> dict[str, list[list[str]]]:
    """The content of the CSV files; NaN becomes an empty cell."""
    scores, parts = found.network.scores, _reliabilities(found)
    beside = [m.columns().items() for m in found.measures if m.beside_scores]
    further: list[tuple[str, NDArray[Any]]] = [
        ("iou_low", found.intervals.low["iou"]),
        ("iou_high", found.intervals.high["iou"]),
        *(column for columns in beside for column in columns),
        *(
            (name, parts[which].ece()[1:])
            for name, which in (("ece", "before"), ("ece_at_temperature", "after"))
            if which in parts
        ),
    ]
    header, *rows = scores.csv_rows()
    classes = [[*header, *(name for name, _ in further)]]
    for k, row in enumerate(rows):
        classes.append([*row, *(_cell(numbers[k].item()) for _, numbers in further)])
    bins = [["temperature", "class", "above", "up_to", "pixels", "right", "mean_confidence"]]
    fitted = 1.0 if found.calibration is None else found.calibration.temperature
    for temperature, part in zip((1.0, fitted), parts.values(), strict=False):
        for k, name in enumerate(("most probable", *scores.classes)):
            for b in range(BINS):
                pixels, right = int(part.pixels[k, b]), int(part.right[k, b])
                confidence = part.confidence[k, b] / pixels if pixels else math.nan
                edges = (_cell(b / BINS), _cell((b + 1) / BINS))
                counts = (str(pixels), str(right), _cell(confidence))
                bins.append([f"{temperature:.6f}", name, *edges, *counts])
    counts = found.network.confusion.tolist()
    return {
        "classes": classes,
        "confusion": [
            ["reference", *scores.classes],
            *([name, *map(str, row)] for name, row in zip(scores.classes, counts, strict=True)),
        ],
        **{
            measure.name: _csv_rows(measure.rows(scores.classes))
            for measure in found.measures
            if not measure.beside_scores
        },
        **({"reliability": bins} if parts else {}),
    }


def _csv_rows(rows: dict[str, dict[str, float]]) -> list[list[str]]:
    """A header and a row per class; empty if no class has something to show."""
    header = [["class", *row] for row in rows.values()][:1]
    return header + [[name, *map(_cell, row.values())] for name, row in rows.items()]


def _figures(found: Assessment) -> dict[str, Figure]:
    scores, source = found.network.scores, found.source
    interval = (found.intervals.low["iou"], found.intervals.high["iou"])
    others: dict[str, Sequence[float]] = {
        label: values.tolist()
        for measure in found.measures
        for label, values in measure.points().items()
    }
    if found.baseline is not None:
        others["IoU of single pixels"] = found.baseline.scores.iou
    figures = {
        "confusion": charts.confusion_figure(found.network.confusion, source.classes),
        "classes": charts.scores_figure(source.classes, scores.iou, interval, others),
    }
    if found.reliability is not None:
        figures["reliability"] = charts.reliability_figure(
            *found.reliability,
            None if found.calibration is None else found.calibration.temperature,
            source.classes,
        )
    for name, tiles in (("worst", found.worst), ("median", found.median)):
        if tiles:
            figures[name] = pictures.tiles_figure(tiles, source.colors, source.classes)
    for measure in found.measures:
        if (curves := measure.curves()) is not None:
            figures[measure.name] = charts.curves_figure(curves, source.classes, source.colors)
    return figures


_FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""What a formula begins with; spreadsheets take the wide forms of these signs for the same."""

_BEGINS = re.compile("([;\t\r\n] *)([=+@\uff1d\uff0b\uff0d\uff20-])")


def no_formula(cell: str) -> str:
    """A cell that no spreadsheet computes: the name of a class may begin with `=HYPERLINK`."""
    # Where the separator is a semicolon, what follows one begins a cell, too.
    inner = _BEGINS.sub(r"\1'\2", cell)
    formula = cell[:1] in _FORMULA and not _NUMBER.fullmatch(cell)
    return f"'{inner}" if formula else inner


def _cell(number: float) -> str:
    """A number in a CSV file; NaN is an empty cell."""
    if isinstance(number, int):
        return str(number)
    return "" if math.isnan(number) else f"{number:.6f}"


def _plain(value: Any) -> Any:  # noqa: ANN401  (what json can write)
    """Plain numbers, strings, lists and dicts; None for NaN."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
