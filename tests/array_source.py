"""A source of arrays in memory, for tests of what wraps another source."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxseg.batch import Sample, Window
from jaxseg.sensor import Sensor


@dataclasses.dataclass(frozen=True, eq=False)
class ArrayScenes:
    """Fulfils `jaxseg.batch.Scenes`: each scene is a mapping of field to pixels."""

    stored: Sequence[Mapping[str, NDArray[Any]]]
    names: Sequence[str]

    def __len__(self) -> int:  # noqa: D105
        return len(self.stored)

    def name(self, index: int) -> str:  # noqa: D102
        return self.names[index]

    def size(self, index: int) -> tuple[int, int]:  # noqa: D102
        height, width = self.stored[index]["label"].shape
        return height, width

    def read(self, index: int, window: Window) -> Sample:  # noqa: D102
        rows = slice(window.y, window.y + window.height)
        columns = slice(window.x, window.x + window.width)
        return {field: pixels[rows, columns] for field, pixels in self.stored[index].items()}


@dataclasses.dataclass(frozen=True, eq=False)
class ArraySource:
    """Fulfils `jaxseg.batch.Source`; every split has the same scenes."""

    stored: tuple[Mapping[str, NDArray[Any]], ...]
    classes: tuple[str, ...] = ("a", "b", "c")
    colors: tuple[tuple[int, int, int], ...] = ((1, 2, 3), (4, 5, 6), (7, 8, 9))
    sensor: Sensor = Sensor(("x", "y"))
    names: tuple[str, ...] = ()

    def scenes(self, split: str) -> ArrayScenes:
        """The stored scenes, named by their number or as told."""
        usual = tuple(f"{split}{index}" for index in range(len(self.stored)))
        return ArrayScenes(self.stored, self.names or usual)

    def rgb(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """The last band as gray, so that another one shows."""
        return image[..., [-1, -1, -1]].astype(np.float32)


def arrays(label: NDArray[Any], *, bands: int = 2, seed: int = 0, **more: Any) -> dict[str, Any]:
    """A scene of that label: random images, some pixels invalid."""
    random = np.random.default_rng(seed)
    return {
        "image": random.integers(1, 99, (*label.shape, bands)).astype(np.uint16),
        "label": label.astype(np.uint8),
        "valid": random.random(label.shape) < 0.8,
        **more,
    }
