"""Files of a folder that lie elsewhere, because they or their folders are symbolic links."""

import glob
import os
from collections.abc import Iterable
from pathlib import Path

SHOWN = 3
"""Files that are named."""


def root_of(path: str) -> str:
    """The folder that a path names: a folder itself, of a pattern what is before its first mark."""
    folder = Path(path)
    if folder.is_dir():
        return path
    parts = folder.parent.parts
    marks = [number for number, part in enumerate(parts) if glob.has_magic(part)]
    return str(Path(*(parts[: marks[0]] if marks else parts)))


def out_of(root: str, files: Iterable[str]) -> str:
    """A sentence about the files that are links out of a folder; empty without such files.

    Args:
        root: The folder that a person gave; it may be a link itself.
        files: Files in it, as they were found.
    """
    inside = os.path.realpath(root)
    inner: dict[str, bool] = {}
    found = []
    for file in files:
        folder = os.path.dirname(file)  # noqa: PTH120
        if folder not in inner:
            inner[folder] = _within(os.path.realpath(folder), inside)
        # A link costs one call, and its place is looked up where there is one.
        is_link = os.path.islink(file)  # noqa: PTH114
        if not inner[folder] or (is_link and not _within(os.path.realpath(file), inside)):
            found.append(file)
    if not found:
        return ""
    named = ", ".join(f"{file} -> {os.path.realpath(file)}" for file in found[:SHOWN])
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"Links out of {root} are followed, {len(found)} file(s): {named}{more}."


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
