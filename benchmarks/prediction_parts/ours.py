"""The library's side: networks, whole maps, and single batches of tiles."""

import contextlib
import functools
import io
import statistics
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from prediction_parts.cost import Cost, costed

from jaxseg.cli.memory import keep_freed_memory
from jaxseg.config import Config
from jaxseg.datasets.landscape import MEAN, STD, Landscape
from jaxseg.models import LinkNet, UNet
from jaxseg.models.parts.layers import Conv
from jaxseg.models.receptive_field import sight
from jaxseg.models.structure import output_stride
from jaxseg.pipeline import Data
from jaxseg.prediction import predict as mapping
from jaxseg.prediction.image import Image
from jaxseg.prediction.network import TileNetwork
from jaxseg.prediction.settings import Settings
from jaxseg.prediction.tiling import grid_for
from jaxseg.run.loaded import Run, load_run
from jaxseg.scenes.scene import Window
from jaxseg.transforms import Standardize

CLASSES = 10
COG = {
    **{"driver": "COG", "BLOCKSIZE": 512, "COMPRESS": "DEFLATE", "PREDICTOR": "YES"},
    **{"OVERVIEW_RESAMPLING": "MODE", "BIGTIFF": "IF_SAFER"},
}
"""How `jaxseg.files.maps` writes a map of classes."""


class FirstBand(nn.Module):
    """Logits from the number in the first band: nothing to compute worth mentioning."""

    num_classes: int = CLASSES

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """(B, H, W, C) -> (B, H, W, K)."""
        sure = self.param("sure", nn.initializers.ones, ())
        return -sure * ((image[..., :1] - jnp.arange(1, self.num_classes + 1)) ** 2)


class OneConvolution(nn.Module):
    """A 3 x 3 convolution."""

    num_classes: int = CLASSES

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """(B, H, W, C) -> (B, H, W, K)."""
        return Conv(self.num_classes)(image)


NETWORKS: dict[str, nn.Module] = {
    "first_band": FirstBand(),
    "convolution": OneConvolution(),
    "unet": UNet(CLASSES),
    "linknet": LinkNet(CLASSES),
}


def opened(name: str) -> Run:
    """A run of a folder, or one of `NETWORKS` with random weights."""
    if Path(name).is_dir() or name not in NETWORKS:
        return load_run(name)
    model, source = NETWORKS[name], Landscape()
    steps = () if name == "first_band" else (Standardize(mean=MEAN["optical"], std=STD["optical"]),)
    config = Config(
        model=model,
        data=Data(source=source, crop=128, batch_size=1),
        preprocess=steps,
        sensor=source.sensor,
    )
    variables = model.init(jax.random.key(0), jnp.zeros((1, 64, 64, 4)), train=False)
    return Run(config, 0, variables, 1.0)


