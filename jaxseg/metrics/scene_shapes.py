"""Measures of whole scenes, put together from the windows that a network saw.

    predictions of windows, in order  ->  the scene's map  ->  every measure

The edge of a window would cut objects in two, so nothing is counted before a scene is complete.
This takes about ten bytes per pixel of the largest scene. Every process counts its share of the
scenes, and `totals` adds the shares up, so the results do not depend on the number of processes.
"""

from collections.abc import Callable, Iterable, Sequence

import jax
import numpy as np
from numpy.typing import NDArray

from jaxseg.metrics.measure import Measure
from jaxseg.scenes.cover import Cover
from jaxseg.scenes.scene import IGNORE, Scenes, Window
from jaxseg.system import limits


class SceneShapes:
    """Receives the predictions of a split's windows one by one and counts whole scenes."""

    def __init__(
        self,
        scenes: Scenes,
        windows: Sequence[tuple[int, Window]],
        cover: Cover,
        measures: Iterable[Measure],
        gsd: Callable[[int], float | None] | None = None,
    ) -> None:
        """Starts before the first window.

        Args:
            scenes: The split.
            windows: The expected windows, those of one scene in succession.
            cover: Which pixels of a scene count from which window.
            measures: Started measures that the maps are added to.
            gsd: Ground sample distance of a scene in metres; None = that of the setting for all.

        Raises:
            UserError: The map of a scene would be larger than `limits.ARRAY`.
        """
        self._scenes, self._windows = scenes, windows
        self._measures = tuple(measures)
        self._cover, self._gsd = cover, gsd
        self._next = 0
        if self._measures:
            self._refuse_too_large()
        self._map: NDArray[np.uint8] = np.zeros((0, 0), np.uint8)

    def add(self, predictions: NDArray[np.uint8]) -> None:
        """Adds the class ids of the next windows, (B, H, W); those after the last are ignored."""
        if not self._measures:
            return
        for prediction in predictions[: len(self._windows) - self._next]:
            scene, window = self._windows[self._next]
            if self._next == 0 or self._windows[self._next - 1][0] != scene:
                self._map = np.zeros(self._scenes.size(scene), np.uint8)
            own = self._cover.own(self._map.shape, window)
            y, x = own.y - window.y, own.x - window.x
            self._map[_place(own)] = prediction[y : y + own.height, x : x + own.width]
            self._next += 1
            complete = self._next == len(self._windows) or self._windows[self._next][0] != scene
            if complete and scene % jax.process_count() == jax.process_index():
                self._count(scene)

    def _refuse_too_large(self) -> None:
        """Measures need the map of a scene, its reference and what is counted in memory."""
        for scene in range(len(self._scenes)):
            height, width = self._scenes.size(scene)
            limits.check_array(
                f"The map of {self._scenes.name(scene)}, {height} x {width} pixels, with its "
                "reference",
                3 * height * width,
                "Divide the scene, or evaluate without the measures of boundaries and objects.",
            )

    def totals(self) -> tuple[Measure, ...]:
        """The measures with the sums over all processes; all of them must call it."""
        return tuple(measure.over_processes() for measure in self._measures)

    def _count(self, scene: int) -> None:
        """Reads the reference window by window, as a scene's image may not fit into memory."""
        shape = self._scenes.size(scene)
        label, counted = np.full(shape, IGNORE, np.uint8), np.zeros(shape, bool)
        instance: NDArray[np.int32] | None = None
        for index, window in self._windows:
            if index == scene:
                own = self._cover.own(shape, window)
                place, sample = _place(own), self._scenes.read(scene, own)
                label[place] = sample["label"]
                counted[place] = sample["valid"].astype(bool) & (sample["label"] != IGNORE)
                if "instance" in sample:
                    instance = np.zeros(shape, np.int32) if instance is None else instance
                    instance[place] = sample["instance"]
        for measure in self._measures:
            if self._gsd is not None:
                measure.at(self._gsd(scene))
            measure.add(self._map, label, counted, instance)


def _place(window: Window) -> tuple[slice, slice]:
    return (
        slice(window.y, window.y + window.height),
        slice(window.x, window.x + window.width),
    )
