"""What a folder of images and one of masks are, guessed from them, each guess with its evidence."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from jaxseg.datasets.folder import pairing
from jaxseg.datasets.folder.mask_values import MaskValues, mask_values
from jaxseg.datasets.folder.pairing import MARK, Place
from jaxseg.errors import UserError
from jaxseg.files import raster
from jaxseg.scenes.scene import Window

FEW = 7
"""Scenes from which the usual shares leave some to every split."""

OBJECTS = 5
"""Ids in a mask from which they may number objects."""

VECTORS = (".geojson", ".json", ".gpkg", ".shp", ".fgb", ".kml")

MOST = 64
"""Classes that are believed; more values are a picture, or numbers of something."""

LOOKED_AT = 8
"""Files whose pixels are looked at for the kind of their values."""

SIDE = 1024
"""Maximum rows and columns of the part of a file that is looked at."""


@dataclasses.dataclass(frozen=True)
class Guess:
    """Fields of a `Folder`, with evidence.

    Attributes:
        fields: Name -> value.
        evidence: Name -> what it was guessed from.
        smallest: Rows or columns of the smallest image looked at, whichever are fewer.
        bands: Bands of the first image.
        scenes: Number of scenes.
    """

    fields: dict[str, object]
    evidence: dict[str, str]
    smallest: int
    bands: int
    scenes: int


def guess(images: str, masks: str) -> Guess:
    """Guesses the fields of a `Folder`.

    Args:
        images: Folder, file or pattern; `{split}` in it stands for the split's name.
        masks: The same for masks.

    Raises:
        UserError: Files are missing, do not pair, or masks hold neither classes nor objects.
    """
    fields: dict[str, object] = {"images": images, "masks": masks}
    evidence: dict[str, str] = {}
    if masks.lower().endswith(VECTORS):
        raise UserError(
            f"{masks} holds vectors. Draw them into masks first, one for each image: "
            "rio rasterize MASK.tif --like IMAGE.tif --property CLASS < LABELS.geojson"
        )
    places = [Place("images", images, ""), Place("masks", masks, "")]
    by_folders = MARK in images or _has_split_folders(places)
    if by_folders:
        places = pairing.in_folders(places, "train")
        fields["split_by"] = "folders"
        evidence["split_by"] = f"{places[0].path} is a folder of the training split"
    kind, affixes = _affixes(places)
    for name, affix in zip((f"image_{kind}", f"mask_{kind}"), affixes, strict=True):
        if affix:
            fields[name] = affix
            evidence[name] = "what the names have beside those of the other files"
    places = [place._replace(**{kind: a}) for place, a in zip(places, affixes, strict=True)]
    pairs = list(pairing.paired(places).values())
    if not by_folders and len(pairs) < FEW:
        fields["split_by"] = "columns"
        evidence["split_by"] = f"{len(pairs)} scene(s) are too few to divide them by files"
    _labels(fields, evidence, [mask for _, mask in pairs])
    _images(fields, evidence, [image for image, _ in pairs])
    headers = [raster.header(image) for image, _ in _some(pairs)]
    smallest = min(min(header.height, header.width) for header in headers)
    return Guess(fields, evidence, smallest, headers[0].bands, len(pairs))


def _has_split_folders(places: Sequence[Place]) -> bool:
    return all(
        any(Path(place.path, name).is_dir() for name in pairing.SPLITS["train"]) for place in places
    )


def _affixes(places: Sequence[Place]) -> tuple[str, tuple[str, str]]:
    """`suffix` or `prefix`, and what images and masks have of it beside their common names."""
    files = [pairing.listed(place) for place in places]
    if all(Path(place.path).is_file() for place in places):
        return "suffix", ("", "")
    images, masks = ([_stem(path) for path in each] for each in files)
    if set(images) & set(masks):
        return "suffix", ("", "")
    if (found := _endings(images, masks)) is not None:
        return "suffix", found
    backwards = _endings([name[::-1] for name in images], [name[::-1] for name in masks])
    if backwards is None:
        raise UserError(
            f"Images such as {images[0]} and masks such as {masks[0]} do not have one name and one "
            "ending or beginning each, so it is not known which belong together. Rename them to "
            "equal stems."
        )
    return "prefix", (backwards[0][::-1], backwards[1][::-1])


def _endings(images: Sequence[str], masks: Sequence[str]) -> tuple[str, str] | None:
    """Endings of names after what they have in common; None if they are not all the same."""
    votes: Counter[tuple[str, str]] = Counter()
    for stem in _some(images):
        other = max(masks, key=lambda mask: len(_common(stem, mask)))
        common = _common(stem, other)
        votes[stem[len(common) :], other[len(common) :]] += 1
    (found, count), *_ = votes.most_common()
    return found if count == len(_some(images)) and found != ("", "") else None


SEPARATORS = "_-. "


def _common(one: str, other: str) -> str:
    """What both begin with: one of them whole, or up to a separator."""
    pairs = enumerate(zip(one, other, strict=False))
    both = one[: next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))]
    if both in (one, other):
        return both
    while both and both[-1] not in SEPARATORS:
        both = both[:-1]
    return both.rstrip(SEPARATORS)


def _labels(fields: dict[str, object], evidence: dict[str, str], masks: Sequence[str]) -> None:
    found = mask_values(masks)
    seen = f"{_shares(found)}, in {found.files} of {found.of} files"
    if not found.by_color and _numbers_objects(_some(masks)):
        fields["instances"] = fields.pop("masks")
        for kind in ("suffix", "prefix"):
            if f"mask_{kind}" in fields:
                fields[f"instance_{kind}"] = fields.pop(f"mask_{kind}")
        fields["classes"] = ("background", "object")
        evidence["instances"] = (
            f"most of {len(found.values)} numbers are one region each, and scenes have different "
            f"ones, in {len(_some(masks))} of {len(masks)} files"
        )
        return
    if found.by_color:
        fields["mask_colors"] = tuple(found.color(value) for value in found.values)
        evidence["mask_colors"] = seen
        count = len(found.values)
    else:
        ids, ignored = _divided(tuple(found.values))
        if ids != tuple(range(len(ids))):
            fields["ids"] = ids
        evidence["ids" if "ids" in fields else "masks"] = seen
        if ignored:
            fields["ignore_ids"] = ignored
            evidence["ignore_ids"] = "no class is below 0, and 255 beside few ids is usually none"
        count = len(ids)
    if not 1 < count <= MOST:
        raise UserError(
            f"The masks hold {seen}: {count} value(s) cannot be classes. Give the folder of masks "
            "that hold an id or a colour for each class."
        )
    fields["classes"] = tuple(f"class{number}" for number in range(count))
    evidence["classes"] = "files do not state names: write yours"


def _divided(values: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Ids of classes, and values that mean no label."""
    ids = tuple(value for value in values if value >= 0)
    if len(ids) > 2 and ids[-1] == 255 and ids[-2] < 2 * len(ids):  # not of gray levels
        ids = ids[:-1]
    return ids, tuple(value for value in values if value not in ids)


