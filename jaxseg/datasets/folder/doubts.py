"""What is said of a `Folder`'s files that may be meant so, or not: nothing here is an error."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from jaxseg.datasets.folder.entries import Scene
from jaxseg.datasets.folder.pairing import FLAG
from jaxseg.datasets.folder.scenes import FolderScenes
from jaxseg.files import raster
from jaxseg.scenes.agreement import same_pixel_size
from jaxseg.scenes.scene import Window

FILES = 16
"""Files of a split that are looked into."""

SIDE = 256
"""Rows and columns of the window in the middle that is read of each."""

BELOW = 300
"""Sentinel-2: noise and correction take a value at most this far below the offset, our choice."""

SHARE = 0.02
"""Share of the values that lie lower still before it is said."""


def pixel_sizes(entries: Sequence[Scene], reference: raster.Header) -> Iterator[str]:
    """A line if files have pixels of another size than the first image.

    Args:
        entries: Of a split.
        reference: Header of the source's first image.
    """
    first = reference.gsd
    if first is None:
        return
    others = [e for e in entries if e.gsd is not None and not same_pixel_size(e.gsd, first)]
    if others:
        yield (
            f"Pixels of several sizes: {others[0].image} has {others[0].gsd:.4g} m, "
            f"{reference.path} {first:.4g} m ({len(others)} of {len(entries)} scenes differ from "
            "it): objects have another size in pixels."
        )


def clipped(scenes: FolderScenes, added: int | None) -> Iterator[str]:
    """A line if `added` is subtracted from files whose values do not contain it.

    Args:
        scenes: Of a split.
        added: The field of the source.
    """
    if not added or not len(scenes):
        return
    for index in np.unique(np.linspace(0, len(scenes) - 1, FILES).astype(int)):
        entry = scenes.entries[index]
        numbers = [
            number
            for number, off in zip(entry.image_facts.numbers, entry.image_facts.added, strict=True)
            if off
        ]
        if not numbers:
            continue
        area = entry.area
        height, width = min(SIDE, area.height), min(SIDE, area.width)
        top, left = (area.height - height) // 2, (area.width - width) // 2
        window = Window(area.y + top, area.x + left, height, width)
        pixels = raster.read(entry.image, window, bands=tuple(numbers))
        known = pixels[np.isfinite(pixels) & (pixels != 0)]  # 0 is Sentinel-2's own nodata
        share = float((known < added - BELOW).mean()) if known.size else 0.0
        if share > SHARE:
            yield (
                f"{FLAG}.added {added} clips {Path(entry.image)}: {100 * share:.0f} % of its "
                f"values are below {added - BELOW}, so {added} was not added to them, and they "
                f"become 0. Leave it out, and tag the files that it was added to: "
                f"rio edit-info FILE --tag PROCESSING_BASELINE=04.00"
            )
            return
