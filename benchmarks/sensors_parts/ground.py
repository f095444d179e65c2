"""The same ground for every sensor of the landscape: equal tiles, labels and missing pixels.

The landscape's sensors have different numbers of tiles by default, its hyperspectral tiles are the
middle of the others, and the optical ones alone have pixels without data. Here all of this is
equal: the middle 128 x 128 pixels of as many tiles, and where the optical sensor has no data, no
sensor has.
"""

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets.landscape import CLASSES, Landscape
from jaxseg.datasets.landscape.surfaces import Modality
from jaxseg.scenes.scene import Sample, Scenes, Window
from jaxseg.scenes.sensor import Sensor

SIDE = 128
"""Rows and columns of the ground of a tile."""


@dataclasses.dataclass(frozen=True)
class SameGround:
    """The middle of the landscape's tiles as one sensor sees it; fulfils the protocol `Source`.

    Attributes:
        modality: The sensor.
        tiles: Number of tiles of train, validation and test.
    """

    modality: Modality = "optical"
    tiles: tuple[int, int, int] = (80, 16, 32)

    @property
    def classes(self) -> tuple[str, ...]:
        """The landscape's ten classes."""
        return CLASSES

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """The landscape's."""
        return self._seen_by(self.modality).colors

    @property
    def sensor(self) -> Sensor:
        """The landscape's."""
        return self._seen_by(self.modality).sensor

    def scenes(self, split: str) -> Scenes:
        """The scenes of a split; both sensors are drawn on first use.

        Raises:
            UserError: There is no such split.
        """
        return _kept(self, split)

    def rgb(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """As the landscape displays the bands."""
        return self._seen_by(self.modality).rgb(image)

    def _seen_by(self, modality: Modality) -> Landscape:
        return Landscape(modality, tiles=self.tiles)


class Middle:
    """The middle of scenes, valid where `optical` is; kept once read, since tiles are compressed.

    Args:
        scenes: What one sensor sees.
        optical: What the optical sensor sees of the same ground.
    """

    def __init__(self, scenes: Scenes, optical: Scenes) -> None:
        """See the class."""
        self._scenes, self._optical = scenes, optical
        self._read: dict[int, Sample] = {}

    def __len__(self) -> int:
        """Number of scenes."""
        return len(self._scenes)

    def name(self, index: int) -> str:
        """Name of the tile."""
        return self._scenes.name(index)

    def size(self, index: int) -> tuple[int, int]:
        """Rows and columns."""
        del index
        return SIDE, SIDE

    def read(self, index: int, window: Window) -> Sample:
        """Cuts the window; several threads may read."""
        if index not in self._read:  # two threads may both read it, and read the same
            sample = _middle(self._scenes, index)
            seen = _middle(self._optical, index)["valid"]
            self._read[index] = sample | {"valid": sample["valid"] & seen}
        rows = slice(window.y, window.y + window.height)
        columns = slice(window.x, window.x + window.width)
        return {name: of[rows, columns].copy() for name, of in self._read[index].items()}


@functools.lru_cache(maxsize=6)  # every run of a sensor reads its splits several times
def _kept(source: SameGround, split: str) -> Middle:
    one, optical = (Landscape(each, source.tiles) for each in (source.modality, "optical"))
    return Middle(one.scenes(split), optical.scenes(split))


def _middle(scenes: Scenes, index: int) -> Sample:
    rows, columns = scenes.size(index)
    return scenes.read(index, Window((rows - SIDE) // 2, (columns - SIDE) // 2, SIDE, SIDE))
