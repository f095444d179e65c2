"""What files of a folder may mean otherwise than they are read: opacity, and nodata of one band."""

from collections.abc import Sequence

import numpy as np

from jaxseg.datasets.folder.entries import Scene
from jaxseg.datasets.folder.pairing import FLAG
from jaxseg.files import raster
from jaxseg.scenes.scene import Window

STEPS = 16
"""Values of opacity from which it is doubted: a mask has two, a soft border a few more."""

HIDDEN = 0.01
"""Share of the pixels hidden by the nodata value of one band alone from which it is said."""

FILES = 8
"""Files that are looked at."""


def doubts(
    entries: Sequence[Scene], windows: Sequence[tuple[int, Window]], *, nodata_in_all: bool
) -> dict[str, str]:
    """Sentences about the windows of a split by their kind, each of which names a flag.

    Args:
        entries: The scenes of the split.
        windows: Index of a scene and a window of it, for each window of the split.
        nodata_in_all: Whether only the nodata value in all bands makes a pixel invalid.

    Raises:
        UserError: A file cannot be read.
    """
    first = dict(reversed(windows))  # the first window of each scene
    some = [(entries[scene], first[scene]) for scene in sorted(first)][:FILES]
    found = {"opacity": _of_opacity(some), "nodata": "" if nodata_in_all else _of_nodata(some)}
    return {kind: line for kind, line in found.items() if line}


def _of_opacity(windows: list[tuple[Scene, Window]]) -> str:
    for entry, window in windows:
        header = raster.header(entry.image)
        if header.alpha is None or header.alpha in entry.image_facts.numbers:
            continue
        place = window._replace(y=window.y + entry.area.y, x=window.x + entry.area.x)
        values = len(np.unique(raster.read(entry.image, place, bands=[header.alpha])))
        if values > STEPS:
            numbers = " ".join(str(n) for n in range(1, header.bands + 1))
            return (
                f"{entry.image}: band {header.alpha} is tagged as opacity and has {values} values, "
                "as near infrared has. Pixels where it is 0 are not trained; if it is a band, give "
                f"{FLAG}.band-numbers {numbers}."
            )
    return ""


def _of_nodata(windows: list[tuple[Scene, Window]]) -> str:
    hidden = empty = pixels = 0
    tag = None
    for entry, window in windows:
        tags = entry.image_facts.nodata
        if len(tags) < 2 or None in tags:
            continue
        place = window._replace(y=window.y + entry.area.y, x=window.x + entry.area.x)
        missing = raster.read(entry.image, place, bands=entry.image_facts.numbers) == np.array(tags)
        hidden += int(missing.any(-1).sum())
        empty += int(missing.all(-1).sum())
        pixels, tag = pixels + missing[..., 0].size, tags[0]
    if not pixels or (hidden - empty) / pixels < HIDDEN:
        return ""
    return (
        f"{100 * hidden / pixels:.2g} % of the pixels are invalid, because one of their bands is "
        f"{tag:g}, the nodata value; all bands are in {100 * empty / pixels:.2g} %. If single "
        f"bands may be {tag:g}, as in 8-bit pictures, give {FLAG}.nodata-where all_bands."
    )
