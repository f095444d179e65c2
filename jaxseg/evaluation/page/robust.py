"""What the page says of a run's robustness, if `jaxseg robustness` has written it."""

import json
from pathlib import Path

from jaxseg.evaluation.page import charts
from jaxseg.evaluation.page.charts import Line
from jaxseg.evaluation.page.markup import Html, said, section, table, tag
from jaxseg.evaluation.page.stored import Record
from jaxseg.metrics.measure import percent


def kept(workdir: Path, step: int) -> tuple[Record | None, list[str]]:
    """The last result of a checkpoint, and what is said of those that cannot be shown.

    Args:
        workdir: The run's folder.
        step: Of the checkpoint.
    """
    notes: list[str] = []
    files = sorted(workdir.glob("robustness/*/robustness.json"), key=lambda f: f.stat().st_mtime)
    for file in reversed(files):
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            if found["step"] == step:
                shown(found)  # damage shows here
                return found, notes
            notes.append(f"{file} is of step {found['step']} and was left out.")
        except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
            notes.append(f"{file} is damaged and was left out ({type(error).__name__}: {error}).")
    return None, notes


def shown(found: Record) -> Html:
    """Scores over the strengths of corruptions and attacks."""
    own = [curve for curve in found["curves"] if curve["network"] == found["network"]]
    figures = []
    for title, label, attacks in (
        ("Corruptions", "strength, from weak to strong", False),
        ("Attacks", "epsilon", True),
    ):
        lines = []
        for curve in own:
            if (curve["unit"] == "epsilon") == attacks:
                points = [
                    (float(point["strength"]) if attacks else number, 100 * float(point["miou"]))
                    for number, point in enumerate(curve["points"], 1)
                ]
                lines.append(Line(_name(curve), points))
        if lines:
            figures.append(charts.chart(title, lines, label, "mIoU (%)"))
    clean = float(found["clean"][found["network"]]["miou"])
    rows = [["images as they are", "", percent(clean), "", ""]]
    for curve in found["curves"]:
        name = _name(curve)
        if curve["network"] != found["network"]:
            name += f", seen by {curve['network']}"
        for point in curve["points"]:
            ends = point["interval"]
            interval = "" if ends is None else " to ".join(percent(float(end)) for end in ends)
            strength = f"{float(point['strength']):g} {curve['unit']}"
            rows.append([name, strength, percent(float(point["miou"])), interval, point["meaning"]])
    told = [f"{found['windows']} windows of the {found['split']} split."]
    told += [f"No {name}: {why}." for name, why in found["refused"].items()]
    if any(curve["unit"] == "epsilon" for curve in own):
        told.append(f"Epsilon: {found['epsilon']}.")
    headings = ["what is done", "strength", "mIoU %", "95 % interval", "meaning"]
    return section(
        "robustness",
        "Robustness",
        tag("div", *figures, class_="charts"),
        said(" ".join(told)),
        table("mIoU over the strength of corruptions and attacks", headings, rows),
    )


def _name(curve: Record) -> str:
    target = curve["target"]
    return str(curve["kind"]) + ("" if target is None else f" to {target}")
