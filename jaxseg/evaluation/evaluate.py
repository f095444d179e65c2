"""Everything measured about a run: `evaluate(workdir, split)`, and per-pixel baselines.

Nothing is written or shown here; `report` does that.
"""

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.config_text import Code
from jaxseg.datasets.leakage import refuse_trained_pixels
from jaxseg.datasets.paired import without_side
from jaxseg.errors import UserError
from jaxseg.evaluation.gaussian import GaussianClassifier
from jaxseg.evaluation.wishart import WishartClassifier
from jaxseg.metrics.calibration import Reliability
from jaxseg.metrics.intervals import Intervals
from jaxseg.metrics.measure import Measure, with_library
from jaxseg.metrics.scores import scores_of
from jaxseg.metrics.thresholds import Thresholds
from jaxseg.physics import polsar
from jaxseg.pictures import tiles as pictures
from jaxseg.pipeline import windows as pipeline
from jaxseg.run import checkpoint
from jaxseg.run.contract import Check
from jaxseg.run.evaluator import Evaluation, Evaluator
from jaxseg.scenes.scene import IGNORE, Sample, Source, Window
from jaxseg.sharding import MeshShape
from jaxseg.transforms.transform import preprocess

BASELINE_WINDOWS = 256
"""Number of training windows to which the per-pixel baselines are fitted, evenly spaced."""

BASELINE_SIDE = 1024
"""Maximum rows and columns of such a window."""


@dataclasses.dataclass(frozen=True, eq=False)
class Assessment:
    """Everything that `evaluate` finds out about a run.

    Attributes:
        split: The evaluated split.
        step: Step of the checkpoint.
        source: The data.
        network: The results of the network.
        intervals: Confidence intervals of these scores.
        shared_ground: Share of the ground of the split, 0..1, that the training has shown, as far
            as files state it.
        measures: Measures of whole scenes: borders, objects and others.
        temperature: Divisor of the logits that maximises the likelihood of the validation split.
        thresholds: Thresholds of the classes with the best mean IoU on the validation split.
        reliability: Calibration before and after division by the temperature.
        baseline: Results of one Gaussian per class on single pixels, if requested.
        wishart: Results of the Wishart distance of single pixels, if requested and polarimetric.
        worst: The windows with the lowest accuracy.
        median: The windows with medium accuracy.
    """

    split: str
    step: int
    source: Source
    network: Evaluation
    intervals: Intervals
    shared_ground: float
    measures: tuple[Measure, ...]
    temperature: float
    thresholds: Thresholds
    reliability: tuple[Reliability, Reliability]
    baseline: Evaluation | None
    wishart: Evaluation | None
    worst: list[pictures.Tile]
    median: list[pictures.Tile]


def evaluate(
    workdir: Path,
    split: str = "test",
    *,
    source: Source | None = None,
    which: str = "best",
    mesh_shape: MeshShape = MeshShape(),
    baseline: bool = True,
    measures: Iterable[Measure] = (),
    shared_ground: float = 0.0,
    code: Code = (),
    check: bool = True,
) -> Assessment:
    """Evaluates a checkpoint of a run; `report` shows and writes the result.

    Args:
        workdir: The run's folder.
        split: `train`, `validation` or `test`.
        source: Other data to evaluate the run on; None = its own.
        which: `best`, `latest` or a step.
        mesh_shape: Devices to use; they may differ from those of the training.
        baseline: Whether to fit and evaluate the per-pixel baselines, too.
        measures: Your own measures, or the library's with other parameters, such as
            BoundaryTotal(tolerance=...). All other measures of the library use their defaults.
        shared_ground: Share of the ground of the split, 0..1, that the training may have shown.
        code: Where the run's classes from outside jaxseg may be taken from.
        check: Whether other data are compared with the images of the training.

    Raises:
        UserError: There is no such run, checkpoint or split, the split has no labelled pixel or
            contains pixels that the run was trained on, or measures share a name.
        SensorError: The images do not match what the run was trained on.
    """
    measures = with_library(measures)
    config, state = checkpoint.reopen(workdir, mesh_shape, which, code)
    config = _of_source(config, config.data.source)
    trained = config.data.source
    mesh = sharding.make_mesh(mesh_shape)
    validation = Evaluator(config, mesh, "validation", confidence=True)
    if source is not None:
        _check_classes(trained, source)
        config = _of_source(config, source)
    allowed = max(shared_ground, config.data.shared_ground)
    shared = refuse_trained_pixels(trained, config.data.source, split, allowed)
    own = source is None or without_side(source) == trained
    kind: Check = "none" if not check else "own" if own else "other"
    evaluator = Evaluator(config, mesh, split, confidence=True, check=kind)
    temperature, decision = validation.decisions(state)
    result, confidence, totals = evaluator.with_shapes(state, temperature, measures)
    ranked = result.ranked()
    middle = len(ranked) // 2
    return Assessment(
        split=split,
        step=int(state.step),
        source=config.data.source,
        network=result,
        intervals=evaluator.intervals(result),
        shared_ground=shared,
        measures=totals,
        temperature=temperature,
        thresholds=decision,
        reliability=confidence.reliability(),
        baseline=baseline_evaluation(config, split) if baseline else None,
        wishart=wishart_evaluation(config, split) if baseline else None,
        worst=evaluator.tiles(state, ranked[:4]),
        median=evaluator.tiles(state, ranked[max(0, middle - 2) : middle + 2]),
    )


