"""Pictures of tiles with their prediction and error, and of the confusion matrix.

Pixels that are not counted (invalid, or labelled IGNORE) are striped wherever a label or an error
is shown, because any plain colour, even black, may be a class. In error maps correct pixels are
light grey and wrong ones red. Charts are matplotlib `Figure` objects without pyplot and its global
state; `figure.savefig(path)` writes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from jaxseg.scenes.scene import IGNORE

Colors = Sequence[tuple[int, int, int]]

RIGHT = (214, 214, 214)
WRONG = (214, 30, 40)
STRIPES = ((0, 0, 0), (96, 96, 96))
DPI = 120.0


@dataclass(frozen=True, eq=False)
class Tile:
    """One window and its prediction.

    Attributes:
        name: Its name in the picture.
        rgb: (H, W, 3) uint8, contrast already stretched.
        label: (H, W) class ids, or IGNORE.
        prediction: (H, W) class ids.
        valid: (H, W) bool, False where the sensor has no data.
    """

    name: str
    rgb: NDArray[np.uint8]
    label: NDArray[np.integer[Any]]
    prediction: NDArray[np.integer[Any]]
    valid: NDArray[np.bool_]

    def counted(self) -> NDArray[np.bool_]:
        """(H, W) bool: the pixels that losses and metrics use."""
        return np.asarray(self.valid & (self.label != IGNORE))


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


def error_map(tile: Tile) -> NDArray[np.uint8]:
    """(H, W, 3) uint8: light grey where the prediction is right, red where wrong, else striped."""
    wrong = tile.prediction != tile.label
    return striped(np.where(wrong[..., None], WRONG, RIGHT).astype(np.uint8), tile.counted())


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
    entries = _legend(tiles, colors, classes)
    longest = max(len(str(entry.get_label())) for entry in entries)
    columns = max(1, min(len(entries), int(125 / (longest + 7))))
    lines = -(-len(entries) // columns)
    width, side, head, foot = 10.4, 2.5, 0.34, 0.19 * lines + 0.16
    rows = [head + side * min(1.6, tile.label.shape[0] / tile.label.shape[1]) for tile in tiles]
    rows[0] += 0.25  # the headings
    figure = Figure(figsize=(width, sum(rows) + foot), dpi=DPI, layout="constrained")
    parts = figure.subfigures(len(rows) + 1, 1, height_ratios=[*rows, foot], squeeze=False)
    for number, tile in enumerate(tiles):
        _draw_row(parts[number, 0], tile, colors, headings=number == 0)
    parts[-1, 0].legend(
        handles=entries,
        loc="upper center",
        ncols=columns,
        fontsize=9,
        frameon=False,
        handlelength=1.4,
        columnspacing=1.4,
        borderaxespad=0.0,
    )
    return figure


def confusion_figure(confusion: NDArray[np.integer[Any]], classes: Sequence[str]) -> Figure:
    """The confusion matrix in percent of each reference class; readable for 2 to 30 classes.

    Args:
        confusion: (K, K) counts, rows = reference, columns = prediction.
        classes: K names.
    """
    size = len(classes)
    pixels = confusion.sum(axis=1, dtype=np.float64)
    share = 100.0 * confusion / np.where(pixels > 0, pixels, np.nan)[:, None]
    cell = 0.75 if size <= 8 else 0.5 if size <= 16 else 0.38
    names = [short(name) for name in classes]
    side = max(2.6, cell * size)
    longest = max(map(len, names))
    rotated = size > 3 or longest > 12
    left, below = 0.085 * (longest + 10), 0.085 * longest if rotated else 0.2
    figure = Figure(figsize=(side + left + 1.6, side + below + 0.6), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_facecolor("0.9")  # rows of classes that are not in the reference
    image = axes.imshow(share, cmap="Blues", vmin=0.0, vmax=100.0)
    bar = figure.colorbar(image, ax=axes, shrink=min(1.0, 4.0 / side), aspect=24, pad=0.02)
    bar.set_label("share of the reference class (%)", fontsize=9)
    bar.ax.tick_params(labelsize=9)
    rows = [f"{name}  ({_count(n)})" for name, n in zip(names, pixels, strict=True)]
    axes.set_yticks(range(size), rows, fontsize=9)
    axes.set_xticks(range(size), names, fontsize=9, rotation=90 if rotated else 0)
    axes.set_xlabel("predicted class", fontsize=10)
    axes.set_ylabel("reference class  (pixels)", fontsize=10)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    for row, column in np.ndindex(size, size):
        text = _cell(float(share[row, column]), decimals=size <= 16)
        color = "white" if share[row, column] > 55 else "0.15"
        font = 10.0 if size <= 8 else 7.5
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=font)
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
    return [tile.rgb, reference, prediction, error_map(tile)]


def striped(picture: NDArray[np.uint8], kept: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Diagonal stripes where `kept` is False, a few dozen across a picture of any size."""
    height, width = kept.shape
    rows, columns = np.ogrid[:height, :width]
    stripe = (rows + columns) // max(2, max(height, width) // 48) % 2
    return np.where(kept[..., None], picture, np.asarray(STRIPES, np.uint8)[stripe])


