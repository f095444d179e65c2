"""Two sensors over the same ground: `side` is a second source that shows the same scenes.

`Paired` adds the side images in training only, as `side` and `side_valid`; a network trained with
their help is evaluated, exported and used without them. `Stacked` returns both as one image.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets.wrapped import Wrapped
from jaxseg.errors import UserError
from jaxseg.scenes.scene import Sample, Scenes, Source, Window, parts, with_parts
from jaxseg.scenes.sensor import Sensor, stacked


@dataclass(frozen=True)
class Paired(Wrapped):
    """A source with side information in its training split.

    Attributes:
        source: The images that the network always sees.
        side: Side images for training; scene i of a split shows the same ground as the source's.
    """

    side: Source

    def changed(self, scenes: Scenes) -> Scenes:
        """The scenes with side images.

        Raises:
            UserError: The two do not show the same scenes.
        """
        return _Both(scenes, self.side.scenes("train"), join=False)


@dataclass(frozen=True)
class Stacked:
    """Two co-registered sources as one image: the bands of the first, then those of the second.

    A pixel is valid if it is valid in both.

    Attributes:
        first: Source of the first bands and of labels, classes and colours.
        second: Source of the remaining bands; its labels have to be the same.
    """

    first: Source
    second: Source

    IMAGE: ClassVar[tuple[str, ...]] = ("first", "second")

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the first source."""
        return self.first.classes

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """Those of the first source."""
        return self.first.colors

    @property
    def sensor(self) -> Sensor:
        """The bands of both."""
        return stacked(self.first.sensor, self.second.sensor)

    def scenes(self, split: str) -> Scenes:
        """The scenes of both.

        Raises:
            UserError: The split is missing, or the two do not show the same scenes.
        """
        return _Both(self.first.scenes(split), self.second.scenes(split), join=True)

    def rgb(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """As the first source displays its bands."""
        return self.first.rgb(image[..., : len(self.first.sensor.bands)])


def without_side(source: Source) -> Source:
    """The source without side images, for evaluation; they are not opened and may be missing."""
    if isinstance(source, Paired):
        return without_side(source.source)
    inner = {name: without_side(part) for name, part in parts(source).items()}
    return with_parts(source, inner) if inner else source


class _Both:
    """Scenes of two sources, read window by window."""

    def __init__(self, own: Scenes, side: Scenes, *, join: bool) -> None:
        if len(own) != len(side):
            raise UserError(
                f"The source has {len(own)} scenes and its side {len(side)}: scene i of both has "
                "to be the same ground."
            )
        self.inner, self._side, self._join = own, side, join

    def __len__(self) -> int:
        return len(self.inner)

    def name(self, index: int) -> str:
        return self.inner.name(index)

    def size(self, index: int) -> tuple[int, int]:
        return self.inner.size(index)

    def read(self, index: int, window: Window) -> Sample:
        names = f"{self.inner.name(index)} and {self._side.name(index)}"
        sizes = self.inner.size(index), self._side.size(index)
        if sizes[0] != sizes[1]:
            raise UserError(
                f"{names}: {sizes[0][0]} x {sizes[0][1]} and {sizes[1][0]} x {sizes[1][1]} pixels; "
                "both have to be on one grid."
            )
        sample, side = self.inner.read(index, window), self._side.read(index, window)
        # Both sources have labels: if these agree, both show the same ground.
        if not np.array_equal(sample["label"], side["label"]):
            raise UserError(
                f"{names}: their labels differ, so they do not show the same ground. Scene i of "
                "both sources has to be the same; look at the lists and splits of files."
            )
        if self._join:
            pair = (sample["image"], side["image"])
            both = {
                "image": np.concatenate(pair, axis=-1),
                "valid": np.logical_and(sample["valid"], side["valid"]),
            }
            return sample | both
        return sample | {"side": side["image"], "side_valid": side["valid"]}
