"""Pictures of tiles and of whole scenes with their prediction and error.

Pixels that are not counted (invalid, or labelled IGNORE) are striped wherever a label or an error
is shown, because any plain colour, even black, may be a class. In error maps correct pixels are
light grey and wrong ones in a colour that no class looks like (`marking`). Figures are those of
matplotlib without pyplot and its global state; `figure.savefig(path)` writes them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from jaxseg.pictures.marking import RIGHT, Color, Colors, wrong_color
from jaxseg.scenes.scene import IGNORE

STRIPES = ((0, 0, 0), (96, 96, 96))
DPI = 120.0
WIDTH = 10.4
"""Of a figure, in inches."""


@dataclass(frozen=True, eq=False)
class Tile:
    """One window and its prediction.

    Attributes:
        name: Its name in the picture.
        rgb: (H, W, 3) uint8, contrast already stretched.
        label: (H, W) class ids, or IGNORE.
        prediction: (H, W) class ids.
        valid: (H, W) bool, False where the sensor has no data.
        right: Share of right pixels, if it is that of more pixels than are shown; NaN = as shown.
    """

    name: str
    rgb: NDArray[np.uint8]
    label: NDArray[np.integer[Any]]
    prediction: NDArray[np.integer[Any]]
    valid: NDArray[np.bool_]
    right: float = math.nan

    def counted(self) -> NDArray[np.bool_]:
        """(H, W) bool: the pixels that losses and metrics use."""
        return np.asarray(self.valid & (self.label != IGNORE))

    def share(self) -> float:
        """Share of right pixels, 0..1; NaN if none is counted."""
        counted = self.counted()
        if not math.isnan(self.right) or not counted.any():
            return self.right
        return float((self.prediction == self.label)[counted].mean())


def stretch(
    rgb: NDArray[Any], valid: NDArray[np.bool_], *, low: float = 2.0, high: float = 98.0
) -> NDArray[np.uint8]:
    """Stretches the contrast of each band between two percentiles of its valid, finite pixels.

    Args:
        rgb: (H, W, 3) in any range.
        valid: (H, W) bool.
        low: Percentile that becomes 0.
        high: Percentile that becomes 255.

    Returns:
        (H, W, 3) uint8; black where a pixel is invalid, mid-grey where a band is constant.
    """
    out = np.zeros(rgb.shape, np.uint8)
    for band in range(rgb.shape[-1]):
        values = rgb[..., band].astype(np.float32)
        seen = valid & np.isfinite(values)
        if not seen.any():
            continue
        bottom, top = np.percentile(values[seen], (low, high))
        if top > bottom:
            scaled = np.clip((values[seen] - bottom) / (top - bottom), 0.0, 1.0)
            out[seen, band] = np.round(255.0 * scaled).astype(np.uint8)
        else:
            out[seen, band] = 128
    return out


def colorize(label: NDArray[np.integer[Any]], colors: Colors) -> NDArray[np.uint8]:
    """(H, W) class ids -> (H, W, 3) uint8; values that are not classes (IGNORE) become black."""
    table = np.zeros((len(colors) + 1, 3), np.uint8)
    table[:-1] = colors
    known = (label >= 0) & (label < len(colors))
    return np.asarray(table[np.where(known, label, len(colors))])


def error_map(tile: Tile, wrong: Color) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: light grey where the prediction is right, else `wrong`; or striped."""
    missed = tile.prediction != tile.label
    return striped(np.where(missed[..., None], wrong, RIGHT).astype(np.uint8), tile.counted())


def panel_array(tile: Tile, colors: Colors, *, gap: int = 4) -> NDArray[np.uint8]:
    """Image, label, prediction and error side by side at full resolution, with white gaps.

    Args:
        tile: The window.
        colors: One RGB colour per class.
        gap: Width of a gap in pixels.

    Returns:
        (H, 4 W + 3 gap, 3) uint8, as TensorBoard expects it.
    """
    white = np.full((tile.rgb.shape[0], gap, 3), 255, np.uint8)
    columns = [white] * 7
    columns[::2] = _views(tile, colors)
    return np.concatenate(columns, axis=1)


def panel(tile: Tile, colors: Colors, classes: Sequence[str]) -> Figure:
    """One tile as a figure with a legend; see `tiles_figure`."""
    return tiles_figure([tile], colors, classes)


def tiles_figure(tiles: Sequence[Tile], colors: Colors, classes: Sequence[str]) -> Figure:
    """One row per tile: image, reference, prediction, error; a legend of the classes present.

    Args:
        tiles: The windows, of any sizes.
        colors: One RGB colour per class.
        classes: One name per class.

    Raises:
        ValueError: There is no tile.
    """
    if not tiles:
        raise ValueError("There is no tile to draw.")
    legend = _Legend(tiles, colors, classes)
    side, head = 2.5, 0.34
    rows = [head + side * min(1.6, tile.label.shape[0] / tile.label.shape[1]) for tile in tiles]
    rows[0] += 0.25  # the headings
    figure = Figure(figsize=(WIDTH, sum(rows) + legend.height), dpi=DPI, layout="constrained")
    ratios = [*rows, legend.height]
    parts = figure.subfigures(len(ratios), 1, height_ratios=ratios, squeeze=False)
    for number, tile in enumerate(tiles):
        _draw(parts[number, 0], tile, colors, columns=4, headings=number == 0)
    legend.draw(parts[-1, 0])
    return figure