def begin(folder: Path) -> None:
    """What the command line does before the first array; programs are compiled once a folder."""
    keep_freed_memory()
    jax.config.update("jax_compilation_cache_dir", str(folder / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def mapped(run: Run, scene: Path, out: Path, settings: Settings) -> None:
    """One map, without the lines that the command writes."""
    out.unlink(missing_ok=True)
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        mapping.predict([run], [str(scene)], out, settings)


def settings(tile: int, overlap: int | None, batch: int, window: Window | None = None) -> Settings:
    """As the flags of `jaxseg predict`; scenes are not checked, and seams are measured here."""
    image = Image(band_numbers=(1, 2, 3, 4))
    sizes = {"tile": tile, "overlap": overlap, "batch": batch, "window": window}
    return Settings(**sizes, check=False, seams=False, image=image)


FIRST = Window(0, 0, 64, 64)
"""One tile."""


def whole_map(
    folder: Path, name: str, scene: Path, out: Path, tile: int, overlap: int | None, batch: int
) -> tuple[Cost, Cost]:
    """Cost of one tile, which compiles or finds what was compiled, and then of the whole scene."""
    begin(folder)
    run = opened(name)
    first = costed(partial(mapped, run, scene, out, settings(tile, overlap, batch, FIRST)))
    return first, costed(partial(mapped, run, scene, out, settings(tile, overlap, batch)))


@functools.cache
def tiles(name: str, side: int, tile: int, overlap: int) -> int:
    """How many tiles of a square scene are computed."""
    run = opened(name)
    stride = output_stride(run.config.model)
    seen = sight(run.config.model, stride)
    border = None if seen is None else seen.border
    grid, _ = grid_for(border=border, stride=stride, crop=0, tile=tile, overlap=overlap)
    return len(grid.touching(0, side)) ** 2


def one_pass(name: str, scene: Path, margin: int) -> NDArray[np.uint8]:
    """Classes of the whole scene as one image that is mirrored beyond its ends."""
    with rasterio.open(scene) as file:
        image = np.moveaxis(file.read(), 0, -1)
    around = ((margin, margin), (margin, margin), (0, 0))
    found = opened(name).predict(np.pad(image, around, "reflect"))
    return found[margin:-margin, margin:-margin]


# -- the pipeline beside GDAL's own copy -----------------------------------------------------------


def pipeline(
    folder: Path, scene: Path, out: Path, rounds: int, tile: int, overlap: int | None
) -> list[tuple[float, float, float, float]]:
    """CPU seconds of start, map, GDAL's reading and GDAL's writing, round by round."""
    begin(folder)
    run, found = opened("first_band"), []
    plain, copy = folder / "plain.tif", folder / "copy.tif"
    for turn in range(rounds + 1):
        start = costed(partial(mapped, run, scene, out, settings(tile, overlap, 1, FIRST)))
        whole = costed(partial(mapped, run, scene, out, settings(tile, overlap, 1)))
        if not turn:  # without overviews, which GDAL would copy
            form = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "zstd"}
            rasterio.shutil.copy(out, plain, driver="GTiff", **form)
            continue  # compiles
        reading = costed(partial(_read, scene))
        writing = costed(partial(rasterio.shutil.copy, plain, copy, **COG))
        found.append((start.cpu, whole.cpu, reading.cpu, writing.cpu))
    return found


def _read(scene: Path) -> None:
    with rasterio.open(scene) as file:
        for _, window in file.block_windows(1):
            file.read(window=window)


# -- how busy the device is ------------------------------------------------------------------------


class Watched(TileNetwork):
    """Notes when each batch is handed to the device, and when it is ready."""

    spans: list[tuple[float, float]] = []  # noqa: RUF012  one measurement a process
    waiting: SimpleQueue[tuple[float, jax.Array]] = SimpleQueue()

    def __call__(self, image: NDArray[Any], valid: NDArray[np.bool_]) -> jax.Array:
        """The same probabilities."""
        answer = super().__call__(image, valid)  # the first one compiles
        self.waiting.put((time.perf_counter(), answer))
        return answer


def _watch() -> None:
    while True:
        begun, answer = Watched.waiting.get()
        answer.block_until_ready()
        Watched.spans.append((begun, time.perf_counter()))


def busy(
    folder: Path, name: str, scene: Path, out: Path, rounds: int, batch: int
) -> list[tuple[float, float, float, int]]:
    """Wall seconds from the first batch to the last, of these alone, and in flight; batches.

    In flight is the time in which the device has at least one batch that is not ready.
    """
    begin(folder)
    run, found = opened(name), []
    mapping.TileNetwork = Watched  # type: ignore[misc]
    threading.Thread(target=_watch, daemon=True).start()
    for turn in range(rounds + 1):
        Watched.spans.clear()
        mapped(run, scene, out, settings(0, None, batch))
        spans = sorted(Watched.spans)
        if turn:
            alone = _batch_alone(run, scene, out, batch, min(8, len(spans)))
            flight = sum(end - begun for begun, end in _union(spans))
            wall = max(end for _, end in spans) - spans[0][0]
            found.append((wall, alone * len(spans), flight, len(spans)))
    return found


def _batch_alone(run: Run, scene: Path, out: Path, batch: int, count: int) -> float:
    """Median seconds of the same program with nothing beside it."""
    kept: list[tuple[TileNetwork, NDArray[Any], NDArray[np.bool_]]] = []

    class Kept(TileNetwork):
        def __call__(self, image: NDArray[Any], valid: NDArray[np.bool_]) -> jax.Array:
            kept.append((self, image, valid))
            return super().__call__(image, valid)

    mapping.TileNetwork = Kept  # type: ignore[misc]
    mapped(run, scene, out, settings(0, None, batch, FIRST))
    mapping.TileNetwork = Watched  # type: ignore[misc]
    network, image, valid = kept[-1]
    seconds = []
    for _ in range(count):
        begun = time.perf_counter()
        TileNetwork.__call__(network, image, valid).block_until_ready()
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)


def _union(spans: list[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """Spans without their overlaps, of spans sorted by their begin."""
    until = -np.inf
    for begun, end in spans:
        if end > until:
            yield max(begun, until), end
            until = end
