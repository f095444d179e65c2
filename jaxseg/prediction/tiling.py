r"""Where tiles lie: a grid anchored at the scene's first pixel, whatever part of it is asked for.

               margin   ramp        whole        ramp   margin
    tile k     |......|///////|==============|\\\\\\\\|......|
    tile k+1                         |......|///////|==============|\\\\\\\\|......|
                                     |<-- step -->

The outer `margin` of a tile sees less of the scene than the network needs and has weight 0. Over
the `ramp` the weight goes from one tile to the next. The weights of all tiles sum to 1 in every
pixel, from the scene's first to its last.
"""

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError


@dataclasses.dataclass(frozen=True)
class Grid:
    """Tiles along rows and along columns alike; all in pixels.

    Attributes:
        size: Rows and columns of a tile.
        margin: Pixels at each side of a tile that have no weight.
        ramp: Pixels over which two neighbours share the weight; 0 = none.
    """

    size: int
    margin: int
    ramp: int

    def __post_init__(self) -> None:
        """Checks the sizes.

        Raises:
            UserError: More than two tiles would meet in a pixel, or nothing is left of one.
        """
        if min(self.margin, self.ramp) < 0 or self.step < max(1, self.ramp):
            raise UserError(
                f"Tiles of {self.size} pixels with a margin of {self.margin} and a ramp of "
                f"{self.ramp}: size - 2 x margin - ramp has to be at least {max(1, self.ramp)}. "
                "Give a larger --tile or a smaller --overlap."
            )

    @property
    def step(self) -> int:
        """Distance between the first pixels of two neighbours."""
        return self.size - 2 * self.margin - self.ramp

    @property
    def core(self) -> int:
        """Pixels of a tile that have a weight: all but the margins."""
        return self.step + self.ramp

    def count(self, length: int) -> int:
        """Tiles along a scene of so many pixels."""
        return math.ceil((length + self.ramp) / self.step)

    def start(self, tile: int) -> int:
        """First pixel of a tile, margin included; below 0 for the first."""
        return self.core_start(tile) - self.margin

    def core_start(self, tile: int) -> int:
        """First pixel of a tile that has a weight; below 0 for the first if there is a ramp."""
        return tile * self.step - self.ramp

    def touching(self, first: int, last: int) -> range:
        """The tiles that have a weight in one of the pixels `first` to `last - 1`."""
        return range(max(0, first // self.step), (last - 1 + self.ramp) // self.step + 1)

    def weights(self) -> NDArray[np.float32]:
        """(core,) weight of each pixel of a tile; of two neighbours they sum to 1."""
        weights = np.ones(self.core, np.float32)
        rising = (np.arange(self.ramp, dtype=np.float32) + 0.5) / max(1, self.ramp)
        weights[: self.ramp] = rising
        weights[self.core - self.ramp :] = 1 - rising
        return weights


def grid_for(
    *,
    border: int | None,
    stride: int,
    crop: int,
    tile: int = 0,
    overlap: int | None = None,
    context: int | None = None,
    extent: int | None = None,
) -> tuple[Grid, bool]:
    """The grid for a network, and whether its tiles equal the whole scene in one pass.

    Args:
        border: Rows at the border of a tile whose logits depend on pixels beyond it; None = all.
        stride: The network's output stride; all sizes are multiples of it, so that every tile is
            sampled at the same places.
        crop: Rows of the windows that the network was trained on.
        tile: Rows and columns of a tile; 0 = what makes at least half of it count.
        overlap: Pixels that two neighbours share; None = by the border.
        context: Pixels at each side of a tile that have no weight; None = by the border.
        extent: Rows or columns of the scene, whichever are more; None = many. A tile whose half
            holds the whole scene is halved.

    Raises:
        UserError: The overlap leaves nothing of a tile.
    """
    sees = None if border is None else up(border, stride)
    size = up(tile, stride) if tile else up(_usual(sees, crop), stride)
    chosen = overlap is None and context is None
    fits = sees if chosen and sees is not None and 4 * sees <= size else None
    if extent is not None and not tile and overlap is None:
        while up(size // 2, stride) >= max(64, extent + 2 * (fits or context or 0)):
            size = up(size // 2, stride)
    if context is not None:
        margin = up(context, stride)
        shared = 2 * margin + size // 8 if overlap is None else overlap
        ramp = max(0, down(shared - 2 * margin, stride))
        return Grid(size, margin, ramp), sees is not None and margin >= sees
    if fits is not None:
        return Grid(size, fits, 0), True
    shared = size // 4 if overlap is None else overlap
    if sees is not None and shared >= 2 * sees:
        ramp = down(shared - 2 * sees, stride)
        return Grid(size, sees, ramp), True
    margin = down(shared // 4, stride)
    return Grid(size, margin, down(shared - 2 * margin, stride)), False


def _usual(sees: int | None, crop: int) -> int:
    """Between 512 and 1024 pixels, or as many as the network was trained on."""
    wanted = 8 * sees if sees is not None and 4 * sees <= 1024 else 512
    return max(crop, min(1024, max(512, wanted)))


def up(number: int, stride: int) -> int:
    """The next multiple of the stride."""
    return -(-number // stride) * stride


def down(number: int, stride: int) -> int:
    """The multiple of the stride before."""
    return number // stride * stride
