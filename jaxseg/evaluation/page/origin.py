"""How a run came about: its training, its data, its config, where it was trained."""

import math
from collections.abc import Sequence

import numpy as np

from jaxseg import config_text
from jaxseg.config import Config
from jaxseg.evaluation.page import charts
from jaxseg.evaluation.page.charts import Line
from jaxseg.evaluation.page.markup import Html, said, section, table, tag
from jaxseg.evaluation.page.stored import Record, Training
from jaxseg.pipeline.survey import Survey, findings
from jaxseg.scenes.scene import Source
from jaxseg.scenes.sensor import Sensor

PARTS = 5
"""Parts of a loss that are drawn at most."""

_KINDS = ("train", "validation")


def training(found: Training) -> Html:
    """Loss, mIoU and learning rate over the steps."""
    lines = {kind: [x for x in found.lines if x.get("kind") == kind] for kind in _KINDS}
    figures, every = [], 1
    parts = sorted({n for line in lines["train"] for n in line if n.startswith("loss/")})
    names = ["loss", *(parts[:PARTS] if len(parts) > 1 else [])]
    for title, label, wanted in (
        ("Loss", "loss", [("train", name, name) for name in names]),
        (
            "Mean IoU",
            "mIoU (%)",
            [("validation", "miou", "validation"), ("train", "miou", "training batches")],
        ),
        ("Learning rate", "learning rate", [("train", "learning_rate", "learning rate")]),
    ):
        factor = 100.0 if label.endswith("(%)") else 1.0
        drawn = []
        for kind, name, shown in wanted:
            points, mean_of = charts.thinned(_points(lines[kind], name, factor))
            every = max(every, mean_of)
            if points:
                drawn.append(Line(shown, points))
        if drawn:
            figures.append(charts.chart(title, drawn, "step", label))
    seconds = [line["time"] for line in found.lines if isinstance(line.get("time"), int | float)]
    rates = [y for _, y in _points(lines["train"], "images_per_second", 1.0)]
    facts = [f"{len(lines['train'])} lines of training and {len(lines['validation'])} validations"]
    if rates:
        facts.append(f"{np.median(rates):.4g} images/s (median)")
    if len(seconds) > 1:
        minutes = (max(seconds) - min(seconds)) / 60
        facts.append(f"{minutes:.3g} minutes from the first to the last line, with pauses")
    if every > 1:
        facts.append(f"points are means of {every} lines at most")
    content = tag("div", *figures, class_="charts") if figures else said("There are no curves.")
    return section("training", "Training", content, said("; ".join(facts) + "."))


def data(surveys: Sequence[Survey], source: Source, sensor: Sensor) -> Html:
    """The data card: sensor, splits, and the pixels of each class."""
    facts = [("source", type(source).__name__), ("bands", ", ".join(sensor.bands) or "not known")]
    facts.append(("unit", sensor.unit or "not known"))
    size = "not known" if sensor.gsd is None else f"{sensor.gsd:.4g} m"
    facts.append(("pixel size", size))
    if sensor.wavelengths:
        facts.append(
            ("wavelengths", f"{min(sensor.wavelengths):g} to {max(sensor.wavelengths):g} nm")
        )
    content = [table("Sensor", ["fact", "value"], facts, class_="facts")]
    if surveys:
        content += [_splits(surveys), _pixels(surveys, source)]
    odd = [tag("li", line) for line in findings(surveys, source)]
    notes = tag("ul", *odd, class_="notes") if odd else ""
    return section("data", "Data", tag("div", *content, class_="row"), notes)


def config(found: Config) -> Html:
    """The config as text: what differs from the defaults, and all of it."""
    short, whole = (
        tag("pre", "\n".join(config_text.pretty(found, short=short)), tabindex="0")
        for short in (True, False)
    )
    told = said("Fields that differ from the defaults of their class:")
    rest = tag("details", tag("summary", "All fields"), whole)
    return section("config", "How it was trained", told, short, rest)


def environment(starts: Sequence[Record]) -> Html:
    """Software and devices of the training, a column for each start that differs."""
    columns: list[tuple[str, Record]] = []
    for start in starts:
        facts = {name: value for name, value in start.items() if name not in ("step", "time")}
        if not columns or columns[-1][1] != facts:
            columns.append((f"from step {start['step']}", facts))
    if not columns:
        return section("environment", "Environment", said("Not known."))
    names = list(dict.fromkeys(name for _, facts in columns for name in facts))
    rows = [[name, *(str(facts.get(name, "-")) for _, facts in columns)] for name in names]
    headings = ["fact", *(heading for heading, _ in columns)]
    shown = table("Where it was trained", headings, rows, class_="facts")
    return section("environment", "Environment", shown)


def _points(lines: Sequence[Record], name: str, factor: float) -> list[tuple[float, float]]:
    """(step, number) of the lines that hold a finite number of this name."""
    found = [(line["step"], line.get(name)) for line in lines]
    return [
        (float(step), factor * value)
        for step, value in found
        if isinstance(value, int | float) and math.isfinite(value)
    ]


def _splits(surveys: Sequence[Survey]) -> Html:
    """A row for each split."""
    rows = []
    for found in surveys:
        sizes = " to ".join(f"{h} x {w}" for h, w in dict.fromkeys(found.sizes))
        looked = "all" if found.whole else f"{found.pixels:,} in {found.seen} scenes"
        row = [found.split, f"{found.scenes:,}", f"{found.files:,}", sizes, looked]
        rows.append([*row, f"{100 * found.invalid:.3g}", f"{100 * found.ignored:.3g}", found.dtype])
    headings = ["split", "scenes", "files", "rows x columns", "pixels looked at"]
    headings += ["without data %", "without label %", "type"]
    return table("Splits", headings, rows)


def _pixels(surveys: Sequence[Survey], source: Source) -> Html:
    """Labelled pixels of each class in each split."""
    headings = ["class"]
    for found in surveys:
        headings += [f"{found.split}{'' if found.whole else ' (sample)'}", "%"]
    rows = []
    for k, name in enumerate(source.classes):
        row: list[str] = [charts.swatch(source.colors[k], name)]
        for found in surveys:
            total = max(1, int(found.classes.sum()))
            row += [f"{found.classes[k]:,}", f"{100 * found.classes[k] / total:.2f}"]
        rows.append(row)
    return table("Labelled pixels of each class", headings, rows)
