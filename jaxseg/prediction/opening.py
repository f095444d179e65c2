"""Opening a scene or a mosaic: which bands of which files, on which grid, and what they mean.

Bands are found by the names that the files describe them by, and where they describe none by their
number. Values are read as the run's own source reads them, unless fields say otherwise.
"""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg.datasets.folder import numbers as folder_numbers
from jaxseg.datasets.folder.index import check_pair
from jaxseg.datasets.folder.numbers import Reading
from jaxseg.datasets.packed.source import originals
from jaxseg.datasets.wrapped import seen
from jaxseg.errors import UserError
from jaxseg.files import raster, tagged, virtual
from jaxseg.prediction.archive import SceneFiles
from jaxseg.prediction.image import FLAG, Image, Part, Scene
from jaxseg.scenes import sentinel2
from jaxseg.scenes.agreement import (
    BaselineError,
    MissingBandError,
    ScaleError,
    refuse_pixel_size,
)
from jaxseg.scenes.scene import Source
from jaxseg.scenes.sensor import Sensor, canonical, listed


def open_scene(
    paths: Sequence[str],
    source: Source,
    trained: Sensor,
    image: Image,
    *,
    check: bool = True,
    resample: bool = False,
) -> Scene:
    """Opens the files of one scene.

    Args:
        paths: One file or several of the same grid, each with some of the bands.
        source: Of the run, which says how values are read.
        trained: What the run was trained on.
        image: What is to be read otherwise.
        check: Whether another pixel size than that of the training is rejected.
        resample: Whether files are brought to that pixel size, and to one grid.

    Raises:
        UserError: A file cannot be read, or the files lie on different grids.
        SensorError: Bands are missing, or pixels have another size.
    """
    headers = [raster.header(path) for path in paths]
    if resample:
        frame = _frame(headers[0], trained)
        headers = [_on(frame, header) for header in headers]
    elif check:
        _check_pixel_size(headers[0], trained)
    return _scene(headers, paths, ", ".join(paths), source, trained, image)


def open_mosaic(
    scenes: Sequence[SceneFiles],
    source: Source,
    trained: Sensor,
    image: Image,
    *,
    check: bool = True,
    resample: bool = False,
) -> Scene:
    """Opens scenes of one file each as if they were one; where they overlap, the last one counts.

    See `open_scene` for the other arguments.

    Args:
        scenes: On one grid, unless they are resampled to that of the first.
        source: Of the run.
        trained: What the run was trained on.
        image: What is to be read otherwise.
        check: Whether another pixel size is rejected.
        resample: Whether scenes are brought to one grid of the training's pixel size.

    Raises:
        UserError: A file cannot be read, or the scenes do not lie on one grid.
        SensorError: Bands are missing, pixels have another size, or values another meaning.
    """
    for scene in scenes:
        if len(scene.paths) > 1:
            raise UserError(
                f"The scene {scene.name} has {len(scene.paths)} files: --mosaic puts scenes of one "
                "file each together."
            )
    paths = [scene.paths[0] for scene in scenes]
    headers = [raster.header(path) for path in paths]
    if image.added is None:
        _check_baselines(headers)
    if resample:
        frame = _frame(headers[0], trained)
        headers = [_on(virtual.covering(header, frame), header) for header in headers]
    elif check:
        for header in headers:
            _check_pixel_size(header, trained)
    title = f"a mosaic of {len(paths)} scenes, {listed([Path(path).name for path in paths])}"
    return _scene([raster.header(virtual.mosaic(headers))], paths, title, source, trained, image)


def _check_pixel_size(header: raster.Header, trained: Sensor) -> None:
    """Compares the size of the pixels with that of the training, where both are known.

    Raises:
        PixelSizeError: They differ.
    """
    refuse_pixel_size(
        trained,
        header.gsd,
        header.path,
        "--resample brings the scene to that of the training; --no-check maps it as it is.",
    )


def _frame(first: raster.Header, trained: Sensor) -> virtual.Frame:
    """The grid that scenes are resampled to: that of the first file, at the training's size."""
    own, frame = first.gsd, virtual.frame_of(first)
    if own is None or trained.gsd is None or math.isclose(own, trained.gsd, rel_tol=0.01):
        return frame
    return virtual.scaled(frame, trained.gsd / own)


def _on(frame: virtual.Frame, header: raster.Header) -> raster.Header:
    """The file on this grid."""
    if virtual.frame_of(header) == frame:
        return header
    if header.crs is None:
        raise UserError(f"{header.path} has no CRS: it cannot be resampled. Leave --resample out.")
    return raster.header(virtual.resampled(header, frame))


def _check_baselines(headers: Sequence[raster.Header]) -> None:
    """In one mosaic the same number is added to the values of all scenes.

    Raises:
        BaselineError: It is not.
    """
    numbers = {header.path: folder_numbers.baseline(header) for header in headers}
    adds = {path: (number or 0) >= sentinel2.BASELINE for path, number in numbers.items()}
    if len(set(adds.values())) > 1:
        pair = [next(path for path, of in adds.items() if of is which) for which in (True, False)]
        told = ", ".join(
            f"{path}: {'not tagged' if numbers[path] is None else f'{numbers[path]:05.2f}'}"
            for path in pair
        )
        raise BaselineError(
            f"Scenes of several processing baselines of Sentinel-2 ({told}) mean different things "
            f"by equal values. Map them one by one, or give {FLAG}.added if all are alike."
        )


