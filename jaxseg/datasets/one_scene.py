"""One labelled scene as a source: every split sees the whole image but only its own labels.

image, label, how to split  ->  the labels of one split, 255 elsewhere  ->  `TileScenes`
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets import spatial_split
from jaxseg.datasets.spatial_split import SPLITS
from jaxseg.datasets.tiles import TileScenes
from jaxseg.errors import UserError, check_ranges
from jaxseg.scenes.scene import IGNORE, Origin, Sample
from jaxseg.scenes.source_flags import SOURCE
from jaxseg.system.console import note

Load = Callable[[str], tuple[NDArray[np.generic], NDArray[np.uint8]]]
"""Folder of the scene -> image (H, W, C) and label (H, W), 255 = unlabelled."""


@dataclasses.dataclass(frozen=True)
class SceneSplit:
    """How the labelled pixels of one scene are divided; see `jaxseg.datasets.spatial_split`.

    Attributes:
        kind: `blocks` keeps training and test pixels apart; `pixels` draws single pixels, as is
            common in the field, with a warning, because their neighbourhoods overlap.
        fractions: Shares of train, validation and test.
        block: Rows and columns of a block.
        guard: Pixels within this distance of a training block belong to no other split.
        seed: Seed of the random assignment.
    """

    kind: Literal["blocks", "pixels"] = "blocks"
    fractions: tuple[float, float, float] = (0.4, 0.1, 0.5)
    block: int = dataclasses.field(default=12, metadata={"least": 1})
    guard: int = dataclasses.field(default=4, metadata={"least": 0})
    seed: int = dataclasses.field(default=0, metadata={"least": 0})

    def __post_init__(self) -> None:
        """Rejects sizes that are too small.

        Raises:
            UserError: A field is too small; the message names it.
        """
        check_ranges(self, f"{SOURCE}.split")

    def of(
        self, label: NDArray[np.uint8], name: str, *, draws: int = spatial_split.DRAWS
    ) -> NDArray[np.uint8]:
        """(H, W) index of each labelled pixel's split in `SPLITS`, 255 = no split.

        Args:
            label: (H, W) classes, 255 = unlabelled.
            name: Name of the scene in messages.
            draws: Number of random assignments of blocks that are tried.

        Raises:
            UserError: The scene cannot be divided in this way.
        """
        if self.kind == "blocks":
            return spatial_split.block_split(
                label,
                block=self.block,
                guard=self.guard,
                fractions=self.fractions,
                seed=self.seed,
                draws=draws,
            )
        note(
            f"{name}: a split by single pixels leaks. Most test pixels lie beside a training "
            "pixel of the same field;\nscores are far above what another scene would give. "
            f"{SOURCE}.split.kind blocks keeps them apart."
        )
        return spatial_split.random_split(label, fractions=self.fractions, seed=self.seed)

    def origin(self, place: str) -> Origin:
        """The facts that are compared to find leaks; every split is a part of the same scene."""
        return Origin(place, dataclasses.asdict(self), whole=False)


def scene_of_split(path: str, how: SceneSplit, load: Load, split: str, name: str) -> TileScenes:
    """The scene, with only the labels of `train`, `validation` or `test`.

    Args:
        path: Folder of the scene.
        how: How it is divided.
        load: Reads the scene.
        split: The split whose labels are kept.
        name: Name of the scene in messages.

    Raises:
        UserError: There is no such split, or the scene cannot be read or divided.
    """
    if split not in SPLITS:
        raise UserError(f"Split {split!r} of {name}: choose one of {', '.join(SPLITS)}.")
    image, label = load(path)
    numbers = _divided(path, how, load, name)
    shown = np.where(numbers == SPLITS.index(split), label, np.uint8(IGNORE))
    record = {"image": image, "label": shown, "valid": np.ones(label.shape, bool)}
    return TileScenes([record], _sample, [label.shape], [f"{name}, {split} pixels"])


def _sample(record: Mapping[str, Any]) -> Sample:
    return dict(record)


@functools.cache
def _divided(path: str, how: SceneSplit, load: Load, name: str) -> NDArray[np.uint8]:
    return how.of(load(path)[1], name)
