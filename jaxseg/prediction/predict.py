"""From a run and a scene to a map: `predict(run, [scene], out)`, of any size, resumed after a kill.

    files --window--> tiles --batch--> devices --probabilities--> rows --layers--> blocks --> map

Reading, computing and writing go on at the same time: threads read rows of tiles ahead, the devices
have the next batch while the host adds up the last one, and another thread writes blocks.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from numpy.typing import NDArray

from jaxseg import sharding
from jaxseg.console import clock, make_console, progress_bar, say
from jaxseg.errors import UserError
from jaxseg.files.maps import BLOCK, MapFacts, assemble
from jaxseg.prediction import layers as drawing
from jaxseg.prediction.blending import Rows
from jaxseg.prediction.image import Image, Scene, check_sensor, open_scene
from jaxseg.prediction.layers import Layer
from jaxseg.prediction.network import Augmentation, TileNetwork
from jaxseg.prediction.tiling import Grid, grid_for
from jaxseg.prediction.work import Plan, Work
from jaxseg.run.loaded import Run
from jaxseg.scenes.scene import Window

SUMS = 256 * 2**20
"""Bytes of probabilities that are added up at a time; wider scenes are cut into panels."""

AHEAD = 2
"""Rows of tiles that are read ahead."""

READERS = 4
"""Threads that read; several because most of reading is decompression."""


@dataclasses.dataclass(frozen=True)
class Share:
    """Which part of the blocks this process computes: `number` of `count`, from 1."""

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            UserError: There is no such part.
        """
        if not 1 <= self.number <= self.count:
            raise UserError(
                f"--shard {self.number}/{self.count}: give a part from 1 to the number of parts, "
                "such as 3/16."
            )


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a map is made.

    Attributes:
        layers: What is written.
        image: How the scene's files are read.
        window: Part of the scene: first row, first column, rows, columns; None = all.
        tile: Rows and columns of a tile; 0 = by the network.
        overlap: Pixels that two tiles share; None = by the network's receptive field.
        batch: Tiles that a device computes at a time.
        augmentation: Which symmetries are averaged.
        share: Part of the work.
        overwrite: Whether a map that is there is replaced.
        check: Whether the scene is compared with what the run was trained on.
    """

    layers: tuple[Layer, ...] = ("classes",)
    image: Image = Image()
    window: Window | None = None
    tile: int = 0
    overlap: int | None = None
    batch: int = 1
    augmentation: Augmentation = "none"
    share: Share = Share()
    overwrite: bool = False
    check: bool = True


def predict(
    runs: Sequence[Run],
    paths: Sequence[str],
    out: Path,
    settings: Settings = Settings(),
    *,
    sees: tuple[int | None, int],
    mesh: Mesh | None = None,
) -> list[Path]:
    """Makes the map of one scene, or this process's part of it.

    Args:
        runs: One, or an ensemble whose probabilities are averaged.
        paths: Files of the scene.
        out: The map; other layers are written beside it, map_confidence.tif and so on.
        settings: How.
        sees: Receptive field (None = the whole image) and output stride of the network.
        mesh: Devices; None = all.

    Returns:
        The files that were written; empty if other processes have not finished their parts.

    Raises:
        UserError: The scene cannot be read or the map not written, or the map is there already.
        SensorError: The scene is of another sensor than the run's.
    """
    console = make_console()
    mesh = sharding.make_mesh(runs[0].config.mesh) if mesh is None else mesh
    files = {layer: _file(out, layer) for layer in settings.layers}
    _check_out(files.values(), overwrite=settings.overwrite)
    scene = open_scene(paths, runs[0].config.data.source, runs[0].sensor, settings.image)
    if settings.check:
        check_sensor(scene, runs[0].sensor, settings.image)
    window = _inside(settings.window, scene)
    data = runs[0].config.data
    grid, exact = grid_for(
        receptive_field=sees[0],
        stride=sees[1],
        crop=data.evaluation_crop or data.crop,
        tile=settings.tile,
        overlap=settings.overlap,
    )
    network = TileNetwork(runs, mesh, grid, augmentation=settings.augmentation)
    columns = SUMS // (4 * network.classes * grid.core) // BLOCK * BLOCK
    plan = Plan(window, max(BLOCK, min(columns, -(-window.width // BLOCK) * BLOCK)))
    job = _job(runs, scene, settings, grid, plan)
    work = Work(out, plan, settings.layers, job)
    share = settings.share
    todo = [b for b in plan.share(share.number - 1, share.count) if not work.done(*b)]
    say(console, f"scene      {scene.height} x {scene.width} pixels, {', '.join(scene.paths)}")
    say(console, f"tiles      {_told(grid, exact, sees[0])}")
    _compute(network, scene, work, todo, grid, settings.batch * _width(mesh))
    if left := work.missing():
        say(console, f"{len(left)} of {plan.down * plan.across} blocks are still missing in {work.folder}.")
        return []
    for layer, file in files.items():
        assemble(work.blocks(layer), _facts(layer, runs, scene, window, job), file)
    work.remove()
    return list(files.values())


def _width(mesh: Mesh) -> int:
    """Tiles that the mesh computes at once."""
    return int(mesh.shape["data"] * mesh.shape["fsdp"])


def _told(grid: Grid, exact: bool, field: int | None) -> str:
    sees = "the whole image" if field is None else f"{field} pixels"
    equal = "equal to one pass over the scene" if exact else "blended, not equal to one pass"
    return (
        f"{grid.size} x {grid.size} pixels, {2 * grid.margin + grid.ramp} shared; a pixel depends "
        f"on {sees}: {equal}"
    )


def _file(out: Path, layer: Layer) -> Path:
    """The file of a layer: the map itself for the first kind, else beside it."""
    return out if layer == "classes" else out.with_name(f"{out.stem}_{layer}{out.suffix}")


def _check_out(files: Sequence[Path] | object, *, overwrite: bool) -> None:
    for file in files:  # type: ignore[attr-defined]
        if file.suffix.lower() not in (".tif", ".tiff"):
            raise UserError(f"{file}: a map is a GeoTIFF; give a name that ends in .tif.")
        if not file.parent.is_dir():
            raise UserError(f"{file}: there is no folder {file.parent}. Make it, or correct the name.")
        if file.exists() and not overwrite:
            raise UserError(f"{file} exists. Give another name, or --overwrite to replace it.")


def _inside(window: Window | None, scene: Scene) -> Window:
    whole = Window(0, 0, scene.height, scene.width)
    if window is None:
        return whole
    bottom, right = window.y + window.height, window.x + window.width
    small = min(window.height, window.width) < 1
    if small or min(window.y, window.x) < 0 or bottom > scene.height or right > scene.width:
        raise UserError(
            f"--window {' '.join(map(str, window))}: rows {window.y} to {bottom - 1} and columns "
            f"{window.x} to {right - 1} are not a part of the scene of {scene.height} x "
            f"{scene.width} pixels. Give first row, first column, rows and columns."
        )
    return window


def _job(
    runs: Sequence[Run], scene: Scene, settings: Settings, grid: Grid, plan: Plan
) -> dict[str, object]:
    """All that decides the numbers in the map."""
    files = []
    for path in scene.paths:
        with contextlib.suppress(OSError):  # what is not a local file has no time
            status = os.stat(path)  # noqa: PTH116
            files.append([str(Path(path).resolve()), status.st_size, status.st_mtime_ns])
            continue
        files.append([path])
    return {
        "version": importlib.metadata.version("jaxseg"),
        "runs": [[run.step, run.temperature, _digest(run)] for run in runs],
        "scene": files,
        "image": dataclasses.asdict(settings.image),
        "layers": list(settings.layers),
        "window": list(plan.window),
        "blocks": plan.columns,
        "tiles": dataclasses.asdict(grid),
        "augmentation": settings.augmentation,
    }


def _digest(run: Run) -> str:
    """Of the weights."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(run.variables):
        digest.update(np.ascontiguousarray(np.asarray(leaf)))
    return digest.hexdigest()[:16]


