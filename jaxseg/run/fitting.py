"""Fits the radiometry that a config leaves open to the training split, step by step.

    Standardize()     mean and standard deviation of the training pixels
    PCA(30), ...      the result of the step's `fit`

Training pixels are valid and labelled: a single scene that is split by its labels is valid
everywhere, but its test pixels must not be used. Each step sees the images after the preceding
steps. The result becomes part of the config, a few thousand numbers at most, so a checkpoint needs
no second file, and prediction needs only the checkpoint.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.pipeline import band_statistics
from jaxseg.pipeline import windows as pipeline
from jaxseg.pipeline.windows import Data
from jaxseg.run import soundness
from jaxseg.scenes.scene import IGNORE, TrainingWindow
from jaxseg.system.console import note
from jaxseg.transforms.transform import Fittable, Preprocess, preprocess

WINDOWS = 256
"""Number of windows, spread over the training split, to which a step is fitted."""


def fitted(
    steps: tuple[Preprocess, ...], data: Data, known: tuple[Preprocess, ...] = ()
) -> tuple[Preprocess, ...]:
    """The steps with all open fields fitted.

    Args:
        steps: Radiometry, in order.
        data: The data with the training split.
        known: The steps of the run that is resumed. Their values are reused, because on another
            machine they would differ in the last digits. Only `REPEATABLE` steps on raw images,
            which would not differ, are fitted again, which shows whether the data have changed.

    Raises:
        UserError: The training split is missing or too small.
    """
    done: tuple[Preprocess, ...] = ()
    for number, step in enumerate(steps):
        found = step
        if isinstance(step, Fittable) and not step.fitted:
            stored = known[number] if number < len(known) else None
            again = step.REPEATABLE and not done
            if stored is not None and not again and _emptied(stored, step) == step:
                found = stored
            else:
                found = step.fit(_training_windows(data, done))
        done = (*done, found)
    return done


def as_before(
    steps: tuple[Preprocess, ...], known: tuple[Preprocess, ...]
) -> tuple[Preprocess, ...]:
    """The steps with open fields as in `known`, where the two are alike otherwise."""
    pairs = zip(steps, known, strict=False)
    filled = [
        found
        if isinstance(step, Fittable) and not step.fitted and _emptied(found, step) == step
        else step
        for step, found in pairs
    ]
    return (*filled, *steps[len(filled) :])


def _emptied(step: Any, like: Any) -> Any:  # noqa: ANN401
    """A fitted step with its open fields as in `like`, if both have the same type."""
    if type(step) is not type(like):
        return step
    return dataclasses.replace(step, **{name: getattr(like, name) for name in like.OPEN})


def _through(
    steps: tuple[Preprocess, ...],
) -> Callable[[NDArray[np.generic], NDArray[np.bool_]], NDArray[np.float32]] | None:
    """Applies the steps to an image (H, W, C) with its valid pixels; None without steps."""
    if not steps:
        return None
    apply = jax.jit(lambda image, valid: preprocess(image, valid, steps))

    def through(image: NDArray[np.generic], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        preprocessed: NDArray[np.float32] = np.asarray(apply(image[None], valid[None]))[0]
        return preprocessed

    return through


def _refuse_extremes(image: NDArray[np.generic], counted: NDArray[np.bool_], name: str) -> None:
    """Rejects values next to which all others are fitted to nothing.

    Raises:
        UserError: A training pixel has such a value.
    """
    sizes = np.abs(image[counted].astype(np.float64))
    if sizes.size and sizes.max() > soundness.LIMIT:
        value = image[counted].ravel()[sizes.argmax()]
        beyond = (sizes.max(-1) > soundness.LIMIT).mean()
        raise UserError(
            f"{name} has values as large as {value:.8g}, beyond {soundness.LIMIT:.0e} in "
            f"{100 * beyond:.2g} % of the training pixels looked at there: mean and standard "
            "deviation would leave nothing of all others. If it means no data, give "
            f"--config.data.source.nodata {value:.8g}."
        )


def _training_windows(data: Data, steps: tuple[Preprocess, ...]) -> Iterator[TrainingWindow]:
    scenes = data.source.scenes("train")
    pipeline.training_cells(scenes, data)
    through = _through(steps)
    pixels: dict[int, int] = {}
    for scene, window in band_statistics.spread_windows(scenes, data.crop, WINDOWS):
        sample = pipeline.read_window(scenes, scene, window, data)
        image, valid = sample["image"], sample["valid"].astype(bool)
        counted = valid & (sample["label"] != IGNORE)
        pixels[scene] = pixels.get(scene, 0) + int(counted.sum())
        seen = image if through is None else through(image, valid)
        _refuse_extremes(seen, counted, scenes.name(scene))
        yield seen, counted
    blank = [scenes.name(scene) for scene, number in pixels.items() if not number]
    if len(blank) == len(pixels):
        raise UserError(
            f"No valid, labelled pixel in the sampled windows of {len(blank)} training scene(s), "
            f"the first being {blank[0]}: nothing to fit the radiometry to. Check the masks and "
            "the nodata value of the source. If labels are sparse, give the values yourself, such "
            "as Standardize(mean=..., std=...)."
        )
    if blank:
        note(
            f"No valid, labelled pixel in the sampled windows of {len(blank)} of {len(pixels)} "
            f"training scenes, the first being {blank[0]}: they are left out of the radiometry."
        )
