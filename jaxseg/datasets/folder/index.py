"""The index of a `Folder`: what the headers of its files promise, checked once before training.

A wrong size, position, band count or data type is reported here within seconds, not in the middle
of a run.
"""

import functools
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from affine import Affine

from jaxseg.datasets.folder import numbers as folder_numbers
from jaxseg.datasets.folder.division import Division
from jaxseg.datasets.folder.doubts import clipped, pixel_sizes
from jaxseg.datasets.folder.entries import Facts, Scene
from jaxseg.datasets.folder.numbers import Reading
from jaxseg.datasets.folder.pairing import FLAG
from jaxseg.datasets.folder.scenes import FolderScenes, MaskNodata
from jaxseg.datasets.folder.vector_labels import Vectors, check_vectors
from jaxseg.datasets.label_table import LabelTable, packed
from jaxseg.errors import UserError
from jaxseg.files import headers, raster
from jaxseg.files.ground import ground_of
from jaxseg.files.vectors import is_vector
from jaxseg.files.virtual import Frame, frame_of
from jaxseg.scenes import sentinel2
from jaxseg.scenes.agreement import BandOrderError
from jaxseg.scenes.scene import Window
from jaxseg.scenes.sensor import canonical
from jaxseg.system.console import note

RESAMPLE_FLAG = f"{FLAG}.resample-masks"

RESAMPLE = f"{RESAMPLE_FLAG} reads the mask on the grid of its image, each pixel from the nearest."

_TELL_FROM = 1000
_PIXEL_TOLERANCE = 0.1


def indexed(
    files: Sequence[tuple[str, str, str, str]],
    *,
    reference: raster.Header,
    bands: dict[int, str],
    named: bool,
    added: int | None,
    table: LabelTable,
    classes: tuple[str, ...],
    by_color: bool,
    mask_nodata: MaskNodata,
    nodata: float | None,
    nodata_in_all: bool,
    separate_touching: bool,
    reading: Reading,
    vectors: Vectors,
    resample_masks: bool,
    division: Division | None,
    split: str,
) -> FolderScenes:
    """Reads and checks the headers of all files.

    Args:
        files: Image, mask, object map and validity of each scene; empty = not present.
        reference: Header with which every image has to agree in bands and data type.
        bands: Numbers of the image's bands to read, counted from 1, and their names.
        named: Whether the names are given by the user, whatever the files call their bands.
        added: Subtracted from the values of spectral bands; None = as the metadata state.
        table: Class of each mask value or packed colour.
        classes: Names of the classes.
        by_color: Whether masks hold colours.
        mask_nodata: What nodata and transparency of a mask mean.
        nodata: The images' nodata value; None = by their tags.
        nodata_in_all: Whether only the nodata value in all bands makes a pixel invalid.
        separate_touching: Whether pixels where two objects touch become class 0.
        reading: Conversion of the images' values.
        vectors: How vector files become masks.
        resample_masks: Whether masks may lie on another grid than their images.
        division: How every scene is divided; None = whole scenes.
        split: The split, for the parts of scenes.

    Raises:
        UserError: A header cannot be read or does not fit.
    """
    known: dict[Facts, Facts] = {}
    band_numbers = tuple(bands)

    def one(paths: tuple[str, str, str, str], areas: Sequence[Window] | None) -> list[Scene]:
        image = header(paths[0])
        _check_image(image, reference, band_numbers)
        if not named:
            _check_order(image, reference, band_numbers)
        folder_numbers.check_scale(image, reference, band_numbers)
        tags = tuple(
            image.nodata[number - 1] if nodata is None else nodata for number in band_numbers
        )
        masked = image.masked and image.alpha not in band_numbers
        off = folder_numbers.added(image, band_numbers, tuple(bands.values()), added)
        image_facts = Facts(_finite(tags), masked, b"", band_numbers, off)
        mask_facts = object_facts = grid = None
        if is_vector(paths[1]):
            grid = frame_of(image)
        elif paths[1]:
            mask = header(paths[1])
            if resample_masks:
                grid = _other_grid(image, mask)
            else:
                check_pair(image, mask, f" {RESAMPLE}")
            mask_facts = _mask_facts(mask, by_color=by_color, keep=mask_nodata == "keep")
            if mask_nodata == "ignore":
                _check_mask_nodata(mask, mask_facts, table, classes, by_color=by_color)
            if grid is not None:  # what is outside of the mask is transparent, or its nodata
                mask_facts = mask_facts._replace(masked=True)
            mask_facts = known.setdefault(mask_facts, mask_facts)
        if paths[2]:
            objects = header(paths[2])
            check_pair(image, objects)
            object_facts = _object_facts(objects)
            object_facts = known.setdefault(object_facts, object_facts)
        if paths[3]:
            check_pair(image, header(paths[3]))
        image_facts = known.setdefault(image_facts, image_facts)
        facts = (image_facts, mask_facts, object_facts)
        return [
            Scene(*paths, *facts, area, ground_of(image, area), image.gsd, grid)
            for area in ([Window(0, 0, image.height, image.width)] if areas is None else areas)
        ]

    if len(files) > _TELL_FROM:
        folder = Path(files[0][0]).parent
        note(f"Reading the headers of {len(files)} scenes in {folder} ...")
    if shared := {paths[1] for paths in files if is_vector(paths[1])}:
        check_vectors(sorted(shared), vectors, classes)
    of_rasters = [tuple("" if is_vector(path) else path for path in paths) for paths in files]
    every = [path for paths in of_rasters for path in paths if path]
    with headers.kept(every) as header:
        areas: Sequence[Sequence[Window] | None] = [None] * len(files)
        if division is not None:
            images = [paths[0] for paths in files]
            read = (header(image) for (image,) in header.at_hand([(image,) for image in images]))
            areas = division.parts([(each.height, each.width) for each in read], images, split)
        at_hand = header.at_hand(of_rasters)
        parts = map(one, (paths for paths, _ in zip(files, at_hand, strict=True)), areas)
        entries = list(itertools.chain.from_iterable(parts))
    brighter = sum(any(entry.image_facts.added) for entry in entries)
    if brighter and added is None:
        note(
            f"{brighter} of {len(entries)} scenes are Sentinel-2 of processing baseline 04.00 or "
            f"later:\nthe {sentinel2.ADDED} that it added to their values is subtracted, so that "
            "all dates agree."
        )
    scenes = FolderScenes(
        entries,
        table,
        classes,
        by_color,
        mask_nodata,
        nodata_in_all,
        separate_touching,
        reading,
        vectors,
    )
    for line in (*pixel_sizes(entries, reference), *clipped(scenes, added)):
        say_once(line)
    return scenes


