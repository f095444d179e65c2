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

_KINDS}
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
    if found.intervals["miou"] is None:
        of = f"There are no intervals: they need {FEWEST} scenes, and there are {found.blocks}."
    else:
        of = f"Intervals: {DRAWS} draws of the {found.blocks} with replacement."
    others = [
        tag("details", tag("summary", f"Table: {name}"), table(name, rows[0], rows[1:]))
        for name, rows in found.tables.items()
        if name not in OWN_TABLES and len(rows) > 1
    ]
    return section(
        "classes", "Classes", table("Scores of each class", headings, body), said(of), *others
    )


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
    lines = []
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


def windows(tiles: dict[str, list[Tile]], colors: Colors, names: Sequence[str]) -> Html:
    """The worst and the best windows; a border that is moved swipes between two pictures."""
    pairs = ("image-map", "image-reference", "reference-map")
    choices = [
        tag(
            "label",
            tag("input", type="radio", name="pair", value=pair, checked=pair == pairs[0]),
            " " + pair.replace("-", " | "),
        )
        for pair in pairs
    ]
    content = [tag("fieldset", tag("legend", "Compare"), *choices)]
    for kind in ("worst", "best"):
        if tiles.get(kind):
            content.append(tag("h3", f"{kind.capitalize()} windows"))
            shown = (_tile(tile, colors) for tile in tiles[kind])
            content.append(tag("div", *shown, class_="tiles"))
    every = [tile for of_kind in tiles.values() for tile in of_kind]
    present = {k for t in every for k in np.unique(t.prediction[t.valid]).tolist()}
    present |= {k for t in every for k in np.unique(t.label[t.counted()]).tolist()}
    legend = (charts.swatch(colors[k], names[k]) for k in sorted(present) if k < len(names))
    content.append(tag("p", *legend, class_="legend"))
    told = "Move the border: point at a picture, or use the slider and its arrow keys. "
    told += "Striped pixels are not counted: they have no label or no data."
    return section("windows", "Worst and best windows", *content, said(told))


def scene_map(path: Path, found: MapView, colors: Colors, names: Sequence[str], step: int) -> Html:
    """A map with its legend and a scale bar."""
    ids = np.where(found.valid, found.ids.astype(np.int64), len(names))
    height, width = ids.shape
    picture = striped(colorize(ids, colors), found.valid)
    counts = np.bincount(ids[found.valid], minlength=len(names))
    present: list[int] = np.flatnonzero(counts).tolist()
    larger = max(1, SMALL // max(height, width))
    picture = picture.repeat(larger, axis=0).repeat(larger, axis=1)
    shown = f"The map {path.name}: {', '.join(names[k] for k in present)}"
    size = {"width": width * larger, "height": height * larger}
    parts = [tag("img", src=drawing(picture), alt=shown, **size)]
    if found.metres is not None:
        length, told = scale_bar(found.metres, width)
        bar = tag("path", d="M1 0V6H99V0")
        how = {"viewBox": "0 0 100 7", "preserveAspectRatio": "none", "aria_hidden": "true"}
        parts.append(tag("svg", bar, width=f"{100 * length / width:.2f}%", class_="scale", **how))
        parts.append(tag("p", told, class_="soft"))
    rows = [
        [charts.swatch(colors[k], names[k]), f"{100 * counts[k] / max(1, counts.sum()):.2f}"]
        for k in present
    ]
    header, tags = found.header, found.header.tags
    facts = [f"{path.name}: {header.height} x {header.width} pixels"]
    if (header.height, header.width) != (height, width):
        facts.append(f"shown as {height} x {width}, from which the shares are")
    if "JAXSEG_RUN" in tags:
        facts.append(f"made by {tags['JAXSEG_RUN']}, step {tags.get('JAXSEG_STEP', 'not known')}")
    if tags.get("JAXSEG_STEP", str(step)) != str(step):
        facts.append(f"the scores on this page are those of step {step}")
    facts.append("no scale: it has no CRS" if found.metres is None else f"{header.crs}")
    legend = table("Share of the map", ["class", "% of pixels"], rows)
    sheet = tag("div", tag("figure", *parts, class_="sheet"), legend, class_="row")
    return section("map", "Map", sheet, said("; ".join(facts) + "."))


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
    content = [table("Sensor of the training images", ["fact", "value"], facts, class_="facts")]
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
    content = [table("Sensor of the training images", ["fact", "value"], facts, class_="facts")]
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
        looked = "all" if found.whole else f"{found.pixels:,} of {found.seen}"
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
