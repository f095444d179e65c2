"""The files that a run was trained on: whether they are still what they were.

    WORKDIR/data_files.txt.gz     a line a file: bytes, time in nanoseconds, digest, path

It is written at the first start; later starts and evaluations compare the files with it. A file of
the same size with another time, such as that of a copied dataset, is compared by its contents.
Digests are of the smallest files, up to `READ` bytes: a mask is small, and an archive of terabytes
is not read twice for this.
"""

import gzip
import hashlib
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from jaxseg.datasets.paired import without_side
from jaxseg.datasets.wrapped import leaves
from jaxseg.errors import MissingSplit, UserError
from jaxseg.files import raster
from jaxseg.scenes.scene import FromFiles, Located, Source
from jaxseg.system import side_files
from jaxseg.system.disk import whole

NAME = "data_files.txt.gz"

LONGEST, MOST = 2**16, 2**31
"""Characters of a line, and of the file: compressed, a few megabytes could be any number."""

READ = 2**30
"""Bytes of which digests are kept; about a second to read."""

FILES = 20_000
"""Files of which digests are kept, at most: on network disks each takes a millisecond to open."""

NAMED = 10
"""Changed files that a message names."""

THREADS = 8
"""Threads that read files; more than there are cores, because they wait for disks."""

UNKNOWN = "-"
"""In the place of a digest: the contents are not known."""

_LINE = re.compile(r"(\d+) (\d+) (?:([0-9a-f]{32}|-) )?(.+)", re.DOTALL)
"""Of earlier versions without a digest."""


class Stored(NamedTuple):
    """What is known of a file since the first start."""

    size: int
    time: int
    digest: str


class Changes(NamedTuple):
    """How the files differ from those of the first start.

    Attributes:
        total: Files at the first start.
        kinds: `gone`, `new`, `of other contents` -> paths; a kind without paths is left out.
        unsure: Files of the same size and another time whose contents at the first start are not
            known.
    """

    total: int
    kinds: dict[str, list[str]]
    unsure: list[str]


def keep(workdir: Path, source: Source, *, again: bool = False) -> None:
    """Writes the files of all splits.

    Args:
        workdir: The run's folder.
        source: The run's own source.
        again: Whether to write them again, if an earlier start has.
    """
    file = workdir / NAME
    if file.exists() and not again:
        return
    now = _now(source)
    digests = _digests(_small(now))
    lines = (
        f"{size} {time} {digests.get(path, UNKNOWN)} {path}\n"
        for path, (size, time) in sorted(now.items())
    )
    with (
        whole(file) as aside,
        gzip.open(aside, "wt", encoding="utf-8", errors="surrogateescape") as out,
    ):
        out.writelines(lines)


def changed(workdir: Path, source: Source) -> list[str]:
    """A line about files that are other ones than at the first start, if there are any.

    Args:
        workdir: The run's folder.
        source: The run's own source, with absolute paths.
    """
    file = workdir / NAME
    if not file.exists():  # of an earlier version
        return _divided_otherwise(source)
    try:
        found = _compared(file, source)
    except _DAMAGED as error:
        why = side_files.reason(error)
        return [f"{file} cannot be read ({why}): whether files changed is not known."]
    lines = [_unsure(found)] if found.unsure else []
    if found.kinds:
        lines.insert(
            0, f"{_told(found)} Scores may be of other pixels, or of pixels that were trained on."
        )
    return lines


def refusal(workdir: Path, source: Source) -> str:
    """Why a run does not continue: files that changed; empty if none did.

    Args:
        workdir: The run's folder.
        source: The run's source, with absolute paths.
    """
    file = workdir / NAME
    if not file.exists():
        return ""
    found = _compared(file, source)
    if not found.kinds:
        return ""
    return (
        f"{_told(found)} A training that continues with them is a run of neither. Put them back, "
        f"or give another --workdir to start a new run, or --changed-files to continue {workdir} "
        "with the files as they are."
    )


def repaired(workdir: Path) -> list[str]:
    """Puts a list that cannot be read aside, and returns a line that says so."""
    file = workdir / NAME
    if not file.exists():
        return []
    try:
        for _ in _stored(file):
            pass
    except _DAMAGED as error:
        return [
            f"{file} cannot be read ({side_files.reason(error)}) and is put aside as "
            f"{side_files.put_aside(file).name}: whether files of the data changed before this "
            "start is not known."
        ]
    return []


def sizes(source: Source) -> dict[str, int]:
    """Path -> bytes of the local files of all splits."""
    return {path: size for path, (size, _) in _now(source).items()}


