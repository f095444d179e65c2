"""The report of an assessment: tables on the terminal, and files in the run's folder.

The files that `write` creates:

    WORKDIR/evaluation/SPLIT/
        scores.json       everything below as numbers
        classes.csv       one row per class: pixels, borders, confidence
        confusion.csv     rows = reference
        MEASURE.csv       one row per class, for each measure with a separate table (objects)
        reliability.csv   one row per bin of confidence
        confusion.png, classes.png, reliability.png, worst.png, median.png
        MEASURE.png       for each measure that draws curves (objects)
    WORKDIR/evaluation/calibration.json   the temperature, with the step it belongs to
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
from jaxseg.metrics.calibration import BINS
from jaxseg.metrics.intervals import DRAWS
from jaxseg.metrics.measure import Measure, mean, percent
from jaxseg.metrics.scores import print_scores
from jaxseg.pictures import charts
from jaxseg.pictures import tiles as pictures


def write(found: Assessment, workdir: Path, *, data: str = "") -> Path:
    """Writes the files listed above; returns the folder of the split.

    Args:
        found: What to write.
        workdir: The run's folder.
        data: Name of data other than the run's own, for the folder evaluation/DATA/SPLIT.
    """
    folder = workdir / "evaluation" / data / found.split
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "scores.json", _report(found))
    # One temperature for all splits, since it is fitted to the validation split alone.
    _write_json(
        workdir / "evaluation" / "calibration.json",
        {
            "step": found.step,
            "temperature": found.temperature,
            "thresholds": found.thresholds.values,
            "miou_by_argmax": found.thresholds.before,
            "miou_by_thresholds": found.thresholds.after,
            "fitted_on": "validation",
        },
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
        f"{shown} {percent(low[name].item())} to {percent(high[name].item())} %"
        for name, shown in (("miou", "mIoU"), ("overall_accuracy", "overall accuracy"))
    )
    kappa = f"kappa {low['kappa']:.3f} to {high['kappa']:.3f}"
    _say(console, f"95 % intervals: {ends}, {kappa}")
    _say(console, f"  ({DRAWS} draws of the split's {intervals.blocks} {intervals.unit})")
    if found.shared_ground:
        _say(
            console,
            f"{100 * found.shared_ground:.2g} % of the split's ground is shown in the training "
            "split, too.",
        )
    if found.wishart is not None:
        _show_baselines(found, console)
    elif found.baseline is not None:
        miou, pixels = found.network.scores.miou, found.baseline.scores.miou
        _say(
            console,
            f"A Gaussian classifier of single pixels reaches mIoU {pixels:.4f}; context adds "
            f"{miou - pixels:+.4f}.",
        )
    _show_classes(found, console)
    for measure in found.measures:
        if not measure.beside_scores:
            _show_measure(measure, found.network.scores.classes, console)


def _show_baselines(found: Assessment, console: Console) -> None:
    """Prints the network and the two classifiers of single polarimetric pixels in one table."""
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
                percent(s.overall_accuracy),
                percent(s.average_accuracy),
                f"{s.kappa:.3f}",
                percent(s.miou),
            )
    console.print()
    console.print(table)


def _show_classes(found: Assessment, console: Console) -> None:
    """Prints intervals, measures of the table of classes, and calibration."""
    low, high = found.intervals.low["iou"], found.intervals.high["iou"]
    before, after = found.reliability
    beside = [measure for measure in found.measures if measure.beside_scores]
    columns: list[tuple[str, NDArray[Any]]] = []
    for measure in beside:
        numbers = measure.columns()
        columns += [(heading, numbers[name]) for name, heading in _headings(measure).items()]
    columns += [("ECE %", before.ece()[1:]), ("at T %", after.ece()[1:])]
    table = _table("IoU, 95 % interval", *(heading for heading, _ in columns))
    for k, name in enumerate(found.network.scores.classes):
        interval = f"{percent(low[k].item())} to {percent(high[k].item())}"
        cells = (_shown(numbers[k].item(), heading) for heading, numbers in columns)
        table.add_row(Text(name), interval, *cells)
    console.print()
    console.print(table)
    for measure in beside:
        _say(console, measure.summary())
    _say(
        console,
        f"confidence: ECE {percent(before.ece()[0])} %, with the logits divided by "
        f"T = {found.temperature:.3f} (fitted on validation) {percent(after.ece()[0])} %;\n"
        f"  NLL {before.nll:.4f} and {after.nll:.4f}",
    )
    decision = found.thresholds
    if decision.after > decision.before:
        _say(
            console,
            f"thresholds of the classes raise the mIoU of a sample of validation from "
            f"{percent(decision.before)} to {percent(decision.after)} %\n"
            "  (jaxseg predict --thresholds)",
        )


def _show_measure(measure: Measure, classes: Sequence[str], console: Console) -> None:
    """Prints a separate table, if any class has something to show."""
    rows, headings = measure.rows(classes), _headings(measure)
    if rows:
        table = _table(*headings.values())
        for name, row in rows.items():
            cells = (_shown(row[column], heading) for column, heading in headings.items())
            table.add_row(Text(name), *cells)
        console.print()
        console.print(table)
        _say(console, measure.summary())


def _headings(measure: Measure) -> dict[str, str]:
    """The columns that the terminal shows, with their headings."""
    return measure.headings or {column: column for column in measure.columns()}


def _shown(number: float, heading: str) -> str:
    if isinstance(number, int):
        return str(number)
    if heading.endswith("%"):
        return percent(number)
    return "-" if math.isnan(number) else f"{number:.4g}"


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
    network["calibration"] = {"temperature": found.temperature} | {
        name: {
            "ece": _plain(part.ece()[0]),
            "classwise_ece": _plain(mean(part.ece()[1:])),
            "nll": _plain(part.nll),
            "per_class": dict(zip(classes, _plain(part.ece()[1:]), strict=True)),
        }
        for name, part in zip(("before", "after"), found.reliability, strict=True)
    }
    report = {"split": found.split, "step": found.step, "network": network}
    report["shared_ground"] = found.shared_ground
    if found.baseline is not None:
        report["per_pixel_baseline"] = found.baseline.scores.as_json()
    if found.wishart is not None:
        report["wishart_baseline"] = found.wishart.scores.as_json()
    return report


def _tables(found: Assessment) -> dict[str, list[list[str]]]:
    """The content of the CSV files; NaN becomes an empty cell."""
    scores = found.network.scores
    before, after = found.reliability
    beside = [m.columns().items() for m in found.measures if m.beside_scores]
    further: list[tuple[str, NDArray[Any]]] = [
        ("iou_low", found.intervals.low["iou"]),
        ("iou_high", found.intervals.high["iou"]),
        *(column for columns in beside for column in columns),
        ("ece", before.ece()[1:]),
        ("ece_at_temperature", after.ece()[1:]),
    ]
    header, *rows = scores.csv_rows()
    classes = [[*header, *(name for name, _ in further)]]
    for k, row in enumerate(rows):
        classes.append([*row, *(_cell(numbers[k].item()) for _, numbers in further)])
    bins = [["temperature", "class", "above", "up_to", "pixels", "right", "mean_confidence"]]
    for temperature, part in ((1.0, before), (found.temperature, after)):
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
        "reliability": bins,
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
        "confusion": pictures.confusion_figure(found.network.confusion, source.classes),
        "classes": charts.scores_figure(source.classes, scores.iou, interval, others),
        "reliability": charts.reliability_figure(
            *found.reliability, found.temperature, source.classes
        ),
        "worst": pictures.tiles_figure(found.worst, source.colors, source.classes),
        "median": pictures.tiles_figure(found.median, source.colors, source.classes),
    }
    for measure in found.measures:
        if (curves := measure.curves()) is not None:
            figures[measure.name] = charts.curves_figure(curves, source.classes, source.colors)
    return figures


def _table(*headings: str) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=0)
    table.add_column("class", max_width=24, no_wrap=True, overflow="ellipsis")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


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


def _write_json(path: Path, content: Any) -> None:  # noqa: ANN401  (whatever json can write)
    path.write_text(json.dumps(content, indent=2) + "\n")
