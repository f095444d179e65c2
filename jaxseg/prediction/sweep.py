"""One pass over a part of a scene: tiles in, rows of class probabilities out, from the top.

Threads read the next rows of tiles while this one is computed, and the devices have the next batch
while the host adds up the last one.
"""

import dataclasses
import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

import jax
import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.prediction.blending import Rows
from jaxseg.prediction.network import TileNetwork
from jaxseg.prediction.tiling import Grid
from jaxseg.scenes.scene import Window

AHEAD = 2
"""Rows of tiles that are read ahead."""

READERS = 4
"""Threads that read; several because most of reading is decompression."""

PIECE = 512
"""Columns that are worth a thread of their own."""


class Padded(Protocol):
    """A scene as tiles are read from it."""

    def padded(self, window: Window) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
        """The image (h, w, C) and where it has data (h, w); the scene is mirrored beyond its ends.

        Raises:
            UserError: It cannot be read.
        """


class Swept(NamedTuple):
    """Some rows of the scene.

    Attributes:
        first: The first of them.
        probabilities: (K, h, w) float32.
        valid: (h, w), False where there are no data.
    """

    first: int
    probabilities: NDArray[np.float32]
    valid: NDArray[np.bool_]


def sweep(network: TileNetwork, scene: Padded, window: Window, batch: int) -> Iterator[Swept]:
    """The probabilities in a window, some rows at a time.

    A pixel's do not depend on the window: tiles lie on a grid that begins with the scene.

    Args:
        network: What is computed.
        scene: What is read.
        window: Inside the scene.
        batch: Tiles that are computed at a time.

    Raises:
        UserError: The scene cannot be read, or a probability is not finite.
    """
    grid, bottom = network.grid, window.y + window.height
    columns = grid.touching(window.x, window.x + window.width)
    sums = Rows(grid, network.classes, window.x, window.width)
    left = window.x - grid.start(columns[0])
    with ThreadPoolExecutor(READERS) as readers:
        for strip in _read_ahead(scene, grid, grid.touching(window.y, bottom), columns, readers):
            for column, weighted in _tiles(network, strip, columns, batch):
                sums.add(column, weighted)
            first = grid.core_start(strip.row)
            rows = slice(max(0, window.y - first), min(grid.step, bottom - first))
            done, inside = sums.finished()[:, rows], grid.margin + np.arange(rows.start, rows.stop)
            if len(inside):
                _refuse_non_finite(done, first + rows.start)
                yield Swept(
                    first + rows.start, done, strip.valid[inside, left : left + window.width]
                )


def _refuse_non_finite(probabilities: NDArray[np.float32], row: int) -> None:
    """A class of NaN would be the first one.

    Raises:
        UserError: A probability is not finite.
    """
    if not np.isfinite(probabilities.sum(dtype=np.float64)):
        raise UserError(
            f"The network's probabilities are not finite in rows {row} to "
            f"{row + probabilities.shape[1] - 1}. Evaluate the run, and look for extreme values in "
            "these rows of the scene; --image.nodata leaves a value out."
        )


@dataclasses.dataclass
class _Strip:
    """A row of tiles of one panel, as it is read.

    Attributes:
        row: Number of the row of tiles.
        image: (size, width, C).
        valid: (size, width).
    """

    row: int
    image: NDArray[np.generic]
    valid: NDArray[np.bool_]


def _read_ahead(
    scene: Padded, grid: Grid, rows: range, columns: range, readers: ThreadPoolExecutor
) -> Iterator[_Strip]:
    """Rows of tiles in their order, the next ones being read."""
    left = grid.start(columns[0])
    width = grid.start(columns[-1]) + grid.size - left
    cuts = np.linspace(0, width, min(READERS, -(-width // PIECE)) + 1).astype(int)

    def begin(row: int) -> list[Future[tuple[NDArray[np.generic], NDArray[np.bool_]]]]:
        return [
            readers.submit(
                scene.padded, Window(grid.start(row), left + int(a), grid.size, int(b - a))
            )
            for a, b in itertools.pairwise(cuts)
        ]

    ahead = deque((row, begin(row)) for row in rows[:AHEAD])
    for row in rows[AHEAD:] or ():
        yield _strip(*ahead.popleft())
        ahead.append((row, begin(row)))
    while ahead:
        yield _strip(*ahead.popleft())


def _strip(row: int, parts: list[Future[tuple[NDArray[np.generic], NDArray[np.bool_]]]]) -> _Strip:
    images, valid = zip(*(part.result() for part in parts), strict=True)
    return _Strip(row, np.concatenate(images, 1), np.concatenate(valid, 1))


def _tiles(
    network: TileNetwork, strip: _Strip, columns: range, batch: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Weighted probabilities of each tile of a row; tiles without data are left out."""
    grid = network.grid
    left = grid.start(columns[0])
    core = slice(grid.margin, grid.margin + grid.core)
    places = {}
    for column in columns:
        start = grid.start(column) - left
        if strip.valid[core, start + grid.margin : start + grid.margin + grid.core].any():
            places[column] = slice(start, start + grid.size)
    numbers = list(places)
    running: deque[tuple[list[int], jax.Array]] = deque()
    for first in range(0, len(numbers), batch):
        chosen = numbers[first : first + batch]
        filled = [places[number] for number in (chosen + chosen[-1:] * batch)[:batch]]
        image = np.stack([strip.image[:, place] for place in filled])
        valid = np.stack([strip.valid[:, place] for place in filled])
        running.append((chosen, network(image, valid)))
        if len(running) > 1:
            yield from _fetched(*running.popleft())
    while running:
        yield from _fetched(*running.popleft())


def _fetched(numbers: list[int], answer: jax.Array) -> Iterator[tuple[int, NDArray[np.float32]]]:
    yield from zip(numbers, np.asarray(answer), strict=False)