def _divided_otherwise(source: Source) -> list[str]:
    """A line if files are in another order, and so in other splits, than before version 0.2.0."""
    for leaf in leaves(without_side(source)):
        if not isinstance(leaf, Located) or leaf.origin().split.get("split_by") != "files":
            continue
        try:
            splits = [leaf.scenes(split) for split in ("train", "validation", "test")]
        except UserError:  # what is missing is said where it is needed
            continue
        stems = [Path(each.name(index)).stem for each in splits for index in range(len(each))]
        if stems != sorted(stems):
            return [
                "This run was begun by a version that sorted s10 before s2, and files are divided "
                "in the order of their names: scenes of the test split may have been trained on. "
                "Evaluate it with split_by lists that name the scenes in the old order."
            ]
    return []


def _now(source: Source) -> dict[str, tuple[int, int]]:
    """Path -> size and time of the local files of all splits."""
    found: dict[str, tuple[int, int]] = {}
    for leaf in leaves(without_side(source)):
        for split in ("train", "validation", "test"):
            try:
                scenes = leaf.scenes(split)
            except MissingSplit:
                continue
            if not isinstance(scenes, FromFiles):
                break
            for index in range(len(scenes)):
                for path in scenes.files(index):
                    state = _state(path)
                    if state is not None:
                        found[path] = state
    return found


def _state(path: str) -> tuple[int, int] | None:
    """Size and time of a local file; None of others, and if it is gone."""
    if raster.is_remote(path) or path.startswith("/vsi"):
        return None
    try:
        status = os.stat(path)  # noqa: PTH116  (for a million files)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _stored(file: Path) -> Iterator[tuple[str, Stored]]:
    if file.stat().st_size == 0:  # an empty list has a head
        raise EOFError("it is empty")
    read = 0
    with gzip.open(file, "rt", encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        while line := lines.readline(LONGEST):
            read += len(line)
            if read > MOST:
                raise ValueError(f"it is of more than {MOST / 2**30:g} GiB")
            found = _LINE.fullmatch(line.removesuffix("\n"))
            if found is None:
                raise ValueError(f"no file: {line[:60]!r}")
            size, time, digest, path = found.groups()
            yield path, Stored(int(size), int(time), digest or UNKNOWN)


_DAMAGED = (OSError, EOFError, ValueError, zlib.error)
"""What reading a damaged list raises."""


def _compared(file: Path, source: Source) -> Changes:
    """Compares the files with the list.

    Raises:
        OSError, EOFError, ValueError, zlib.error: The list is damaged.
    """
    before = dict(_stored(file))
    try:
        now = _now(source)
    except (UserError, OSError):  # what is missing is said where it is needed
        now = {path: found for path in before if (found := _state(path)) is not None}
    both = sorted(before.keys() & now.keys())
    touched = [path for path in both if before[path][:2] != now[path]]
    same_size = [path for path in touched if before[path].size == now[path][0]]
    known = [path for path in same_size if before[path].digest != UNKNOWN]
    digests = _digests(known)
    other = {path for path in known if digests.get(path) != before[path].digest}
    other |= set(touched) - set(same_size)
    kinds = {
        "gone": sorted(before.keys() - now.keys()),
        "new": sorted(now.keys() - before.keys()),
        "of other contents": sorted(other),
    }
    unsure = sorted(set(same_size) - set(known))
    return Changes(len(before), {what: paths for what, paths in kinds.items() if paths}, unsure)


def _told(found: Changes) -> str:
    room, told = NAMED, []
    for what, paths in found.kinds.items():
        named = paths[:room]
        room -= len(named)
        shown = f" ({', '.join(named)}{', ...' if len(paths) > len(named) else ''})"
        told.append(f"{len(paths)} {what}{shown if named else ''}")
    return (
        f"Of the {found.total} files of the run's data, some changed since its training began: "
        f"{', '.join(told)}."
    )


def _unsure(found: Changes) -> str:
    return (
        f"{len(found.unsure)} of the {found.total} files of the run's data have another time and "
        f"the same size as when its training began ({found.unsure[0]}): whether their contents "
        "changed is not known."
    )


def _small(now: Mapping[str, tuple[int, int]]) -> list[str]:
    """The files of which digests are kept, smallest first."""
    chosen: list[str] = []
    left = READ
    for path in sorted(now, key=lambda path: now[path][0])[:FILES]:
        left -= now[path][0]
        if left < 0:
            break
        chosen.append(path)
    return chosen


def _digests(paths: list[str]) -> dict[str, str]:
    """Path -> BLAKE2b of 128 bits of its bytes; of files that can be read."""
    with ThreadPoolExecutor(THREADS) as threads:
        found = dict(zip(paths, threads.map(_digest, paths), strict=True))
    return {path: digest for path, digest in found.items() if digest}


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as file:  # noqa: PTH123  (for a million files)
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return ""