def _draw_row(part: SubFigure, tile: Tile, colors: Colors, *, headings: bool) -> None:
    counted = tile.counted()
    right = f"{(tile.prediction == tile.label)[counted].mean():.1%}" if counted.any() else "nothing"
    name = tile.name if len(tile.name) <= 110 else "…" + tile.name[-109:]  # keep its end
    part.suptitle(f"{_literal(name)}   ({right} right)", x=0.01, ha="left", fontsize=9.5)
    titles = ("image", "reference", "prediction", "error")
    for column, (title, view) in enumerate(zip(titles, _views(tile, colors), strict=True)):
        axes = part.add_subplot(1, 4, column + 1)
        axes.imshow(view, interpolation="nearest" if view.shape[0] < 300 else "antialiased")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_linewidth(0.4)
        if headings:
            axes.set_title(title, fontsize=10, fontweight="bold")


def _legend(tiles: Sequence[Tile], colors: Colors, classes: Sequence[str]) -> list[Patch]:
    present: set[int] = set()
    for tile in tiles:
        present |= set(np.unique(tile.label[tile.counted()]).tolist())
        present |= set(np.unique(tile.prediction[tile.valid]).tolist())
    edge: dict[str, Any] = {"edgecolor": "0.3", "linewidth": 0.5}
    entries = [
        Patch(facecolor=fraction(colors[k]), label=short(classes[k]), **edge)
        for k in sorted(present)
        if k < len(classes)
    ]
    entries.append(Patch(facecolor=fraction(RIGHT), label="right", **edge))
    entries.append(Patch(facecolor=fraction(WRONG), label="wrong", **edge))
    if not all(tile.counted().all() for tile in tiles):
        stripes: dict[str, Any] = {"hatch": "////", "edgecolor": fraction(STRIPES[1])}
        entries.append(Patch(facecolor="black", label="not counted", linewidth=0.5, **stripes))
    return entries


def fraction(color: tuple[int, int, int]) -> tuple[float, float, float]:
    """A colour as matplotlib takes it."""
    return color[0] / 255, color[1] / 255, color[2] / 255


def short(name: str, length: int = 28) -> str:
    """A class name for a chart, truncated if it is too long."""
    return _literal(name if len(name) <= length else name[: length - 1] + "…")


def _literal(text: str) -> str:
    """Escapes dollar signs, between which matplotlib would expect mathematics."""
    return text.replace("$", r"\$")


def _count(pixels: float) -> str:
    for factor, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if pixels >= factor:
            return f"{pixels / factor:.3g}{unit}"
    return f"{pixels:.0f}"


def _cell(percent: float, *, decimals: bool) -> str:
    if np.isnan(percent) or percent == 0:
        return ""
    if decimals:
        return f"{percent:.1f}" if percent >= 0.05 else "·"
    return f"{percent:.0f}" if percent >= 0.5 else "·"
