"""What a person gets to see of an assessment: tables on the terminal, files in the run's folder.

WORKDIR/evaluation/SPLIT/scores.json        everything below as numbers
classes.csv        one row per class: pixels, borders, confidence
confusion.csv      rows = reference
objects.csv        one row per class that has objects
reliability.csv    one row per bin of confidence
confusion.png, classes.png, reliability.png, objects.png
worst.png, median.png
WORKDIR/evaluation/calibration.json         the temperature, with the step it belongs to
"""

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxseg.evaluation.evaluate import Assessment
from jaxseg.metrics.boundaries import BoundaryTotal
from jaxseg.metrics.calibration import BINS
from jaxseg.metrics.intervals import DRAWS
from jaxseg.metrics.objects import THRESHOLDS, ObjectTotal
from jaxseg.metrics.scores import print_scores
from jaxseg.pictures import charts
from jaxseg.pictures import tiles as pictures

Array = NDArray[np.float64]


def write(found: Assessment, workdir: Path, *, data: str = "") -> Path:
    """Writes the files named above; returns the folder of the split.

    Args:
        found: What to write.
        workdir: The run.
        data: Name of other data than the run's own: their folder is evaluation/DATA/SPLIT.
    """
    folder = workdir / "evaluation" / data / found.split
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "scores.json", _report(found))
    # One temperature for every split, since it is fitted on the validation split alone.
    _write_json(
        workdir / "evaluation" / "calibration.json",
        {"step": found.step, "temperature": found.temperature, "fitted_on": "validation"},
    )
    for name, rows in _tables(found).items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    for name, figure in _figures(found).items():
        figure.savefig(folder / f"{name}.png", dpi=120)
    return folder


def show(found: Assessment, console: Console, *, title: str) -> None:
    """Prints the scores within 100 columns."""
    print_scores(console, found.network.scores, title=title)
    intervals, low, high = found.intervals, found.intervals.low, found.intervals.high
    ends = ", ".join(
        f"{shown} {_percent(low[name])} to {_percent(high[name])} %"
        for name, shown in (("miou", "mIoU"), ("overall_accuracy", "overall accuracy"))
    )
    kappa = f"kappa {low['kappa']:.3f} to {high['kappa']:.3f}"
    _say(console, f"95 % intervals: {ends}, {kappa}")
    _say(console, f"  ({DRAWS} draws of the split's {intervals.blocks} {intervals.unit})")
    if found.wishart is not None:
        _show_baselines(found, console)
    elif found.baseline is not None:
        miou, pixels = found.network.scores.miou, found.baseline.scores.miou
        _say(
            console,
            f"A Gaussian classifier of single pixels reaches mIoU {pixels:.4f}; context buys "
            f"{miou - pixels:+.4f}.",
        )
    _show_borders(found, console)
    if found.objects.true.any():
        _show_objects(found.objects, found.network.scores.classes, console)


def _show_baselines(found: Assessment, console: Console) -> None:
    """The network beside the two classifiers of single polarimetric pixels."""
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("classifier")
    for heading in ("OA %", "AA %", "kappa", "mIoU %"):
        table.add_column(heading, justify="right", no_wrap=True)
    rows = {
        "the network": found.network,
        "Wishart maximum likelihood, single pixels": found.wishart,
        "one Gaussian per class, single pixels": found.baseline,
    }
    for name, evaluation in rows.items():
        if evaluation is not None:
            s = evaluation.scores
            table.add_row(
                name,
                _percent(s.overall_accuracy),
                _percent(s.average_accuracy),
                f"{s.kappa:.3f}",
                _percent(s.miou),
            )
    console.print()
    console.print(table)


