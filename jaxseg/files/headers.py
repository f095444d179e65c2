"""The headers of many files, kept in the user's cache: to read one takes 2 CPU ms.

A header is read again if the file or one of its side-cars (statistics, masks, world files: what has
its name and another ending) came, went, or has another size or time. Files on other machines and
virtual rasters, whose sources are files of their own, are read each time.
"""

import functools
import hashlib
import json
import os
import sqlite3
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import rasterio
from affine import Affine
from rasterio.crs import CRS

from jaxseg.files import raster
from jaxseg.files.raster import Header
from jaxseg.system.cache import cache_folder
from jaxseg.system.console import make_console, say

KEPT_FROM = 200
"""Files of which headers are kept; fewer are read in a moment."""

THREADS = 8
"""Threads that read headers; more than there are cores, because they wait for disks."""

AHEAD = 1000
"""Groups of files whose headers are read before the first of them is used."""

Paths = TypeVar("Paths", bound=Sequence[str])


class Headers:
    """Headers of files; those that are known are not read.

    Attributes:
        new: Path -> state, common facts and transform, as texts, of the files that were read.
    """

    def __init__(self, known: Mapping[str, tuple[str, str, str]]) -> None:
        """Starts from what was `new` before."""
        self.new: dict[str, tuple[str, str, str]] = {}
        self._known = known
        self._beside = functools.cache(_beside)
        self._at_hand: dict[str, Header] = {}

    def __call__(self, path: str) -> Header:
        """The header of a file, as `raster.header` reads it.

        Raises:
            UserError: There is no such file, or it is damaged or not an image.
        """
        return self._at_hand.get(path) or self._looked_up(path) or self._read(path)

    def at_hand(self, groups: Sequence[Paths]) -> Iterator[Paths]:
        """Groups of paths, one after another; their headers are there without waiting.

        Threads read those that are not known; only reading has to wait for a disk.

        Raises:
            UserError: A file is missing, damaged, or not an image.
        """
        with ThreadPoolExecutor(THREADS) as threads:
            for start in range(0, len(groups), AHEAD):
                part = groups[start : start + AHEAD]
                paths = [path for group in part for path in group if path]
                found = {path: self._looked_up(path) for path in paths}
                unknown = [path for path, header in found.items() if header is None]
                found.update(zip(unknown, threads.map(self._read, unknown), strict=True))
                self._at_hand = {path: header for path, header in found.items() if header}
                yield from part

    def _looked_up(self, path: str) -> Header | None:
        found = self._known.get(path)
        if found is None or found[0] != self._state(path):
            return None
        return _opened(path, found[1], found[2])

    def _read(self, path: str) -> Header:
        if raster.is_remote(path) or path.startswith("/vsi") or path.lower().endswith(".vrt"):
            return raster.header(path)
        state = self._state(path)
        header = raster.header(path)
        if state:
            self.new[path] = (state, *_written(header))
        return header

    def _state(self, path: str) -> str:
        """Size and time of the file and its side-cars; empty if there is no such file."""
        folder, name = os.path.split(path)
        try:
            beside = self._beside(folder or ".")
            names = sorted({name, *beside[name], *beside[name.rpartition(".")[0]]})
            states = [(n, os.stat(os.path.join(folder, n))) for n in names]  # noqa: PTH116, PTH118
        except OSError:
            return ""
        return " ".join(f"{n} {s.st_size} {s.st_mtime_ns}" for n, s in states)


@contextmanager
def kept(paths: Sequence[str]) -> Iterator[Headers]:
    """Headers of these files; what had to be read is kept for the next time.

    Without a cache, or with one that cannot be used, all are read.
    """
    cache = cache_folder()
    if cache is None or len(paths) < KEPT_FROM:
        yield Headers({})
        return
    # One file for each folder of data, so that what is loaded is what is asked for.
    place = os.path.commonpath([os.path.abspath(path) for path in paths])  # noqa: PTH100
    made_by = f"3 {version('jaxseg')} {rasterio.__version__} {rasterio.__gdal_version__} {place}"
    file = cache / "headers" / f"{hashlib.sha256(made_by.encode()).hexdigest()[:16]}.sqlite"
    headers = Headers(_load(file))
    yield headers
    if headers.new:
        _store(file, headers.new)