def scene_figure(tile: Tile, colors: Colors, classes: Sequence[str]) -> Figure:
    """One scene as large as a page: image and reference above prediction and error, and a legend.

    A scene that is much wider or higher than a square has them in one column or one row.

    Args:
        tile: The scene, reduced to what a page can show.
        colors: One RGB colour per class.
        classes: One name per class.
    """
    legend, shape = _Legend([tile], colors, classes), tile.label.shape[0] / tile.label.shape[1]
    columns = 1 if shape < 0.4 else 4 if shape > 2.5 else 2
    side = min(WIDTH / columns, 9.0)  # of a panel
    above = 0.34 + 0.25 * (4 // columns)
    height = above + 4 // columns * min(shape * side, 9.0)
    figure = Figure(figsize=(WIDTH, height + legend.height), dpi=DPI, layout="constrained")
    ratios = [height, legend.height]
    parts = figure.subfigures(2, 1, height_ratios=ratios, squeeze=False)
    _draw(parts[0, 0], tile, colors, columns=columns, headings=True, sharp=1000)
    legend.draw(parts[1, 0])
    return figure


def figure_array(figure: Figure) -> NDArray[np.uint8]:
    """Draws a figure as (H, W, 3) uint8 for TensorBoard."""
    canvas: Any = FigureCanvasAgg(figure)  # matplotlib leaves its methods untyped
    canvas.draw()
    return np.array(canvas.buffer_rgba(), np.uint8)[..., :3]


def _views(tile: Tile, colors: Colors) -> list[NDArray[np.uint8]]:
    """Image, reference, prediction, error, each (H, W, 3) uint8."""
    reference = striped(colorize(tile.label, colors), tile.counted())
    prediction = striped(colorize(tile.prediction, colors), tile.valid)
    return [tile.rgb, reference, prediction, error_map(tile, wrong_color(colors))]


def striped(picture: NDArray[np.uint8], kept: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Diagonal stripes where `kept` is False, a few dozen across a picture of any size."""
    height, width = kept.shape
    rows, columns = np.ogrid[:height, :width]
    stripe = (rows + columns) // max(2, max(height, width) // 48) % 2
    return np.where(kept[..., None], picture, np.asarray(STRIPES, np.uint8)[stripe])


def _draw(
    part: SubFigure,
    tile: Tile,
    colors: Colors,
    *,
    columns: int,
    headings: bool,
    sharp: int = 300,
) -> None:
    """The four views of a tile under its name and the share that is right.

    Views of less than `sharp` rows are drawn pixel by pixel.
    """
    share = tile.share()
    right = "nothing counted" if math.isnan(share) else f"{100 * share:.2f} % right"
    name = tile.name if len(tile.name) <= 95 else "…" + tile.name[-94:]  # keep its end
    part.suptitle(f"{_literal(name)}   ({right})", x=0.01, ha="left", fontsize=9.5)
    titles = ("image", "reference", "prediction", "error")
    for number, (title, view) in enumerate(zip(titles, _views(tile, colors), strict=True)):
        axes = part.add_subplot(4 // columns, columns, number + 1)
        axes.imshow(view, interpolation="nearest" if len(view) < sharp else "antialiased")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_linewidth(0.4)
        if headings:
            axes.set_title(title, fontsize=10, fontweight="bold")


class _Legend:
    """The classes that are present, right, wrong and not counted, in as many columns as fit."""

    def __init__(self, tiles: Sequence[Tile], colors: Colors, classes: Sequence[str]) -> None:
        present: set[int] = set()
        for tile in tiles:
            present |= set(np.unique(tile.label[tile.counted()]).tolist())
            present |= set(np.unique(tile.prediction[tile.valid]).tolist())
        edge: dict[str, Any] = {"edgecolor": "0.3", "linewidth": 0.5}
        marks = [(fraction(RIGHT), "right"), (fraction(wrong_color(colors)), "wrong")]
        known = [k for k in sorted(present) if k < len(classes)]
        shown = [(fraction(colors[k]), short(classes[k])) for k in known] + marks
        self._entries = [Patch(facecolor=color, label=label, **edge) for color, label in shown]
        if not all(tile.counted().all() for tile in tiles):
            stripes: dict[str, Any] = {"hatch": "////", "edgecolor": fraction(STRIPES[1])}
            patch = Patch(facecolor="black", label="not counted", linewidth=0.5, **stripes)
            self._entries.append(patch)
        longest = max(len(str(entry.get_label())) for entry in self._entries)
        self._columns = max(1, min(len(self._entries), int(125 / (longest + 7))))
        self.height = 0.19 * -(-len(self._entries) // self._columns) + 0.16

    def draw(self, part: SubFigure) -> None:
        """Draws it into a part of a figure, of its height."""
        part.legend(
            handles=self._entries,
            loc="upper center",
            ncols=self._columns,
            fontsize=9,
            frameon=False,
            handlelength=1.4,
            columnspacing=1.4,
            borderaxespad=0.0,
        )


def fraction(color: tuple[int, int, int]) -> tuple[float, float, float]:
    """A colour as matplotlib takes it."""
    return color[0] / 255, color[1] / 255, color[2] / 255


def short(name: str, length: int = 28) -> str:
    """A class name for a chart, truncated if it is too long."""
    return _literal(name if len(name) <= length else name[: length - 1] + "…")


def _literal(text: str) -> str:
    """Escapes dollar signs, between which matplotlib would expect mathematics."""
    return text.replace("$", r"\$")
