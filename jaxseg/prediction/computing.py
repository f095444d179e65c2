"""Blocks of a map: what is computed, gathered from rows of the scene, and written behind."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.prediction import layers as drawing
from jaxseg.prediction.layers import Layer
from jaxseg.prediction.meter import Meter
from jaxseg.prediction.network import TileNetwork
from jaxseg.prediction.settings import Share
from jaxseg.prediction.sweep import Padded, Swept, sweep
from jaxseg.prediction.work import Work
from jaxseg.scenes.scene import Window

WAITING = 2
"""Blocks that wait to be written; more would only take memory."""


def compute(
    network: TileNetwork,
    scene: Padded,
    work: Work,
    batch: int,
    *,
    share: Share = Share(),
    thresholds: tuple[float, ...] = (),
) -> None:
    """Computes and writes the blocks of a share that are not finished.

    Neighbours, one below the other, share their rows of tiles.

    Args:
        network: What is computed.
        scene: What is read.
        work: Where blocks are written.
        batch: Tiles that are computed at a time.
        share: Which of the blocks.
        thresholds: Of the classes; empty = the most probable class.

    Raises:
        UserError: The scene cannot be read, or a block not be written.
    """
    every = work.plan.blocks()
    todo = [every[place] for place in share.of(len(every)) if not work.done(*every[place])]
    if not todo:
        return
    pixels = sum(_area(work.plan.place(*block)) for block in todo)
    written: deque[Future[None]] = deque()
    try:
        with ThreadPoolExecutor(1) as writer, Meter(pixels) as meter:
            for column, rows in _columns(todo):
                first, last = (work.plan.place(row, column) for row in (rows[0], rows[-1]))
                y, x = work.plan.window.y + first.y, work.plan.window.x + first.x
                window = Window(y, x, last.y + last.height - first.y, first.width)
                swept = sweep(network, scene, window, batch)
                for row, drawn in _blocks(swept, work, column, rows, thresholds):
                    written.append(writer.submit(work.write, row, column, drawn))
                    while len(written) > WAITING:
                        written.popleft().result()
                    meter.add(_area(work.plan.place(row, column)))
            for future in written:
                future.result()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        size = network.grid.size
        raise UserError(
            f"The devices have no memory for {batch} tile(s) of {size} x {size} pixels at a time. "
            "Give a smaller --batch or --tile, or divide each tile with --mesh.space."
        ) from error
    except UserError as error:
        raise UserError(
            f"{error} What was finished is kept in {work.folder}: the same command continues."
        ) from error


def _area(window: Window) -> int:
    return window.height * window.width


def _columns(todo: list[tuple[int, int]]) -> Iterator[tuple[int, list[int]]]:
    """Blocks of one column one below the other."""
    rows: list[int] = []
    for number, (row, column) in enumerate(todo):
        rows.append(row)
        following = todo[number + 1] if number + 1 < len(todo) else None
        if following != (row + 1, column):
            yield column, rows
            rows = []


def _blocks(
    swept: Iterator[Swept], work: Work, column: int, rows: list[int], thresholds: tuple[float, ...]
) -> Iterator[tuple[int, dict[Layer, NDArray[np.generic]]]]:
    """The layers of each block, gathered from rows of the scene."""
    parts: dict[Layer, list[NDArray[np.generic]]] = {layer: [] for layer in work.layers}
    waiting, held = list(rows), 0
    for piece in swept:
        begin, end = 0, len(piece.valid)
        while begin < end:
            height = work.plan.place(waiting[0], column).height
            taken = slice(begin, min(end, begin + height - held))
            for layer in parts:
                chances, valid = piece.probabilities[:, taken], piece.valid[taken]
                pixels = drawing.drawn(layer, chances, valid, thresholds)
                parts[layer].append(pixels)
            held += taken.stop - begin
            begin = taken.stop
            if held == height:
                yield waiting.pop(0), {name: np.concatenate(part) for name, part in parts.items()}
                parts, held = {layer: [] for layer in work.layers}, 0