def _of_source(config: Config, source: Source) -> Config:
    """The config with this source, without the side images that only training uses."""
    data = dataclasses.replace(config.data, source=without_side(source))
    return dataclasses.replace(config, data=data)


def _check_classes(trained: Source, given: Source) -> None:
    if trained.classes != given.classes:
        raise UserError(
            f"The data have the classes {', '.join(given.classes)}; the network was trained on "
            f"{', '.join(trained.classes)}. They must be the same, in the same order."
        )


class PixelClassifier(Protocol):
    """A classifier that sees one pixel at a time."""

    def fit(self, pixels: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> None:
        """Adds training pixels (N, C) and their classes (N,)."""

    def predict(self, pixels: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
        """Classes of pixels, (..., C) -> (...)."""


Pixels = Callable[[Sample], tuple[NDArray[np.float32], NDArray[np.uint8]]]
"""Window -> its labelled, valid pixels (N, C) and their labels (N,)."""


def baseline_evaluation(config: Config, split: str) -> Evaluation:
    """Evaluates one Gaussian per class, fitted to single preprocessed pixels."""

    def pixels(sample: Sample) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        image, valid = jnp.asarray(sample["image"]), jnp.asarray(sample["valid"])
        steps = preprocess(image[None], valid[None], config.preprocess)
        return _counted(np.asarray(steps)[0], sample)

    classifier = GaussianClassifier(len(config.data.source.classes))
    return _pixel_evaluation(config, split, classifier, pixels)


def wishart_evaluation(config: Config, split: str) -> Evaluation | None:
    """Evaluates the Wishart distance of single pixels; None if the bands are not T3 or C3."""
    source = config.data.source
    if tuple(source.sensor.bands) not in (polsar.T3_BANDS, polsar.C3_BANDS):
        return None

    def pixels(sample: Sample) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        return _counted(sample["image"].astype(np.float32), sample)

    return _pixel_evaluation(config, split, WishartClassifier(len(source.classes)), pixels)


def _pixel_evaluation(
    config: Config, split: str, classifier: PixelClassifier, pixels: Pixels
) -> Evaluation:
    """Fits the classifier to windows of the training split and evaluates it on all of `split`."""
    source = config.data.source
    data = config.data
    train = source.scenes("train")
    large = dataclasses.replace(data, evaluation_crop=BASELINE_SIDE)
    fitted = pipeline.evaluation_windows(train, large)
    for number in np.unique(np.linspace(0, len(fitted) - 1, BASELINE_WINDOWS).astype(int)):
        scene, window = fitted[number]
        height, width = train.size(scene)
        inside = Window(
            window.y,
            window.x,
            min(window.height, height - window.y),
            min(window.width, width - window.x),
        )
        classifier.fit(*pixels(train.read(scene, inside)))
    scenes = source.scenes(split)
    size = len(source.classes)
    total = np.zeros((size, size), np.int64)
    windows = pipeline.evaluation_windows(scenes, data)
    margins = np.zeros((len(windows), 3, size), np.int32)
    for number, (scene, window) in enumerate(windows):
        values, label = pixels(pipeline.read_window(scenes, scene, window, data))
        if len(label):
            joint = label.astype(np.int64) * size + classifier.predict(values)
            confusion = np.bincount(joint, minlength=size * size).reshape(size, size)
            total += confusion
            margins[number] = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    return Evaluation(total, scores_of(total, source.classes), margins)


def _counted(
    image: NDArray[np.float32], sample: Sample
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The labelled, valid pixels (N, C) and their labels (N,)."""
    counted = sample["valid"].astype(bool) & (sample["label"] != IGNORE)
    return image[counted], sample["label"][counted].astype(np.uint8)
