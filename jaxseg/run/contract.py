"""Whether the scenes of a split are what a network was trained on, and which of them are not.

Another split of the run's own source is what it is: open sea or snow in the validation split is
said, never rejected. Of other data, what no scene explains is rejected.
"""

import sys
from collections.abc import Mapping
from typing import Literal

import jax

from jaxseg.datasets.wrapped import refuse_other_sensor, title, unlike, unlike_files
from jaxseg.pipeline import band_statistics
from jaxseg.pipeline.band_statistics import Look
from jaxseg.scenes.agreement import MissingBandError, refuse_pixel_size
from jaxseg.scenes.scene import Scenes, Source, gsd_of
from jaxseg.scenes.sensor import Sensor, listed
from jaxseg.scenes.values import Finding

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
        every = [unlike(trained, source, of, scenes.name(n)) for n, of in found.files.items()]
        _say_some([" ".join(said) for said in every if said], len(found.files))
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
    """Names the training files whose values are not like those of the others."""
    names = {scenes.name(index): typical for index, typical in found.files.items()}
    unlike = unlike_files(source, names)
    if unlike:
        _say(_told(unlike, len(names), len(scenes)))


def _told(unlike: Mapping[str, Finding], looked: int, count: int) -> str:
    name, finding = next(iter(unlike.items()))
    what, cure = {
        "linear": ("values that are not below 0, the others decibel", ""),
        "decibel": ("values in decibel, the others do not", ""),
        "scale": (f"values of {finding.ratio:.2g} times the range of the others", ""),
        "constant": ("a single value", ""),
        "added": (
            "values that are higher by about 1000, as Sentinel-2 products of processing baseline "
            "04.00 have them",
            f"\nMark what holds the 1000, so that it is subtracted there alone:\n"
            f"rio edit-info {name} --tag PROCESSING_BASELINE=04.00\n"
            f"(--config.data.source.added 1000 subtracts it from all and clips the others.)",
        ),
        "not added": (
            "values that are lower by about 1000, as Sentinel-2 products before "
            "processing baseline 04.00 have them",
            "",
        ),
    }[finding.kind]
    cure = cure or "\nBring them to one unit, or make a source of their own of them."
    sample = f"{looked} of {count}" if looked < count else f"{count}"
    return f"Of {sample} training scenes, {len(unlike)} differ: {name} has {what}.{cure}"


def _say_some(lines: list[str], looked: int) -> None:
    """The first of them, and how many more there are."""
    if lines:
        more = f" ({len(lines) - 1} more of {looked} looked at)" if len(lines) > 1 else ""
        _say(f"Unlike the training: {lines[0]}{more}")


def _say(text: str) -> None:
    if jax.process_index() == 0:
        sys.stderr.write(f"{text}\n")
