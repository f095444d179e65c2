"""What the page says of an evaluation: scores, classes, confusions, reliability."""

import math
from collections.abc import Callable

import numpy as np

from jaxseg.evaluation.page import charts
from jaxseg.evaluation.page.charts import Line
from jaxseg.evaluation.page.markup import Html, said, scrolled, section, table, tag
from jaxseg.evaluation.page.stored import OWN_TABLES, Evaluated
from jaxseg.metrics.measure import percent
from jaxseg.pictures.marking import Colors

CLASSES = 40
"""Classes of a confusion matrix that are shown at most, those with the most pixels."""

SHADES = (2, 10, 20, 35, 50, 65, 80, 95)
"""Percent from which on a cell of the confusion matrix has the next shade."""

KNOWN = ("class", "iou", "iou_low", "iou_high", "f1", "precision", "recall", "support")
"""Columns of classes.csv with a place of their own; measures add others."""

SHARES = ("boundary_f1", "boundary_iou", "ece", "ece_at_temperature")
"""Columns of measures that are shares, shown in percent."""


def cards(found: Evaluated) -> Html:
    """The scores in short, each with its interval."""
    parts = []
    for name, shown in (
        ("miou", "mIoU"),
        ("overall_accuracy", "overall accuracy"),
        ("mean_f1", "mean F1"),
        ("kappa", "kappa"),
    ):
        number = getattr(found.scores, name)
        form: Callable[[float], str] = "{:.3f}".format if name == "kappa" else percent
        unit = "" if name == "kappa" else " %"
        ends = found.intervals[name]
        beside = "" if ends is None else f"95 %: {form(ends[0])} to {form(ends[1])}{unit}"
        parts.append(_card(shown, f"{form(number)}{unit}", beside))
    if "before" in found.errors:
        ece = percent(found.errors["before"])
        parts.append(_card("calibration error", f"{ece} %", "of the confidence, ECE"))
    if found.single_pixels is not None:
        miou = percent(found.single_pixels)
        parts.append(_card("single pixels", f"{miou} %", "mIoU of a Gaussian classifier"))
    return tag("dl", *parts, class_="cards")


def classes(found: Evaluated, colors: Colors) -> Html:
    """The table of classes, with intervals and what measures add; other tables below it."""
    scores = found.scores
    rows = found.tables.get("classes", [[]])
    added = [name for name in rows[0] if name not in KNOWN]
    beside = {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[1:]}
    headings = ["class", "IoU %", "95 % interval", "0 to 100 %", "F1 %", "precision %", "recall %"]
    headings += [_heading(name) for name in added] + ["pixels"]
    body = []
    for k, name in enumerate(scores.classes):
        ends = found.class_intervals[k]
        low, high = ends or (None, None)
        value = None if math.isnan(scores.iou[k]) else scores.iou[k]
        body.append(
            [
                charts.swatch(colors[k], name),
                percent(scores.iou[k]),
                "-" if ends is None else f"{percent(ends[0])} to {percent(ends[1])}",
                charts.interval(value, low, high),
                *(percent(n[k]) for n in (scores.f1, scores.precision, scores.recall)),
                *(_cell(column, beside.get(name, {}).get(column, "")) for column in added),
                f"{scores.support[k]:,}",
            ]
        )
    others = [
        tag("details", tag("summary", f"Table: {name}"), table(name, rows[0], rows[1:]))
        for name, rows in found.tables.items()
        if name not in OWN_TABLES and len(rows) > 1
    ]
    shown = table("Scores of each class", headings, body)
    return section("classes", "Classes", shown, said(" ".join(found.told)), *others)


def confusion(found: Evaluated) -> Html:
    """The confusion matrix in percent of each reference class."""
    every, names = found.confusion, found.scores.classes
    chosen = np.sort(np.argsort(-every.sum(axis=1), kind="stable")[:CLASSES])
    pixels = every.sum(axis=1)
    body = []
    for k in chosen:
        cells = []
        for column in chosen:
            share = 100 * every[k, column] / pixels[k] if pixels[k] else 0.0
            shade = sum(share >= start for start in SHADES)
            text = "" if not every[k, column] else f"{share:.1f}" if share >= 0.05 else "<0.1"
            cells.append(tag("td", text, class_=f"c{shade}" if shade else None))
        row = tag("th", f"{names[k]} ({pixels[k]:,})", scope="row")
        body.append(tag("tr", row, *cells))
    head = [tag("th", "reference (pixels)", scope="col")]
    head += [tag("th", names[k], scope="col") for k in chosen]
    told = "Rows are classes of the reference, columns what was predicted."
    if len(chosen) < len(names):
        told += f" Shown are the {len(chosen)} classes of {len(names)} with the most pixels."
    whole = tag(
        "table",
        tag("caption", "Percent of the reference class"),
        tag("thead", tag("tr", *head)),
        tag("tbody", *body),
        class_="confusion",
    )
    return section("confusion", "Confusions", said(told), scrolled(whole, "Confusion matrix"))


def reliability(found: Evaluated) -> Html:
    """Whether a pixel that is predicted with 80 % is right in 80 % of the cases."""
    lines: list[Line] = []
    for temperature, bins in found.reliability.items():
        points = [(100 * b.confidence, 100 * b.right / b.pixels) for b in bins if b.pixels]
        name = "as trained" if not lines else f"T = {temperature:.3g}"
        lines.append(Line(name, points))
    if not any(line.points for line in lines):
        return section("reliability", "Reliability", said("There is no diagram of it."))
    pixels = [b.pixels for b in next(iter(found.reliability.values()))]
    shares = [number / max(1, sum(pixels)) for number in pixels]
    figure = charts.reliability("Confidence and accuracy", lines, shares)
    told = "Dotted: perfect. Bars: share of the pixels in each bin of confidence, as trained."
    names = {"before": "as trained", "after": "at the temperature T"}
    eces = [f"{names[part]} {percent(error)} %" for part, error in found.errors.items()]
    told += f" Expected calibration error: {', '.join(eces)}." if eces else ""
    return section("reliability", "Reliability", tag("div", figure, said(told), class_="row"))


def _card(name: str, value: str, beside: str) -> Html:
    return tag("div", tag("dt", name), tag("dd", value), tag("dd", beside) if beside else "")


def _heading(column: str) -> str:
    names = {"ece": "ECE %", "ece_at_temperature": "ECE at T %"}
    plain = column.replace("_", " ").replace(" f1", " F1").replace(" iou", " IoU")
    return names.get(column, plain + (" %" if column in SHARES else ""))


def _cell(column: str, text: str) -> str:
    """A cell of classes.csv; empty ones are not known."""
    try:
        return percent(float(text)) if column in SHARES else f"{float(text):.4g}"
    except ValueError:
        return text or "-"
