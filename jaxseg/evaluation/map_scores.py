"""The scores of a map as it was written: what is delivered is what is counted."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from jaxseg.config import Config
from jaxseg.datasets.leakage import refuse_trained_pixels
from jaxseg.errors import UserError
from jaxseg.evaluation.evaluate import Assessment
from jaxseg.evaluation.map_data import Maps
from jaxseg.metrics.intervals import blocks, bootstrap
from jaxseg.metrics.measure import Measure, Setting, with_library
from jaxseg.metrics.scene_shapes import SceneShapes
from jaxseg.metrics.scores import scores_of
from jaxseg.pipeline.windows import cover_of, windows_of
from jaxseg.run.evaluator import Evaluation
from jaxseg.scenes.cover import Cover
from jaxseg.scenes.scene import IGNORE, Sample, Scenes, Window, gsd_of
from jaxseg.system.console import track


def evaluate_map(
    config: Config,
    source: Maps,
    *,
    measures: Iterable[Measure] = (),
    shared_ground: float = 0.0,
    tile: int = 0,
    console: Console | None = None,
) -> Assessment:
    """Counts maps against labels, with the measures and intervals of an evaluation.

    Args:
        config: Of the run that made the maps: its data, and the size of the windows that are drawn
            for the intervals of a single map.
        source: The maps and their labels.
        measures: Your own measures, or the library's with other parameters.
        shared_ground: Share of the ground of the maps, 0..1, that the training may have shown.
        tile: Rows and columns of the windows; 0 = the evaluation crop of the run.
        console: Where to show how far it is; None = nowhere.

    Raises:
        UserError: Files cannot be read or do not belong together, a map holds a number that is not
            a class, no pixel is labelled, or the maps show ground of the training.
    """
    if tile < 0:
        raise UserError(f"--tile {tile}: give rows and columns of the windows, or 0 for the run's.")
    allowed = max(shared_ground, config.data.shared_ground)
    shared = refuse_trained_pixels(config.data.source, source, "test", allowed)
    scenes = source.scenes("test")
    data = dataclasses.replace(config.data, evaluation_crop=tile or config.data.evaluation_crop)
    cover = cover_of(data, 0.0, 1)
    windows = windows_of(cover, scenes)
    setting = Setting(len(source.classes), cover.side, source.sensor.gsd)
    started = [measure.start(setting) for measure in with_library(measures)]
    shapes = SceneShapes(
        scenes, windows, cover, started, lambda scene: gsd_of(scenes, scene, source)
    )
    confusion = np.zeros((setting.num_classes, setting.num_classes), np.int64)
    margins = []
    read = _read(scenes, windows, cover)
    every = track(read, "windows", total=len(windows), console=console or Console(quiet=True))
    for (scene, _), sample in zip(windows, every, strict=True):
        prediction = sample["image"][..., 0]
        counted = sample["valid"].astype(bool) & (sample["label"] != IGNORE)
        _check(prediction[counted], source.classes, scenes.name(scene))
        found = _counts(prediction[counted], sample["label"][counted], setting.num_classes)
        confusion += found
        margins.append(np.stack([np.diag(found), found.sum(1), found.sum(0)]).astype(np.int32))
        padded = np.zeros((1, cover.side, cover.side), np.uint8)
        padded[0, : len(prediction), : prediction.shape[1]] = np.where(counted, prediction, 0)
        shapes.add(padded)
    if not confusion.any():
        raise UserError(f"{source.masks} labels no pixel of {source.images}: nothing is counted.")
    result = Evaluation(confusion, scores_of(confusion, source.classes), np.stack(margins))
    return Assessment(
        split="test",
        step=0,
        source=source,
        network=result,
        intervals=bootstrap(*blocks(result.margins, windows, scenes, cover)),
        shared_ground=shared,
        measures=shapes.totals(),
        calibration=None,
        reliability=None,
        classifiers=None,
        baseline=None,
        wishart=None,
        worst=[],
        median=[],
        scenes=[],
        cover=cover,
        one_window=len(windows) == len(scenes),
        of_map=source.images,
    )


def _read(scenes: Scenes, windows: Sequence[tuple[int, Window]], cover: Cover) -> Iterator[Sample]:
    """The part of each window that lies in its scene."""
    for scene, window in windows:
        yield scenes.read(scene, cover.own(scenes.size(scene), window))


def _counts(
    prediction: NDArray[np.generic], label: NDArray[np.generic], classes: int
) -> NDArray[np.int64]:
    """(K, K) pixels, rows = reference."""
    places = label.astype(np.int64) * classes + prediction.astype(np.int64)
    return np.bincount(places, minlength=classes**2).reshape(classes, classes).astype(np.int64)


def _check(prediction: NDArray[np.generic], classes: tuple[str, ...], name: str) -> None:
    wrong = prediction[np.greater_equal(prediction, len(classes)) | np.less(prediction, 0)]
    if len(wrong):
        raise UserError(
            f"{name}: {wrong[0]} is not one of the {len(classes)} classes (0 is {classes[0]}). If "
            "it means no data, tag it as nodata."
        )