@functools.cache
def say_once(line: str) -> None:
    """Says a line on stderr, once: splits of the same files have the same to say."""
    note(line)


def _check_image(image: raster.Header, reference: raster.Header, numbers: tuple[int, ...]) -> None:
    if image.palette is not None and reference.palette is None:
        raise UserError(f"{image.path} is a palette picture, {reference.path} is not. Convert it.")
    # A band of opacity counts only where it is read like the others.
    own, first = (
        header.bands - (header.alpha is not None and header.alpha not in numbers)
        for header in (image, reference)
    )
    if own == first:  # a band that is not read may have any type
        dtypes = [header.dtype_of(numbers) for header in (image, reference)]
    else:
        dtypes = [header.dtypes[0] for header in (image, reference)]
    if (own, dtypes[0]) != (first, dtypes[1]):
        raise UserError(
            f"{image.path} has {own} band(s) of {dtypes[0]}, {reference.path} has {first} of "
            f"{dtypes[1]}, opacity not counted. All images of a source need the same: "
            "convert or remove it."
        )


def _check_order(image: raster.Header, reference: raster.Header, numbers: tuple[int, ...]) -> None:
    """Files that share a band name must have every band name at the same position.

    If they share none, the names may hold dates or scenes and are not compared.

    Raises:
        BandOrderError: A band differs from that of the reference.
    """
    own, first = (
        [canonical(header.descriptions[number - 1] or "") for number in numbers]
        for header in (image, reference)
    )
    if own != first and set(own) & set(first) - {""}:
        place = [one == other for one, other in zip(own, first, strict=True)].index(False)
        number = numbers[place]
        raise BandOrderError(
            f"{image.path}: band {number} is {image.descriptions[number - 1]}, in {reference.path} "
            f"it is {reference.descriptions[number - 1]}. Bring all files to one order of bands, "
            f"or give {FLAG}.band_names if their own names are wrong."
        )


def _other_grid(image: raster.Header, mask: raster.Header) -> Frame | None:
    """The grid of the image if its mask has to be brought to it; None if it is on it."""
    try:
        check_pair(image, mask)
    except UserError as error:
        if image.crs is None or mask.crs is None:
            raise UserError(
                f"{error} Without a CRS in both files, {RESAMPLE_FLAG} cannot."
            ) from None
        return frame_of(image)
    return None


