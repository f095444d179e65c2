"""Data on disk for `accelerator.py`: `landscape`, a folder of GeoTIFFs, a tiny run."""

import itertools
import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import rasterio
from accelerator_parts.networks import ADAM, drawn, one_device
from accelerator_parts.programs import build, timed
from accelerator_parts.workers import Facts, Note

from jaxseg.config import Config
from jaxseg.datasets.folder.source import Folder
from jaxseg.datasets.landscape.source import MEAN, STD, Landscape
from jaxseg.models.unet import UNet
from jaxseg.pipeline import windows as reading
from jaxseg.pipeline.windows import Data
from jaxseg.run import step
from jaxseg.run.program import on_devices
from jaxseg.run.recent_steps import AHEAD
from jaxseg.scenes.scene import Sample, Source
from jaxseg.sharding import MeshShape
from jaxseg.transforms.augmentation import Brightness, Dihedral
from jaxseg.transforms.radiometry import Standardize

CLASSES, BANDS = 10, 4
CROP = {False: 256, True: 64}
BATCH = {False: 32, True: 2}

RUN = '''"""A tiny run, made to be killed."""

from jaxseg.config import Config
from jaxseg.pipeline import Data
from jaxseg.datasets.folder import Folder
from jaxseg.models.unet import UNet
from jaxseg.transforms import Brightness, Dihedral


def get_config() -> Config:
    """A U-Net of 4 features on a folder of GeoTIFFs."""
    source = Folder(
        images={images!r},
        masks={masks!r},
        classes=tuple(f"class {{n}}" for n in range(10)),
        fractions=(0.75, 0.25, 0.0),
    )
    return Config(
        model=UNet(num_classes=10, features=4),
        data=Data(source=source, crop=32, batch_size=8),
        augment=(Dihedral(), Brightness()),
        num_steps={steps},
        log_every={every},
        eval_every={steps},
        save_every={every},
    )
'''


def write(request: Facts, note: Note) -> Facts:
    """Writes all data, in a process that touches no accelerator and gives way to others."""
    os.nice(10)
    folder, tiny = Path(request["folder"]), request["tiny"]
    began = time.perf_counter()
    note("writing a tiny run")
    _write_scenes(folder / "small", scenes=8, side=64)
    text = RUN.format(
        images=str(folder / "small" / "images"),
        masks=str(folder / "small" / "masks"),
        steps=request["steps"],
        every=request["steps"] // 5,
    )
    (folder / "config.py").write_text(text)
    note("drawing landscape")
    _landscape(folder, tiny).scenes("train")
    note("writing GeoTIFFs")
    scenes, side = (3, 256) if tiny else (8, 2048)
    _write_scenes(folder / "large", scenes, side)
    return {"seconds": time.perf_counter() - began, "scenes": scenes, "side": side}


def _landscape(folder: Path, tiny: bool) -> Landscape:
    return Landscape(tiles=(4, 1, 1) if tiny else (96, 1, 1), data_dir=str(folder / "landscape"))


def _folder(folder: Path) -> Folder:
    place = folder / "large"
    return Folder(
        images=str(place / "images"),
        masks=str(place / "masks"),
        classes=tuple(f"class {number}" for number in range(CLASSES)),
        fractions=(1.0, 0.0, 0.0),
    )


