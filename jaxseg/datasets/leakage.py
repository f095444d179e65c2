"""Finds pixels of the training among those that a network is evaluated on.

A scene is recognised by its file, however the path to it is spelled, by the content of the file,
and where files state their position, by the ground that it shows.
"""

import hashlib
import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np

from jaxseg.datasets import shared_ground
from jaxseg.datasets.paired import without_side
from jaxseg.datasets.wrapped import leaves
from jaxseg.errors import MissingSplit, UserError
from jaxseg.files import raster
from jaxseg.scenes.scene import Located, OfFiles, Scenes, Source, Window
from jaxseg.system.console import note

SAMPLED = 4096
"""Bytes at the beginning, in the middle and at the end of files that are compared first."""

_LOOKED_AT = 512


def check_splits(source: Source, allowed: float = 0.0) -> None:
    """Checks, before a training, that no two splits of a source share files or ground.

    Args:
        source: The source and all that it wraps. Sources that open no files of the user's have
            splits of their own, and side images are seen in training alone: neither is compared.
        allowed: Share of the ground of a validation or test split that the training may show.

    Raises:
        UserError: A scene is in two splits or twice in one, or they share more ground.
    """
    for leaf in leaves(without_side(source)):
        if not isinstance(leaf, Located):
            continue
        found: dict[str, Scenes] = {}
        for split in ("train", "validation", "test"):
            try:
                found[split] = leaf.scenes(split)
            except MissingSplit:  # of folders and lists: there is none to be tested on
                continue
        own = {name: scenes for name, scenes in found.items() if isinstance(scenes, OfFiles)}
        for scenes in own.values():
            _refuse_twice(scenes)
        for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
            if first in own and second in own:
                known = 1.0 if first == "validation" else allowed
                _compare_files(own[first], own[second], first, second, known, "")


def copies(source: Source) -> list[str]:
    """A line for each split that shows the same picture in several scenes, which may be meant so.

    Args:
        source: The source. Scenes of several images are copies if all of these are.
    """
    lines = []
    for split in ("train", "validation", "test"):
        try:
            opened = [leaf.scenes(split) for leaf in leaves(without_side(source))]
        except MissingSplit:
            continue
        if not all(isinstance(scenes, OfFiles) for scenes in opened):
            continue
        shown = [_contents(scenes) for scenes in opened if isinstance(scenes, OfFiles)]
        first: dict[object, int] = {}
        pairs = []
        for index, content in enumerate(zip(*shown, strict=False)):
            if (before := first.setdefault(content, index)) != index:
                pairs.append((before, index))
        if pairs:
            one, other = (opened[0].name(index) for index in pairs[0])
            lines.append(
                f"{one} and {other} of the {split} split hold the same picture; "
                f"{len(pairs)} of {len(opened[0])} scenes are copies of others, and count again. "
                "Remove them unless they are repeated on purpose."
            )
    return lines


def refuse_trained_pixels(
    trained: Source, given: Source, split: str, allowed: float = 0.0
) -> float:
    """Compares a split with the training split of a run, source by source.

    Args:
        trained: The source of the run.
        given: The source that the network is evaluated on.
        split: Its split.
        allowed: Share of its ground that the training may have shown.

    Returns:
        The share of its ground that the training has shown, as far as files state it.

    Raises:
        UserError: Pixels of the split were, or may have been, used for training.
    """
    if split == "train":
        return 0.0
    pairs = [(own, other) for own in leaves(trained) for other in leaves(given)]
    return max((_compare(own, other, split, allowed) for own, other in pairs), default=0.0)


def _compare(trained: Source, given: Source, split: str, allowed: float) -> float:
    if not (isinstance(trained, Located) and isinstance(given, Located)):
        return 0.0
    own, other = trained.origin(), given.origin()
    same_place = _same_place(own.place, other.place)
    names = own.split.keys() | other.split.keys()
    pairs = {name: (own.split.get(name), other.split.get(name)) for name in sorted(names)}
    changed = ", ".join(f"{n} {one} -> {two}" for n, (one, two) in pairs.items() if one != two)
    if same_place and not changed and not own.whole:
        return 0.0
    try:
        train = trained.scenes("train")
    except UserError as error:
        note(
            f"The training files of the run cannot be read ({error}), so it is not known whether\n"
            "these scenes are among them."
        )
        return 0.0
    scenes = given.scenes(split)
    if isinstance(train, OfFiles) and isinstance(scenes, OfFiles):
        how = f" The data are split in another way than the run's ({changed})." if changed else ""
        return _compare_files(train, scenes, "train", split, allowed, how)
    if not same_place or not changed:
        return 0.0
    seen = {train.name(index) for index in range(len(train))}
    for name in map(scenes.name, range(len(scenes))):
        if not own.whole or name in seen:
            raise UserError(
                f"{name}: the network may have been trained on pixels of the {split} split, as "
                f"the data are split in another way than the run's ({changed}). Split them as the "
                "run did."
            )
    return 0.0


