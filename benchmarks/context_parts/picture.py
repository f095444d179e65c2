"""The picture of the probe: what is asked, how far networks see, and what they answer."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from context_parts import sight
from context_parts.networks import NETWORKS, TITLES
from context_parts.report import CHANCE, Found, order, scene_ceiling, values
from context_parts.scenes import CELL, drawn, labels, pixels, size_for
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

DARK, BRIGHT, INK = "#46618a", "#f3dc97", "#c8372d"


class Style(NamedTuple):
    """How a network is drawn."""

    color: str
    line: str = "-"
    marker: str = "o"


STYLES = {
    "unet2": Style("#9ecae1"),
    "unet3": Style("#6baed6"),
    "unet4": Style("#3182bd"),
    "unet5": Style("#08519c"),
    "unet2_no_skips": Style("#9ecae1", "--", "v"),
    "unet3_no_skips": Style("#6baed6", "--", "v"),
    "unet4_no_skips": Style("#3182bd", "--", "v"),
    "unet5_no_skips": Style("#08519c", "--", "v"),
    "unet5_gates": Style("#08519c", ":", "P"),
    "unet5_scse": Style("#08519c", "-.", "X"),
    "linknet": Style("#7b4fa3", "-", "s"),
    "stride8": Style("#777777", "-", "D"),
    "psp_1": Style("#41ab5d", "--", "D"),
    "psp_all": Style("#238b45", "-", "D"),
    "deeplab_1": Style("#fdae6b", "-", "^"),
    "deeplab_1_pooled": Style("#fdae6b", "--", "^"),
    "deeplab_3": Style("#e6550d", "-", "^"),
    "deeplab_3_pooled": Style("#e6550d", "--", "^"),
}


def draw(found: Found, names: Sequence[str], file: Path) -> None:
    """Draws what is known of some networks: reach and, where measured, accuracy; a PNG."""
    figure = Figure(figsize=(13, 9), dpi=110, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(0.62, 1))
    _draw_tasks(above.subplots(1, 3))
    left, middle, right = below.subplots(1, 3, width_ratios=(1.3, 1, 0.75))
    _draw_distances(left, found, names)
    _draw_sights(middle, found, names)
    _draw_scene(right, found, names)
    handles, titles = left.get_legend_handles_labels()
    below.legend(handles, titles, loc="outside lower center", ncols=4, fontsize=10, frameon=False)
    figure.savefig(file)


def _draw_tasks(places: "np.ndarray[tuple[int], np.dtype[np.object_]]") -> None:
    """A scene for each rule, with one of the pixels that are asked, and what decides its class."""
    bits = drawn("scene", size_for(1) // CELL, np.random.default_rng(3))
    image = np.array([[0x46, 0x61, 0x8A], [0xF3, 0xDC, 0x97]], np.uint8)[pixels(bits)]
    row, r, x = 5 * CELL + CELL // 2, 64, 2 * CELL
    for axes, rule, title in zip(
        places,
        ("cue", "pair", "scene"),
        (
            "cue: the cell r pixels to the right",
            "pair: one of the two, not both",
            "scene: the majority",
        ),
        strict=True,
    ):
        axes.imshow(image, interpolation="nearest")
        answer = ("dark", "bright")[int(labels(bits, rule, r)[row, x])]
        axes.set_title(f"{title} → {answer}", fontsize=12)
        axes.set_xlabel("pixels", fontsize=10)
        axes.set_xticks((0, 32, 64, 96, 128))
        axes.set_yticks((0, 32, 64, 96, 128))
        axes.plot(x, row, "o", color=INK, markersize=8, markeredgecolor="white", clip_on=False)
        deciding = {"cue": [(x + r, row)], "pair": [(x, row), (x + r, row)], "scene": []}[rule]
        for left, top in deciding:
            corner = left // CELL * CELL - 0.5, top // CELL * CELL - 0.5
            axes.add_patch(Rectangle(corner, CELL, CELL, fill=False, edgecolor=INK, linewidth=3))
        if rule == "scene":
            axes.add_patch(
                Rectangle((-0.5, -0.5), *image.shape[1::-1], fill=False, edgecolor=INK, linewidth=5)
            )
        else:
            axes.annotate(
                "", (x + r, row), (x, row), arrowprops={"arrowstyle": "->", "color": INK, "lw": 2.5}
            )
            axes.text(
                x + r / 2, row - 10, "r", color=INK, fontsize=15, ha="center", fontweight="bold"
            )


def _draw_distances(axes: Axes, found: Found, names: Sequence[str]) -> None:
    """Accuracy against r; hollow where a network cannot see the cue."""
    measured = {int(task.split("_")[1]) for _, task in found if task.startswith("cue_")}
    distances = sorted(measured | {128} if measured else {2, 8, 32, 64, 128})
    for number, name in enumerate(names):
        style = STYLES[name]
        nudge = 1.04 ** (number - len(names) / 2)  # else one marker hides another
        at, heights, hollow = [], [], []
        for r in distances:
            numbers = values(found, name, f"cue_{r}")
            reached = sight.can_see(NETWORKS[name], r)
            # A line is broken where nothing is measured.
            height = float(np.mean(numbers)) if numbers else math.nan if reached else CHANCE
            at.append(r * nudge)
            heights.append(height)
            hollow.append(not reached)
        axes.plot(at, heights, style.line, color=style.color, linewidth=1.6)
        axes.plot([], [], style.line + style.marker, color=style.color, label=TITLES[name])
        for x, y, empty in zip(at, heights, hollow, strict=True):
            face = "white" if empty else style.color
            axes.plot(x, y, style.marker, color=style.color, markerfacecolor=face, markersize=6)
    axes.axhline(CHANCE, color="0.5", linewidth=0.8)
    axes.text(
        distances[0], CHANCE - 0.018, "chance", color="0.4", fontsize=9, va="top", ha="center"
    )
    axes.set_xscale("log", base=2)
    axes.set_xticks(distances, [str(r) for r in distances])
    axes.set_ylim(0.44, 1.03)
    axes.set_xlabel("r, distance of the deciding cell (pixels)", fontsize=10)
    axes.set_ylabel("accuracy on test scenes", fontsize=10)
    axes.set_title("cue: filled = measured, hollow = out of reach", fontsize=12)
    axes.grid(alpha=0.25)


def _draw_sights(axes: Axes, found: Found, names: Sequence[str]) -> None:
    """Theoretical and effective receptive fields, half sides."""
    limit = 192
    for place, name in enumerate(reversed(names)):
        style = STYLES[name]
        seen = sight.theoretical(NETWORKS[name])
        half = limit if seen is None else seen.rows / 2
        axes.barh(place, half, color=style.color, alpha=0.35, height=0.7)
        if seen is None:
            axes.text(limit - 4, place, "whole image", fontsize=8.5, ha="right", va="center")
        before = [
            v for (n, t) in found if n == name for v in values(found, n, t, "effective_before")
        ]
        if before:
            axes.plot(np.mean(before), place, "|", color="black", markersize=13, markeredgewidth=2)
        marks = [task for known, task in found if known == name and task.startswith("cue_")]
        for number, task in enumerate(sorted(marks, key=order)):
            after = float(np.mean(values(found, name, task, "effective_after")))
            if float(np.mean(values(found, name, task))) > 0.75:
                axes.plot(after, place, ".", color=INK, markersize=9)
                axes.annotate(
                    task.split("_")[1],
                    (after, place),
                    xytext=(0, -11 if number % 2 else 5),  # neighbours are close together
                    textcoords="offset points",
                    fontsize=7.5,
                    color=INK,
                    ha="center",
                )
    axes.set_yticks(range(len(names)), [TITLES[name] for name in reversed(names)], fontsize=8.5)
    axes.set_xlim(0, limit)
    axes.set_xticks((0, 32, 64, 96, 128, 160, 192))
    axes.set_xlabel("half side of the receptive field (pixels)", fontsize=10)
    axes.set_title(
        "bar: theoretical; black: effective, untrained;\nred: effective after r was learned",
        fontsize=10.5,
    )
    axes.grid(alpha=0.25, axis="x")


def _draw_scene(axes: Axes, found: Found, names: Sequence[str]) -> None:
    """Accuracy where the majority of the scene decides, and the best of the receptive field."""
    for place, name in enumerate(reversed(names)):
        style = STYLES[name]
        axes.plot(scene_ceiling(name), place, "|", color="0.3", markersize=16, markeredgewidth=2.5)
        numbers = values(found, name, "scene")
        if numbers:
            axes.plot(np.mean(numbers), place, style.marker, color=style.color, markersize=8)
    axes.axvline(CHANCE, color="0.5", linewidth=0.8)
    axes.set_yticks(range(len(names)), [TITLES[name] for name in reversed(names)], fontsize=8.5)
    axes.set_xlim(0.44, 1.03)
    axes.set_ylim(-0.7, len(names) - 0.3)
    axes.set_xlabel("accuracy on test scenes", fontsize=10)
    axes.set_title("scene; black: best\nof such a window", fontsize=10.5)
    axes.grid(alpha=0.25, axis="x")
