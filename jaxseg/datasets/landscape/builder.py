"""The TFDS builder of `landscape`: ArrayRecord files, written once, offline, without TensorFlow."""

import contextlib
import io
import logging
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from numpy.typing import NDArray

from jaxseg.datasets.landscape.map import SPLITS, Ground, draw
from jaxseg.datasets.landscape.seasons import SIDE, in_season
from jaxseg.datasets.landscape.sensors import HYPERSPECTRAL_SIZE, WAVELENGTHS, render
from jaxseg.datasets.landscape.shapes import SIZE
from jaxseg.datasets.landscape.surfaces import Modality
from jaxseg.datasets.written_once import cannot_write, opened, written

CITATION = "landscape, jaxseg's own synthetic data: drawn by code from a seed; no place exists."

LICENCE = "Apache-2.0, as jaxseg itself; no third-party data are contained."

SHAPES: dict[Modality, tuple[int, int, int]] = {
    "optical": (SIZE, SIZE, 4),
    "sar": (SIZE, SIZE, 2),
    "polsar": (SIZE, SIZE, 9),
    "hyperspectral": (HYPERSPECTRAL_SIZE, HYPERSPECTRAL_SIZE, len(WAVELENGTHS)),
}
"""Rows, columns and bands of a tile without seasons."""

TILES: dict[Modality, tuple[int, int, int]] = {
    "optical": (200, 40, 40),
    "sar": (200, 40, 40),
    "polsar": (56, 12, 12),
    "hyperspectral": (24, 8, 8),
}
"""Default number of tiles of train, validation and test."""

RADARS = ("sar", "polsar")


