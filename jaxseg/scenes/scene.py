"""What travels from a disk to the loss: scenes, windows of them, and batches.

A *scene* is one co-registered image and label map of any size. A *source* is a frozen dataclass
that a config holds; it opens the scenes of a split. The pipeline cuts windows from scenes and
stacks them to batches:

    image       (B, H, W, C)  raw sensor numbers in the sensor's own dtype; never scaled on the host
    label       (B, H, W)     uint8 class ids 0..K-1, or IGNORE
    valid       (B, H, W)     bool: False where the sensor has no data (nodata, NaN, padding)
    instance    (B, H, W)     int32 object ids, 0 = no object; only where the source knows objects
    separation  (B, H, W)     float32 pixels, d1 + d2 of the U-Net's border weights; only on request
    side        (B, H, W, S)  raw numbers of a second sensor, in training only (`datasets.paired`)
    side_valid  (B, H, W)     bool: False where the second sensor has no data

A pixel takes part in losses and metrics where `valid` holds and `label` is not IGNORE.
"""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from jaxseg.scenes.sensor import Sensor

IGNORE = 255
"""The label of a pixel that no loss and no metric may see."""

Sample = dict[str, NDArray[np.generic]]
"""One window: the fields above without the batch axis."""


class Window(NamedTuple):
    """A rectangle of pixels, always inside its scene."""

    y: int
    x: int
    height: int
    width: int


class Scenes(Protocol):
    """Random access to the scenes of one split; safe to read from several threads at once."""

    def __len__(self) -> int:
        """Number of scenes."""

    def name(self, index: int) -> str:
        """What messages and pictures call the scene: a path or an id."""

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of the scene in pixels; cheap, no pixel is read."""

    def read(self, index: int, window: Window) -> Sample:
        """`image` (h, w, C); `label` uint8, `valid` bool, and `instance` int32 if known, (h, w).

        Raises:
            UserError: The file cannot be read or holds a value that is no class.
        """


@runtime_checkable
class Source(Protocol):
    """A labelled collection, as a config holds it: a frozen dataclass of plain values."""

    @classmethod
    def __subclasshook__(cls, other: type) -> bool:
        """Lets `issubclass` work, which flags need and protocols with properties refuse."""
        return callable(getattr(other, "scenes", None)) and callable(getattr(other, "rgb", None))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes, in the order of their ids."""

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """One RGB colour (0..255) per class, for maps and panels."""

    @property
    def sensor(self) -> Sensor:
        """Names of the C bands in the order of the image's last axis, their unit, the scale."""

    def scenes(self, split: str) -> Scenes:
        """The scenes of `train`, `validation` or `test`; builds or indexes them on first use.

        Raises:
            UserError: The data are missing or the split does not exist.
        """

    def rgb(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """(H, W, C) raw numbers -> (H, W, 3) float: what a person sees, before any stretch."""
