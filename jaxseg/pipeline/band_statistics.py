"""Windows spread over a split, and the quantiles of their pixel values for `Sensor.typical`."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from jaxseg.scenes import sensor
from jaxseg.scenes.scene import Scenes, Window
from jaxseg.scenes.sensor import Typical

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


@dataclasses.dataclass(frozen=True)
class Look:
    """Typical values of a sample of a split.

    Attributes:
        typical: Of all windows together; () if no pixel is valid.
        files: Scene -> those of its windows; scenes without a valid pixel are left out.
        looked: Number of scenes that windows were read of.
    """

    typical: Typical
    files: dict[int, Typical]
    looked: int


def look(scenes: Scenes, crop: int) -> Look:
    """Typical values of a split and of single scenes, from about `TYPICAL_WINDOWS` windows.

    Args:
        scenes: Scenes of a split.
        crop: Rows and columns of a window.
    """
    parts: dict[int, list[NDArray[np.generic]]] = {}
    for scene, window in spread_windows(scenes, crop, TYPICAL_WINDOWS):
        height, width = scenes.size(scene)
        rows, columns = min(crop, height - window.y), min(crop, width - window.x)
        sample = scenes.read(scene, Window(window.y, window.x, rows, columns))
        pixels = sample["image"][sample["valid"].astype(bool)]
        parts.setdefault(scene, []).append(pixels[:: max(1, len(pixels) // TYPICAL_PIXELS)])
    each = {scene: np.concatenate(pixels) for scene, pixels in parts.items()}
    known = {scene: pixels for scene, pixels in each.items() if len(pixels)}
    if not known:
        return Look((), {}, len(each))
    return Look(
        sensor.typical_numbers(np.concatenate(list(known.values()))),
        {scene: sensor.typical_numbers(pixels) for scene, pixels in known.items()},
        len(each),
    )


def typical(scenes: Scenes, crop: int) -> Typical:
    """Quantiles of each band as `Sensor.typical` holds them; () if no pixel is valid.

    Args:
        scenes: Scenes of a split.
        crop: Rows and columns of a window.
    """
    return look(scenes, crop).typical