def _load(file: Path) -> dict[str, tuple[str, str, str]]:
    """What is kept, without what is damaged: SQLite has no checksums."""
    if not file.is_file():
        return {}
    try:
        with closing(sqlite3.connect(file)) as base:
            rows = base.execute(
                "SELECT path, state, text, transform, crc FROM files JOIN kinds ON kind = kinds.id"
            ).fetchall()
    except (sqlite3.Error, OverflowError, UnicodeDecodeError):  # damaged, or of another program
        _say_damaged(file, "all")
        with suppress(OSError):
            file.unlink()
        return {}
    good = {row[0]: row[1:4] for row in rows if row[4] == _checksum(row[:4])}
    if len(good) < len(rows):
        _say_damaged(file, f"{len(rows) - len(good)} of {len(rows)}")
    return good


def _say_damaged(file: Path, many: str) -> None:
    say(make_console(), f"Note: {file}, a cache, is damaged: {many} headers are read again.")


def _checksum(row: tuple[str, ...]) -> int:
    return zlib.crc32("\n".join(map(str, row)).encode(errors="surrogatepass"))


def _store(file: Path, new: dict[str, tuple[str, str, str]]) -> None:
    with suppress(OSError, sqlite3.Error):  # a cache that cannot be written is no cache
        file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(file)) as base, base:
            base.execute("CREATE TABLE IF NOT EXISTS kinds (id INTEGER PRIMARY KEY, text UNIQUE)")
            base.execute(
                "CREATE TABLE IF NOT EXISTS files (path PRIMARY KEY, state, kind, transform, crc)"
            )
            kinds = {(kind,) for _, kind, _ in new.values()}
            base.executemany("INSERT OR IGNORE INTO kinds (text) VALUES (?)", kinds)
            base.executemany(
                "INSERT OR REPLACE INTO files SELECT ?, ?, id, ?, ? FROM kinds WHERE text = ?",
                (
                    (path, state, at, _checksum((path, state, kind, at)), kind)
                    for path, (state, kind, at) in new.items()
                ),
            )


def _beside(folder: str) -> defaultdict[str, list[str]]:
    """Beginning of a name, up to one of its dots -> the files that begin so."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    with os.scandir(folder) as entries:
        for entry in entries:
            parts = entry.name.split(".")
            for end in range(1, len(parts)):
                found[".".join(parts[:end])].append(entry.name)
    return found


def _written(header: Header) -> tuple[str, str]:
    """What many files have in common, and the transform."""
    facts = {field.name: getattr(header, field.name) for field in fields(header)}
    del facts["path"], facts["transform"]
    facts["dtypes"] = [each.str for each in header.dtypes]
    facts["palette"] = None if header.palette is None else header.palette.tobytes().hex()
    facts["crs"] = None if header.crs is None else header.crs.to_wkt()
    return json.dumps(facts), json.dumps(tuple(header.transform)[:6])


def _opened(path: str, kind: str, transform: str) -> Header:
    return Header(path=path, transform=Affine(*json.loads(transform)), **_facts(kind))


@functools.lru_cache(10_000)
def _facts(kind: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(kind)
    for name in ("descriptions", "nodata", "scales", "offsets"):
        facts[name] = tuple(facts[name])
    facts["dtypes"] = tuple(map(np.dtype, facts["dtypes"]))
    if facts["palette"] is not None:
        facts["palette"] = np.frombuffer(bytes.fromhex(facts["palette"]), np.uint8).reshape(-1, 3)
    if facts["crs"] is not None:
        facts["crs"] = CRS.from_wkt(facts["crs"])
    return facts
