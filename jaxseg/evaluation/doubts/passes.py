"""Which labels of a split are probably wrong: two passes of a network, and regions of what it says.

    pass 1   every window  ->  a threshold for each class
    pass 2   every window  ->  suggested class and doubt of each pixel  ->  scene by scene
             a scene       ->  connected regions of doubted pixels of one label

One scene is in memory at a time, and no probability: the second pass computes them again.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from numpy.typing import NDArray

from jaxseg.config import Config
from jaxseg.files.regions import components
from jaxseg.metrics.confident_learning import (
    UNDOUBTED,
    doubted,
    estimated_joint,
    self_confidence,
    thresholds_of,
)
from jaxseg.metrics.scores import ConfusionTotal
from jaxseg.run.evaluator import Evaluator, Results
from jaxseg.run.measured import counted_pixels
from jaxseg.run.step import TrainState, make_forward
from jaxseg.scenes.cover import Cover
from jaxseg.scenes.scene import IGNORE, Batch, Scenes, Window

STEPS = 254
"""Whole numbers that stand for a doubt of 0..1, as in the layers of a map."""

NO_LABEL = 255
"""Of a doubt: no label, or no data."""


class SceneDoubts(NamedTuple):
    """What is said of the labels of one scene.

    Attributes:
        scene: Its number in the split.
        label: (H, W) uint8 class ids, IGNORE where not counted.
        suggested: (H, W) uint8 class of a doubted pixel, else `UNDOUBTED`.
        doubt: (H, W) uint8, 0..`STEPS` for 0..1, `NO_LABEL` where not counted.
    """

    scene: int
    label: NDArray[np.uint8]
    suggested: NDArray[np.uint8]
    doubt: NDArray[np.uint8]


class Region(NamedTuple):
    """Connected doubted pixels of one label: what somebody can go and look at.

    Attributes:
        scene: Number of its scene.
        number: Its number in the scene, see `numbered`.
        row: Of its pixel that is nearest to its middle.
        column: Of the same.
        pixels: Their number.
        label: Their class.
        suggested: The class that is suggested for most of them.
        doubt: Mean over its pixels, 0..1.
        box: The smallest window that holds it.
    """

    scene: int
    number: int
    row: int
    column: int
    pixels: int
    label: int
    suggested: int
    doubt: float
    box: Window


class Doubts:
    """The doubts about the labels of a split.

    Attributes:
        thresholds: (K,) mean self-confidence of each class; infinite if no pixel has its label.
        count: (K,) labelled pixels of each class.
        joint: (K, K) estimated shares of all labels, rows = label, columns = true class; complete
            after the last scene. Where a network hardly knows a class, its threshold is near 0 and
            its column far too large.
    """

    def __init__(self, config: Config, mesh: Mesh, evaluator: Evaluator, state: TrainState) -> None:
        """The first pass.

        Args:
            config: The run, with the source whose labels are looked at.
            mesh: Where to compute.
            evaluator: Of the config and split.
            state: The network.
        """
        self._evaluator, self._state = evaluator, state
        self._step = _second_step(config, mesh)
        classes = len(config.data.source.classes)
        total, self.count = np.zeros(classes), np.zeros(classes, np.int64)
        for results in evaluator.each(state, _first_step(config, mesh), what="thresholds"):
            total += np.asarray(results["total"], np.float64)
            self.count += np.asarray(results["count"])
        self.thresholds = thresholds_of(total, self.count)
        self.joint = np.zeros((classes, classes))

    def scenes(self) -> Iterator[SceneDoubts]:
        """The second pass, scene by scene."""
        joint = ConfusionTotal(len(self.count))

        def counted() -> Iterator[Results]:
            thresholds = jnp.asarray(self.thresholds)
            for results in self._evaluator.each(self._state, self._step, thresholds, what="doubts"):
                joint.add(results["joint"])
                yield results

        own = self._evaluator
        yield from _assembled(counted(), own.windows, own.scenes, own.cover)
        self.joint = estimated_joint(joint.value(), self.count)


def numbered(found: SceneDoubts) -> NDArray[np.int32]:
    """(H, W) number of the region of each pixel; that of a pixel that is not doubted is -1."""
    wrong = found.suggested != UNDOUBTED
    _, of_pixel = components(np.where(wrong, found.label.astype(np.int32), -1))
    return np.where(wrong, of_pixel, np.int32(-1))


def regions_of(found: SceneDoubts, smallest: int = 1) -> list[Region]:
    """The regions of doubted pixels of a scene.

    Args:
        found: The scene.
        smallest: Pixels that a region needs.
    """
    wrong = found.suggested != UNDOUBTED
    if not wrong.any():
        return []
    rows, columns = np.nonzero(wrong)
    numbers, number, pixels = np.unique(
        numbered(found)[wrong], return_inverse=True, return_counts=True
    )
    middle = [np.bincount(number, axis) / pixels for axis in (rows, columns)]
    away = (rows - middle[0][number]) ** 2 + (columns - middle[1][number]) ** 2
    doubt = np.bincount(number, found.doubt[wrong] / STEPS) / pixels
    # Pixels region by region, the one that is nearest to the middle first.
    order = np.lexsort((away, number))
    first = np.concatenate([[0], np.cumsum(pixels)[:-1]])
    top, left = (np.minimum.reduceat(axis[order], first) for axis in (rows, columns))
    bottom, right = (np.maximum.reduceat(axis[order], first) for axis in (rows, columns))
    suggested = _most_frequent(number, found.suggested[wrong])
    return [
        Region(
            scene=found.scene,
            number=int(numbers[n]),
            row=int(rows[order[at]]),
            column=int(columns[order[at]]),
            pixels=int(pixels[n]),
            label=int(found.label[rows[order[at]], columns[order[at]]]),
            suggested=int(suggested[n]),
            doubt=float(doubt[n]),
            box=Window(
                int(top[n]), int(left[n]), int(bottom[n] - top[n]) + 1, int(right[n] - left[n]) + 1
            ),
        )
        for n, at in enumerate(first)
        if pixels[n] >= smallest
    ]


def _most_frequent(number: NDArray[np.intp], value: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(R,) the most frequent value of each region."""
    pairs, counts = np.unique(number.astype(np.int64) * 256 + value, return_counts=True)
    found = np.zeros(int(pairs[-1]) // 256 + 1, np.int64)
    order = np.argsort(counts, kind="stable")  # the most frequent one is written last
    found[pairs[order] // 256] = pairs[order] % 256
    return found


def _first_step(config: Config, mesh: Mesh) -> jax.stages.Wrapped:
    logits_of = make_forward(config, mesh)

    def step(variables: object, batch: Batch) -> Results:
        probabilities = jax.nn.softmax(logits_of(variables, batch))
        total, count = self_confidence(probabilities, batch["label"], counted_pixels(batch))
        return {"total": total, "count": count}

    return jax.jit(step)


def _second_step(config: Config, mesh: Mesh) -> jax.stages.Wrapped:
    logits_of = make_forward(config, mesh)

    def step(variables: object, batch: Batch, thresholds: jax.Array) -> Results:
        probabilities, counted = jax.nn.softmax(logits_of(variables, batch)), counted_pixels(batch)
        found = doubted(probabilities, batch["label"], counted, thresholds)
        doubt = jnp.where(counted, jnp.rint(found.doubt * STEPS), NO_LABEL).astype(jnp.uint8)
        return {
            "joint": found.joint,
            "label": jnp.where(counted, batch["label"], IGNORE).astype(jnp.uint8),
            "suggested": found.suggested,
            "doubt": doubt,
        }

    return jax.jit(step)


def _assembled(
    every: Iterator[Results],
    windows: Sequence[tuple[int, Window]],
    scenes: Scenes,
    cover: Cover,
) -> Iterator[SceneDoubts]:
    """Puts windows together, scene by scene."""
    whole: SceneDoubts | None = None
    number = 0
    for results in every:
        batch = {name: np.asarray(results[name]) for name in ("label", "suggested", "doubt")}
        for place in range(min(len(batch["label"]), len(windows) - number)):
            scene, window = windows[number]
            number += 1
            if whole is None or whole.scene != scene:
                if whole is not None:
                    yield whole
                size = scenes.size(scene)
                whole = SceneDoubts(scene, *(np.full(size, 255, np.uint8) for _ in range(3)))
            own = cover.own(scenes.size(scene), window)
            inside = _slices(own)
            cut = _slices(own._replace(y=own.y - window.y, x=own.x - window.x))
            for name, pixels in batch.items():
                getattr(whole, name)[inside] = pixels[place][cut]
    if whole is not None:
        yield whole


def _slices(window: Window) -> tuple[slice, slice]:
    return slice(window.y, window.y + window.height), slice(window.x, window.x + window.width)