def _show_borders(found: Assessment, console: Console) -> None:
    table = _table("IoU, 95 % interval", "boundary F1 %", "boundary IoU %", "ECE %", "at T %")
    low, high = found.intervals.low["iou"], found.intervals.high["iou"]
    before, after = found.reliability
    columns = [found.boundaries.f1(), found.boundaries.iou(), before.ece()[1:], after.ece()[1:]]
    for k, name in enumerate(found.network.scores.classes):
        interval = f"{_percent(low[k])} to {_percent(high[k])}"
        table.add_row(Text(name), interval, *(_percent(column[k]) for column in columns))
    console.print()
    console.print(table)
    met, rim = (
        f"{pixels:.3g} pixels"
        + (f" ({pixels * gsd:.3g} m)" if (gsd := found.source.sensor.gsd) else "")
        for pixels in (found.boundaries.tolerance, float(found.boundaries.rim))
    )
    _say(console, f"boundaries: F1 within {met}, IoU of rims of {rim}; means ", end="")
    _say(console, f"{_percent(_mean(columns[0]))} and {_percent(_mean(columns[1]))} %")
    _say(
        console,
        f"confidence: ECE {_percent(before.ece()[0])} %, with the logits divided by "
        f"T = {found.temperature:.3f} (fitted on validation) {_percent(after.ece()[0])} %;\n"
        f"  NLL {before.nll:.4f} and {after.nll:.4f}",
    )


def _show_objects(objects: ObjectTotal, classes: Sequence[str], console: Console) -> None:
    headings = ("true", "found", "recall %", "prec. %", "F1 %", "mean F1 %", "PQ %", "merged")
    table = _table(*headings, "split", "Rand %")
    for row in _object_rows(objects, classes):
        scores = [_percent(row[n]) for n in ("recall", "precision", "f1", "mean_f1", "pq", "rand")]
        true, found, merged, split = (str(row[n]) for n in ("true", "predicted", "merged", "split"))
        table.add_row(Text(row["class"]), true, found, *scores[:5], merged, split, scores[5])
    console.print()
    console.print(table)
    _say(console, "objects: matched above IoU 0.5; mean F1 over IoU 0.5, 0.55, ..., 0.95")


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
    network["boundaries"] = {
        "tolerance_pixels": found.boundaries.tolerance,
        "rim_pixels": found.boundaries.rim,
        "gsd": found.source.sensor.gsd,
        "mean_f1": _plain(_mean(found.boundaries.f1())),
        "mean_iou": _plain(_mean(found.boundaries.iou())),
        "f1": dict(zip(classes, _plain(found.boundaries.f1()), strict=True)),
        "iou": dict(zip(classes, _plain(found.boundaries.iou()), strict=True)),
    }
    network["objects"] = {
        row.pop("class"): {name: _plain(number) for name, number in row.items()}
        for row in _object_rows(found.objects, classes)
    }
    network["calibration"] = {"temperature": found.temperature} | {
        name: {
            "ece": _plain(part.ece()[0]),
            "classwise_ece": _plain(_mean(part.ece()[1:])),
            "nll": _plain(part.nll),
            "per_class": dict(zip(classes, _plain(part.ece()[1:]), strict=True)),
        }
        for name, part in zip(("before", "after"), found.reliability, strict=True)
    }
    report = {"split": found.split, "step": found.step, "network": network}
    if found.baseline is not None:
        report["per_pixel_baseline"] = found.baseline.scores.as_json()
    if found.wishart is not None:
        report["wishart_baseline"] = found.wishart.scores.as_json()
    return report


def _tables(found: Assessment) -> dict[str, list[list[str]]]:
    """The content of the CSV files; NaN becomes an empty cell."""
    scores = found.network.scores
    before, after = found.reliability
    further = {
        "iou_low": found.intervals.low["iou"],
        "iou_high": found.intervals.high["iou"],
        "boundary_f1": found.boundaries.f1(),
        "boundary_iou": found.boundaries.iou(),
        "ece": before.ece()[1:],
        "ece_at_temperature": after.ece()[1:],
    }
    header, *rows = scores.csv_rows()
    classes = [[*header, *further]]
    classes += [[*row, *(_cell(v[k]) for v in further.values())] for k, row in enumerate(rows)]
    objects = _object_rows(found.objects, scores.classes)
    bins = [["temperature", "class", "above", "up_to", "pixels", "right", "mean_confidence"]]
    for temperature, part in ((1.0, before), (found.temperature, after)):
        for k, name in enumerate(("most probable", *scores.classes)):
            for b in range(BINS):
                pixels, right = int(part.pixels[k, b]), int(part.right[k, b])
                mean = part.confidence[k, b] / pixels if pixels else math.nan
                edges = (_cell(b / BINS), _cell((b + 1) / BINS))
                counts = (str(pixels), str(right), _cell(mean))
                bins.append([f"{temperature:.6f}", name, *edges, *counts])
    counts = found.network.confusion.tolist()
    return {
        "classes": classes,
        "confusion": [
            ["reference", *scores.classes],
            *([name, *map(str, row)] for name, row in zip(scores.classes, counts, strict=True)),
        ],
        "objects": [list(row) for row in objects[:1]]
        + [[str(v) if isinstance(v, str | int) else _cell(v) for v in r.values()] for r in objects],
        "reliability": bins,
    }


