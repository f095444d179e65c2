"""Whether the scenes of a split are what a network was trained on, and which of them are not.

Another split of the run's own source is what it is: open sea or snow in the validation split is
said, never rejected. Of other data, what no scene explains is rejected.
"""

from collections.abc import Mapping
from typing import Literal

import jax

from jaxseg.datasets.wrapped import refuse_other_sensor, title, unlike, unlike_files
from jaxseg.pipeline import band_statistics
from jaxseg.pipeline.band_statistics import Look
from jaxseg.scenes import sentinel2
from jaxseg.scenes.agreement import MissingBandError, refuse_pixel_size
from jaxseg.scenes.scene import Scenes, Source, gsd_of
from jaxseg.scenes.sensor import Sensor, listed
from jaxseg.scenes.source_flags import SOURCE
from jaxseg.scenes.values import Finding
from jaxseg.system.console import note

Check = Literal["own", "other", "none"]
"""Scenes of the run's own source, of another one, or of another one as they are."""

SAME = "--no-check"
"""The flag of `jaxseg evaluate` that leaves the comparison out."""

FILES = 1000
"""Scenes whose pixel sizes are compared."""


def check_split(
    trained: Sensor, source: Source, scenes: Scenes, split: str, crop: int, check: Check
) -> None:
    """Compares the scenes of a split with what a network was trained on.

    Args:
        trained: The sensor of the run.
        source: The source of the scenes.
        scenes: The split.
        split: Its name.
        crop: Rows and columns of the windows that are looked at.
        check: What is rejected.

    Raises:
        SensorError: Other data are not what the network was trained on.
    """
    bands = source.sensor.bands
    if check == "none":
        if len(bands) != len(trained.bands):
            raise MissingBandError(
                f"{title(source)} has {len(bands)} band(s) ({listed(bands)}); the network was "
                f"trained on {len(trained.bands)} ({listed(trained.bands)})."
            )
        return
    found = band_statistics.look(scenes, crop)
    where = f"The {split} split of {title(source)}"
    if check == "own":
        refuse_other_sensor(trained, source, (), where)  # files may have been replaced since
        every = {scenes.name(n): unlike(trained, source, of) for n, of in found.files.items()}
        differ = {name: finding for name, finding in every.items() if finding is not None}
        if differ:
            _say(_told(differ, found.looked, len(scenes), f"{split} scenes", "the training"))
        return
    doubts = list(refuse_other_sensor(trained, source, found.typical, where, same=SAME))
    for index in range(min(len(scenes), FILES)):
        refuse_pixel_size(
            trained,
            gsd_of(scenes, index, source),
            scenes.name(index),
            f"Resample them, as with gdalwarp -tr, or evaluate them as they are with {SAME}",
        )
    if len(found.files) > 1:
        for index, typical in found.files.items():
            doubts += refuse_other_sensor(trained, source, typical, scenes.name(index), same=SAME)
    _say_some(doubts, len(found.files))


def say_unlike(source: Source, scenes: Scenes, found: Look) -> None:
    """Says what `unlike_others` finds."""
    for line in unlike_others(source, scenes, found):
        _say(line)


def unlike_others(source: Source, scenes: Scenes, found: Look) -> list[str]:
    """A line that names the training files whose values are not like those of the others, if any.

    Args:
        source: The source of the training.
        scenes: Its training split.
        found: What was read of it.
    """
    names = {scenes.name(index): typical for index, typical in found.files.items()}
    differ = unlike_files(source, names)
    if not differ:
        return []
    return [_told(differ, found.looked, len(scenes), "train scenes", "the others")]


def _told(differ: Mapping[str, Finding], looked: int, count: int, what: str, others: str) -> str:
    """One line about the files that differ; the first that no scene explains is named."""
    name = next((name for name, one in differ.items() if one.certain), next(iter(differ)))
    finding = differ[name]
    sample = f"{looked} of {count} {what}" if looked < count else f"{count} {what}"
    told = {
        "linear": f"values that are not below 0, {others} decibel",
        "decibel": f"values below 0, as decibel are, {others} not",
        "scale": f"values of {finding.ratio:.2g} times the range of {others}",
        "constant": "a single value",
        "added": f"darkest values above {sentinel2.ADDED}, {others} not",
        "not added": f"darkest values far below {sentinel2.ADDED}, {others} not",
    }[finding.kind]
    said = f"Of {sample}, {len(differ)} unlike {others}: {name} has {told}."
    if not finding.certain:
        return f"{said} It may be the scene (sea, snow, clouds, night), or another scale."
    if finding.kind in ("added", "not added"):
        return (
            f"{said}\nOf Sentinel-2 products, those of processing baseline 04.00 and later hold "
            f"{sentinel2.ADDED} more. Mark these, and it is subtracted from them alone:\n"
            "rio edit-info FILE --tag PROCESSING_BASELINE=04.00\n"
            f"({SOURCE}.added {sentinel2.ADDED} subtracts it from all files and clips the others.)"
        )
    return f"{said} Bring the files to one scale and unit."


def _say_some(lines: list[str], looked: int) -> None:
    """The first of them, and how many more there are."""
    if lines:
        more = f" ({len(lines) - 1} more of {looked} looked at)" if len(lines) > 1 else ""
        _say(f"Unlike the training: {lines[0]}{more}")


def _say(text: str) -> None:
    if jax.process_index() == 0:
        note(text)
