"""From a run and a scene to a map: `predict(run, [scene], out)`, of any size, resumed after a kill.

    files --window--> tiles --batch--> devices --probabilities--> rows --layers--> blocks --> map

Reading, computing and writing go on at the same time: threads read rows of tiles ahead, the devices
have the next batch while the host adds up the last one, and another thread writes blocks.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from numpy.typing import NDArray

from jaxseg import sharding
from jaxseg.console import make_console, say
from jaxseg.errors import UserError
from jaxseg.files.maps import BLOCK, MapFacts, assemble
from jaxseg.models.receptive_field import receptive_field
from jaxseg.models.structure import output_stride
from jaxseg.prediction import layers as drawing
from jaxseg.prediction.image import Image, Scene, check_sensor, open_scene
from jaxseg.prediction.layers import Layer
from jaxseg.prediction.meter import Meter
from jaxseg.prediction.network import Augmentation, TileNetwork
from jaxseg.prediction.sweep import Swept, sweep
from jaxseg.prediction.tiling import Grid, grid_for
from jaxseg.prediction.work import Plan, Work
from jaxseg.run.loaded import Run
from jaxseg.scenes.scene import Window

SUMS = 256 * 2**20
"""Bytes of probabilities that are added up at a time; wider scenes are cut into panels."""

WAITING = 2
"""Blocks that wait to be written; more would only take memory."""


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

    @classmethod
    def parse(cls, text: str) -> "Share":
        """Reads `3/16`.

        Raises:
            UserError: It is something else.
        """
        try:
            number, count = map(int, text.split("/"))
        except ValueError:
            raise UserError(f"--shard {text}: give a part of the work such as 3/16.") from None
        return cls(number, count)


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a map is made.

    Attributes:
        layers: What is written.
        image: How the scene's files are read.
        window: Part of the scene: first row, first column, rows, columns; None = all.
        bounds: The same in the scene's coordinates: west, south, east, north.
        tile: Rows and columns of a tile; 0 = by the network.
        overlap: Pixels that two tiles share; None = by the network's receptive field.
        batch: Tiles that a device computes at a time.
        augmentation: Which symmetries are averaged.
        share: Part of the work.
        overwrite: Whether a map that is there is replaced.
        check: Whether the scene is compared with what the run was trained on.
    """

    layers: tuple[Layer, ...] = ("classes",)
    image: Image = dataclasses.field(default_factory=Image)
    window: Window | None = None
    bounds: tuple[float, float, float, float] | None = None
    tile: int = 0
    overlap: int | None = None
    batch: int = 1
    augmentation: Augmentation = "none"
    share: Share = Share()
    overwrite: bool = False
    check: bool = True

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            UserError: Nothing would be written or computed, or a layer would be written twice.
        """
        if self.batch < 1 or self.tile < 0 or (self.overlap is not None and self.overlap < 0):
            raise UserError(
                f"--batch {self.batch}, --tile {self.tile}, --overlap {self.overlap}: at least one "
                "tile at a time, and sizes that are not negative."
            )
        if not self.layers or len(set(self.layers)) < len(self.layers):
            raise UserError(
                f"--layers {' '.join(self.layers)}: name at least one layer, each of them once, of "
                f"{', '.join(drawing.LAYERS)}."
            )


def predict(
    runs: Sequence[Run],
    paths: Sequence[str],
    out: Path,
    settings: Settings = Settings(),
    *,
    mesh: Mesh | None = None,
) -> list[Path]:
    """Makes the map of one scene, or this process's part of it.

    Args:
        runs: One, or an ensemble whose probabilities are averaged.
        paths: Files of the scene.
        out: The map; other layers are written beside it, map_confidence.tif and so on.
        settings: How.
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
        for run in runs:  # each of an ensemble has to understand the values
            check_sensor(scene, run.sensor, settings.image)
    window = _window(settings, scene)
    data = runs[0].config.data
    say(console, f"scene      {scene.height} x {scene.width} pixels, {', '.join(scene.paths)}")
    field, stride = _reach(runs)
    grid, exact = grid_for(
        receptive_field=field,
        stride=stride,
        crop=data.evaluation_crop or data.crop,
        tile=settings.tile,
        overlap=settings.overlap,
    )
    network = TileNetwork(
        runs,
        mesh,
        grid,
        augmentation=settings.augmentation,
        classes_only=settings.layers == ("classes",),
    )
    columns = SUMS // (4 * network.classes * grid.core) // BLOCK * BLOCK
    plan = Plan(window, max(BLOCK, min(columns, -(-window.width // BLOCK) * BLOCK)))
    job = _job(runs, scene, settings, grid, plan)
    work = Work(out, plan, settings.layers, job, again=settings.overwrite)
    share = settings.share
    todo = [b for b in plan.share(share.number - 1, share.count) if not work.done(*b)]
    say(console, f"tiles      {_told(grid, exact, field)}")
    _compute(network, scene, work, todo, settings.batch * _width(mesh))
    if left := work.missing():
        say(
            console,
            f"{len(left)} of {plan.down * plan.across} blocks are still missing in {work.folder}.",
        )
        return []
    for layer, file in files.items():
        assemble(work.blocks(layer), _facts(layer, runs, scene, window, job), file)
    work.remove()
    return list(files.values())


def _reach(runs: Sequence[Run]) -> tuple[int | None, int]:
    """Receptive field and output stride of all networks together."""
    strides = [output_stride(run.config.model) for run in runs]
    fields = [
        receptive_field(run.config.model, stride) for run, stride in zip(runs, strides, strict=True)
    ]
    known = [field for field in fields if field is not None]
    return (max(known) if len(known) == len(fields) else None), math.lcm(*strides)


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


def _check_out(files: Iterable[Path], *, overwrite: bool) -> None:
    for file in files:
        if file.suffix.lower() not in (".tif", ".tiff"):
            raise UserError(f"{file}: a map is a GeoTIFF; give a name that ends in .tif.")
        if not file.parent.is_dir():
            raise UserError(
                f"{file}: there is no folder {file.parent}. Make it, or correct the name."
            )
        if file.exists() and not overwrite:
            raise UserError(f"{file} exists. Give another name, or --overwrite to replace it.")


def _window(settings: Settings, scene: Scene) -> Window:
    """The part of the scene that is asked for.

    Raises:
        UserError: It is not inside the scene.
    """
    window = settings.window
    if settings.bounds is not None:
        if window is not None:
            raise UserError("--window and --bounds name two parts of the scene: give one of them.")
        window = _of_bounds(settings.bounds, scene)
    if window is None:
        return Window(0, 0, scene.height, scene.width)
    bottom, right = window.y + window.height, window.x + window.width
    small = min(window.height, window.width) < 1
    if small or min(window.y, window.x) < 0 or bottom > scene.height or right > scene.width:
        raise UserError(
            f"--window {' '.join(map(str, window))}: first row, first column, rows and columns of "
            f"a part of the scene, which has {scene.height} x {scene.width} pixels."
        )
    return window


def _of_bounds(bounds: tuple[float, float, float, float], scene: Scene) -> Window:
    """All pixels of the scene that lie at least in part within west, south, east, north.

    Raises:
        UserError: There are none.
    """
    west, south, east, north = bounds
    corners = [~scene.header.transform * (x, y) for x in (west, east) for y in (south, north)]
    columns, rows = ([corner[axis] for corner in corners] for axis in (0, 1))
    left, right = max(0, math.floor(min(columns))), min(scene.width, math.ceil(max(columns)))
    top, bottom = max(0, math.floor(min(rows))), min(scene.height, math.ceil(max(rows)))
    if not (west < east and south < north and left < right and top < bottom):
        raise UserError(
            f"--bounds {' '.join(f'{number:g}' for number in bounds)}: west, south, east and north "
            f"in {scene.header.crs or 'pixels'} hold no pixel of the scene."
        )
    return Window(top, left, bottom - top, right - left)


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
        digest.update(np.asarray(leaf).tobytes())
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


def _compute(
    network: TileNetwork, scene: Scene, work: Work, todo: list[tuple[int, int]], batch: int
) -> None:
    """Computes and writes blocks; neighbours, one below the other, share their rows of tiles."""
    pixels = sum(_area(work.plan.place(*block)) for block in todo)
    written: deque[Future[None]] = deque()
    with ThreadPoolExecutor(1) as writer, Meter(pixels) as meter:
        for column, rows in _columns(todo):
            first, last = (work.plan.place(row, column) for row in (rows[0], rows[-1]))
            y, x = work.plan.window.y + first.y, work.plan.window.x + first.x
            window = Window(y, x, last.y + last.height - first.y, first.width)
            swept = sweep(network, scene, window, batch)
            for row, drawn in _blocks(swept, work, column, rows):
                written.append(writer.submit(work.write, row, column, drawn))
                while len(written) > WAITING:
                    written.popleft().result()
                meter.add(_area(work.plan.place(row, column)))
        for future in written:
            future.result()


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
    swept: Iterator[Swept], work: Work, column: int, rows: list[int]
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
                pixels = drawing.drawn(layer, piece.probabilities[:, taken], piece.valid[taken])
                parts[layer].append(pixels)
            held += taken.stop - begin
            begin = taken.stop
            if held == height:
                yield waiting.pop(0), {name: np.concatenate(part) for name, part in parts.items()}
                parts, held = {layer: [] for layer in work.layers}, 0