def _object_rows(objects: ObjectTotal, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The numbers of every class that has objects in the reference."""
    f1 = objects.f1()
    columns: dict[str, NDArray[Any]] = {
        "true": objects.true,
        "predicted": objects.predicted,
        "recall": objects.recall(),
        "precision": objects.precision(),
        "f1": f1[:, 0],
        "mean_f1": f1.mean(axis=1),
        "pq": objects.panoptic_quality(),
        "merged": objects.merged,
        "split": objects.split,
        "rand": objects.rand(),
        **{f"f1_at_{t:.2f}": f1[:, i] for i, t in enumerate(THRESHOLDS)},
    }
    return [
        {"class": classes[k], **{name: column[k].item() for name, column in columns.items()}}
        for k in np.flatnonzero(objects.true).tolist()
    ]


def _figures(found: Assessment) -> dict[str, Figure]:
    scores, source, boundaries = found.network.scores, found.source, found.boundaries
    interval = (found.intervals.low["iou"], found.intervals.high["iou"])
    others: dict[str, Sequence[float]] = _chart_columns(boundaries)
    f1 = found.objects.f1()
    if found.objects.true.any():
        others["object F1"] = f1[:, 0].tolist()
    if found.baseline is not None:
        others["IoU of single pixels"] = found.baseline.scores.iou
    figures = {
        "confusion": pictures.confusion_figure(found.network.confusion, source.classes),
        "classes": charts.scores_figure(source.classes, scores.iou, interval, others),
        "reliability": charts.reliability_figure(
            *found.reliability, found.temperature, source.classes
        ),
        "worst": pictures.tiles_figure(found.worst, source.colors, source.classes),
        "median": pictures.tiles_figure(found.median, source.colors, source.classes),
    }
    if found.objects.true.any():
        figures["objects"] = charts.objects_figure(f1, source.classes, source.colors)
    return figures


def _chart_columns(boundaries: BoundaryTotal) -> dict[str, Sequence[float]]:
    return {
        f"boundary F1, {boundaries.tolerance:.3g} px": boundaries.f1().tolist(),
        f"boundary IoU, {boundaries.rim} px": boundaries.iou().tolist(),
    }


def _table(*headings: str) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=0)
    table.add_column("class", max_width=24, no_wrap=True, overflow="ellipsis")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _say(console: Console, text: str, *, end: str = "\n") -> None:
    console.print(text, highlight=False, markup=False, end=end, soft_wrap=True)


def _mean(numbers: Array) -> float:
    """Of what is not NaN; NaN if there is nothing."""
    known = numbers[~np.isnan(numbers)]
    return float(known.mean()) if known.size else math.nan


def _percent(number: float | np.floating[Any] | Array) -> str:
    return "-" if np.isnan(number) else f"{100 * number:.1f}"


def _cell(number: float) -> str:
    return "" if math.isnan(number) else f"{number:.6f}"


def _plain(numbers: Array | float) -> Any:  # noqa: ANN401  (nested lists as deep as the array)
    """Lists of plain numbers, None for NaN."""
    if isinstance(numbers, np.ndarray) and numbers.ndim:
        return [_plain(number) for number in numbers]
    return None if math.isnan(numbers) else getattr(numbers, "item", lambda: numbers)()


def _write_json(path: Path, content: Any) -> None:  # noqa: ANN401  (whatever json can write)
    path.write_text(json.dumps(content, indent=2) + "\n")