class Settings(NamedTuple):
    """Everything that determines the content of the files.

    Attributes:
        modality: The sensor.
        tiles: Number of tiles of train, validation and test.
        seed: Seed of the countryside.
        looks: Number of looks of the radars.
        seasons: Whether classes exchange their looks with the season, see `seasons`.
    """

    modality: Modality
    tiles: tuple[int, int, int]
    seed: int = 0
    looks: int = 4
    seasons: bool = False

    def name(self) -> str:
        """The TFDS config's name; settings that give different files have different names."""
        name: str = self.modality
        if self.tiles != TILES[self.modality]:
            name += "_" + "x".join(str(count) for count in self.tiles)
        if self.seed != 0:
            name += f"_seed{self.seed}"
        if self.looks != 4 and self.modality in RADARS:
            name += f"_looks{self.looks}"
        return name + "_seasons" * self.seasons

    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and bands of a tile."""
        rows, columns, bands = SHAPES[self.modality]
        return (SIDE, SIDE, bands) if self.seasons else (rows, columns, bands)


@dataclass(kw_only=True)
class LandscapeConfig(tfds.core.BuilderConfig):  # type: ignore[misc]
    """A TFDS config: the name of the settings, and the settings."""

    settings: Settings


def _config(settings: Settings) -> LandscapeConfig:
    return LandscapeConfig(name=settings.name(), description=str(settings), settings=settings)


class LandscapeBuilder(tfds.core.GeneratorBasedBuilder):  # type: ignore[misc]
    """A synthetic countryside; one record per tile, in the order of the tiles."""

    name = "landscape"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [_config(Settings(modality, TILES[modality])) for modality in TILES]  # noqa: RUF012

    def _info(self) -> tfds.core.DatasetInfo:
        settings = self.builder_config.settings
        kind = np.float32 if settings.modality in RADARS else np.uint16
        shape = settings.shape()
        tensor = tfds.features.Tensor
        features = {
            "image": tensor(shape=shape, dtype=kind, encoding="zlib"),
            "label": tensor(shape=shape[:2], dtype=np.uint8, encoding="zlib"),
            "instance": tensor(shape=shape[:2], dtype=np.uint16, encoding="zlib"),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=f"{type(self).__doc__} Card: jaxseg/datasets/landscape/. {settings}",
            features=tfds.features.FeaturesDict(features),
            disable_shuffling=True,
            citation=CITATION,
            license=LICENCE,
        )

    def _split_generators(self, dl_manager: object) -> dict[str, Iterator[tuple[int, Any]]]:
        del dl_manager  # nothing is downloaded
        counts = dict(zip(SPLITS, self.builder_config.settings.tiles, strict=True))
        return {split: self._generate_examples(split, count) for split, count in counts.items()}

    def _generate_examples(self, split: str, count: int) -> Iterator[tuple[int, Any]]:
        settings, start = self.builder_config.settings, time.perf_counter()
        with ThreadPoolExecutor(2) as pool:  # NumPy and SciPy release the interpreter lock
            ahead = 3
            waiting: list[Future[dict[str, NDArray[np.generic]]]] = []
            for index in range(count + ahead):
                if index < count:
                    waiting.append(pool.submit(record, settings, split, index))
                if index >= ahead:
                    yield index - ahead, waiting.pop(0).result()
                    _say_progress(split, index - ahead + 1, count, time.perf_counter() - start)


@cache
def built(settings: Settings, data_dir: str) -> LandscapeBuilder:
    """The builder for some settings; its files are written if they do not exist.

    Args:
        settings: What to build.
        data_dir: Folder of the files; empty = TFDS' default.

    Raises:
        UserError: The files cannot be written.
    """
    tfds.disable_progress_bar()
    builder = _opened(settings, data_dir)
    written(builder.data_path, lambda: _write(builder, settings), "landscape")
    # Another process may have been faster; its files are the same.
    return builder if builder.info.splits else _opened(settings, data_dir)


def _write(builder: LandscapeBuilder, settings: Settings) -> None:
    sys.stderr.write(
        f"landscape: drawing {sum(settings.tiles)} {settings.modality} tiles once, to "
        f"{builder.data_path}\n"
    )
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # hides TFDS' messages about downloads
            builder.download_and_prepare(file_format="array_record")
    except OSError as error:
        if not builder.data_path.exists():
            raise cannot_write(builder.data_path, error) from error


def _opened(settings: Settings, data_dir: str) -> LandscapeBuilder:
    """The builder; files that are there are read.

    Raises:
        UserError: They are damaged.
    """
    above = Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()
    folder = above / LandscapeBuilder.name / settings.name() / str(LandscapeBuilder.VERSION)
    return opened(folder, lambda: _builder(settings, data_dir))


def _builder(settings: Settings, data_dir: str) -> LandscapeBuilder:
    known = settings.name() in LandscapeBuilder.builder_configs
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)  # custom settings need no warning
    try:
        return LandscapeBuilder(
            config=settings.name() if known else _config(settings), data_dir=data_dir or None
        )
    finally:
        logger.setLevel(level)


def record(settings: Settings, split: str, index: int) -> dict[str, NDArray[np.generic]]:
    """Tile `index` of a split as it is stored: image, label and instance."""
    ground = draw(settings.seed, split, index)
    edge = (SIZE - SHAPES[settings.modality][0]) // 2
    middle = (slice(edge, SIZE - edge),) * 2
    ground = Ground(
        label=ground.label[middle],
        instance=ground.instance[middle],
        cell=ground.cell[middle],
        texture=ground.texture[middle],
        relief=ground.relief[middle],
    )
    key = (settings.seed, split, index)
    image = render(ground, settings.modality, looks=settings.looks, key=key)
    stored = {"image": image, "label": ground.label, "instance": ground.instance.astype(np.uint16)}
    return in_season(stored, key) if settings.seasons else stored


def _say_progress(split: str, done: int, count: int, seconds: float) -> None:
    if sys.stderr.isatty():
        left = seconds / done * (count - done)
        end = "\n" if done == count else ""
        sys.stderr.write(f"\rlandscape: {split} {done} of {count}, {left:3.0f} s left{end}")
