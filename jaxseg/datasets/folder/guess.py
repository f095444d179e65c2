"""What a folder of images and one of masks are, guessed from them, each guess with its evidence."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from jaxseg.datasets.folder import separate_bands
from jaxseg.datasets.folder.mask_values import MaskValues, mask_values
from jaxseg.datasets.folder.names import Part, some
from jaxseg.datasets.folder.pairing import FLAG
from jaxseg.datasets.folder.source import Folder
from jaxseg.datasets.leakage import check_splits
from jaxseg.errors import UserError
from jaxseg.files import raster
from jaxseg.files.vectors import is_vector
from jaxseg.scenes.scene import Window

FEW = 7
"""Scenes from which the usual shares leave some to every split."""

TRAINED = 0.7
"""Share of the columns that is trained on, by the default of `Folder.fractions`."""

OBJECTS = 5
"""Ids in a mask from which they may number objects."""

RARE = 1e-4
"""Share of the pixels below which a value is doubted to be a class."""

MOST = 64
"""Classes that are believed; more values are a picture, or numbers of something."""

SIDE = 1024
"""Maximum rows and columns of the part of a file that is looked at."""


@dataclasses.dataclass(frozen=True)
class Guess:
    """Fields of a `Folder`, with evidence.

    Attributes:
        fields: Name -> value.
        evidence: Name -> what it was guessed from.
        smallest: Rows or columns of the smallest training image looked at, whichever are fewer.
        bands: Bands of the first scene.
        scenes: Number of scenes.
        others: If bands are in files of their own: fields of the second `Folder`, the third and so
            on, where they differ from the first.
    """

    fields: dict[str, object]
    evidence: dict[str, str]
    smallest: int
    bands: int
    scenes: int
    others: tuple[dict[str, object], ...] = ()


def guess(images: str, masks: str) -> Guess:
    """Guesses the fields of a `Folder`.

    Args:
        images: Folder, file or pattern; `{split}` in it stands for the split's name.
        masks: The same for masks.

    Raises:
        UserError: Files are missing, do not pair, or masks hold neither classes nor objects.
    """
    if is_vector(masks):
        raise UserError(
            f"{masks} holds vectors: their classes are not guessed. Give them to a config: jaxseg "
            f"configs folder --copy my.py, then {FLAG}.images, {FLAG}.masks {masks}, "
            f"{FLAG}.classes and {FLAG}.vectors.attribute."
        )
    parts = separate_bands.parts_of(images, masks)
    first, pairs = parts[0], [part.pairs() for part in parts]
    fields: dict[str, object] = {"images": first.images, "masks": first.masks}
    evidence: dict[str, str] = {}
    if first.by_folders():
        fields["split_by"] = "folders"
        evidence["split_by"] = f"{first.places()[0].path} is a folder of the training split"
    for name, affix in zip(
        (f"image_{first.kind}", f"mask_{first.kind}"), first.affixes, strict=True
    ):
        if affix:
            fields[name] = affix
            evidence[name] = "what the names have beside those of the other files"
    if not first.by_folders() and len(pairs[0]) < FEW:
        fields["split_by"] = "columns"
        evidence["split_by"] = f"{len(pairs[0])} scene(s) are too few to divide them by files"
    elif not first.by_folders() and _shares_ground(fields):
        fields["split_by"] = "columns"
        evidence["split_by"] = "divided by files, the splits would show the same ground"
    _labels(fields, evidence, [mask for _, mask in pairs[0]])
    others = [_own(part, of) for part, of in zip(parts, pairs, strict=True)]
    if len(parts) > 1:
        _check_grids(pairs)
        _name_bands(others, parts, pairs)
        out = separate_bands.left_out(images, masks)
        evidence["images"] = _several(parts, pairs) + (
            f"; left out: {', '.join(out)}" if out else ""
        )
    fields |= others[0]
    if fields.get("unit"):
        median = _decibel([image for image, _ in pairs[0]])
        evidence["unit"] = f"real numbers around {median:.3g}, as radar backscatter in decibel"
    headers = [raster.header(image) for image, _ in some(pairs[0])]
    strip = TRAINED if fields.get("split_by") == "columns" else 1
    return Guess(
        fields,
        evidence,
        smallest=min(min(header.height, int(strip * header.width)) for header in headers),
        bands=sum(len(_described(of[0][0])) for of in pairs),
        scenes=len(pairs[0]),
        others=tuple(_changed(others[0], own) for own in others[1:]),
    )


def _shares_ground(fields: dict[str, object]) -> bool:
    """Whether splits by files are rejected, and splits by strips of every scene are not."""

    def rejected(split_by: str) -> bool:
        whole: Any = fields | {"split_by": split_by, "classes": ("0", "1")}
        try:
            check_splits(Folder(**whole))
        except UserError:
            return True
        return False

    return rejected("files") and not rejected("columns")


def _own(part: Part, pairs: Sequence[tuple[str, ...]]) -> dict[str, object]:
    """The fields of the images alone."""
    own: dict[str, object] = {"images": part.images}
    if part.affixes[0]:
        own[f"image_{part.kind}"] = part.affixes[0]
    if _decibel([image for image, _ in pairs]) is not None:
        own["unit"] = "decibel"
    return own


def _changed(first: dict[str, object], own: dict[str, object]) -> dict[str, object]:
    """The fields that differ; those that a part does not have are empty."""
    every = {name: own.get(name, "") for name in first | own}
    return {name: value for name, value in every.items() if value != first.get(name, "")}


def _several(parts: Sequence[Part], pairs: Sequence[Sequence[tuple[str, ...]]]) -> str:
    """What says that the parts are bands of one scene."""
    names = [Path(image).name for image in (of[0][0] for of in pairs)]
    if len(set(names)) == 1:
        names = [f"{Path(part.images).name}/{names[0]}" for part in parts]
    mask = Path(pairs[0][0][1]).name
    return (
        f"{len(pairs[0])} mask(s) have {len(parts)} images each: {', '.join(names)} for {mask}; "
        f"their names differ in {', '.join(part.token for part in parts)}"
    )


def _check_grids(pairs: Sequence[Sequence[tuple[str, ...]]]) -> None:
    """Rejects images of a scene that differ in size."""
    for scene in some(range(len(pairs[0]))):
        first, *others = (raster.header(of[scene][0]) for of in pairs)
        for other in others:
            if (first.height, first.width) != (other.height, other.width):
                raise UserError(
                    f"{first.path} has {first.height} x {first.width} pixels, {other.path} "
                    f"{other.height} x {other.width}: bands of one scene have to be on one grid. "
                    "Bring them to one, such as with gdalbuildvrt -separate -resolution highest."
                )


def _name_bands(
    owns: Sequence[dict[str, object]],
    parts: Sequence[Part],
    pairs: Sequence[Sequence[tuple[str, ...]]],
) -> None:
    """Names the bands unless the files do and no two are alike."""
    described = [_described(of[0][0]) for of in pairs]
    every = [name for names in described for name in names]
    if all(every) and len(set(every)) == len(every):
        return
    for own, part, names in zip(owns, parts, described, strict=True):
        numbered = (name or f"band{number}" for number, name in enumerate(names, start=1))
        alone = len(names) == 1
        own["band_names"] = tuple(part.token if alone else f"{part.token} {n}" for n in numbered)


def _described(path: str) -> list[str]:
    """The descriptions of the bands that are read, "" where there are none."""
    header = raster.header(path)
    return [text or "" for n, text in enumerate(header.descriptions, 1) if n != header.alpha]


def _labels(fields: dict[str, object], evidence: dict[str, str], masks: Sequence[str]) -> None:
    found = mask_values(masks)
    seen = f"{_shares(found)}, in {found.files} of {found.of} files{_rare(found)}"
    if not found.by_color and _numbers_objects(some(masks)):
        fields["instances"] = fields.pop("masks")
        for kind in ("suffix", "prefix"):
            if f"mask_{kind}" in fields:
                fields[f"instance_{kind}"] = fields.pop(f"mask_{kind}")
        fields["classes"] = ("background", "object")
        several = "" if len(masks) == 1 else "and scenes have different ones, "
        evidence["instances"] = (
            f"most of {len(found.values)} numbers are one region each, {several}"
            f"in {len(some(masks))} of {len(masks)} files"
        )
        return
    if found.by_color:
        fields["mask_colors"] = tuple(found.color(value) for value in found.values)
        evidence["mask_colors"] = seen
        names: Sequence[int] = range(len(found.values))
    else:
        ids, ignored = _divided(tuple(found.values))
        if ids != tuple(range(len(ids))):
            fields["ids"] = ids
        evidence["ids" if "ids" in fields else "masks"] = seen
        if ignored:
            fields["ignore_ids"] = ignored
            evidence["ignore_ids"] = "no class is below 0, and 255 beside few ids is usually none"
        names = ids
    if not 1 < len(names) <= MOST:
        raise UserError(
            f"The masks hold {seen}: {len(names)} value(s) cannot be classes. Give the folder of "
            "masks that hold an id or a colour for each class."
        )
    fields["classes"] = tuple(f"class{name}" for name in names)
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


def _decibel(images: Sequence[str]) -> float | None:
    """The median of the first image with data if it is backscatter in decibel; None if not."""
    for path in some(images):
        header = raster.header(path)
        if header.dtype.kind != "f":
            return None
        side = Window(0, 0, min(SIDE, header.height), min(SIDE, header.width))
        pixels = raster.read(path, side)
        known = pixels[np.isfinite(pixels)]
        if known.size:
            low, median, high = np.quantile(known, (0.05, 0.5, 0.95))
            return float(median) if low > -60 and median < -3 and high < 10 else None
    return None


def _shares(found: MaskValues) -> str:
    total = sum(found.values.values())
    shown = list(found.values.items())[:12]
    parts = [f"{_name(found, value)}: {100 * pixels / total:.3g} %" for value, pixels in shown]
    more = f" and {len(found.values) - 12} more" if len(found.values) > 12 else ""
    return f"{'colours' if found.by_color else 'values'} {', '.join(parts)}{more}"


def _rare(found: MaskValues) -> str:
    total = sum(found.values.values())
    rare = [value for value, pixels in found.values.items() if pixels < RARE * total]
    if not rare:
        return ""
    return f"; so few pixels of {', '.join(_name(found, value) for value in rare)} may be no class"


def _name(found: MaskValues, value: int) -> str:
    return str(found.color(value)) if found.by_color else str(value)
