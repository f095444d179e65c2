"""The command `jaxseg data`: a look at data before anything is trained."""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxseg.datasets.arrays import guess as array_guess
from jaxseg.datasets.folder.mask_values import MaskValues, mask_values
from jaxseg.datasets.folder.separate_bands import parts_of
from jaxseg.datasets.folder.source import Folder
from jaxseg.datasets.leakage import check_splits, copies
from jaxseg.datasets.paired import Stacked
from jaxseg.errors import MissingSplit, UserError
from jaxseg.pictures.samples import LabelledImage, samples_figure
from jaxseg.pictures.tiles import stretch
from jaxseg.pictures.written import write_figure
from jaxseg.pipeline import band_statistics
from jaxseg.pipeline import survey as surveys
from jaxseg.pipeline.band_statistics import spread_windows
from jaxseg.pipeline.survey import Survey
from jaxseg.run import contract
from jaxseg.scenes.scene import IGNORE, Source, Window
from jaxseg.system.console import say, track

SPLITS = ("train", "validation", "test")

SHOWN = 24
"""Mask values, and bands, that are listed at most."""

ENOUGH = 7
"""Scenes from which the default shares leave some to every split."""

DRAWN = 6
"""Windows of a split that are drawn."""


def source_of(images: str, masks: str, console: Console) -> Source:
    """A source for images and masks, or for a scene of arrays, of which nothing else is known.

    Raises:
        UserError: Files are missing, or it cannot be guessed what they hold.
    """
    if not array_guess.are_arrays(images):
        return folder_of(images, masks, console)
    found = array_guess.guess_scene(images, masks)
    say(console, "Read as one scene of arrays:")
    for field in found.fields:
        because = f" ({found.evidence[field]})" if field in found.evidence else ""
        say(console, f"  {field}: {found.fields[field]}{because}")
    return array_guess.source_of(found)


def folder_of(images: str, masks: str, console: Console) -> Source:
    """A source for images and masks of which nothing else is known; says what the masks hold.

    Raises:
        UserError: Files are missing, or masks hold more values than classes can be.
    """
    parts = parts_of(images, masks)
    files = [mask for _, mask in parts[0].pairs()]
    found = mask_values(files, lambda items: track(items, "masks", console=console))
    _show_masks(found, console)
    if len(found.values) > IGNORE:
        raise UserError(
            f"The masks hold {len(found.values)} values or more, too many for classes. If they "
            "number objects, give them as --config.data.source.instances in a config."
        )
    values = tuple(found.values)
    # Few scenes are divided in strips, so that every split has some.
    how = "files" if len(files) >= ENOUGH else "columns"
    fields: Any = {
        "split_by": "folders" if parts[0].by_folders() else how,
        "classes": tuple(f"class{n}" for n in (range(len(values)) if found.by_color else values)),
    }
    if found.by_color:
        fields["mask_colors"] = tuple(found.color(value) for value in values)
    else:
        fields["ids"] = values
    folders: list[Source] = []
    for part in parts:
        affixes = (f"image_{part.kind}", f"mask_{part.kind}")
        of_part: Any = dict(zip(affixes, part.affixes, strict=True))
        folders.append(Folder(images=part.images, masks=part.masks, **of_part, **fields))
    return functools.reduce(Stacked, folders)


def show(source: Source, console: Console, allowed: float = 0.0) -> list[str]:
    """Prints what the splits hold and what is odd about them; returns the latter.

    Args:
        source: The data.
        console: Where to print.
        allowed: Share of the ground that splits may have in common.

    Raises:
        UserError: Files are missing or cannot be read.
    """
    found = []
    for split in SPLITS:
        shown = functools.partial(track, what=split, console=console)
        part = surveys.survey(source, split, shown)
        if part is not None:
            found.append(part)
    if not found:
        raise UserError("The data have no scene in any split.")
    _show_splits(found, console)
    _show_classes(found, source, console)
    _show_bands(found[0], source, console)
    lines = [*surveys.findings(found, source), *copies(source)]
    if found[0].split == "train":
        scenes = source.scenes("train")
        look = band_statistics.look(scenes, surveys.SIDE)
        lines += contract.unlike_others(source, scenes, look)
    try:
        check_splits(source, allowed)
    except UserError as error:  # with it no training would start; the rest is worth a look
        lines.append(str(error))
    for line in lines or ["Nothing is odd in what was looked at."]:
        say(console, f"- {line}" if lines else line)
    return lines