def _numbers_objects(masks: Sequence[str]) -> bool:
    """Whether every mask numbers connected regions one by one."""
    several, most = 0, set()
    for path in masks:
        header = raster.header(path)
        if header.bands != 1 or header.dtype.kind not in "iu":
            return False
        height, width = min(SIDE, header.height), min(SIDE, header.width)
        ids = raster.read(path, Window(0, 0, height, width))[..., 0]
        numbers = np.unique(ids[ids != 0])
        most.add(len(numbers))
        if len(numbers) >= OBJECTS:
            several += 1
            looked = numbers[:: max(1, len(numbers) // 50)]
            whole = sum(ndimage.label(ids == n, np.ones((3, 3)))[1] == 1 for n in looked)
            if whole < 0.8 * len(looked):
                return False
    # Classes may be one region each, but then scenes hold the same ones.
    return several > len(masks) / 2 and (len(most) > 1 or max(most) > MOST or len(masks) == 1)


def _images(fields: dict[str, object], evidence: dict[str, str], images: Sequence[str]) -> None:
    header = raster.header(images[0])
    if header.dtype.kind != "f":
        return
    pixels = raster.read(images[0], Window(0, 0, min(SIDE, header.height), min(SIDE, header.width)))
    known = pixels[np.isfinite(pixels)]
    if known.size and np.quantile(known, 0.05) > -60 and np.quantile(known, 0.95) < 10:
        median = float(np.median(known))
        if median < -3:
            fields["unit"] = "decibel"
            evidence["unit"] = f"real numbers around {median:.3g}, as radar backscatter in decibel"


def _shares(found: MaskValues) -> str:
    total = sum(found.values.values())
    shown = list(found.values.items())[:12]
    parts = [f"{_name(found, value)}: {100 * pixels / total:.3g} %" for value, pixels in shown]
    more = f" and {len(found.values) - 12} more" if len(found.values) > 12 else ""
    return f"{'colours' if found.by_color else 'values'} {', '.join(parts)}{more}"


def _name(found: MaskValues, value: int) -> str:
    return str(found.color(value)) if found.by_color else str(value)


def _some(items: Sequence) -> list:  # type: ignore[type-arg]
    """At most `LOOKED_AT` of them, evenly spaced."""
    chosen = np.unique(np.linspace(0, len(items) - 1, LOOKED_AT).astype(int))
    return [items[int(number)] for number in chosen]


def _stem(path: str) -> str:
    return Path(path).name.rpartition(".")[0]
