"""A folder that `jaxseg pack` has converted to tiles: the same windows at a higher rate.

    Data(source=Packed("packs/fields"))     in place of    Data(source=Folder(...))

Windows, labels, splits and checks are those of the packed source, bit for bit.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from numpy.typing import NDArray

from jaxseg.datasets.packed import index as indices
from jaxseg.datasets.packed.index import Index, Split
from jaxseg.datasets.wrapped import leaves
from jaxseg.errors import MissingSplit, UserError
from jaxseg.files import records
from jaxseg.scenes.scene import (
    COPIED,
    Extent,
    Located,
    Origin,
    Sample,
    Source,
    Window,
    parts,
    with_parts,
)
from jaxseg.scenes.sensor import Sensor
from jaxseg.system.cache import cache_folder


@dataclasses.dataclass(frozen=True)
class Packed:
    """A pack as a config holds it; fulfils `jaxseg.scenes.scene.Source`.

    Attributes:
        path: Folder that `jaxseg pack` has written.
        original: What was packed; found when a run starts, so that maps can be made without the
            pack.
    """

    path: str = dataclasses.field(metadata={"path": True})
    original: Annotated[Source | None, tyro.conf.Fixed, tyro.conf.Suppress] = dataclasses.field(
        default=None, metadata=COPIED
    )

    @property
    def packed(self) -> Source:
        """What was packed: its fields say how values are read.

        Raises:
            UserError: The pack is missing, not complete or damaged.
        """
        if self.original is not None and not Path(self.path).exists():
            return self.original
        return self._index.source

    @property
    def classes(self) -> tuple[str, ...]:
        """Those of the packed source."""
        return self.packed.classes

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        """Those of the packed source."""
        return self.packed.colors

    @property
    def sensor(self) -> Sensor:
        """That of the packed source."""
        return self._index.sensor

    def scenes(self, split: str) -> "PackedScenes":
        """The scenes of `train`, `validation` or `test`; no file of tiles is opened.

        Raises:
            UserError: The pack is missing, not complete or damaged, or there is no such split.
        """
        if split not in self._index.splits:
            kept = ", ".join(self._index.splits)
            raise MissingSplit(f"Split {split!r} of {self.path}: what was packed has {kept}.")
        return PackedScenes(self.path, split, self._index)

    def rgb(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """The bands that the packed source displays."""
        return image[..., list(self._index.rgb)].astype(np.float32)

    def origin(self) -> Origin:
        """The packed files and how they are divided."""
        return next(leaf.origin() for leaf in leaves(self.packed) if isinstance(leaf, Located))

    def counts_file(self) -> Path | None:
        """File of the class counts, in the user's cache; None if the user has no cache."""
        cache, known = cache_folder(), indices.kept_digests(Path(self.path))
        return None if cache is None else cache / "class_counts" / f"{known[indices.INDEX]}.json"

    @property
    def _index(self) -> Index:
        return indices.opened(self.path)


def originals(source: Source) -> Source:
    """The source with what was packed in place of every pack.

    Raises:
        UserError: A pack is missing, not complete or damaged.
    """
    return _each_pack(source, lambda pack: pack.packed)


def with_originals(source: Source) -> Source:
    """The source with `original` of every pack filled in; itself if it has no pack.

    Raises:
        UserError: A pack is missing, not complete or damaged.
    """
    return _each_pack(source, lambda pack: dataclasses.replace(pack, original=pack.packed))


def _each_pack(source: Source, changed: Callable[[Packed], Source]) -> Source:
    if isinstance(source, Packed):
        return changed(source)
    inner = {name: _each_pack(part, changed) for name, part in parts(source).items()}
    same = all(inner[name] is part for name, part in parts(source).items())
    return source if same else with_parts(source, inner)


