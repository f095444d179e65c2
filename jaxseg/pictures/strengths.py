"""Charts of scores over the strength of a corruption or an attack."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from jaxseg.pictures.charts import GAP, INK
from jaxseg.pictures.marking import Colors
from jaxseg.pictures.tiles import DPI, short

BESIDE = 4
"""Charts in a row."""


class Drawn(NamedTuple):
    """One chart.

    Attributes:
        title: Above it.
        unit: Of the strengths.
        strengths: From weak to strong; they are drawn evenly spaced.
        clean: mIoU of images as they are, 0..1.
        miou: (S,) at each strength.
        ends: (2, S) ends of their intervals; NaN = not known.
        iou: (S, K) of each class.
    """

    title: str
    unit: str
    strengths: Sequence[float]
    clean: float
    miou: NDArray[np.float64]
    ends: NDArray[np.float64]
    iou: NDArray[np.float64]


def strengths_figure(charts: Sequence[Drawn], classes: Sequence[str], colors: Colors) -> Figure:
    """MIoU with its interval over each kind's strengths, and a thin line for each class.

    Args:
        charts: At least one.
        classes: K names.
        colors: One RGB colour per class.
    """
    columns = min(BESIDE, len(charts))
    rows = -(-len(charts) // columns)
    size = (3.1 * columns + 1.6, 2.7 * rows + 0.2)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, drawn in zip(grid.flat, charts, strict=False):
        _chart(axes, drawn, colors)
    for axes in grid.flat[len(charts) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("IoU (%)", fontsize=9)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    named = [short(classes[int(label)]) if label.isdigit() else label for label in labels]
    figure.legend(handles, named, loc="outside right upper", fontsize=8, frameon=False)
    return figure


def _chart(axes: Axes, drawn: Drawn, colors: Colors) -> None:
    x = np.arange(len(drawn.strengths))
    for k, color in enumerate(colors):
        shade = tuple(part / 255 for part in color)
        axes.plot(x, 100 * drawn.iou[:, k], "-", color=shade, linewidth=1, label=str(k))
    axes.axhline(100 * drawn.clean, color=GAP, linestyle="--", linewidth=1, label="mIoU, clean")
    if not np.isnan(drawn.ends).any():
        low, high = 100 * drawn.ends
        axes.fill_between(x, low, high, color=INK, alpha=0.2, linewidth=0)
    axes.plot(x, 100 * drawn.miou, "o-", color=INK, markersize=4, linewidth=2, label="mIoU")
    axes.set_xticks(x, [f"{strength:g}" for strength in drawn.strengths], fontsize=8)
    axes.set_xlabel(drawn.unit, fontsize=9)
    axes.set_ylim(-2, 102)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_title(drawn.title, fontsize=9)
    axes.grid(color="0.92")
    axes.spines[["top", "right"]].set_visible(False)
