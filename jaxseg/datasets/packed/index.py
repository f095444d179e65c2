"""The index of a pack: what the tiles show, from which files they were made, and digests.

    PACK/index.json                  everything but pixels; written before the first tile
    PACK/train-00000.array_record    tiles of the training split, one after the other
    PACK/digests.txt                 `b2sum -l 128 -c digests.txt` compares them; complete packs
                                     alone have the line of index.json

Scenes are cut into tiles in reading order, those at the right and at the bottom being smaller. A
file holds a fixed number of tiles, so that the place of each follows from its number.
"""

import dataclasses
import functools
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxseg.config_text import from_json, to_json
from jaxseg.errors import UserError
from jaxseg.files import records
from jaxseg.scenes.scene import Extent, Ground, Source, Window
from jaxseg.scenes.sensor import Sensor
from jaxseg.system.console import note

INDEX, DIGESTS = "index.json", "digests.txt"
THREADS = 32
"""Threads that look at files, each of which may be on a disk that answers late."""

LARGEST = 2**20
"""Of the numbers of an index, which compute what is read."""

FORMAT = 1
"""Version of what the files hold."""


@dataclasses.dataclass(frozen=True)
class Split:
    """The scenes of one split, in their order.

    Attributes:
        names: Their names in messages.
        sizes: Rows and columns of each.
        extents: What each shows, and where its image was.
        gsds: Ground sample distance of each in metres; None = not known.
    """

    names: Sequence[str]
    sizes: Sequence[tuple[int, int]]
    extents: Sequence[Extent]
    gsds: Sequence[float | None]

    def starts(self, tile: int) -> NDArray[np.int64]:
        """Number of the first tile of each scene, and of all tiles: (N + 1,)."""
        height, width = np.reshape(np.asarray(self.sizes, np.int64), (-1, 2)).T
        return np.concatenate(([0], np.cumsum(-(-height // tile) * -(-width // tile))))


@dataclasses.dataclass(frozen=True)
class Index:
    """What a pack holds.

    Attributes:
        source: What was packed, with absolute paths.
        sensor: Its sensor.
        rgb: Places of red, green and blue among the bands.
        tile: Rows and columns of a tile.
        tiles_per_file: Tiles of a file; the last one of a split has fewer.
        compression: That of the files.
        fields: Name and NumPy type of what is stored of each pixel, in its order; `valid` is last.
        splits: The scenes of each split that the source has.
        files: Path of each file that was packed -> its size in bytes and its time in nanoseconds;
            None of what is not a local file.
    """

    source: Source
    sensor: Sensor
    rgb: tuple[int, ...]
    tile: int
    tiles_per_file: int
    compression: str
    fields: Mapping[str, str]
    splits: Mapping[str, Split]
    files: Mapping[str, tuple[int, int] | None]

    def file(self, split: str, number: int) -> str:
        """Name of a file of tiles, which are counted from 0."""
        return f"{split}-{number:05d}.array_record"

    def file_names(self) -> list[str]:
        """Names of all files of tiles."""
        return [
            self.file(split, number)
            for split, scenes in self.splits.items()
            for number in range(-(-int(scenes.starts(self.tile)[-1]) // self.tiles_per_file))
        ]

    def text(self) -> str:
        """As JSON, equal for equal packs."""
        splits = {
            name: {
                "names": split.names,
                "sizes": split.sizes,
                "files": [extent.file for extent in split.extents],
                "areas": [extent.area for extent in split.extents],
                "grounds": [extent.ground for extent in split.extents],
                "gsds": split.gsds,
            }
            for name, split in self.splits.items()
        }
        plain = {"source": to_json(self.source), "sensor": to_json(self.sensor), "splits": splits}
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        whole = {"format": FORMAT} | own | plain
        # A line for each part: files differ where the packs do.
        lines = (f"{json.dumps(name)}: {json.dumps(value)}" for name, value in whole.items())
        return "{" + ",\n".join(lines) + "}\n"


def parsed(text: str) -> Index:
    """The inverse of `Index.text`.

    Raises:
        UserError: The source is of a class that this version does not have.
        ValueError: The text is not that of an index; also KeyError and TypeError.
    """
    told: dict[str, Any] = json.loads(text)
    if (version := told.pop("format")) != FORMAT:
        raise UserError(f"its format is {version}, and this version of jaxseg reads {FORMAT}")
    splits = {}
    for name, split in told.pop("splits").items():
        places = zip(split["files"], split["areas"], split["grounds"], strict=True)
        extents = [
            Extent(file, Window(*area), None if ground is None else Ground(*ground))
            for file, area, ground in places
        ]
        sizes = list(map(tuple, split["sizes"]))
        splits[name] = Split(split["names"], sizes, extents, split["gsds"])
    source, sensor = from_json(told.pop("source")), from_json(told.pop("sensor"))
    files = {path: tuple(state) if state else None for path, state in told.pop("files").items()}
    for name in ("tile", "tiles_per_file"):
        if not (type(told[name]) is int and 1 <= told[name] <= LARGEST):
            raise ValueError(f"{name} is {told[name]!r}, which is not 1 to {LARGEST}")
    rgb = tuple(told.pop("rgb"))
    return Index(source=source, sensor=sensor, rgb=rgb, splits=splits, files=files, **told)


def opened(folder: str) -> Index:
    """The index of a complete pack; says once which of the packed files have changed since.

    Raises:
        UserError: There is no pack, it is not complete, or its index is damaged.
    """
    file = Path(folder) / INDEX
    try:
        state = file.stat()
    except OSError:
        raise UserError(f"{folder} is not a pack: it has no {INDEX}. {_HOW}") from None
    return _opened(file, state.st_mtime_ns, state.st_size)


_HOW = "`jaxseg pack CONFIG FOLDER` writes one."


@functools.lru_cache(8)
def _opened(file: Path, *_: int) -> Index:
    known = kept_digests(file.parent)
    if INDEX not in known:
        raise UserError(
            f"{file.parent} is not complete: `jaxseg pack` was stopped. The same command continues."
        )
    if records.digest(file) != known[INDEX]:
        raise UserError(f"{file} is damaged: it is not what {DIGESTS} says. Pack again.")
    try:
        index = parsed(file.read_text(encoding="utf-8"))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{file} cannot be read: {error}.") from error
    if told := changes(index):
        note(
            f"{file.parent}: {told}. It shows what they held;\n"
            "pack them into another folder to use what they hold now."
        )
    return index


def kept_digests(folder: Path) -> dict[str, str]:
    """File name -> digest, of what was finished; a line that was begun is left out."""
    try:
        text = (folder / DIGESTS).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.split("  ", 1) for line in text.split("\n")[:-1])
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}


def states(paths: Sequence[str]) -> dict[str, tuple[int, int] | None]:
    """Size and time of local files; None of others, and of those that are gone."""
    parts = [paths[start : start + 1000] for start in range(0, len(paths), 1000)]
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(lambda part: [_state(path) for path in part], parts)
        return dict(zip(paths, itertools.chain.from_iterable(found), strict=True))


def _state(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116  (for a million files)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def changes(index: Index) -> str:
    """Which files changed since they were packed; empty if none did.

    Files that are gone do not count: a pack is complete without them.
    """
    now = states(list(index.files))
    other = [path for path, state in now.items() if state not in (None, index.files[path])]
    if not other:
        return ""
    more = ", ..." if len(other) > 3 else ""
    return f"{len(other)} of {len(index.files)} packed files changed ({', '.join(other[:3])}{more})"
