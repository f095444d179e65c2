"""Writes a pack: every scene of a source once, cut into tiles.

A pack is a function of the source: a second one has the same bytes, and so has one whose writing
was stopped and continued. A file of tiles counts as written when its digest is in `digests.txt`.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from jaxseg.config_text import absolute
from jaxseg.datasets.packed.index import (
    DIGESTS,
    INDEX,
    Index,
    Split,
    changes,
    kept_digests,
    parsed,
    states,
)
from jaxseg.datasets.packed.source import encoded
from jaxseg.datasets.wrapped import Wrapped, leaves
from jaxseg.errors import MissingSplit, UserError
from jaxseg.files import records
from jaxseg.scenes.scene import Around, FromFiles, OfFiles, Sample, Scenes, Source, Window, gsd_of
from jaxseg.system.disk import whole, writing
from jaxseg.system.side_files import put_aside

TILE = 128
"""Rows and columns of a tile by default: of 64, 128 and 256, those of which random windows of 256
and 512 pixels are read at the highest rate."""

COMPRESSED, PLAIN = "zstd:-1", "uncompressed"
"""Tiles as they are take twice the bytes of a compressed GeoTIFF and are read twice as fast as
zstd:-1, which takes the bytes of DEFLATE, and is itself read 1.4 to 1.9 times as fast as zstd:1."""

FILE = 2**28
"""Bytes of a file of tiles before compression, about: what is written again after a stop."""

STRIP = 512
"""Rows that are read at a time, if the tiles in them are a quarter of a file or less."""

Tracked = Callable[[Iterable[str], int], Iterable[str]]
"""Shows progress over so many names."""


def pack(
    source: Source,
    folder: Path,
    tile: int,
    threads: int,
    tracked: Tracked,
    *,
    compress: bool = False,
) -> Index:
    """Writes what is missing of a pack.

    Args:
        source: A folder, or several that are stacked.
        folder: Where to; made if it is missing.
        tile: Rows and columns of a tile.
        threads: Files that are written at a time.
        tracked: Shows progress over the files to be written.
        compress: Whether tiles are compressed, without loss.

    Raises:
        UserError: The source cannot be packed or read, the folder holds another pack or is
            written to by another process, or files changed since the pack was begun.
    """
    if tile < 16:
        raise UserError(f"--tile {tile}: give 16 or more, such as {TILE}.")
    source = absolute(source)
    opened = _splits(source)
    planned = _planned(source, opened, tile, COMPRESSED if compress else PLAIN)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {error.strerror}. Give another one.") from None
    with writing(folder), _alone(folder):
        file = folder / INDEX
        if file.exists():
            _refuse_other(planned, file)
        else:
            with whole(file) as aside:
                aside.write_text(planned.text(), encoding="utf-8")
        known = {
            name: digest
            for name, digest in kept_digests(folder).items()
            if name != INDEX and (folder / name).exists()
        }
        _keep(folder, known)
        missing = [name for name in planned.file_names() if name not in known]

        def write(name: str) -> str:
            split, number = name.removesuffix(".array_record").rsplit("-", 1)
            tiles = _tiles(opened[split], planned, split, int(number))
            records.write(folder / name, tiles, planned.compression)
            return name

        with ThreadPoolExecutor(threads) as pool, (folder / DIGESTS).open("a") as out:
            try:
                for name in tracked(pool.map(write, missing), len(missing)):
                    known[name] = records.digest(folder / name)
                    out.write(f"{known[name]}  {name}\n")
                    out.flush()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        if told := changes(planned):
            raise UserError(f"{told} in the meantime. Pack into a new folder.")
        _keep(folder, known | {INDEX: records.digest(file)})
    return planned


def check(folder: Path, tracked: Tracked) -> Index:
    """Compares every file of a pack with its digest, and the packed files with what they were.

    Raises:
        UserError: The pack is missing, not complete or damaged, or packed files changed.
    """
    known = kept_digests(folder)
    if INDEX not in known:
        raise UserError(
            f"{folder} is not a complete pack. `jaxseg pack CONFIG {folder}` continues."
        )
    wrong = [
        name
        for name in tracked(iter(sorted(known)), len(known))
        if records.digest(folder / name) != known[name]
    ]
    if wrong:
        raise UserError(
            f"{len(wrong)} of {len(known)} files of {folder} are damaged, {', '.join(wrong[:3])}. "
            "Remove them, and the command that packed them writes them again."
        )
    index = parsed((folder / INDEX).read_text(encoding="utf-8"))
    if told := changes(index):
        raise UserError(f"{folder} is as it was written, but {told}.")
    return index


def _splits(source: Source) -> dict[str, Scenes]:
    """The scenes of each split that there is.

    Raises:
        UserError: The source changes scenes, or cannot be read.
    """
    if isinstance(source, Wrapped):
        kind, inner = type(source).__name__, type(source.source).__name__
        raise UserError(
            f"{kind} changes training scenes only: pack its source, {inner}, and give "
            f"{kind}(source=Packed(...))."
        )
    found = {}
    for split in ("train", "validation", "test"):
        with contextlib.suppress(MissingSplit):
            found[split] = source.scenes(split)
    if not any(map(len, found.values())):
        raise UserError("The source has no scene to be packed.")
    return found


def _planned(source: Source, opened: dict[str, Scenes], tile: int, compression: str) -> Index:
    """The index of the pack; one pixel is read to learn the types.

    Raises:
        UserError: The source is not one of files.
    """
    first = next(scenes for scenes in opened.values() if len(scenes))
    sample = first.read(0, Window(0, 0, 1, 1))
    order = [name for name in ("image", "label", "instance") if name in sample]
    fields = {name: sample[name].dtype.str for name in order} | {"valid": "|b1"}
    bands = len(source.sensor.bands)
    bytes_a_pixel = bands * sample["image"].itemsize + sum(sample[n].itemsize for n in order[1:])
    shown = source.rgb(np.arange(bands, dtype=np.float32)[None, None])[0, 0]
    return Index(
        source=source,
        sensor=source.sensor,
        rgb=tuple(map(int, shown)),
        tile=tile,
        tiles_per_file=max(1, FILE // (tile * tile * bytes_a_pixel)),
        compression=compression,
        fields=fields,
        splits={name: _split(scenes, source) for name, scenes in opened.items()},
        files=states(_files(source, opened)),
    )


def _split(scenes: Scenes, source: Source) -> Split:
    inner, every = scenes, range(len(scenes))
    while isinstance(inner, Around):
        inner = inner.inner
    if not isinstance(inner, OfFiles):
        raise UserError(
            f"{type(source).__name__} is not a folder of image files. What can be packed is "
            "Folder, and Stacked folders."
        )
    extents = list(map(inner.extent, every))
    gsds = [gsd_of(scenes, index, source) for index in every]
    return Split(list(map(scenes.name, every)), list(map(scenes.size, every)), extents, gsds)


def _files(source: Source, splits: Iterable[str]) -> list[str]:
    """The files of all splits, those of stacked folders included, each once."""
    opened = (leaf.scenes(split) for leaf in leaves(source) for split in splits)
    of_files = (scenes for scenes in opened if isinstance(scenes, FromFiles))
    return sorted({path for s in of_files for index in range(len(s)) for path in s.files(index)})


def _tiles(scenes: Scenes, index: Index, split: str, file: int) -> Iterator[bytes]:
    """The tiles of a file, in their order; scenes are read by strips of whole rows of tiles."""
    tile, starts = index.tile, index.splits[split].starts(index.tile)
    first = file * index.tiles_per_file
    last = min(int(starts[-1]), first + index.tiles_per_file)
    scene = int(np.searchsorted(starts, first, "right")) - 1
    while first < last:
        height, width = scenes.size(scene)
        across = -(-width // tile)
        row, column = divmod(first - int(starts[scene]), across)
        fitting = max(1, min(STRIP // tile, index.tiles_per_file // (4 * across)))
        top, rows = row * tile, min(fitting * tile, height - row * tile)
        strip = scenes.read(scene, Window(top, 0, rows, width))
        count = min(-(-rows // tile) * across - column, last - first)
        for number in range(column, column + count):
            y, x = number // across * tile, number % across * tile
            yield encoded(_cut(strip, y, x, tile), index.fields)
        first += count
        scene += first == starts[scene + 1]


def _cut(strip: Sample, y: int, x: int, tile: int) -> Sample:
    return {name: pixels[y : y + tile, x : x + tile] for name, pixels in strip.items()}


def _refuse_other(planned: Index, file: Path) -> None:
    """Rejects a folder that holds another pack, or one of files that have changed since.

    Raises:
        UserError: It does.
    """
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}. Give another folder.") from None
    if text == planned.text():
        return
    try:
        stored = parsed(text)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{file} cannot be read: {error}. Give another folder.") from error
    if told := changes(stored):
        raise UserError(f"{file.parent} was begun with other files: {told}. Give another folder.")
    old, new = (
        dict(line.split(": ", 1) for line in t.split(",\n")) for t in (text, planned.text())
    )
    names = ", ".join(name.strip('{"') for name in new if old.get(name) != new[name])
    raise UserError(
        f"{file.parent} holds another pack: it differs in {names}. Give another folder."
    )


def _keep(folder: Path, digests: dict[str, str]) -> None:
    """Writes the digests in the order of names."""
    lines = (f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    if (folder / DIGESTS).is_dir():
        put_aside(folder / DIGESTS)
    with whole(folder / DIGESTS) as aside:
        aside.write_text("".join(lines), encoding="utf-8")


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keeps another process from writing to the folder; it is free when this process ends.

    Raises:
        UserError: Another one writes there.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for begun in folder.glob("*.tmp"):  # by a process that was killed
            begun.unlink()
        yield
    except BlockingIOError:
        raise UserError(
            f"Another jaxseg pack writes to {folder}: wait for it, or stop it."
        ) from None
    finally:
        os.close(handle)
