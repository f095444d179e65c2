"""One sheet of a map: the scene, its map with a legend, how sure it is, and a scale bar."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from jaxseg.pictures.map_view import MapView, scale_bar
from jaxseg.pictures.marking import Colors
from jaxseg.pictures.tiles import DPI, STRIPES, WIDTH, colorize, fraction, short, striped

Picture = NDArray[np.uint8]


def map_figure(
    scene: Picture,
    found: MapView,
    confidence: NDArray[np.floating[Any]] | None,
    colors: Colors,
    classes: Sequence[str],
    title: str,
) -> Figure:
    """Scene, map and confidence side by side, or one below the other if they are wide.

    Args:
        scene: (h, w, 3), contrast already stretched.
        found: The map, (h, w).
        confidence: (h, w) 0..1, of valid pixels; None = not known.
        colors: One RGB colour per class.
        classes: One name per class.
        title: Above the pictures.
    """
    height, width = found.ids.shape
    ids = np.where(found.valid, found.ids.astype(np.int64), len(classes))
    panels: dict[str, Any] = {"scene": scene}
    panels["map"] = striped(colorize(ids, colors), found.valid)
    if confidence is not None:
        panels["confidence"] = np.where(found.valid, confidence, np.nan)
    below = width > 1.5 * height
    count = len(panels)
    room = WIDTH - (0.7 if confidence is not None else 0.0)  # beside the bar of colours
    side = room * (0.95 if below else 1 / count)
    tall = min(side * height / width, 9.0) * (count if below else 1)
    legend = _entries(found, colors, classes)
    longest = max((len(str(entry.get_label())) for entry in legend), default=1)
    columns = max(1, min(len(legend), int(110 / (longest + 7))))
    rows = -(-len(legend) // columns)
    size = (WIDTH, tall + 0.3 * (count if below else 1) + 0.21 * rows + 0.4)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(short(title, 110), fontsize=10.5)
    places = figure.subplots(*((count, 1) if below else (1, count)), squeeze=False).ravel()
    for axes, (name, picture) in zip(places, panels.items(), strict=True):
        axes.set_title(name, fontsize=10, fontweight="bold")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_linewidth(0.4)
        method = "nearest" if max(height, width) < 300 else "antialiased"
        if name == "confidence":
            axes.set_facecolor(fraction(STRIPES[1]))
            shown = axes.imshow(picture, cmap="viridis", vmin=0, vmax=1, interpolation=method)
            bar = figure.colorbar(shown, ax=axes, shrink=0.7, aspect=28, pad=0.02)
            bar.set_label("probability of the class", fontsize=8)
            bar.ax.tick_params(labelsize=8)
        else:
            axes.imshow(picture, interpolation=method)
    if found.metres is not None:
        _draw_bar(places[0], found.metres, height, width)
    figure.legend(
        handles=legend, loc="outside lower center", ncols=columns, fontsize=9, frameon=False
    )
    return figure


def _entries(found: MapView, colors: Colors, classes: Sequence[str]) -> list[Patch]:
    """The classes that are present, and pixels without data."""
    present = np.unique(found.ids[found.valid]).tolist()
    edge: dict[str, Any] = {"edgecolor": "0.3", "linewidth": 0.5}
    entries = [
        Patch(facecolor=fraction(colors[k]), label=short(classes[k]), **edge) for k in present
    ]
    if not found.valid.all():
        stripes: dict[str, Any] = {"hatch": "////", "edgecolor": fraction(STRIPES[1])}
        entries.append(Patch(facecolor="black", label="no data", linewidth=0.5, **stripes))
    return entries


def _draw_bar(axes: Axes, metres: float, height: int, width: int) -> None:
    """A white bar with a black edge, at the lower left, on any background."""
    length, said = scale_bar(metres, width)
    left, thick = 0.03 * width, max(0.014 * height, 0.6)
    bottom = height - 0.04 * height - thick
    box = {"boxstyle": "square,pad=0.15", "facecolor": "white", "alpha": 0.85, "linewidth": 0}
    axes.add_patch(
        Rectangle((left, bottom), length, thick, facecolor="white", edgecolor="black", linewidth=1)
    )
    axes.text(left, bottom - 0.6 * thick, said, fontsize=8.5, va="bottom", bbox=box)