def _check_scales(read: Sequence[tuple[raster.Header, tuple[int, ...]]]) -> None:
    """The values of all files of a scene are multiplied by the same number.

    Raises:
        ScaleError: Their tags say otherwise.
    """
    if any(folder_numbers.baseline(header) is not None for header, _ in read):
        return  # what each of them adds is known and subtracted
    first, numbers = read[0]
    own = {folder_numbers.tagged_scale(first, (number,)) for number in numbers}
    for header, others in read[1:]:
        other = {folder_numbers.tagged_scale(header, (number,)) for number in others}
        if other != own:
            raise ScaleError(
                f"{header.path} is tagged with scale and offset {listed(sorted(map(str, other)))}, "
                f"{first.path} with {listed(sorted(map(str, own)))}: equal values mean different "
                "things. Bring the files to one scale."
            )


def _scene(
    headers: Sequence[raster.Header],
    paths: Sequence[str],
    title: str,
    source: Source,
    trained: Sensor,
    image: Image,
) -> Scene:
    """The scene of files that are open and lie on one grid."""
    first = headers[0]
    for other in headers[1:]:
        check_pair(first, other)
    fields = _resolved(image, source)
    places = [(file, n) for file, h in enumerate(headers) for n in range(1, h.bands + 1)]
    described = [headers[file].descriptions[n - 1] or "" for file, n in places]
    opaque = [headers[file].alpha == n for file, n in places]
    chosen = _chosen(fields, trained, described, opaque, title)
    names = fields.band_names or tuple(
        described[place] or f"band{number}" for number, place in enumerate(chosen, start=1)
    )
    if len(names) != len(chosen):
        raise UserError(
            f"{FLAG}.band-names has {len(names)} entries for {len(chosen)} band(s) read of {title}."
        )
    reading = Reading(fields.convert or "", 1.0 if fields.multiply is None else fields.multiply)
    parts: dict[int, Part] = {}
    for file, header in enumerate(headers):
        own = [
            (place, name)
            for place, name in zip(chosen, names, strict=True)
            if places[place][0] == file
        ]
        if not own:
            continue
        numbers = tuple(places[place][1] for place, _ in own)
        tags = tuple(
            header.nodata[number - 1] if fields.nodata is None else fields.nodata
            for number in numbers
        )
        parts[file] = Part(
            header.path,
            numbers,
            tuple(None if t is None or not np.isfinite(t) else t for t in tags),
            header.masked and header.alpha not in numbers,
            folder_numbers.added(
                header, numbers, [name for _, name in own], fields.added, flag=FLAG
            ),
        )
    _check_scales([(headers[h], part.numbers) for h, part in parts.items()])
    if [places[place][0] for place in chosen] != sorted(places[place][0] for place in chosen):
        raise UserError(
            f"The bands {listed(names)} are spread over {title} in another order. Give "
            "the files in the order of the bands."
        )
    sensor = folder_numbers.sensor(
        headers[places[chosen[0]][0]],
        next(iter(parts.values())).numbers,
        names,
        wavelengths=tuple(
            tagged.wavelengths(part.path)[n - 1] for part in parts.values() for n in part.numbers
        ),
        unit=fields.unit or "",
        nodata=fields.nodata,
        added=fields.added,
        reading=reading,
        flag=FLAG,
    )
    all_bands = fields.nodata_where == "all_bands"
    return Scene(first, sensor, tuple(paths), title, tuple(parts.values()), reading, all_bands)


def _resolved(image: Image, source: Source) -> Image:
    """The fields as they are read: the person's, else those of the run's source.

    Bands by number are the source's own affair where it reads one file.
    """
    makers = [maker for _, maker in seen(originals(source))]
    like: Any = makers[0] if len(makers) == 1 else None
    found = {}
    for field in dataclasses.fields(Image):
        given = getattr(image, field.name)
        if given in (None, ()) and field.name not in ("band_numbers", "band_names"):
            given = getattr(like, field.name, None)
        found[field.name] = given
    if not image.band_numbers and not image.band_names and like is not None:
        found["band_numbers"] = tuple(getattr(like, "band_numbers", ()))
        found["band_names"] = tuple(getattr(like, "band_names", ()))
    return Image(**found)


def _chosen(
    fields: Image, trained: Sensor, described: list[str], opaque: list[bool], where: str
) -> list[int]:
    """Which of all bands make the image, by number, by name, or all."""
    count = len(described)
    if fields.band_numbers:
        if not 1 <= min(fields.band_numbers) <= max(fields.band_numbers) <= count:
            raise MissingBandError(
                f"{where} has {count} band(s), of which {FLAG}.band-numbers "
                f"{' '.join(map(str, fields.band_numbers))} are to be read. Give numbers from 1 to "
                f"{count}."
            )
        return [number - 1 for number in fields.band_numbers]
    names = [canonical(name) for name in described]
    wanted = [canonical(name) for name in trained.bands]
    if all(names.count(name) == 1 for name in wanted):
        return [names.index(name) for name in wanted]
    return [place for place in range(count) if not opaque[place]]
