"""One labelled scene as a source: every split sees the whole image and its own labels alone.

image, label, how to split  ->  the labels of one split, 255 elsewhere  ->  `TileScenes`
"""

import functools
import sys
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets import spatial_split
from jaxseg.datasets.spatial_split import SPLITS
from jaxseg.datasets.tiles import TileScenes
from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE, Sample

Load = Callable[[str], tuple[NDArray[np.generic], NDArray[np.uint8]]]
"""The folder of the scene -> image (H, W, C) and label (H, W), 255 = none."""


class Settings(Hashable, Protocol):
    """The fields of a source of one scene; see `jaxseg.datasets.spatial_split`."""

    @property
    def split(self) -> Literal["blocks", "pixels"]:
        """Whether whole blocks go to a split, or single pixels, which leaks."""

    @property
    def fractions(self) -> tuple[float, float, float]:
        """Shares of train, validation and test."""

    @property
    def block(self) -> int:
        """Rows and columns of a block."""

    @property
    def guard(self) -> int:
        """Pixels this close to a training block belong to no other split."""

    @property
    def seed(self) -> int:
        """Decides the split."""

    @property
    def path(self) -> str:
        """Folder of the scene."""


def scene_of_split(settings: Settings, load: Load, split: str, name: str) -> TileScenes:
    """The scene, with the labels of `train`, `validation` or `test` alone.

    Args:
        settings: The source.
        load: Reads the scene.
        split: Which labels.
        name: What the scene is called.

    Raises:
        UserError: There is no such split, or the scene cannot be read or divided.
    """
    if split not in SPLITS:
        raise UserError(f"Split {split!r} of {name}: choose one of {', '.join(SPLITS)}.")
    image, label = load(settings.path)
    parts = _parts(settings, load, name)
    shown = np.where(parts == SPLITS.index(split), label, np.uint8(IGNORE))
    record = {"image": image, "label": shown, "valid": np.ones(label.shape, bool)}
    return TileScenes([record], _sample, [label.shape], [f"{name}, {split} pixels"])


def _sample(record: Mapping[str, Any]) -> Sample:
    return dict(record)


@functools.cache
def _parts(settings: Settings, load: Load, name: str) -> NDArray[np.uint8]:
    _, label = load(settings.path)
    if settings.split == "pixels":
        sys.stderr.write(
            f"{name}: a split by single pixels leaks. Most test pixels lie beside a training "
            "pixel of the same field;\nscores are far above what another scene would give. "
            "--config.data.source.split blocks keeps them apart.\n"
        )
        return spatial_split.random_split(label, fractions=settings.fractions, seed=settings.seed)
    return spatial_split.block_split(
        label,
        block=settings.block,
        guard=settings.guard,
        fractions=settings.fractions,
        seed=settings.seed,
    )