def write_pictures(source: Source, folder: Path) -> list[Path]:
    """Writes a picture of samples of each split with their masks.

    Raises:
        UserError: A file cannot be read or written.
    """
    written = []
    for split in SPLITS:
        images = list(_samples(source, split))
        if images:
            title = f"{split}: images and their labels"
            written.append(folder / f"{split}.png")
            figure = samples_figure(images, source.colors, source.classes, title)
            write_figure(figure, written[-1])
    return written


def _samples(source: Source, split: str) -> Iterator[LabelledImage]:
    try:
        scenes = source.scenes(split)
    except MissingSplit:
        return
    crop = min(surveys.SIDE, max(scenes.size(0)))
    for number, (scene, window) in enumerate(spread_windows(scenes, crop, DRAWN)):
        if number == DRAWN:
            return
        height, width = scenes.size(scene)
        rows, columns = min(crop, height - window.y), min(crop, width - window.x)
        sample = scenes.read(scene, Window(window.y, window.x, rows, columns))
        valid, label = sample["valid"].astype(bool), sample["label"].astype(np.int64)
        rgb = stretch(source.rgb(sample["image"]), valid)
        name = Path(scenes.name(scene)).name
        yield LabelledImage(name, rgb, label, valid & (label != IGNORE))


def _show_splits(found: Sequence[Survey], console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("split")
    parts = "scenes" if all(part.files == part.scenes for part in found) else "blocks"
    for heading in (parts, "rows x columns", "pixel (m)", "no data", "no label"):
        table.add_column(heading, justify="right")
    for part in found:
        sizes = " to ".join(f"{h} x {w}" for h, w in dict.fromkeys(part.sizes))
        metres = " to ".join(dict.fromkeys(f"{gsd:.3g}" for gsd in part.gsds or ()))
        shares = (f"{100 * share:.3g} %" for share in (part.invalid, part.ignored))
        table.add_row(part.split, f"{part.scenes:,}", sizes, metres or "-", *shares)
    console.print(table)
    for part in found:
        if not part.whole:
            pixels = f"{part.pixels / 1e6:.3g} million pixels of {part.seen} {part.unit}"
            say(console, f"Only {pixels} of {part.split} were looked at.")
    systems = sorted({crs for part in found for crs in part.crs})
    if systems:
        say(console, f"Reference systems: {', '.join(systems[:SHOWN])}")


def _show_classes(found: Sequence[Survey], source: Source, console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("class (pixels)", overflow="fold")
    for part in found:
        table.add_column(part.split, justify="right")
        table.add_column("%", justify="right")
    for number, name in enumerate(source.classes):
        cells = []
        for part in found:
            share = 100 * part.classes[number] / max(1, part.classes.sum())
            cells += [f"{part.classes[number]:,}", f"{share:.2f}"]
        table.add_row(Text(name), *cells)
    console.print(table)


def _show_bands(part: Survey, source: Source, console: Console) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"band ({part.split})", overflow="fold")
    for heading in ("minimum", "1 %", "median", "99 %", "maximum"):
        table.add_column(heading, justify="right")
    values = part.values.astype(np.float64)
    for band, name in enumerate(source.sensor.bands[:SHOWN]):
        if len(values):
            levels = np.percentile(values[:, band], (0, 1, 50, 99, 100))
            table.add_row(Text(name), *(f"{level:.5g}" for level in levels))
    console.print(table)
    if len(source.sensor.bands) > SHOWN:
        say(console, f"and {len(source.sensor.bands) - SHOWN} more bands")


def _show_masks(found: MaskValues, console: Console) -> None:
    what = "colours" if found.by_color else "values"
    say(console, f"Masks hold {what}, in {found.files} of {found.of} files looked at:")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(what[:-1])
    table.add_column("pixels", justify="right")
    table.add_column("%", justify="right")
    total = sum(found.values.values())
    for value, pixels in list(found.values.items())[:SHOWN]:
        shown = " ".join(map(str, found.color(value))) if found.by_color else str(value)
        table.add_row(shown, f"{pixels:,}", f"{100 * pixels / total:.3f}")
    console.print(table)
    if len(found.values) > SHOWN:
        say(console, f"and {len(found.values) - SHOWN} more")
    else:
        say(console, f"In a config: {found.flags()}")