def _write_scenes(folder: Path, scenes: int, side: int) -> None:
    """GeoTIFFs of blocks of classes with noise: uint16, 4 bands, tiles of 256, compressed."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    tiles = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    shape = {"driver": "GTiff", "height": side, "width": side}
    for scene in range(scenes):
        random = np.random.default_rng(scene)
        cell = max(8, side // 32)
        blocks = random.integers(0, CLASSES, (-(-side // cell),) * 2, np.uint8)
        label = np.kron(blocks, np.ones((cell, cell), np.uint8))[:side, :side]
        image = np.empty((BANDS, side, side), np.uint16)
        for band in range(BANDS):
            level = 300 + 180 * ((label.astype(np.int32) * (2 * band + 1)) % CLASSES)
            noise = random.standard_normal(label.shape, np.float32)
            image[band] = np.clip(level + 50 * noise, 1, None)
        images, masks = (folder / name / f"scene{scene}.tif" for name in ("images", "masks"))
        more: dict[str, Any] = shape | tiles | {"count": BANDS, "dtype": "uint16", "predictor": 2}
        with rasterio.open(images, "w", **more) as file:
            file.write(image)
        with rasterio.open(masks, "w", **shape | tiles | {"count": 1, "dtype": "uint8"}) as file:
            file.write(label, 1)


def pipeline(request: Facts, note: Note) -> Facts:
    """Windows per second of both sources, alone and together with a U-Net's training step."""
    folder, tiny, seconds = Path(request["folder"]), request["tiny"], request["seconds"]
    mesh, batch_size, crop = one_device(), BATCH[tiny], CROP[tiny]
    sources: dict[str, Source] = {
        "landscape": _landscape(folder, tiny),
        "folder of GeoTIFFs": _folder(folder),
    }
    settings = {name: Data(source, crop, batch_size) for name, source in sources.items()}
    facts: Facts = {"crop": crop, "batch": batch_size, "threads": Data.threads, "sources": {}}
    for name, data in settings.items():
        note(f"reading {name}")
        facts["sources"][name] = {"alone": _alone(_batches(data), batch_size, seconds)}

    # Both sources have four bands of uint16 and ten classes: one program serves both.
    config = Config(
        model=UNet(CLASSES, features=4 if tiny else 32, dtype="bfloat16"),
        data=settings["landscape"],
        preprocess=(Standardize(MEAN["optical"], STD["optical"]),),
        augment=(Dihedral(), Brightness()),
        optimizer=ADAM,
        mesh=MeshShape(data=1),
    )
    abstract = step.abstract_state(config, BANDS, mesh)
    state = drawn(abstract)
    batches = {name: on_devices(_batches(data), mesh) for name, data in settings.items()}
    first = next(batches["landscape"])
    note("compiling the step")
    jitted = step.jit_train_step(config, mesh, abstract)
    program = build(lambda: jitted.lower(state, first))

    def once() -> None:
        nonlocal state
        state, metrics = program.compiled(state, first)
        jax.block_until_ready(metrics)

    alone = timed(once, seconds=1.0)
    facts |= program.facts() | {"step_alone": batch_size / float(np.median(alone))}
    for name, stream in batches.items():
        note(f"training on {name}")
        state, rates = _together(program.compiled, state, stream, batch_size, seconds)
        facts["sources"][name] |= rates
    return facts


def _batches(data: Data) -> Iterator[Sample]:
    positions = list(range(data.batch_size))
    return reading.training_batches(data, seed=0, positions=positions, first=0, last=10**6)


def _alone(batches: Iterator[Sample], batch_size: int, seconds: float) -> float:
    """Windows per second, once the threads are at work."""
    for _ in itertools.islice(batches, 3):
        pass
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        next(batches)
        count += 1
    return count * batch_size / (time.perf_counter() - began)


def _together(
    train_step: Any,
    state: step.TrainState,
    batches: Iterator[dict[str, jax.Array]],
    batch_size: int,
    seconds: float,
) -> tuple[step.TrainState, Facts]:
    """As `training.train` does it: the host is at most `AHEAD` steps ahead of the device."""
    ahead: deque[Any] = deque(maxlen=AHEAD)
    waited, count, began = 0.0, -3, time.perf_counter()
    while count < 5 or time.perf_counter() - began < seconds:
        if count == 0:  # the first steps filled the buffers
            jax.block_until_ready(state)
            waited, began = 0.0, time.perf_counter()
        if len(ahead) == AHEAD:
            jax.block_until_ready(ahead[0])
        asked = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - asked
        state, metrics = train_step(state, batch)
        ahead.append(metrics)
        count += 1
    jax.block_until_ready(state)
    took = time.perf_counter() - began
    return state, {"together": count * batch_size / took, "waiting": waited / took}
