"""The files of a run's robustness.

    RUN/robustness/SPLIT/    (OUT/SPLIT/ with --out)
        robustness.json      every score, interval and meaning; what was left out, and why
        robustness.csv       one row for each network, kind and strength: mIoU, interval, classes
        robustness.png       mIoU and classes over the strengths of each kind
        robustness-NETWORK.png   the same of other networks that were attacked

All are written into a new folder, which takes the place of the old one in the end.
"""

import csv
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg.errors import UserError
from jaxseg.evaluation.report import no_formula, of_step
from jaxseg.evaluation.robustness.curves import Curve, Point, Robustness
from jaxseg.pictures.strengths import Drawn, strengths_figure
from jaxseg.pictures.tiles import DPI
from jaxseg.system.disk import whole_folder

NAME = "robustness"


def write(found: Robustness, workdir: Path, out: Path | None = None) -> Path:
    """Writes the files listed above; returns their folder.

    Args:
        found: What to write.
        workdir: The run's folder.
        out: Folder in which that of the split is made; None = WORKDIR/robustness.

    Raises:
        UserError: The folder cannot be written, or holds something else.
    """
    folder = (out or workdir / NAME) / found.split
    if folder.exists() and not (folder / f"{NAME}.json").is_file():
        raise UserError(f"{folder} is there and holds something else: give another --out.")
    with whole_folder(folder, lambda file: file.stem.startswith(NAME), "Give --out.") as aside:
        text = json.dumps(_as_json(found), indent=2, allow_nan=False)
        (aside / f"{NAME}.json").write_text(text + "\n", encoding="utf-8")
        with (aside / f"{NAME}.csv").open("w", newline="") as file:
            rows = of_step(table(found), str(found.step))
            csv.writer(file).writerows([*map(no_formula, row)] for row in rows)
        for network in found.clean:
            own = [curve for curve in found.curves if curve.network == network]
            if own:
                drawn = [_drawn(curve, found) for curve in own]
                figure = strengths_figure(drawn, found.classes, found.colors)
                called = re.sub(r"[^\w.-]+", "_", network)  # a path, of runs of the same name
                end = "" if network == found.network else f"-{called}"
                path = aside / f"{NAME}{end}.png"
                figure.savefig(path, dpi=DPI, metadata={"Step": str(found.step)})
    return folder


def table(found: Robustness) -> list[list[str]]:
    """A row for each network, kind and strength, the headings first; unknown numbers are empty."""
    head = ["network", "kind", "target", "strength", "unit", "meaning", "miou", "low", "high"]
    rows = [[*head, "hit", *(f"iou_{name}" for name in found.classes)]]
    for network, clean in found.clean.items():
        rows.append([network, "clean", "", "", "", "", *_numbers(clean, -1)])
    for curve in found.curves:
        target = "" if curve.target < 0 else found.classes[curve.target]
        for point in curve.points:
            said = [f"{point.strength:g}", curve.unit, point.meaning]
            rows.append([curve.network, curve.kind, target, *said, *_numbers(point, curve.target)])
    return rows


def _numbers(point: Point, target: int) -> list[str]:
    low, high = (float(ends["miou"]) for ends in (point.intervals.low, point.intervals.high))
    hit = math.nan if target < 0 else point.hit(target)
    scores = point.result.scores
    return [_cell(number) for number in (scores.miou, low, high, hit, *scores.iou)]


def _cell(number: float) -> str:
    return "" if math.isnan(number) else f"{number:.6f}"


def _as_json(found: Robustness) -> dict[str, Any]:
    """The content of robustness.json; NaN becomes None."""
    curves = [
        {
            "network": curve.network,
            "kind": curve.kind,
            "target": None if curve.target < 0 else found.classes[curve.target],
            "unit": curve.unit,
            "hit_of_clean": None if curve.target < 0 else _clean_hit(found, curve),
            "points": [_point(point, curve.target) for point in curve.points],
        }
        for curve in found.curves
    ]
    return {
        "split": found.split,
        "step": found.step,
        "windows": found.windows,
        "classes": list(found.classes),
        "epsilon": found.epsilon,
        "network": found.network,
        "clean": {name: _point(point, -1) for name, point in found.clean.items()},
        "curves": curves,
        "refused": dict(found.refused),
    }


def _clean_hit(found: Robustness, curve: Curve) -> float:
    return found.clean[curve.network].hit(curve.target)


def _point(point: Point, target: int) -> dict[str, Any]:
    ends = [float(ends["miou"]) for ends in (point.intervals.low, point.intervals.high)]
    return {
        "strength": point.strength,
        "meaning": point.meaning,
        "miou": _plain(point.result.scores.miou),
        "interval": None if np.isnan(ends).any() else ends,
        "iou": [_plain(value) for value in point.result.scores.iou],
        "hit": None if target < 0 else point.hit(target),
        "confusion": point.result.confusion.tolist(),
    }


def _plain(number: float) -> float | None:
    return None if math.isnan(number) else float(number)


def _drawn(curve: Curve, found: Robustness) -> Drawn:
    ends = [[float(side["miou"]) for side in (p.intervals.low, p.intervals.high)] for p in curve[2]]
    return Drawn(
        title=curve.title(found.classes),
        unit=curve.unit,
        strengths=[point.strength for point in curve.points],
        clean=found.clean[curve.network].result.scores.miou,
        miou=np.array([point.result.scores.miou for point in curve.points]),
        ends=np.array(ends).T,
        iou=np.array([point.result.scores.iou for point in curve.points]),
    )
