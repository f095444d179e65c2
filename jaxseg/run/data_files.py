"""The files that a run was trained on: whether they are still what they were.

    WORKDIR/data_files.txt.gz     a line a file: size in bytes, time in nanoseconds, path

It is written at the first start; later starts and evaluations compare the files with it.
"""

import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from jaxseg.datasets.paired import without_side
from jaxseg.datasets.wrapped import leaves
from jaxseg.disk import whole
from jaxseg.errors import MissingSplit, UserError
from jaxseg.files import raster
from jaxseg.scenes.scene import FromFiles, Located, Source

NAME = "data_files.txt.gz"


def keep(workdir: Path, source: Source) -> None:
    """Writes the files of all splits, unless an earlier start has."""
    file = workdir / NAME
    if file.exists():
        return
    lines = (f"{size} {time} {path}\n" for path, (size, time) in sorted(_now(source).items()))
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
        before = dict(_stored(file))
    except (OSError, EOFError, ValueError, zlib.error) as error:
        return [f"{file} cannot be read ({error}): whether files changed is not known."]
    try:
        now = _now(source)
    except (UserError, OSError):  # what is missing is said where it is needed
        now = {path: found for path in before if (found := _state(path)) is not None}
    gone, new = sorted(before.keys() - now.keys()), sorted(now.keys() - before.keys())
    other = sorted(path for path in before.keys() & now.keys() if before[path] != now[path])
    kinds = (("gone", gone), ("new", new), ("of another size or time", other))
    told = [f"{len(paths)} {what} ({paths[0]})" for what, paths in kinds if paths]
    if not told:
        return []
    return [
        f"Of the {len(before)} files of the run's data, some changed since its training began: "
        f"{', '.join(told)}. Scores may be of other pixels, or of pixels that were trained on."
    ]


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


def _stored(file: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    with gzip.open(file, "rt", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            size, time, path = line.rstrip("\n").split(" ", 2)
            yield path, (int(size), int(time))
