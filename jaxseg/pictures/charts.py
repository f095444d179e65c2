"""Charts of an evaluation: confusions, scores per class, reliability, curves of a measure.

Charts are matplotlib `Figure` objects without pyplot, as in `tiles`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from jaxseg.metrics.calibration import BINS, Reliability
from jaxseg.metrics.measure import Curves
from jaxseg.pictures.marking import Colors
from jaxseg.pictures.tiles import DPI, short

Array = NDArray[np.float64]

INK = "#1f5fa8"
GAP = "#d6605b"
MARKERS = ("s", "D", "^", "v", "P", "X", "<", ">")
SHADES = ("#2a9d74", "#e09f3e", "#7b4fa3", "#8a8a8a", "#c05a8d", "#5aa9c0", "#a5722f", "#4d4d4d")
SHOWN = 30
"""Classes shown in a chart; if there are more, those with the lowest IoU or the largest error."""


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


def scores_figure(
    classes: Sequence[str],
    iou: Sequence[float],
    interval: tuple[Array, Array],
    others: Mapping[str, Sequence[float]],
) -> Figure:
    """IoU of each class with its 95 % interval, and other scores beside it.

    Args:
        classes: K names.
        iou: (K,) 0..1.
        interval: (K,) lower and (K,) upper bounds.
        others: Up to eight further scores: name -> (K,), 0..1 or NaN.
    """
    rows = np.argsort(-np.asarray(iou), kind="stable")[-SHOWN:]
    figure = Figure(figsize=(8.2, 1.5 + 0.34 * len(rows)), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    y = np.arange(len(rows))
    for (name, values), marker, shade in zip(others.items(), MARKERS, SHADES, strict=False):
        x = 100 * np.asarray(values)[rows]
        axes.scatter(x, y, 26, color=shade, marker=marker, label=name, zorder=4)
    low, high = (100 * ends[rows] for ends in interval)
    if not np.isnan(low).all():
        axes.hlines(y, low, high, INK, linewidth=2.5, label="95 % interval of IoU", zorder=2)
    axes.scatter(100 * np.asarray(iou)[rows], y, 70, color=INK, label="IoU", zorder=3)
    axes.set_yticks(y, [short(classes[k]) for k in rows], fontsize=9)
    axes.set_ylim(len(rows) - 0.4, -0.6)  # the first on top, markers inside
    axes.set_xlim(-2, 102)
    axes.set_xlabel("score (%)", fontsize=10)
    axes.grid(axis="x", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, fontsize=9, frameon=False)
    return figure


def reliability_figure(
    before: Reliability, after: Reliability, temperature: float | None, classes: Sequence[str]
) -> Figure:
    """Reliability diagrams at T = 1 and at the fitted temperature, and the error of each class.

    Args:
        before: Reliability at T = 1.
        after: Reliability at the fitted temperature.
        temperature: The fitted temperature; None = not known, and `after` is not shown.
        classes: K names.
    """
    errors = np.stack([before.ece()[1:], after.ece()[1:]])
    parts = [("as trained", before)]
    if temperature is not None:
        parts.append((f"logits divided by T = {temperature:.3g}", after))
    rows = np.argsort(-np.nan_to_num(errors[0]), kind="stable")[:SHOWN]
    height = max(4.6, 1.4 + 0.26 * len(rows))
    size = (4.2 * (len(parts) + 1), height)
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    grid = figure.add_gridspec(2, len(parts) + 1, height_ratios=(3.4, 1))
    for column, (title, part) in enumerate(parts):
        upper = figure.add_subplot(grid[0, column])
        _diagram(upper, part)
        upper.set_title(f"{title}:  ECE {100 * part.ece()[0]:.2f} %", fontsize=10)
        _shares(figure.add_subplot(grid[1, column], sharex=upper), part)
    axes = figure.add_subplot(grid[:, -1])
    y = np.arange(len(rows))
    bars = [(-0.18, errors[0], GAP, "as trained")]
    if temperature is not None:
        bars.append((0.18, errors[1], INK, f"T = {temperature:.3g}"))
    for offset, values, color, label in bars:
        axes.barh(y + offset, 100 * values[rows], 0.34, color=color, label=label)
    axes.set_yticks(y, [short(classes[k]) for k in rows], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel("calibration error of the class (%)", fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_title("probability of one class", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    # Below the axes, where no bar is.
    axes.legend(fontsize=9, frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    return figure


def curves_figure(curves: Curves, classes: Sequence[str], colors: Colors) -> Figure:
    """One line per class and their mean (dashed), in percent.

    Args:
        curves: What to draw.
        classes: K names.
        colors: One RGB colour per class.

    Raises:
        ValueError: No class has a line.
    """
    x, y = curves.x, curves.y
    known = np.flatnonzero(~np.isnan(y[:, 0]))
    if not known.size:
        raise ValueError(f"No class has {curves.y_label}: there is nothing to draw.")
    mean = y[known].mean(axis=0)
    chosen = known[np.argsort(y[known].mean(axis=1), kind="stable")[::-1][:SHOWN]]
    figure = Figure(figsize=(7.6, max(4.2, 1.2 + 0.22 * len(chosen))), dpi=DPI)
    figure.set_layout_engine("constrained")
    axes = figure.add_subplot()
    for k in chosen:
        color = tuple(part / 255 for part in colors[k])
        label = f"{short(classes[k])}  {100 * y[k].mean():.1f}"
        axes.plot(x, 100 * y[k], "o-", color=color, markersize=4, label=label)
    axes.plot(x, 100 * mean, "--", color="0.1", label=f"mean  {100 * mean.mean():.1f}")
    axes.set_xlabel(curves.x_label, fontsize=10)
    axes.set_ylabel(f"{curves.y_label} (%)", fontsize=10)
    axes.set_ylim(-2, 102)
    axes.grid(color="0.92")
    axes.spines[["top", "right"]].set_visible(False)
    title = f"class, {curves.mean_label} (%)"
    figure.legend(loc="outside right upper", fontsize=9, frameon=False, title=title)
    return figure


def _diagram(axes: Axes, part: Reliability) -> None:
    """Accuracy in each bin of confidence, and its gap to the mean confidence of the bin."""
    pixels, right, confidence = part.pixels[0], part.right[0], part.confidence[0]
    some = pixels > 0
    left = (np.arange(BINS) / BINS)[some]
    accuracy, mean = right[some] / pixels[some], confidence[some] / pixels[some]
    width = 1 / BINS
    axes.bar(left, accuracy, width, align="edge", color=INK, edgecolor="white", label="right")
    axes.bar(
        *(left, mean - accuracy, width, accuracy),
        align="edge",
        facecolor="none",
        edgecolor=GAP,
        hatch="///",
        linewidth=0.8,
        label="gap to the confidence",
    )
    axes.plot([0, 1], [0, 1], "--", color="0.35", linewidth=1, label="perfect")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_ylabel("share of right pixels", fontsize=9)
    axes.tick_params(labelsize=8, labelbottom=False)
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    axes.spines[["top", "right"]].set_visible(False)


def _shares(axes: Axes, part: Reliability) -> None:
    """Share of the pixels in each bin of confidence."""
    pixels = part.pixels[0]
    share = 100 * pixels / max(1, pixels.sum())
    axes.bar(np.arange(BINS) / BINS, share, 1 / BINS, align="edge", color="0.6", edgecolor="white")
    axes.set_xlabel("confidence of the predicted class", fontsize=9)
    axes.set_ylabel("pixels (%)", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


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
