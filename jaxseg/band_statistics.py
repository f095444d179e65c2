"""What numbers the bands hold: measured on the middles of a few scenes.

mean and standard deviation for `Standardize`, quantiles for `Sensor.typical`
"""

import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxseg import sensor
from jaxseg.batch import Scenes, Window
from jaxseg.data import Data, training_cells
from jaxseg.errors import UserError

WINDOWS = 256
"""Windows that mean and deviation look at, evenly spaced over the training split."""

TYPICAL_WINDOWS = 32
"""Windows that typical numbers look at: they tell scales apart, not scenes."""

TYPICAL_PIXELS = 1024
"""Pixels of each of these windows."""


class Middle(NamedTuple):
    """The window in the middle of a scene."""

    name: str
    image: NDArray[np.generic]
    valid: NDArray[np.bool_]


def statistics(
    data: Data,
    through: Callable[[NDArray[np.generic], NDArray[np.bool_]], NDArray[np.float32]] | None = None,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each band over valid pixels of up to 256 training windows.

    Args:
        data: What to read.
        through: What happens to an image (H, W, C) with its valid pixels (H, W) before.

    Raises:
        UserError: No valid pixel was found.
    """
    scenes = data.source.scenes("train")
    training_cells(scenes, data)
    blank: list[str] = []
    looked = count = 0
    total, square = np.zeros(1), np.zeros(1)
    for name, image, valid in _middles(scenes, data.crop, WINDOWS):
        looked += 1
        if not valid.any():
            blank.append(name)
            continue
        pixels = (image if through is None else through(image, valid))[valid].astype(np.float64)
        count, total, square = (
            count + len(pixels),
            total + pixels.sum(0),
            square + (pixels**2).sum(0),
        )
    if count == 0:
        raise UserError(
            f"No valid pixel in the middle of {len(blank)} training scene(s), the first being "
            f"{blank[0]}: nothing to measure mean and standard deviation on. Check the nodata "
            "value of the source."
        )
    if blank:
        sys.stderr.write(
            f"No valid pixel in the middle of {len(blank)} of {looked} training scenes looked "
            f"at, the first being {blank[0]}: they are left out.\n"
        )
    mean = total / count
    std = np.sqrt(np.maximum(square / count - mean**2, 1e-12))
    # Six digits are plenty, and read well in a printed config.
    return tuple(float(f"{m:.6g}") for m in mean), tuple(float(f"{s:.6g}") for s in std)


def typical(scenes: Scenes, crop: int) -> tuple[tuple[float, ...], ...]:
    """Quantiles of each band as `Sensor.typical` holds them; () where no pixel is valid.

    Args:
        scenes: Of a split.
        crop: Rows and columns of a window.
    """
    parts = []
    for _, image, valid in _middles(scenes, crop, TYPICAL_WINDOWS):
        pixels = image[valid]
        parts.append(pixels[:: max(1, len(pixels) // TYPICAL_PIXELS)])
    pixels = np.concatenate(parts) if parts else np.zeros((0, 1))
    return sensor.typical_numbers(pixels) if len(pixels) else ()


def _middles(scenes: Scenes, crop: int, count: int) -> Iterator[Middle]:
    if not len(scenes):
        return
    for index in map(int, np.unique(np.linspace(0, len(scenes) - 1, count).astype(int))):
        height, width = scenes.size(index)
        window = Window(
            max(0, height - crop) // 2,
            max(0, width - crop) // 2,
            min(crop, height),
            min(crop, width),
        )
        sample = scenes.read(index, window)
        yield Middle(scenes.name(index), sample["image"], sample["valid"].astype(bool))
