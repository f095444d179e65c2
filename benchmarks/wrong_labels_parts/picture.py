"""A picture of wrong labels: image, correct and given labels, and which of them were found."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from wrong_labels_parts.found import corrected

from jaxseg.datasets import Mislabelled
from jaxseg.datasets.without_doubts import INDEX
from jaxseg.files import raster
from jaxseg.metrics.confident_learning import UNDOUBTED
from jaxseg.pictures.tiles import colorize, fraction, stretch
from jaxseg.scenes.scene import Window

TILES = 3
"""The first ones of the training split."""

COLORS = {
    "correct, not doubted": (222, 222, 222),
    "wrong, doubted": (0, 130, 90),
    "wrong, not doubted": (214, 30, 40),
    "correct, doubted": (245, 160, 40),
}


def picture(wrong: Mislabelled, folders: Sequence[Path]) -> Figure:
    """The first training tiles, by the doubts that were written.

    Args:
        wrong: The source with wrong labels.
        folders: Of doubts, which together hold all training tiles.
    """
    maps: dict[str, Path] = {}
    for folder in folders:
        index = json.loads((folder / INDEX).read_text())
        maps |= {name: folder / file for name, file in index["scenes"].items()}
    given, right = wrong.scenes("train"), corrected(wrong).scenes("train")
    figure = Figure(figsize=(10.4, 2.75 * TILES + 0.7), dpi=120, layout="constrained")
    rows = figure.subplots(TILES, 4, squeeze=False)
    for number, axes in enumerate(rows):
        window = Window(0, 0, *given.size(number))
        sample, true = given.read(number, window), right.read(number, window)["label"]
        doubted = raster.read(str(maps[given.name(number)]), window)[..., 0] != UNDOUBTED
        valid = sample["valid"].astype(bool)
        found = np.zeros((*true.shape, 3), np.uint8)
        for is_wrong, is_doubted in itertools.product((False, True), repeat=2):
            name = f"{'wrong' if is_wrong else 'correct'}, {'' if is_doubted else 'not '}doubted"
            found[valid & ((sample["label"] != true) == is_wrong) & (doubted == is_doubted)] = (
                COLORS[name]
            )
        views = {
            "image": stretch(wrong.rgb(sample["image"]), valid),
            "correct labels": colorize(true, wrong.colors),
            "given labels": colorize(sample["label"], wrong.colors),
            "what was found": found,
        }
        for place, (title, view) in zip(axes, views.items(), strict=True):
            place.imshow(view, interpolation="nearest")
            place.set_xticks([])
            place.set_yticks([])
            if number == 0:
                place.set_title(title, fontsize=10, fontweight="bold")
    figure.legend(
        handles=[Patch(facecolor=fraction(c), label=name) for name, c in COLORS.items()],
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=9,
    )
    return figure
