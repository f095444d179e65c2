"""What single pixels are worth: classifiers without context, fitted to the run's training pixels.

They are fitted to what the network was trained on, whatever is evaluated, and kept with the run.
"""

import dataclasses
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from jaxseg.config import Config
from jaxseg.evaluation.gaussian import GaussianClassifier
from jaxseg.evaluation.wishart import WishartClassifier
from jaxseg.metrics.scores import scores_of
from jaxseg.physics import polsar
from jaxseg.pipeline import windows as pipeline
from jaxseg.run.evaluator import Evaluation
from jaxseg.scenes.scene import IGNORE, Sample, Window
from jaxseg.system.console import track
from jaxseg.transforms.transform import preprocess

BASELINE_WINDOWS = 256
"""Number of training windows to which the per-pixel baselines are fitted, evenly spaced."""

BASELINE_SIDE = 1024
"""Maximum rows and columns of such a window."""


QUIET = Console(quiet=True)


class PixelClassifier(Protocol):
    """A classifier that sees one pixel at a time."""

    def fit(self, pixels: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> None:
        """Adds training pixels (N, C) and their classes (N,)."""

    def predict(self, pixels: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
        """Classes of pixels, (..., C) -> (...)."""


@dataclasses.dataclass(frozen=True, eq=False)
class Baselines:
    """Classifiers of single pixels.

    Attributes:
        gaussian: One Gaussian per class, of preprocessed pixels.
        wishart: The Wishart distance of raw pixels; None if the bands are not T3 or C3.
    """

    gaussian: GaussianClassifier
    wishart: WishartClassifier | None

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """The numbers that make them."""
        one, other = self.gaussian, self.wishart
        found = {"count": one.count, "mean": one.mean, "scatter": one.scatter}
        if other is not None:
            found |= {"wishart_count": other.count, "wishart_total": other.total}
        return found

    @classmethod
    def of(cls, arrays: dict[str, NDArray[np.float64]]) -> "Baselines":
        """The classifiers of these numbers."""
        classes = len(arrays["count"])
        gaussian, wishart = GaussianClassifier(classes), None
        gaussian.count, gaussian.mean = arrays["count"], arrays["mean"]
        gaussian.scatter = arrays["scatter"]
        if "wishart_count" in arrays:
            wishart = WishartClassifier(classes)
            wishart.count, wishart.total = arrays["wishart_count"], arrays["wishart_total"]
        return cls(gaussian, wishart)


def fitted(config: Config, console: Console = QUIET) -> Baselines:
    """Fits the classifiers to windows of the training split.

    Args:
        config: The run, with its own data.
        console: Where to show how many windows are done.

    Raises:
        UserError: The data are missing.
    """
    source = config.data.source
    train = source.scenes("train")
    classes = len(source.classes)
    is_polarimetric = tuple(source.sensor.bands) in (polsar.T3_BANDS, polsar.C3_BANDS)
    found = Baselines(
        GaussianClassifier(classes), WishartClassifier(classes) if is_polarimetric else None
    )
    large = dataclasses.replace(config.data, evaluation_crop=BASELINE_SIDE)
    windows = pipeline.evaluation_windows(train, large)
    chosen = np.unique(np.linspace(0, len(windows) - 1, BASELINE_WINDOWS).astype(int))
    for number in track(chosen, "fitting single pixels", total=len(chosen), console=console):
        scene, window = windows[number]
        height, width = train.size(scene)
        inside = Window(
            window.y,
            window.x,
            min(window.height, height - window.y),
            min(window.width, width - window.x),
        )
        sample = train.read(scene, inside)
        found.gaussian.fit(*_preprocessed(sample, config))
        if found.wishart is not None:
            found.wishart.fit(*_raw(sample))
    return found


def evaluated(
    config: Config, split: str, classifiers: Baselines, console: Console = QUIET
) -> tuple[Evaluation, Evaluation | None]:
    """The results of the Gaussians, and of the Wishart distance, on all of a split.

    Args:
        config: The run, with the data to evaluate.
        split: The split to evaluate.
        classifiers: Fitted to the training pixels of the run.
        console: Where to show how many windows are done.
    """
    source, data = config.data.source, config.data
    scenes, size = source.scenes(split), len(source.classes)
    windows = pipeline.evaluation_windows(scenes, data)
    totals = np.zeros((2, size, size), np.int64)
    margins = np.zeros((2, len(windows), 3, size), np.int32)

    def add(
        which: int,
        number: int,
        classifier: PixelClassifier,
        values: NDArray[np.float32],
        label: NDArray[np.uint8],
    ) -> None:
        if len(label):
            joint = label.astype(np.int64) * size + classifier.predict(values)
            confusion = np.bincount(joint, minlength=size * size).reshape(size, size)
            totals[which] += confusion
            margins[which, number] = np.diag(confusion), confusion.sum(1), confusion.sum(0)

    shown = track(windows, "single pixels", total=len(windows), console=console)
    for number, (scene, window) in enumerate(shown):
        sample = pipeline.read_window(scenes, scene, window, data)
        add(0, number, classifiers.gaussian, *_preprocessed(sample, config))
        if classifiers.wishart is not None:
            add(1, number, classifiers.wishart, *_raw(sample))
    gaussian, wishart = (
        Evaluation(total, scores_of(total, source.classes), margin)
        for total, margin in zip(totals, margins, strict=True)
    )
    return gaussian, None if classifiers.wishart is None else wishart


def _preprocessed(sample: Sample, config: Config) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """As the network sees them."""
    image, valid = jnp.asarray(sample["image"]), jnp.asarray(sample["valid"])
    steps = preprocess(image[None], valid[None], config.preprocess)
    return _counted(np.asarray(steps)[0], sample)


def _raw(sample: Sample) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    return _counted(sample["image"].astype(np.float32), sample)


def _counted(
    image: NDArray[np.float32], sample: Sample
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The labelled, valid pixels (N, C) and their labels (N,)."""
    counted = sample["valid"].astype(bool) & (sample["label"] != IGNORE)
    return image[counted], sample["label"][counted].astype(np.uint8)
