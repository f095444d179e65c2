"""How much a map depends on where its tiles lie: the disagreement of two tilings.

Some parts of the scene are mapped twice, by the map's own tiles and by tiles that are shifted by
half of their distance. Pixels whose class differs depend on the tiling. They are counted beside
the seams of either tiling, where a blend that is too narrow shows, and elsewhere, where a network
that looks at whole tiles shows.

The measure and its sampling are our choice.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxseg.prediction.layers import drawn
from jaxseg.prediction.network import TileNetwork
from jaxseg.prediction.sweep import Padded, sweep
from jaxseg.scenes.scene import Window

PARTS = 8
"""At most; each is as large as the distance of two tiles, and costs about eight tiles."""

_TILES_OF_A_PART = 64
"""One part for so many tiles of the map, so that at most an eighth is added to the work."""


class Seams(NamedTuple):
    """Pixels that were mapped by two tilings, and how many of them changed class.

    Attributes:
        width: Pixels from a seam that count as beside it.
        beside: (pixels, changed) beside a seam.
        elsewhere: The same of all others.
    """

    width: int
    beside: tuple[int, int]
    elsewhere: tuple[int, int]

    def __str__(self) -> str:
        """A sentence of two lines."""
        both = (self.beside[0] + self.elsewhere[0], self.beside[1] + self.elsewhere[1])
        return (
            f"{_percent(both)} of the pixels change class with another tiling:\n"
            f"{_percent(self.beside)} within {self.width} pixels of a seam, "
            f"{_percent(self.elsewhere)} elsewhere"
        )


class _Shifted:
    """A scene that begins earlier, so that its tiles lie elsewhere."""

    def __init__(self, scene: Padded, by: int) -> None:
        self._scene, self._by = scene, by

    def padded(self, window: Window) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """The same pixels of the scene."""
        return self._scene.padded(window._replace(y=window.y - self._by, x=window.x - self._by))


def seams(network: TileNetwork, scene: Padded, window: Window, batch: int) -> Seams:
    """Maps parts of a window by two tilings.

    Args:
        network: What is mapped.
        scene: What is read.
        window: Inside the scene.
        batch: Tiles that are computed at a time.

    Raises:
        UserError: The scene cannot be read.
    """
    grid = network.grid
    by = max(1, grid.step // 2 // network.stride) * network.stride
    width = max(1, grid.step // 16)
    counts = np.zeros((2, 2), np.int64)  # (elsewhere, beside), (pixels, changed)
    for part in _parts(window, grid.step):
        first = _classes(network, scene, part, batch)
        moved = part._replace(y=part.y + by, x=part.x + by)
        second = _classes(network, _Shifted(scene, by), moved, batch)
        rows, columns = (
            _beside(np.arange(start, start + length), grid.step, grid.ramp, by, width)
            for start, length in ((part.y, part.height), (part.x, part.width))
        )
        beside = rows[:, None] | columns
        valid = (first >= 0) & (second >= 0)
        for place, where in enumerate((~beside, beside)):
            counts[place] += ((valid & where).sum(), (valid & where & (first != second)).sum())
    elsewhere, near = ((int(pixels), int(changed)) for pixels, changed in counts)
    return Seams(width, near, elsewhere)


def _parts(window: Window, step: int) -> list[Window]:
    """Parts of a window, as large as the distance of two tiles, along its two diagonals."""
    height, width = min(step, window.height), min(step, window.width)
    tiles = -(-window.height // step) * -(-window.width // step)
    count = min(PARTS, max(1, tiles // _TILES_OF_A_PART))
    found = []
    for number in range(count):
        down = (number + 0.5) / count
        across = down if number % 2 == 0 else 1 - down
        y = window.y + int(down * (window.height - height))
        x = window.x + int(across * (window.width - width))
        found.append(Window(y, x, height, width))
    return found


def _classes(network: TileNetwork, scene: Padded, part: Window, batch: int) -> NDArray[np.int32]:
    """(h, w) class of each pixel, -1 where the scene has no data."""
    rows = []
    for swept in sweep(network, scene, part, batch):
        found = drawn("classes", swept.probabilities, swept.valid)[..., 0]
        rows.append(np.where(swept.valid, found.astype(np.int32), -1))
    return np.concatenate(rows)


def _beside(
    places: NDArray[np.int64], step: int, ramp: int, by: int, width: int
) -> NDArray[np.bool_]:
    """Which rows or columns of the scene lie beside the middle of a ramp of either tiling."""
    middle = places + ramp // 2
    apart = [np.minimum((middle + shift) % step, -(middle + shift) % step) for shift in (0, by)]
    return np.minimum(*apart) <= width


def _percent(pixels: tuple[int, int]) -> str:
    return "0 %" if not pixels[0] else f"{100 * pixels[1] / pixels[0]:.2f} %"
