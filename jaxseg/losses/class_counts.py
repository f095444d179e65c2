"""How often each class is labelled in a training split: counted once, stored with the dataset.

training split --windows--> labelled pixels of each class --> a small file for the next run
"""

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from jaxseg.errors import UserError
from jaxseg.losses.class_weights import RULES, ClassCounts
from jaxseg.scenes.cover import Cover
from jaxseg.scenes.scene import IGNORE, Source, Window
from jaxseg.system import side_files
from jaxseg.system.console import say, track
from jaxseg.system.disk import writing

WINDOW = 1024
"""Rows and columns that are counted at a time; a scene may be larger than memory."""

AHEAD = 1024
"""Windows that wait to be read."""


@runtime_checkable
class KeepsCounts(Protocol):
    """A source that states where the counts of its training split are stored between runs."""

    def counts_file(self) -> Path | None:
        """A path that depends on what is counted: the settings, and files that can change."""


def class_counts(
    source: Source, *, threads: int, console: Console, recount: bool = False
) -> ClassCounts:
    """The counts of the training split, read from its file or counted and stored there.

    Args:
        source: The labelled collection.
        threads: Reading threads.
        console: Where progress, absent classes and the file are reported.
        recount: Whether to count even if the file exists.

    Raises:
        UserError: The data cannot be read, a label is not a class, or nothing is labelled.
    """
    file = source.counts_file() if isinstance(source, KeepsCounts) else None
    counts = None if recount or file is None else _kept(file, source.classes, console)
    if counts is None:
        counts = _counted(source, threads, console)
        if file is not None:
            _keep(file, source.classes, counts, console)
    absent = [name for name, n in zip(source.classes, counts.pixels, strict=True) if n == 0]
    if absent:
        say(console, f"No labelled training pixel, so weight 0: {', '.join(absent)}.")
    return counts


def print_class_weights(console: Console, classes: tuple[str, ...], counts: ClassCounts) -> None:
    """The table of `jaxseg class-weights`: pixels, shares and the weights of every rule."""
    table = Table(box=box.SIMPLE_HEAD, title=f"{sum(counts.pixels):,} labelled training pixels")
    table.add_column("class", overflow="fold")
    for name in ("pixels", "share", *RULES):
        table.add_column(name, justify="right", overflow="fold")
    weights = [counts.weights(rule) for rule in RULES]
    rows = zip(classes, counts.pixels, counts.shares(), *weights, strict=True)
    for name, pixels, share, *values in rows:
        table.add_row(
            name, f"{pixels:,}", f"{share:.3%}", *(f"{float(value):.5g}" for value in values)
        )
    console.print(table)


def _counted(source: Source, threads: int, console: Console) -> ClassCounts:
    scenes, classes = source.scenes("train"), len(source.classes)
    per_scene = np.zeros((len(scenes), classes), np.int64)

    def one(place: tuple[int, Window]) -> tuple[int, NDArray[np.int64]]:
        scene, (y, x, *_) = place
        height, width = scenes.size(scene)
        inside = Window(y, x, min(WINDOW, height - y), min(WINDOW, width - x))
        sample = scenes.read(scene, inside)
        labels = sample["label"][sample["valid"].astype(bool) & (sample["label"] != IGNORE)]
        counts = np.bincount(labels.astype(np.int64), minlength=classes)
        if len(counts) > classes:
            raise UserError(
                f"{scenes.name(scene)}: label {len(counts) - 1} is not a class: the source names "
                f"{classes} ({', '.join(source.classes)}). Add the class, or store the label as "
                f"{IGNORE}."
            )
        return scene, counts

    places = Cover(WINDOW, WINDOW).windows(scenes)
    with ThreadPoolExecutor(threads) as executor:
        parts = (places[start : start + AHEAD] for start in range(0, len(places), AHEAD))
        done = itertools.chain.from_iterable(executor.map(one, part) for part in parts)
        for scene, counts in track(done, "class counts", total=len(places), console=console):
            per_scene[scene] += counts
    labelled = per_scene.sum(1)
    if not labelled.sum():
        first = f", the first being {scenes.name(0)}" if len(scenes) else ""
        raise UserError(
            f"No labelled pixel in {len(scenes)} training scene(s){first}: nothing to weight "
            "classes by. Check the masks and the nodata value of the source."
        )
    around = ((per_scene > 0) * labelled[:, None]).sum(0)
    return ClassCounts(tuple(per_scene.sum(0).tolist()), tuple(around.tolist()))


def _kept(file: Path, classes: tuple[str, ...], console: Console) -> ClassCounts | None:
    if not file.exists():
        return None
    try:
        stored = side_files.read(file)
        if stored["classes"] == list(classes):
            return _checked(ClassCounts(tuple(stored["pixels"]), tuple(stored["around"])))
    except (side_files.DamagedError, ValueError, KeyError, TypeError) as error:
        why = side_files.reason(error)
        say(console, f"{file} is damaged ({why}): the classes are counted again.")
    return None


def _checked(counts: ClassCounts) -> ClassCounts:
    """Counts that can be such of a split.

    Raises:
        ValueError: They cannot.
    """
    numbers = (*counts.pixels, *counts.around)
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("it holds other numbers than counts")
    if not sum(counts.pixels) or any(
        own > all_ for own, all_ in zip(counts.pixels, counts.around, strict=True)
    ):
        raise ValueError("its counts contradict each other")
    return counts


def _keep(file: Path, classes: tuple[str, ...], counts: ClassCounts, console: Console) -> None:
    content = {"classes": classes, "pixels": counts.pixels, "around": counts.around}
    try:
        with writing(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            side_files.write(file, content)
    except UserError as error:
        say(console, f"The class counts could not be stored. {error}")
    else:
        say(console, f"Class counts stored in {file}.")
