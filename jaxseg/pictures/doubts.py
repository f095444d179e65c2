"""A picture of doubted labels: image, label, suggested class and doubt around each region."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from jaxseg.pictures.marking import Colors
from jaxseg.pictures.tiles import DPI, WIDTH, colorize, fraction, short, striped
from jaxseg.scenes.scene import IGNORE

PALE = 0.25
"""What is left of the colours of labels that are not doubted, beside the suggested classes."""

DOUBT = ScalarMappable(Normalize(0, 1), "magma")
"""Colours of the doubt."""


@dataclass(frozen=True, eq=False)
class View:
    """A region and what is around it.

    Attributes:
        title: What is written above it.
        at: Row and column of the region in it.
        rgb: (H, W, 3) uint8, contrast already stretched.
        label: (H, W) class ids, or IGNORE.
        suggested: (H, W) class of a doubted pixel, else 255.
        doubt: (H, W) 0..1, NaN where there is no label.
    """

    title: str
    at: tuple[int, int]
    rgb: NDArray[np.uint8]
    label: NDArray[np.uint8]
    suggested: NDArray[np.uint8]
    doubt: NDArray[np.floating]


def doubts_figure(views: Sequence[View], colors: Colors, classes: Sequence[str]) -> Figure:
    """One row per region; a cross marks it.

    Args:
        views: The regions.
        colors: One RGB colour per class.
        classes: One name per class.
    """
    side, head = WIDTH / 4.2, 0.32
    rows = [head + side * view.label.shape[0] / view.label.shape[1] for view in views]
    rows[0] += 0.25
    figure = Figure(figsize=(WIDTH, sum(rows) + 0.9), dpi=DPI, layout="constrained")
    parts = figure.subfigures(len(rows) + 1, 1, height_ratios=[*rows, 0.9], squeeze=False)
    present: set[int] = set()
    for number, view in enumerate(views):
        part = parts[number, 0]
        part.suptitle(view.title.replace("$", r"\$"), x=0.01, ha="left", fontsize=9.5)
        counted = view.label != IGNORE
        doubted = view.suggested != IGNORE
        label = striped(colorize(view.label, colors), counted)
        pale = np.rint(255 - PALE * (255 - label.astype(np.float32))).astype(np.uint8)
        suggested = np.where(doubted[..., None], colorize(view.suggested, colors), pale)
        present |= set(np.unique(view.label[counted]).tolist())
        present |= set(np.unique(view.suggested[doubted]).tolist())
        panels: list[tuple[str, Any, dict[str, Any]]] = [
            ("image", view.rgb, {}),
            ("label", label, {}),
            ("suggested where doubted", suggested, {}),
            ("doubt", view.doubt, {"cmap": DOUBT.cmap, "norm": DOUBT.norm}),
        ]
        for column, (title, picture, options) in enumerate(panels, 1):
            axes = part.add_subplot(1, len(panels), column)
            axes.imshow(picture, interpolation="nearest", **options)
            mark = {"color": "black" if column in (2, 3) else "white"}
            axes.plot(view.at[1], view.at[0], "+", markersize=11, markeredgewidth=1.5, **mark)
            axes.set_xticks([])
            axes.set_yticks([])
            if number == 0:
                axes.set_title(title, fontsize=10, fontweight="bold")
    foot = parts[-1, 0]
    scale = foot.add_axes((0.77, 0.62, 0.21, 0.14))
    foot.colorbar(DOUBT, cax=scale, orientation="horizontal", ticks=(0, 0.5, 1))
    scale.set_xlabel("doubt; above 0.5 another class is likelier", fontsize=8)
    scale.tick_params(labelsize=8)
    foot.legend(
        handles=[
            Patch(facecolor=fraction(colors[k]), edgecolor="0.3", label=short(classes[k]))
            for k in sorted(present)
        ],
        loc="upper left",
        ncols=6,
        fontsize=9,
        frameon=False,
    )
    return figure
