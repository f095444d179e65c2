"""Classes that come one after the other: what a source looks like at one stage of them.

In the overlapped setting of class-incremental segmentation, the labels of a stage know the new
classes alone: pixels of earlier classes, and of classes to come, are labelled background. Tests
know all classes that have come so far.

Source: Cermelli et al., Modeling the Background for Incremental Learning in Semantic Segmentation,
CVPR 2020, arXiv:2002.00718. Difference: every training scene is used at every stage, whether or
not it shows a new class.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE, Sample, Scenes, Source, Window
from jaxseg.scenes.sensor import Sensor

BACKGROUND_COLOR = (128, 128, 128)


@dataclass(frozen=True)
class Stage:
    """A source with the classes of one stage: background, then `old`, then `new`.

    A pixel of any other class is background. So are those of `old` in the training split.

    Attributes:
        source: The source with all classes. One whose labels lack the old classes names them, too.
        new: Classes that are labelled at this stage.
        old: Classes of earlier stages, in the order in which they came.
        background: Name of class 0.
    """

    source: Source
    new: tuple[str, ...]
    old: tuple[str, ...] = ()
    background: str = "other"

    IMAGE: ClassVar[tuple[str, ...]] = ("source",)

    def __post_init__(self) -> None:
        """Rejects classes that are named twice, and a stage without a new one.

        Raises:
            UserError: A name is there twice, or there is no new class.
        """
        if not self.new:
            raise UserError("A stage without new classes: name those that its labels know as new.")
        for name in self.classes:
            if self.classes.count(name) > 1:
                raise UserError(
                    f"The stage names the class {name!r} twice: a class is the background, old or "
                    "new."
                )

    @property
    def classes(self) -> tuple[str, ...]:
        """Background, old, new."""
        return (self.background, *self.old, *self.new)

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """Those of the wrapped source; the background is grey."""
        of = dict(zip(self.source.classes, self.source.colors, strict=True))
        return (BACKGROUND_COLOR, *(of[name] for name in self._known()))

    @property
    def sensor(self) -> Sensor:
        """That of the wrapped source."""
        return self.source.sensor

    def scenes(self, split: str) -> Scenes:
        """The scenes of the wrapped source with the labels of this stage.

        Raises:
            UserError: The split is missing, or the source lacks a class of the stage.
        """
        known = self._known()
        ids = np.zeros(256, np.uint8)
        ids[IGNORE] = IGNORE
        for number, name in enumerate(known, 1):
            if split != "train" or name in self.new:
                ids[self.source.classes.index(name)] = number
        return _Relabelled(self.source.scenes(split), ids)

    def rgb(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """As the wrapped source displays its bands."""
        return self.source.rgb(image)

    def _known(self) -> tuple[str, ...]:
        """The old and the new classes.

        Raises:
            UserError: The source lacks one.
        """
        known = (*self.old, *self.new)
        for name in known:
            if name not in self.source.classes:
                raise UserError(
                    f"The stage names the class {name!r}; the source has "
                    f"{', '.join(self.source.classes)}."
                )
        return known


class _Relabelled:
    """Scenes whose labels pass through a table."""

    def __init__(self, scenes: Scenes, ids: NDArray[np.uint8]) -> None:
        self.inner, self._ids = scenes, ids

    def __len__(self) -> int:
        return len(self.inner)

    def name(self, index: int) -> str:
        return self.inner.name(index)

    def size(self, index: int) -> tuple[int, int]:
        return self.inner.size(index)

    def read(self, index: int, window: Window) -> Sample:
        sample = self.inner.read(index, window)
        return sample | {"label": self._ids[sample["label"].astype(np.uint8)]}