def check_pair(image: raster.Header, other: raster.Header, otherwise: str = "") -> None:
    """Checks that size, CRS and corners (to a tenth of a pixel) agree, as far as both state them.

    Args:
        image: Header of the image.
        other: Header of what belongs to it.
        otherwise: What else the user can do than bring both to one grid.

    Raises:
        UserError: They do not agree.
    """
    if (image.height, image.width) != (other.height, other.width):
        raise UserError(
            f"{other.path} has {other.height} x {other.width} pixels, its image {image.path} "
            f"{image.height} x {image.width}. Bring both to one grid.{otherwise}"
        )
    if image.orientation != other.orientation:
        raise UserError(
            f"{image.path} has orientation {image.orientation} and {other.path} "
            f"{other.orientation} (EXIF; 1 = upright): viewers turn them differently, so what was "
            "drawn on one does not lie on the other. Store both upright, as with ImageMagick's "
            "mogrify -auto-orient."
        )
    if any(h.crs is None and h.transform == Affine.identity() for h in (image, other)):
        return  # one of them has no georeference
    if None not in (image.crs, other.crs) and image.crs != other.crs:
        raise UserError(
            f"{other.path} is in {other.crs}, its image {image.path} in {image.crs}. Bring both to "
            f"one grid.{otherwise}"
        )
    grids = [np.reshape(tuple(header.transform), (3, 3)) for header in (image, other)]
    right, bottom = image.width, image.height
    corners = np.array([(0, right, 0, right), (0, 0, bottom, bottom), (1, 1, 1, 1)])
    shift = np.abs(np.linalg.solve(*grids) @ corners - corners).max()
    if shift > _PIXEL_TOLERANCE:
        raise UserError(
            f"{other.path} lies {shift:.3g} pixels off its image {image.path} by their "
            f"georeferences. Bring both to one grid.{otherwise}"
        )


def _mask_facts(mask: raster.Header, *, by_color: bool, keep: bool) -> Facts:
    numbers = tuple(number for number in range(1, mask.bands + 1) if number != mask.alpha)
    if by_color and (len(numbers) not in (1, 3) or mask.dtype != np.uint8):
        raise UserError(
            f"{mask.path} has {len(numbers)} band(s) of {mask.dtype}; colour masks are RGB or "
            f"palette pictures of 8 bits. If it holds ids, give {FLAG}.ids instead of mask_colors."
        )
    if not by_color and len(numbers) != 1:
        raise UserError(
            f"{mask.path} has {len(numbers)} bands; a mask of ids has one. If it holds colours, "
            f"give {FLAG}.mask_colors, one RGB colour per class."
        )
    tags: tuple[float | None, ...] = tuple(mask.nodata[number - 1] for number in numbers)
    if keep:
        tags = (None,) * len(numbers)
    palette = mask.palette.tobytes() if by_color and mask.palette is not None else b""
    return Facts(_finite(tags), mask.masked and not keep, palette, numbers)


def _check_mask_nodata(
    mask: raster.Header,
    facts: Facts,
    table: LabelTable,
    classes: tuple[str, ...],
    *,
    by_color: bool,
) -> None:
    """Rejects a nodata tag that is also a class: only the user can resolve the contradiction."""
    tag = facts.nodata[0]
    if tag is None:
        return
    value: float = tag
    if by_color and not facts.palette:  # three bands, or one of gray
        value = packed(np.full(3, int(tag))).item()
    elif by_color:
        value = packed(np.frombuffer(facts.palette, np.uint8).reshape(-1, 3)[int(tag)]).item()
    label = table.class_of(value)
    if label is not None:
        raise UserError(
            f"{mask.path} tags {tag:g} as nodata, and {tag:g} is class {classes[label]!r}. Give "
            f"{FLAG}.mask-nodata keep if it is the class, or {FLAG}.mask-nodata hide if it is not."
        )


def _object_facts(objects: raster.Header) -> Facts:
    if objects.bands != 1 or objects.dtype.kind not in "iuf":
        raise UserError(
            f"{objects.path} has {objects.bands} band(s) of {objects.dtype}; object ids are one "
            "band of whole numbers, 0 = no object."
        )
    return Facts(_finite(objects.nodata), objects.masked, b"", (1,))


def _finite(tags: tuple[float | None, ...]) -> tuple[float | None, ...]:
    return tuple(None if tag is None or not np.isfinite(tag) else tag for tag in tags)
