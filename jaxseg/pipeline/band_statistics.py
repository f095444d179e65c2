"""Windows spread over a split, and the quantiles of their pixel values for `Sensor.typical`."""

from collections.abc import Iterator

import numpy as np

from jaxseg.scenes import sensor
from jaxseg.scenes.scene import Scenes, Window

TYPICAL_WINDOWS = 32
"""Windows used for the typical values; few are enough to tell scales apart."""

TYPICAL_PIXELS = 1024
"""Pixels of each of these windows."""


def spread_windows(scenes: Scenes, crop: int, count: int) -> Iterator[tuple[int, Window]]:
    """About `count` evenly spaced windows of a split, each with its scene.

    If there are many scenes, the window in the middle of some of them; if there are few, several
    windows of each on a grid, whose last windows may extend beyond the scene. A scene smaller than
    `crop` has one window.
    """
    if not len(scenes):
        return
    chosen = np.unique(np.linspace(0, len(scenes) - 1, count).astype(int))
    each = -(-count // len(chosen))
    for scene in map(int, chosen):
        height, width = scenes.size(scene)
        if each == 1:
            yield scene, Window(max(0, height - crop) // 2, max(0, width - crop) // 2, crop, crop)
            continue
        columns = -(-width // crop)
        places = -(-height // crop) * columns
        for place in np.unique(np.linspace(0, places - 1, each).astype(int)):
            row, column = divmod(int(place), columns)
            yield scene, Window(row * crop, column * crop, crop, crop)


def typical(scenes: Scenes, crop: int) -> tuple[tuple[float, ...], ...]:
    """Quantiles of each band as `Sensor.typical` holds them; () if no pixel is valid.

    Args:
        scenes: Scenes of a split.
        crop: Rows and columns of a window.
    """
    parts = []
    for scene, window in spread_windows(scenes, crop, TYPICAL_WINDOWS):
        height, width = scenes.size(scene)
        rows, columns = min(crop, height - window.y), min(crop, width - window.x)
        sample = scenes.read(scene, Window(window.y, window.x, rows, columns))
        pixels = sample["image"][sample["valid"].astype(bool)]
        parts.append(pixels[:: max(1, len(pixels) // TYPICAL_PIXELS)])
    pixels = np.concatenate(parts) if parts else np.zeros((0, 1))
    return sensor.typical_numbers(pixels) if len(pixels) else ()