def _facts(
    layer: Layer, runs: Sequence[Run], scene: Scene, window: Window, job: dict[str, object]
) -> MapFacts:
    source = runs[0].config.data.source
    stored = drawing.numbers(layer, source.classes)
    sensor = runs[0].sensor
    tags = {
        "SOFTWARE": f"jaxseg {job['version']}",
        "JAXSEG_CLASSES": ", ".join(source.classes),
        "JAXSEG_BANDS": ", ".join(sensor.bands),
        "JAXSEG_UNIT": sensor.unit or "not known",
        "JAXSEG_STEP": ", ".join(str(run.step) for run in runs),
        "JAXSEG_WEIGHTS": ", ".join(_digest(run) for run in runs),
        "JAXSEG_TEMPERATURE": ", ".join(f"{run.temperature:.6g}" for run in runs),
        "JAXSEG_SCENE": ", ".join(Path(path).name for path in scene.paths),
    }
    transform = scene.header.transform
    return MapFacts(
        height=window.height,
        width=window.width,
        dtype=stored.dtype,
        bands=stored.bands,
        nodata=stored.nodata,
        crs=scene.header.crs,
        transform=transform * transform.translation(window.x, window.y),
        colors=tuple(source.colors) if layer == "classes" else (),
        tags=tags,
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


def _compute(
    network: TileNetwork,
    scene: Scene,
    work: Work,
    todo: list[tuple[int, int]],
    grid: Grid,
    batch: int,
) -> None:
    """Computes and writes the blocks; consecutive ones of a panel share their rows of tiles."""
    pixels = sum(np.prod(work.plan.place(*block)[2:]) for block in todo)
    with ThreadPoolExecutor(READERS) as readers, ThreadPoolExecutor(1) as writer, Meter(int(pixels)) as meter:
        written: deque[Future[None]] = deque()
        for column, rows in _runs_of_blocks(todo):
            for row, drawn in _panel(network, scene, work, column, rows, grid, batch, readers):
                written.append(writer.submit(work.write, row, column, drawn))
                while len(written) > 2:
                    written.popleft().result()
                meter.add(int(np.prod(work.plan.place(row, column)[2:])))
        for future in written:
            future.result()


def _runs_of_blocks(todo: list[tuple[int, int]]) -> Iterator[tuple[int, list[int]]]:
    """Blocks of one column one below the other."""
    rows: list[int] = []
    for number, (row, column) in enumerate(todo):
        rows.append(row)
        following = todo[number + 1] if number + 1 < len(todo) else None
        if following != (row + 1, column):
            yield column, rows
            rows = []


def _panel(
    network: TileNetwork,
    scene: Scene,
    work: Work,
    column: int,
    rows: list[int],
    grid: Grid,
    batch: int,
    readers: ThreadPoolExecutor,
) -> Iterator[tuple[int, dict[str, NDArray[np.generic]]]]:
    """The blocks of some rows of one column of blocks, from the top."""
    window = work.plan.window
    first_place, last_place = work.plan.place(rows[0], column), work.plan.place(rows[-1], column)
    top, bottom = window.y + first_place.y, window.y + last_place.y + last_place.height
    left, width = window.x + first_place.x, first_place.width
    tile_rows = grid.touching(top, bottom)
    tile_columns = grid.touching(left, left + width)
    sums = Rows(grid, network.classes, left, width)
    pending = {
        layer: np.empty((BLOCK, width, len(drawing.numbers(layer, ("",) * network.classes).bands)))
        for layer in ()
    }
    del pending
    blocks = _Blocks(work, rows, column, top, bottom, width, network.classes)
    strips = _read_ahead(scene, grid, tile_rows, tile_columns, readers)
    for strip in strips:
        inside = _valid_rows(scene, strip, grid, left, width, tile_columns)
        for tile_column, weighted in _tiles(network, strip, grid, tile_columns, batch):
            sums.add(tile_column, weighted)
        yield from blocks.add(grid.core_start(strip.row), sums.finished(), inside)


class _Blocks:
    """Gathers finished rows to blocks."""

    def __init__(
        self, work: Work, rows: list[int], column: int, top: int, bottom: int, width: int, classes: int
    ) -> None:
        self._work, self._rows, self._column = work, list(rows), column
        self._top, self._bottom = top, bottom
        self._parts: dict[str, list[NDArray[np.generic]]] = {layer: [] for layer in work.layers}
        self._held = 0

    def add(
        self, first: int, sums: NDArray[np.float32], valid: NDArray[np.bool_]
    ) -> Iterator[tuple[int, dict[str, NDArray[np.generic]]]]:
        """Rows of the scene from `first` on; yields blocks that are complete."""
        begin, end = max(first, self._top), min(first + sums.shape[1], self._bottom)
        while begin < end:
            height = self._work.plan.place(self._rows[0], self._column).height
            take = min(end - begin, height - self._held)
            rows = slice(begin - first, begin - first + take)
            for layer, parts in self._parts.items():
                parts.append(drawing.drawn(layer, sums[:, rows], valid[rows]))  # type: ignore[arg-type]
            self._held += take
            begin += take
            if self._held == height:
                yield (
                    self._rows.pop(0),
                    {layer: np.concatenate(parts) for layer, parts in self._parts.items()},
                )
                self._parts = {layer: [] for layer in self._parts}
                self._held = 0


def _read_ahead(
    scene: Scene, grid: Grid, rows: range, columns: range, readers: ThreadPoolExecutor
) -> Iterator[_Strip]:
    """Rows of tiles in their order, the next ones being read."""
    left = grid.start(columns[0])
    width = grid.start(columns[-1]) + grid.size - left
    cuts = np.linspace(0, width, min(READERS, -(-width // BLOCK)) + 1).astype(int)

    def begin(row: int) -> list[Future[tuple[NDArray[np.generic], NDArray[np.bool_]]]]:
        return [
            readers.submit(
                scene.padded, Window(grid.start(row), left + int(a), grid.size, int(b - a))
            )
            for a, b in zip(cuts[:-1], cuts[1:], strict=True)
        ]

    ahead = deque((row, begin(row)) for row in rows[:AHEAD])
    for row in rows[AHEAD:] or ():
        yield _strip(*ahead.popleft())
        ahead.append((row, begin(row)))
    while ahead:
        yield _strip(*ahead.popleft())


def _strip(
    row: int, parts: list[Future[tuple[NDArray[np.generic], NDArray[np.bool_]]]]
) -> _Strip:
    images, valid = zip(*(part.result() for part in parts), strict=True)
    return _Strip(row, np.concatenate(images, 1), np.concatenate(valid, 1))


def _valid_rows(
    scene: Scene, strip: _Strip, grid: Grid, left: int, width: int, columns: range
) -> NDArray[np.bool_]:
    """(step, width) where the rows that the strip finishes have data."""
    first = left - grid.start(columns[0])
    return strip.valid[grid.margin : grid.margin + grid.step, first : first + width]


def _tiles(
    network: TileNetwork, strip: _Strip, grid: Grid, columns: range, batch: int
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Weighted probabilities of each tile of a row; tiles without data are left out."""
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


class Meter:
    """Shows megapixels, their rate and the time that is left."""

    def __init__(self, pixels: int) -> None:
        """Starts at once.

        Args:
            pixels: To be mapped.
        """
        self._pixels, self._done = pixels, 0
        self._console = make_console()
        self._bar = progress_bar(self._console)
        self._began = self._told = time.monotonic()

    def __enter__(self) -> "Meter":
        """Shows the bar."""
        self._bar.start()
        self._task = self._bar.add_task("mapping", total=self._pixels // 10**6, note="compiling")
        if self._bar.disable:
            say(self._console, f"mapping {self._pixels / 1e6:.1f} megapixels ...")
        return self

    def __exit__(self, *_: object) -> None:
        """Takes it away."""
        self._bar.stop()

    def add(self, pixels: int) -> None:
        """Pixels that are done."""
        self._done += pixels
        now = time.monotonic()
        rate = self._done / (now - self._began)
        note = f"{rate / 1e6:.2f} Mpx/s  ETA {clock((self._pixels - self._done) / rate)}"
        self._bar.update(self._task, completed=self._done // 10**6, note=note)
        if self._bar.disable and now - self._told > 10:
            self._told = now
            say(self._console, f"mapping {self._done / 1e6:.1f}/{self._pixels / 1e6:.1f} Mpx  {note}")
