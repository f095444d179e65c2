"""A finished network on scenes unlike its training: two ways to adapt it, without any label.

    statistics   batch normalisation uses mean and variance of the new scenes (AdaBN)
    histograms   the values of the new scenes get the distribution of the training

AdaBN: layer by layer, mean and variance over all pixels of the new scenes replace the running
statistics; nothing is trained. Batches are normalised by their own statistics while they are
measured, and the statistics of the scenes are put together from them: mean m = E[m_b] and variance
E[v_b + m_b^2] - m^2, weighted by windows.

Source: Li et al., Revisiting Batch Normalization For Practical Domain Adaptation, 2016,
arXiv:1603.04779; not checked against the authors' code. Difference: with several batches, deeper
layers see features that were normalised batch by batch.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from numpy.typing import NDArray

from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.models.parts.normalisation import Normalisation, normalised_by
from jaxseg.pipeline import windows as pipeline
from jaxseg.scenes.scene import Sample, Scenes, TrainingWindow, Window
from jaxseg.transforms.histograms import HistogramMatching
from jaxseg.transforms.transform import Preprocess, preprocess

Adapt = Literal["none", "statistics", "histograms", "both"]
"""How a network is adapted; `both` matches histograms first, and measures statistics after it."""

SAID: dict[Adapt, str] = {
    "statistics": "batch statistics of the new images",
    "histograms": "histograms of the new images, matched to those of the training",
    "both": "batch statistics of the new images, and their histograms, matched to the training's",
}
"""By what a network was adapted."""

WINDOWS = 100
"""Evenly spaced windows of scenes that are measured at most."""

Tree = Any  # pytrees of arrays have no useful type

Moments = dict[tuple[str, ...], Any]
"""Arrays in float64 by the paths of statistics."""


def adapted(
    config: Config, variables: Tree, how: Adapt, batches: Callable[[], Iterable[Sample]]
) -> tuple[Config, Tree]:
    """The config and the variables of a run, for other images.

    Args:
        config: The run.
        variables: Its parameters and batch statistics.
        how: What is done.
        batches: The new images, as for `with_statistics`, from the start at every call.

    Raises:
        UserError: The run lacks what is needed, or no pixel is valid.
    """
    if how in ("histograms", "both"):
        config = matched(config, _one_by_one(batches()))
    if how in ("statistics", "both"):
        variables = with_statistics(config, variables, batches())
    return config, variables


def refuse_unadaptable(config: Config, variables: Tree, how: Adapt) -> None:
    """Rejects a run that cannot be adapted in this way, before any image is read.

    Raises:
        UserError: Its network has no running statistics, or its radiometry keeps no histograms.
    """
    if how in ("histograms", "both"):
        _matching(config)
    if how in ("statistics", "both"):
        _refuse_without_statistics(config, variables)


def with_statistics(config: Config, variables: Tree, batches: Iterable[Sample]) -> Tree:
    """The variables with the batch statistics of other images.

    Args:
        config: The run.
        variables: Its parameters and batch statistics.
        batches: Of each, raw `image` (B, H, W, C) and `valid` (B, H, W); windows without any valid
            pixel are left out.

    Raises:
        UserError: The network has no running statistics, or no pixel is valid.
    """
    _refuse_without_statistics(config, variables)

    @jax.jit
    def measured(variables: Tree, image: jax.Array, valid: jax.Array) -> Tree:
        counted = valid.any((1, 2))
        with normalised_by(Normalisation(), counted, measuring=True):
            _, updates = config.model.apply(
                variables,
                preprocess(image, valid, config.preprocess),
                train=False,
                mutable=["batch_stats"],
            )
        return updates["batch_stats"], counted.sum()

    total = 0
    sums: Moments = {}
    for batch in batches:
        found, windows = measured(variables, batch["image"], batch["valid"].astype(bool))
        if not (weight := int(windows)):
            continue
        total += weight
        for path, value in _powers(jax.device_get(found)).items():
            sums[path] = sums.get(path, 0) + weight * value
    if not total:
        raise UserError("No pixel of the new scenes is valid: there is nothing to measure.")
    merged = _centred({path: value / total for path, value in sums.items()})
    return variables | {"batch_stats": jax.tree.map(jnp.asarray, merged)}


def matched(config: Config, windows: Iterable[TrainingWindow]) -> Config:
    """The config whose radiometry gives other images the distribution of the training.

    Args:
        config: A run with the step `HistogramMatching` in its radiometry.
        windows: Raw images (H, W, C), each with a mask (H, W) of its valid pixels.

    Raises:
        UserError: The radiometry has no such step, or no pixel is valid.
    """
    number, step = _matching(config)
    before = config.preprocess[:number]
    seen = ((_through(before, image, valid), valid) for image, valid in windows)
    steps = (*before, step.matching(seen), *config.preprocess[number + 1 :])
    return dataclasses.replace(config, preprocess=steps)


def batches_of(config: Config, scenes: Scenes, at_most: int = 0) -> Iterator[Sample]:
    """Windows of scenes, in the size of an evaluation; their labels are read, but not used.

    The last ones of a scene are moved into it: a normalisation would measure the pixels beyond its
    border, which are 0.

    Args:
        config: The run.
        scenes: What is looked at.
        at_most: Number of evenly spaced windows; 0 = all.
    """
    data = config.data
    windows: Sequence[tuple[int, Window]] = pipeline.evaluation_windows(scenes, data)
    if at_most and at_most < len(windows):
        chosen = np.linspace(0, len(windows) - 1, at_most).astype(int)
        windows = [windows[number] for number in chosen]
    windows = [(scene, _inside(window, scenes.size(scene))) for scene, window in windows]
    positions = list(range(data.batch_size))
    return pipeline.evaluation_batches(scenes, windows, data, positions=positions)


def windows_of(config: Config, scenes: Scenes) -> Iterator[TrainingWindow]:
    """All windows of scenes one by one, each with its valid pixels."""
    return _one_by_one(batches_of(config, scenes))


def _inside(window: Window, size: tuple[int, int]) -> Window:
    """The window moved into a scene of this size, as far as it fits."""
    y, x = (
        max(0, min(at, of - side))
        for at, of, side in zip(window[:2], size, window[2:], strict=True)
    )
    return window._replace(y=y, x=x)


def _one_by_one(batches: Iterable[Sample]) -> Iterator[TrainingWindow]:
    for batch in batches:
        yield from zip(batch["image"], batch["valid"].astype(bool), strict=True)


def _refuse_without_statistics(config: Config, variables: Tree) -> None:
    if not variables.get("batch_stats"):
        raise UserError(
            f"{type(config.model).__name__} with --config.norm.kind {config.norm.kind} has no "
            "running statistics that could be measured again."
        )


def _matching(config: Config) -> tuple[int, HistogramMatching]:
    """The step that matches histograms, and its place in the radiometry."""
    for number, step in enumerate(config.preprocess):
        if isinstance(step, HistogramMatching):
            return number, step
    raise UserError(
        "The run has no HistogramMatching() in its radiometry, which keeps the distribution of the "
        "training. Train with it: preprocess=(HistogramMatching(), Standardize())."
    )


def _through(
    steps: tuple[Preprocess, ...], image: NDArray[np.generic], valid: NDArray[np.bool_]
) -> NDArray[np.generic]:
    """An image after some steps of the radiometry."""
    if not steps:
        return image
    seen = preprocess(jnp.asarray(image[None]), jnp.asarray(valid[None]), steps)
    after: NDArray[np.generic] = np.asarray(seen)[0]
    return after


def _powers(statistics: Tree) -> Moments:
    """Means and mean products, which can be averaged, by the paths of the statistics."""
    flat = traverse_util.flatten_dict(statistics)
    wide = {path: np.asarray(value, np.float64) for path, value in flat.items()}
    return {path: value + _product(wide, path) for path, value in wide.items()}


def _centred(powers: Moments) -> Tree:
    """The statistics of means and mean products, float32."""
    flat = {path: value - _product(powers, path) for path, value in powers.items()}
    for path in flat:
        if path[-1] == "var":
            flat[path] = np.maximum(flat[path], 0)
    return traverse_util.unflatten_dict({p: value.astype(np.float32) for p, value in flat.items()})


def _product(statistics: Moments, path: tuple[str, ...]) -> Any:  # noqa: ANN401
    """What a central moment lacks of the mean product: of variance and complex covariance."""
    if path[-1] == "mean":
        return 0.0
    mean = statistics[*path[:-1], "mean"]
    if path[-1] == "covariance":  # of the real and imaginary parts
        half = len(mean) // 2
        return mean[:half] * mean[half:]
    return mean**2