def _compare_files(
    train: OfFiles, given: OfFiles, first: str, second: str, allowed: float, how: str
) -> float:
    """Compares the scenes of two splits.

    Returns:
        The share of the second's ground that the first shows.

    Raises:
        UserError: They share a file, a file's content, or more ground than allowed.
    """
    known = _by_file(train)
    wanted = {_size(given.extent(index).file) for index in range(len(given))} - {-1}
    sampled: defaultdict[bytes, list[str]] = defaultdict(list)
    for entries in known.values():
        if _size(entries[0][1]) in wanted:
            sampled[_sample(entries[0][1])].append(entries[0][1])
    sizes = {_size(files[0]) for files in sampled.values()}
    for index in range(len(given)):
        extent = given.extent(index)
        for area, file in known.get(_key(extent.file), ()):
            if _overlap(area, extent.area):
                other = "" if file == extent.file else f" (there as {file})"
                raise UserError(
                    f"{extent.file}: pixels of this scene are in the {first} split{other} and in "
                    f"the {second} split, so a network would be evaluated on what it was trained "
                    f"on.{how} Split the data as the run did, or leave the scene out of one."
                )
        if _key(extent.file) in known:
            continue  # another part of it
        if _size(extent.file) not in sizes:
            continue
        alike = sampled.get(_sample(extent.file), [])
        if not alike or _is_plain(given, index):
            continue
        for file in alike:
            if _same_content(file, extent.file):
                raise UserError(
                    f"{extent.file} ({second} split) is a copy of {file} ({first} split): a "
                    "network would be evaluated on what it was trained on. Remove one."
                )
    found = shared_ground.shared(
        [train.extent(index).ground for index in range(len(train))],
        [given.extent(index).ground for index in range(len(given))],
    )
    if found.share > allowed:
        one, other = train.extent(found.first).file, given.extent(found.second).file
        raise UserError(
            f"{100 * found.share:.2g} % of the ground of the {second} split is shown in the "
            f"{first} split too: {other} and {one} overlap.{how} Put scenes of one place into one "
            "split (--config.data.source.split-by lists), or allow a share of it: "
            f"--config.data.shared-ground {_rounded_up(found.share)} for training, "
            f"--shared-ground {_rounded_up(found.share)} for jaxseg evaluate."
        )
    return found.share


def _contents(scenes: OfFiles) -> list[object]:
    """What is equal for scenes that hold the same picture; compared as files of two splits are."""
    files = _by_file(scenes)
    sizes = Counter(_size(entries[0][1]) for entries in files.values())
    first: dict[object, str] = {}  # key of a file -> the first file with its content
    alike: defaultdict[bytes, list[str]] = defaultdict(list)
    for key, entries in files.items():
        path = entries[0][1]
        first[key] = path
        if _size(path) < 0 or sizes[_size(path)] == 1:
            continue
        others = alike[_sample(path)]
        first[key] = next((other for other in others if _same_content(other, path)), path)
        if first[key] == path:
            others.append(path)
    extents = map(scenes.extent, range(len(scenes)))
    found: list[object] = [(first[_key(extent.file)], extent.area) for extent in extents]
    repeated = Counter(found)
    return [
        index if repeated[content] > 1 and _is_plain(scenes, index) else content
        for index, content in enumerate(found)
    ]


def _refuse_twice(scenes: OfFiles) -> None:
    for entries in _by_file(scenes).values():
        for number, (area, file) in enumerate(entries):
            for other, again in entries[:number]:
                if _overlap(area, other):
                    raise UserError(
                        f"{again} and {file} are the same file: its pixels would count twice. "
                        "Remove one."
                    )


Entry = tuple[Window, str]
"""The part of a file, and the path by which it was found."""


def _by_file(scenes: OfFiles) -> dict[object, list[Entry]]:
    found: defaultdict[object, list[Entry]] = defaultdict(list)
    for index in range(len(scenes)):
        extent = scenes.extent(index)
        found[_key(extent.file)].append((extent.area, extent.file))
    return dict(found)


def _key(path: str) -> object:
    """What is equal for all paths and links to a file."""
    status = _status(path)
    return path if status is None else (status.st_dev, status.st_ino)


def _size(path: str) -> int:
    """Bytes; -1 of files that are not compared: of those that only GDAL knows, and that are gone.

    What was packed may be gone: it was compared when it was packed.
    """
    status = _status(path)
    return -1 if status is None else status.st_size


def _status(path: str) -> os.stat_result | None:
    """Of a local file."""
    if raster.is_remote(path) or path.startswith("/vsi"):
        return None
    try:
        return os.stat(path)  # noqa: PTH116  (for a million files)
    except FileNotFoundError:
        return None


def _same_place(one: str, other: str) -> bool:
    """Whether two paths lead to the same place, or to files of the same content."""
    if _resolved(one) == _resolved(other):
        return True
    both = os.path.isfile(one) and os.path.isfile(other)  # noqa: PTH113
    return both and _size(one) == _size(other) and _same_content(one, other)


def _resolved(place: str) -> str:
    return place if raster.is_remote(place) else os.path.realpath(place)


def _overlap(one: Window, other: Window) -> bool:
    return (
        one.y < other.y + other.height
        and other.y < one.y + one.height
        and one.x < other.x + other.width
        and other.x < one.x + one.width
    )


def _sample(path: str) -> bytes:
    """A digest of a file's size and of what stands at its beginning, middle and end."""
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.blake2b(str(size).encode(), digest_size=16)
        for place in (0, size // 2, max(0, size - SAMPLED)):
            file.seek(place)
            digest.update(file.read(SAMPLED))
    return digest.digest()


def _same_content(one: str, other: str) -> bool:
    """Whether two files have the same bytes."""
    with Path(one).open("rb") as first, Path(other).open("rb") as second:
        while part := first.read(1 << 20):
            if part != second.read(1 << 20):
                return False
    return True


def _is_plain(scenes: OfFiles, index: int) -> bool:
    """Whether a scene shows one value: empty scenes have equal files, and teach nothing."""
    height, width = scenes.size(index)
    window = Window(0, 0, min(height, _LOOKED_AT), min(width, _LOOKED_AT))
    sample = scenes.read(index, window)
    pixels = sample["image"][sample["valid"].astype(bool)]
    return not len(pixels) or bool(np.all(pixels == pixels[0]))


def _rounded_up(share: float) -> float:
    return min(1.0, float(np.ceil(1000 * share) / 1000))
