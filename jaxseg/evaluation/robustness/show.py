"""What the terminal shows of a run's robustness, within 80 columns."""

import math
from collections.abc import Sequence

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxseg.evaluation.robustness.curves import Curve, Point, Robustness
from jaxseg.metrics.intervals import DRAWS
from jaxseg.system.console import say

COLUMNS = 6
"""Curves beside each other in the table of classes."""


def show(found: Robustness, console: Console, *, title: str) -> None:
    """Prints a table for each kind, and the classes at the strongest of each."""
    say(console, f"{title}, {found.windows} windows, {found.split} split")
    for network, clean in found.clean.items():
        whose = "" if network == found.network else f" of {network}"
        say(console, f"mIoU{whose} of images as they are: {_score(clean)}")
    for curve in found.curves:
        console.print()
        console.print(_curve(curve, found))
    own = [curve for curve in found.curves if curve.network == found.network]
    for start in range(0, len(own), COLUMNS):
        console.print()
        console.print(_classes(found, own[start : start + COLUMNS]))
    if own:
        say(console, "IoU % of each class at the largest strength of each kind")
    for name, why in found.refused.items():
        say(console, f"no {name}: {why}")
    if any(curve.unit == "epsilon" for curve in found.curves):
        say(console, f"epsilon: {found.epsilon}")
    intervals = found.clean[found.network].intervals
    if intervals.known:
        of = f"{intervals.blocks} {intervals.unit}"
        say(console, f"intervals: 95 % of {DRAWS} draws of the {of}")


def _curve(curve: Curve, found: Robustness) -> Table:
    """Scores over strengths, and the class that loses most."""
    clean = found.clean[curve.network]
    whose = "" if curve.network == found.network else f", seen by {curve.network}"
    if curve.target >= 0:
        whose += f" (hit of images as they are: {_percent(clean.hit(curve.target))} %)"
    table = Table(
        box=SIMPLE_HEAD,
        header_style="bold",
        pad_edge=False,
        padding=(0, 1, 0, 0),
        title=Text(f"{curve.title(found.classes)}{whose}"),
        title_justify="left",
        title_style="bold",
    )
    table.add_column(curve.unit, justify="right", no_wrap=True)
    for heading in ("mIoU %", "95 %", "change"):
        table.add_column(heading, justify="right", no_wrap=True)
    if curve.target >= 0:
        table.add_column("hit %", justify="right", no_wrap=True)
    table.add_column("loses most", no_wrap=True, max_width=10, overflow="ellipsis")
    table.add_column("meaning")
    before = np.asarray(clean.result.scores.iou)
    for point in curve.points:
        scores = point.result.scores
        lost = np.nan_to_num(before - np.asarray(scores.iou), nan=-1)
        change = scores.miou - clean.result.scores.miou
        hit = [_percent(point.hit(curve.target))] if curve.target >= 0 else []
        table.add_row(
            *(f"{point.strength:g}", _percent(scores.miou), _interval(point)),
            *(f"{100 * change:+.1f}", *hit),
            Text(found.classes[int(np.argmax(lost))] if lost.max() > 0 else "-"),
            Text(point.meaning),
        )
    return table


def _classes(found: Robustness, curves: Sequence[Curve]) -> Table:
    """IoU of each class, as it is and at the largest strength of each kind."""
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("class", max_width=14, no_wrap=True, overflow="ellipsis")
    columns: list[tuple[str, Point]] = [("clean", found.clean[found.network])]
    columns += [(curve.title(found.classes), curve.points[-1]) for curve in curves]
    for heading, _ in columns:
        table.add_column(heading, justify="right", max_width=9, overflow="ellipsis")
    for k, name in enumerate(found.classes):
        table.add_row(Text(name), *(_percent(point.result.scores.iou[k]) for _, point in columns))
    return table


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f}"


def _score(point: Point) -> str:
    ends = _interval(point)
    return f"{_percent(point.result.scores.miou)} %" + (f" ({ends})" if ends != "-" else "")


def _interval(point: Point) -> str:
    if not point.intervals.known:
        return "-"
    low, high = (float(ends["miou"]) for ends in (point.intervals.low, point.intervals.high))
    return f"{100 * low:.1f} to {100 * high:.1f}"