@dataclasses.dataclass(frozen=True, eq=False)
class PackedScenes:
    """Scenes in tiles; fulfils `jaxseg.scenes.scene.OfFiles`.

    Attributes:
        folder: The pack.
        split: The split.
        pack: What the pack holds.
    """

    folder: str
    split: str
    pack: Index

    def __len__(self) -> int:
        """Number of scenes."""
        return len(self._of.names)

    def name(self, index: int) -> str:
        """Its name in the packed source."""
        return self._of.names[index]

    def size(self, index: int) -> tuple[int, int]:
        """Height and width in pixels."""
        return self._of.sizes[index]

    def extent(self, index: int) -> Extent:
        """What it shows, and the file that its image was packed from."""
        return self._of.extents[index]

    def gsd(self, index: int) -> float | None:
        """Ground sample distance in metres; None = not known."""
        return self._of.gsds[index]

    def files(self, index: int) -> tuple[str, ...]:
        """The files that its tiles are in."""
        first, last = self._starts[index], self._starts[index + 1] - 1
        numbers = range(first // self.pack.tiles_per_file, last // self.pack.tiles_per_file + 1)
        return tuple(self._path(number) for number in numbers)

    def read(self, index: int, window: Window) -> Sample:
        """`image`, `label`, `valid` and, if known, `instance` of the window.

        Raises:
            UserError: A file is missing or damaged; the message names it and the record.
        """
        tile, (height, width) = self.pack.tile, self.size(index)
        rows = range(window.y // tile, (window.y + window.height - 1) // tile + 1)
        columns = range(window.x // tile, (window.x + window.width - 1) // tile + 1)
        places = [(row, column) for row in rows for column in columns]
        first, across = self._starts[index], -(-width // tile)
        found = self._records([first + row * across + column for row, column in places])
        area = window.height, window.width
        bands = {"image": (len(self.pack.sensor.bands),)}
        sample: Sample = {
            name: np.empty(area + bands.get(name, ()), kind)
            for name, kind in self.pack.fields.items()
        }
        for (row, column), record in zip(places, found, strict=True):
            top, left = row * tile, column * tile
            size = min(tile, height - top), min(tile, width - left)
            y, x = max(window.y, top), max(window.x, left)
            bottom = min(window.y + window.height, top + size[0])
            right = min(window.x + window.width, left + size[1])
            inner = slice(y - top, bottom - top), slice(x - left, right - left)
            place = slice(y - window.y, bottom - window.y), slice(x - window.x, right - window.x)
            for name, pixels in decoded(record, size, sample).items():
                sample[name][place] = pixels[inner]
        return sample

    def _records(self, numbers: list[int]) -> list[bytes]:
        """Tiles of the split by their numbers, which ascend."""
        many = self.pack.tiles_per_file
        found: list[bytes] = []
        for file in range(numbers[0] // many, numbers[-1] // many + 1):
            own = [number - file * many for number in numbers if number // many == file]
            if own:
                found += records.read(self._path(file), own)
        return found

    def _path(self, number: int) -> str:
        return f"{self.folder}/{self.pack.file(self.split, number)}"

    @property
    def _of(self) -> Split:
        return self.pack.splits[self.split]

    @functools.cached_property
    def _starts(self) -> list[int]:
        starts: list[int] = self._of.starts(self.pack.tile).tolist()
        return starts


def encoded(sample: Sample, fields: Mapping[str, str]) -> bytes:
    """A tile as a record: its fields one after the other; `valid` as bits, and not if all is."""
    parts = [np.ascontiguousarray(sample[name], kind).tobytes() for name, kind in fields.items()]
    valid = sample["valid"].astype(bool)
    return b"".join([*parts[:-1], b"" if valid.all() else np.packbits(valid).tobytes()])


def decoded(record: bytes, size: tuple[int, int], like: Sample) -> Sample:
    """The inverse of `encoded`; a view of the record where that is possible.

    Args:
        record: What is stored.
        size: Rows and columns of the tile.
        like: Arrays with the types of the fields and their axes after rows and columns.

    Raises:
        UserError: The record does not hold such a tile.
    """
    found: Sample = {}
    start, count = 0, math.prod(size)
    *others, _ = like.items()
    for name, of in others:
        shape = size + of.shape[2:]
        if len(record) < start + math.prod(shape) * of.itemsize:
            raise UserError(f"A tile has {len(record)} bytes, too few for {name} of {shape}.")
        found[name] = np.frombuffer(record, of.dtype, math.prod(shape), start).reshape(shape)
        start += math.prod(shape) * of.itemsize
    if start == len(record):
        return found | {"valid": np.ones(size, bool)}
    bits = np.unpackbits(np.frombuffer(record, np.uint8, offset=start))[:count]
    return found | {"valid": bits.astype(bool).reshape(size)}
