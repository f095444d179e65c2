"""Charts as SVG that takes the colours of the page, in light and in dark.

Lines are told apart by colour and by dashes; every chart has a title for those who do not see it.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from jaxseg.evaluation.page.markup import Html, joined, tag

WIDTH, HEIGHT = 400, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 10, 44

POINTS = 300
"""Points of a line at most; more are averaged."""

MARKED = 40
"""Points of a line that are marked at most."""


class Line(NamedTuple):
    """One line of a chart.

    Attributes:
        label: In the legend.
        points: (x, y) in order of x; without those that are not known.
    """

    label: str
    points: Sequence[tuple[float, float]]


def chart(
    title: str,
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    *,
    shown: Callable[[float], str] = "{:.4g}".format,
    within: tuple[tuple[float, float], tuple[float, float]] | None = None,
    under: Html | None = None,
) -> Html:
    """A figure with axes, ticks, one line for each series, and a legend.

    Args:
        title: Above it.
        lines: At least one point in all of them.
        x_label: With the unit.
        y_label: With the unit.
        shown: A number at a tick of the y axis.
        within: Ends of the x axis and of the y axis; None = by the points.
        under: Drawn below the lines, in the coordinates of the SVG.
    """
    points = [point for line in lines for point in line.points]
    if within is None:
        x_ends, y_ends = (_ends([point[axis] for point in points]) for axis in (0, 1))
    else:
        x_ends, y_ends = within
    x_ticks, y_ticks = ticks(*x_ends), ticks(*y_ends)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return (
            LEFT + (point[0] - x_ends[0]) / (x_ends[1] - x_ends[0]) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - (point[1] - y_ends[0]) / (y_ends[1] - y_ends[0]) * _rows(),
        )

    parts: list[Html] = []
    for value in y_ticks:
        y = place((x_ends[0], value))[1]
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", shown(value), x=LEFT - 6, y=y + 4, text_anchor="end"))
    for value in x_ticks:
        x = place((value, y_ends[0]))[0]
        low = HEIGHT - BOTTOM
        parts.append(tag("line", x1=x, x2=x, y1=low, y2=low + 4, class_="axis"))
        parts.append(tag("text", f"{value:,.6g}", x=x, y=low + 17, text_anchor="middle"))
    low = HEIGHT - BOTTOM
    parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=low, y2=low, class_="axis"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(tag("text", x_label, x=middle, y=HEIGHT - 6, text_anchor="middle"))
    turned = f"rotate(-90 12 {TOP + _rows() / 2:g})"
    y = TOP + _rows() / 2
    parts.append(tag("text", y_label, x=12, y=y, text_anchor="middle", transform=turned))
    parts.append(under or Html(""))
    for number, line in enumerate(lines):
        places = [place(point) for point in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(tag("polyline", points=path, class_=f"line s{number}"))
        if len(places) <= MARKED:
            dots = (tag("circle", cx=x, cy=y, r=2.4, class_=f"dot s{number}") for x, y in places)
            parts.append(joined(*dots))
    said = ", ".join(line.label for line in lines)
    picture = tag(
        "svg",
        tag("title", f"{title}: {said}, {y_label} over {x_label}"),
        *parts,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
    )
    legend = tag("p", *(_key(n, line.label) for n, line in enumerate(lines)), class_="legend")
    return tag("figure", tag("figcaption", title), picture, legend, class_="chart")


def thinned(points: Sequence[tuple[float, float]]) -> tuple[list[tuple[float, float]], int]:
    """At most `POINTS` points, and how many each of them is the mean of."""
    every = -(-len(points) // POINTS) or 1
    means = []
    for start in range(0, len(points), every):
        x, y = zip(*points[start : start + every], strict=True)
        means.append((sum(x) / len(x), sum(y) / len(y)))
    return means, every


def ticks(low: float, high: float) -> list[float]:
    """Three to six round numbers between two ends."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(n * power for n in (1, 2, 5, 10) if n * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{number * step:.10g}") for number in range(first, last + 1)]


def reliability(title: str, lines: Sequence[Line], pixels: Sequence[float]) -> Html:
    """Share of right pixels over their mean confidence, and where the pixels are.

    Args:
        title: Above it.
        lines: As trained, and at the fitted temperature.
        pixels: Share of all pixels in each bin of confidence, 0..1, as trained.
    """
    wide, bins = WIDTH - LEFT - RIGHT, len(pixels)
    low = HEIGHT - BOTTOM
    bars = [
        tag(
            "rect",
            x=LEFT + wide * number / bins + 0.5,
            y=low - _rows() * share,
            width=wide / bins - 1,
            height=_rows() * share,
            class_="share",
        )
        for number, share in enumerate(pixels)
    ]
    diagonal = tag("line", x1=LEFT, y1=low, x2=WIDTH - RIGHT, y2=TOP, class_="ideal")
    return chart(
        title,
        lines,
        "mean confidence of the pixels (%)",
        "right pixels (%)",
        within=((0, 100), (0, 100)),
        under=joined(*bars, diagonal),
    )


def swatch(color: tuple[int, int, int], name: str) -> Html:
    """A class: a square of its colour, and its name."""
    fill = "#{:02x}{:02x}{:02x}".format(*color)
    box = tag("rect", width=12, height=12, x=0.5, y=0.5, fill=fill, class_="edge")
    square = tag("svg", box, viewBox="0 0 13 13", class_="swatch", aria_hidden="true")
    return tag("span", square, name, class_="class")


def interval(value: float | None, low: float | None, high: float | None) -> Html:
    """A score 0..1 as a mark on a line from 0 to 1, and its interval as a bar; for a table."""
    parts = [tag("line", x1=0, x2=100, y1=6, y2=6, class_="grid")]
    if low is not None and high is not None:
        wide = max(1.0, 100 * (high - low))
        parts.append(tag("rect", x=100 * low, y=3.5, width=wide, height=5, class_="range"))
    if value is not None:
        parts.append(tag("circle", cx=100 * value, cy=6, r=3.5, class_="mark"))
    return tag("svg", *parts, viewBox="-4 0 108 12", class_="interval", aria_hidden="true")


def _key(number: int, label: str) -> Html:
    line = tag("line", x1=0, x2=26, y1=6, y2=6, class_=f"line s{number}")
    sample = tag("svg", line, viewBox="0 0 26 12", class_="key", aria_hidden="true")
    return tag("span", sample, label, class_="class")


def _rows() -> int:
    return HEIGHT - TOP - BOTTOM


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """The range of an axis, which holds all values and is not empty."""
    low, high = min(values), max(values)
    if low == high:
        wide = abs(low) or 1.0
        return low - wide / 2, high + wide / 2
    return low, high
