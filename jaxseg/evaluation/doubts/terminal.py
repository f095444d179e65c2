"""What the terminal shows of doubted labels, within 80 columns."""

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxseg.evaluation.doubts.files import Found
from jaxseg.metrics.measure import percent
from jaxseg.system.console import say

PAIRS = 3
"""Pairs of classes that are named."""


def show(found: Found, console: Console, *, title: str, top: int) -> None:
    """Prints how many labels are doubted, which classes are confused, and the first regions.

    Args:
        found: What was found.
        console: Where to print.
        title: Of the table.
        top: Regions that are shown.
    """
    classes, doubted = found.source.classes, found.doubted
    pixels = int(found.doubts.count.sum())
    say(console, f"{title}: {pixels:,} labelled pixels")
    say(console, f"doubted: {percent(float(doubted.sum() / pixels))} %, the most frequent")
    for place in np.argsort(-doubted, axis=None, kind="stable")[:PAIRS]:
        label, suggested = divmod(int(place), len(classes))
        if doubted[label, suggested]:
            share = percent(float(doubted[label, suggested] / pixels))
            say(console, f"  {share} %: {classes[label]}, perhaps {classes[suggested]}")
    if found.regions:
        shown = min(max(top, 0), len(found.regions))
        console.print()
        console.print(_table(found, shown))
        say(console, f"{shown} of {len(found.regions):,} regions, the most doubted first")
    else:
        say(console, "No region of doubted labels is large enough to be listed (--smallest).")
    for line in found.notes:
        say(console, line)


def _table(found: Found, top: int) -> Table:
    classes = found.source.classes
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("scene", max_width=17, no_wrap=True)
    for heading in ("row", "column", "pixels"):
        table.add_column(heading, justify="right", no_wrap=True)
    for heading in ("label", "suggested"):
        table.add_column(heading, max_width=11, no_wrap=True, overflow="ellipsis")
    table.add_column("doubt", justify="right", no_wrap=True)
    for rank, region in enumerate(found.regions[:top], 1):
        scene = found.scenes[region.scene]
        top_row, left = found.origins[region.scene]
        table.add_row(
            str(rank),
            Text(scene if len(scene) <= 17 else f"…{scene[-16:]}"),
            str(top_row + region.row),
            str(left + region.column),
            f"{region.pixels}",
            Text(classes[region.label]),
            Text(classes[region.suggested]),
            f"{region.doubt:.2f}",
        )
    return table
