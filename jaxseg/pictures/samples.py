"""Pictures of samples of a data set: the image, and beside it its labels."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from jaxseg.pictures.marking import Colors
from jaxseg.pictures.tiles import DPI, STRIPES, colorize, fraction, short, striped

PAIRS = 3
"""Images with their labels in a row."""


class LabelledImage(NamedTuple):
    """One window.

    Attributes:
        name: Its name in the picture.
        rgb: (H, W, 3) uint8, contrast already stretched.
        label: (H, W) class ids, or IGNORE.
        counted: (H, W) bool, False where a pixel is without data or label.
    """

    name: str
    rgb: NDArray[np.uint8]
    label: NDArray[np.integer[Any]]
    counted: NDArray[np.bool_]


def samples_figure(
    images: Sequence[LabelledImage], colors: Colors, classes: Sequence[str], title: str
) -> Figure:
    """Images with their labels, three pairs a row, and a legend of the classes present.

    Args:
        images: The windows, of any sizes.
        colors: One RGB colour per class.
        classes: One name per class.
        title: What they are, above them.

    Raises:
        ValueError: There is no image.
    """
    if not images:
        raise ValueError("There is no image to draw.")
    rows = -(-len(images) // PAIRS)
    figure = Figure(figsize=(11.4, 0.9 + 2.15 * rows), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11, fontweight="bold")
    axes = figure.subplots(rows, 2 * PAIRS, squeeze=False)
    present: set[int] = set()
    for place in axes.ravel():
        place.axis("off")
    for number, image in enumerate(images):
        row, pair = divmod(number, PAIRS)
        left, right = axes[row, 2 * pair], axes[row, 2 * pair + 1]
        label = striped(colorize(image.label, colors), image.counted)
        for place, view in ((left, image.rgb), (right, label)):
            place.imshow(view, interpolation="nearest" if view.shape[0] < 300 else "antialiased")
        left.set_title(short(image.name), fontsize=7.5, loc="left")
        present |= set(np.unique(image.label[image.counted]).tolist())
    entries = [
        Patch(
            facecolor=fraction(colors[k]),
            label=short(classes[k]),
            edgecolor="0.3",
            linewidth=0.5,
        )
        for k in sorted(present)
        if k < len(classes)
    ]
    if not all(image.counted.all() for image in images):
        stripes = fraction(STRIPES[1])
        entries.append(
            Patch(facecolor="black", label="not counted", hatch="////", edgecolor=stripes)
        )
    figure.legend(handles=entries, loc="outside lower left", ncols=6, fontsize=8, frameon=False)
    return figure
