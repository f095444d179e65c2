"""One pass over a part of a scene: tiles in, rows of class probabilities out, from the top.

Threads read the next rows of tiles while this one is computed, and the devices have the next batch
while the host adds up the last one.
"""

import dataclasses
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

import jax
import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.prediction.blending import Rows
from jaxseg.prediction.network import TileNetwork, largest
from jaxseg.prediction.tiling import Grid
from jaxseg.scenes.scene import Window

AHEAD = 2
"""Rows of tiles that are read ahead."""

RUNNING = 2
"""Batches that the devices have beside the one whose answer is awaited."""

EMPTY = 2
"""Rows of tiles without data that a batch waits for, to be filled by the next one."""

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
    """Some rows of the scene, until the next ones are asked for: their memory is used again.

    Attributes:
        first: The first of them.
        probabilities: (K, h, w) float32, or the number of the largest, (1, h, w), if the network
            answers only that.
        valid: (h, w), False where there are no data.
    """

    first: int
    probabilities: NDArray[np.generic]
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
    sums = Rows(grid, network.channels, window.x, window.width, network.dtype)
    left = window.x - grid.start(columns[0])
    with ThreadPoolExecutor(READERS) as readers:
        strips = _read_ahead(scene, grid, grid.touching(window.y, bottom), columns, readers)
        for (row, valid), column, weighted in _computed(network, strips, columns, batch):
            if column is not None:
                sums.add(column, weighted)
                continue
            first = grid.core_start(row)
            rows = slice(max(0, window.y - first), min(grid.step, bottom - first))
            done, inside = sums.finished()[:, rows], grid.margin + np.arange(rows.start, rows.stop)
            if len(inside):
                _refuse_non_finite(done, first + rows.start)
                yield Swept(first + rows.start, done, valid[inside, left : left + window.width])


def _refuse_non_finite(answers: NDArray[np.generic], row: int) -> None:
    """A class of NaN would be the first one.

    Raises:
        UserError: A probability is not finite.
    """
    if answers.dtype.kind == "f":
        finite = np.isfinite(answers.sum(dtype=np.float64))
    else:
        finite = answers.max(initial=0) < largest(answers.dtype)
    if not finite:
        raise UserError(
            f"The network's probabilities are not finite in rows {row} to "
            f"{row + answers.shape[1] - 1}. Evaluate the run, and look for extreme values in "
            "these rows of the scene; --image.nodata leaves a value out."
        )


@dataclasses.dataclass
class _Strip:
    """A row of tiles of one panel, as it is read.

    Attributes:
        row: Number of the row of tiles.
        valid: (size, width).
        images: (size, w, C) of parts side by side.
        starts: First column of each part.
    """

    row: int
    valid: NDArray[np.bool_]
    images: Sequence[NDArray[np.generic]]
    starts: Sequence[int]

    def image(self, first: int, last: int) -> NDArray[np.generic]:
        """(size, last - first, C) of some columns."""
        parts = [
            image[:, max(0, first - start) : last - start]
            for start, image in zip(self.starts, self.images, strict=True)
            if start < last and first < start + image.shape[1]
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, 1)


_Part = tuple[NDArray[np.generic], NDArray[np.bool_]]
"""Image and where it has data, of some columns."""


def _read_ahead(
    scene: Padded, grid: Grid, rows: range, columns: range, readers: ThreadPoolExecutor
) -> Iterator[_Strip]:
    """Rows of tiles in their order, the next ones being read."""
    left = grid.start(columns[0])
    width = grid.start(columns[-1]) + grid.size - left
    pieces = min(READERS, -(-width // PIECE))
    cuts = [width * piece // pieces for piece in range(pieces + 1)]

    def begin(row: int) -> list[Future[_Part]]:
        return [
            readers.submit(scene.padded, Window(grid.start(row), left + a, grid.size, b - a))
            for a, b in itertools.pairwise(cuts)
        ]

    def finish(row: int, parts: list[Future[_Part]]) -> _Strip:
        images, valid = zip(*(part.result() for part in parts), strict=True)
        return _Strip(row, np.concatenate(valid, 1), images, cuts[:-1])

    ahead = deque((row, begin(row)) for row in rows[:AHEAD])
    for row in rows[AHEAD:] or ():
        yield finish(*ahead.popleft())
        ahead.append((row, begin(row)))
    while ahead:
        yield finish(*ahead.popleft())


class _Row(NamedTuple):
    """A row of tiles without its image."""

    number: int
    valid: NDArray[np.bool_]


_Place = tuple[_Row, int | None]
"""A tile by its row and column; the end of a row has no column."""


def _computed(
    network: TileNetwork, strips: Iterator[_Strip], columns: range, batch: int
) -> Iterator[tuple[_Row, int | None, NDArray[np.generic]]]:
    """Answer of each tile of each row, and after its tiles the end of the row.

    Batches go on from one row to the next, so that nearly all are full, and some of them are handed
    to the devices before the answer of the first is awaited. A batch does not wait for more than a
    few rows without data: they are held until it is computed.
    """
    running: deque[tuple[list[_Place], jax.Array | None]] = deque()
    places: list[_Place] = []
    images: list[NDArray[np.generic]] = []
    valid: list[NDArray[np.bool_]] = []
    empty = 0
    for strip in strips:
        row, tiles = _Row(strip.row, strip.valid), list(_tiles(strip, network.grid, columns))
        for column, part in tiles:
            places.append((row, column))
            images.append(strip.image(part.start, part.stop))
            valid.append(strip.valid[:, part])
            if len(images) == batch:
                running.append((places, _begun(network, images, valid, batch)))
                places, images, valid = [], [], []
                yield from _awaited(running)
        places.append((row, None))
        empty = 0 if tiles else empty + 1
        if empty and (not images or empty > EMPTY):
            running.append((places, _begun(network, images, valid, batch)))
            places, images, valid = [], [], []
            yield from _awaited(running)
    running.append((places, _begun(network, images, valid, batch)))
    while running:
        yield from _fetched(*running.popleft())


def _begun(
    network: TileNetwork,
    images: list[NDArray[np.generic]],
    valid: list[NDArray[np.bool_]],
    batch: int,
) -> jax.Array | None:
    """The batch on the devices; it is filled with its last tile, so that nothing is compiled again.

    Returns None for an empty batch.
    """
    if not images:
        return None
    more = batch - len(images)
    image, known = (np.stack(part + part[-1:] * more) for part in (images, valid))
    return network(image, known)


def _awaited(
    running: deque[tuple[list[_Place], jax.Array | None]],
) -> Iterator[tuple[_Row, int | None, NDArray[np.generic]]]:
    """What has to be taken from the devices before more is handed to them."""
    while sum(answer is not None for _, answer in running) > RUNNING or len(running) > 2 * RUNNING:
        yield from _fetched(*running.popleft())


def _tiles(strip: _Strip, grid: Grid, columns: range) -> Iterator[tuple[int, slice]]:
    """Column of each tile of a row and its part of the strip; tiles without data are left out."""
    core = slice(grid.margin, grid.margin + grid.core)
    for column in columns:
        start = grid.start(column) - grid.start(columns[0])
        if strip.valid[core, start + grid.margin : start + grid.margin + grid.core].any():
            yield column, slice(start, start + grid.size)


def _fetched(
    places: list[_Place], answer: jax.Array | None
) -> Iterator[tuple[_Row, int | None, NDArray[np.generic]]]:
    """Awaits a batch."""
    found = iter(() if answer is None else np.asarray(answer))
    nothing = np.zeros(0)
    for row, column in places:
        yield row, column, nothing if column is None else next(found)
