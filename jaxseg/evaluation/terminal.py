"""What the terminal shows of an assessment."""

import math
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxseg.evaluation.evaluate import Assessment
from jaxseg.metrics.intervals import DRAWS, FEWEST
from jaxseg.metrics.measure import Measure, percent
from jaxseg.metrics.scores import print_scores
from jaxseg.run.adapted import SAID


def show(found: Assessment, console: Console, *, title: str) -> None:
    """Prints the scores within 100 columns."""
    print_scores(console, found.network.scores, title=title)
    _say(console, _windows(found))
    if found.adapted != "none":
        _say(console, f"adapted without labels: {SAID[found.adapted]}")
    _show_intervals(found, console)
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
    for note in found.notes:
        _say(console, note)


def _windows(found: Assessment) -> str:
    """How windows lay."""
    side, shared = found.cover.side, found.cover.shared
    said = f"windows of {side} x {side} pixels"
    if found.of_map:
        return f"the map as it was written, counted in {said}"
    if found.one_window:
        return f"{said}, one for each scene"
    if shared:
        return f"{said}; neighbours share {shared}, each counts its middle"
    return f"{said} without overlap (--overlap 0.25: more context)"


def _show_intervals(found: Assessment, console: Console) -> None:
    intervals, low, high = found.intervals, found.intervals.low, found.intervals.high
    if not intervals.known:
        _say(
            console,
            f"95 % intervals: none of {intervals.blocks} {intervals.unit}; they need {FEWEST}",
        )
        return
    ends = ", ".join(
        f"{shown} {percent(low[name].item())} to {percent(high[name].item())} %"
        for name, shown in (("miou", "mIoU"), ("overall_accuracy", "overall accuracy"))
    )
    kappa = f"kappa {low['kappa']:.3f} to {high['kappa']:.3f}"
    of_one = " within its single scene" if intervals.unit == "windows" else ""
    _say(console, f"95 % intervals: {ends}, {kappa}")
    _say(console, f"  ({DRAWS} draws of the split's {intervals.blocks} {intervals.unit}{of_one})")


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
    beside = [measure for measure in found.measures if measure.beside_scores]
    columns: list[tuple[str, NDArray[Any]]] = []
    for measure in beside:
        numbers = measure.columns()
        columns += [(heading, numbers[name]) for name, heading in _headings(measure).items()]
    if found.reliability is not None:
        before, after = found.reliability
        columns.append(("ECE %", before.ece()[1:]))
        if found.calibration is not None:
            columns.append(("at T %", after.ece()[1:]))
    known = found.intervals.known
    headings = [heading for heading, _ in columns]
    table = _table(*(["IoU, 95 % interval", *headings] if known else headings))
    for k, name in enumerate(found.network.scores.classes):
        interval = f"{percent(low[k].item())} to {percent(high[k].item())}"
        cells = (_shown(numbers[k].item(), heading) for heading, numbers in columns)
        table.add_row(Text(name), *([interval] if known else []), *cells)
    console.print()
    console.print(table)
    for measure in beside:
        _say(console, measure.summary())
    if found.reliability is None:
        return
    if found.calibration is None:
        _say(console, f"confidence: ECE {percent(before.ece()[0])} %, NLL {before.nll:.4f}")
        return
    temperature, decision = found.calibration
    _say(
        console,
        f"confidence: ECE {percent(before.ece()[0])} %, with the logits divided by "
        f"T = {temperature:.3f} (fitted on validation) {percent(after.ece()[0])} %;\n"
        f"  NLL {before.nll:.4f} and {after.nll:.4f}",
    )
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


def _table(*headings: str) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=0)
    table.add_column("class", max_width=24, no_wrap=True, overflow="ellipsis")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
