"""Runs adapted to the scene that they map: its windows, spread evenly, are all that is looked at.

What they are adapted by does not depend on the part of the scene that is asked for, on its tiles
or on the process, so that all parts of a map are of one network.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from jaxseg.prediction.sweep import Padded
from jaxseg.run import adapted
from jaxseg.run.adapted import Adapt
from jaxseg.run.loaded import Run
from jaxseg.scenes.scene import Sample, Window

SEEN = 0.5
"""Share of the data of the fullest window that another one needs to be looked at: a normalisation
measures the pixels without data of a window, too."""


class Sized(Padded, Protocol):
    """A scene of a known size."""

    @property
    def height(self) -> int:
        """Rows."""

    @property
    def width(self) -> int:
        """Columns."""


def adapted_to(scene: Sized, runs: Sequence[Run], how: Adapt) -> list[Run]:
    """The runs for one scene.

    Args:
        scene: The scene.
        runs: As they were trained.
        how: What is done; see `jaxseg.run.adapted`.

    Raises:
        UserError: A run lacks what is needed, or the scene has no data or cannot be read.
    """
    return [_adapted(scene, run, how) for run in runs]


def _adapted(scene: Sized, run: Run, how: Adapt) -> Run:
    data = run.config.data
    side = data.evaluation_crop or data.crop
    chosen = spread(scene, side)
    size = min(data.batch_size, max(1, len(chosen)))
    config, variables = adapted.adapted(
        run.config, run.variables, how, lambda: _batches(scene, chosen, size)
    )
    return dataclasses.replace(run, config=config, variables=variables)


def spread(scene: Sized, side: int) -> list[Window]:
    """At most `WINDOWS` windows all over the scene, without those that have few data.

    Args:
        scene: The scene; a window of a smaller one is mirrored.
        side: Rows and columns of a window.
    """
    down, across = (max(1, math.ceil(length / side)) for length in (scene.height, scene.width))
    share = min(1.0, math.sqrt(adapted.WINDOWS / (down * across)))
    down = min(down, max(1, round(share * down)), adapted.WINDOWS)
    across = min(across, adapted.WINDOWS // down)
    every = [
        Window(y, x, side, side)
        for y in _starts(scene.height, side, down)
        for x in _starts(scene.width, side, across)
    ]
    data = np.array([scene.padded(window)[1].mean() for window in every])
    return [w for w, of in zip(every, data, strict=True) if of > 0 and of >= SEEN * data.max()]


def _starts(length: int, side: int, count: int) -> list[int]:
    """First pixels of so many windows; one alone lies in the middle."""
    last = max(0, length - side)
    return [last // 2] if count == 1 else np.linspace(0, last, count).astype(int).tolist()


def _batches(scene: Padded, windows: Sequence[Window], size: int) -> Iterator[Sample]:
    """Batches of equal size, each with windows from all over the scene."""
    count = -(-len(windows) // size)
    for number in range(count):
        images, valid = zip(*map(scene.padded, windows[number::count]), strict=True)
        yield {"image": _filled(images, size), "valid": _filled(valid, size)}


def _filled(arrays: Sequence[NDArray[np.generic]], size: int) -> NDArray[np.generic]:
    """Stacked, with zeros up to the size; a mask of zeros counts nothing."""
    stacked = np.stack(arrays)
    missing = np.zeros((size - len(stacked), *stacked.shape[1:]), stacked.dtype)
    return np.concatenate((stacked, missing))
