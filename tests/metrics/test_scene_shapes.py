"""Windows become scenes again, whoever counts them."""

from typing import Any

import jax
import numpy as np
import pytest
from numpy.typing import NDArray

from jaxseg.metrics.boundaries import BoundaryTotal
from jaxseg.metrics.measure import Measure
from jaxseg.metrics.objects import ObjectTotal
from jaxseg.metrics.scene_shapes import SceneShapes
from jaxseg.scenes.cover import Cover
from jaxseg.scenes.scene import Sample, Window

SIZES = ((20, 28), (12, 12), (30, 9))
SIDE = 12
WINDOWS = [
    (scene, Window(y, x, SIDE, SIDE))
    for scene, (height, width) in enumerate(SIZES)
    for y in range(0, height, SIDE)
    for x in range(0, width, SIDE)
]


class Fields:
    """Scenes of stripes with object ids."""

    def __len__(self) -> int:
        """Number of scenes."""
        return len(SIZES)

    def name(self, index: int) -> str:
        """Its number."""
        return str(index)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width."""
        return SIZES[index]

    def read(self, index: int, window: Window) -> Sample:
        """One window, which lies inside of the scene."""
        height, width = SIZES[index]
        assert window.y + window.height <= height
        assert window.x + window.width <= width
        rows, columns = np.mgrid[:height, :width]
        label = ((columns // 5 + rows // 7) % 3).astype(np.uint8)
        label[0, 0] = 255
        whole = {
            "image": np.zeros((height, width, 1), np.uint8),
            "label": label,
            "valid": (rows + columns) % 17 > 0,
            "instance": (1 + columns // 5 + 10 * (rows // 7)).astype(np.int32),
        }
        place = np.s_[window.y : window.y + window.height, window.x : window.x + window.width]
        return {name: array[place] for name, array in whole.items()}


def predicted() -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    maps = []
    for scene, size in enumerate(SIZES):
        sample = Fields().read(scene, Window(0, 0, *size))
        noisy = np.where(random.random(size) < 0.9, sample["label"], 1)
        maps.append(noisy.astype(np.uint8) % 3)
    return maps


def fed(batch: int) -> tuple[BoundaryTotal, ObjectTotal]:
    """The totals after the windows came in batches, the last one filled up."""
    shapes = SceneShapes(
        Fields(), WINDOWS, Cover(SIDE, SIDE), (BoundaryTotal.of(3), ObjectTotal.of(3))
    )
    maps = predicted()
    cut = np.zeros((-(-len(WINDOWS) // batch) * batch, SIDE, SIDE), np.uint8)
    for number, (scene, w) in enumerate(WINDOWS):
        part = maps[scene][w.y : w.y + SIDE, w.x : w.x + SIDE]
        cut[number, : part.shape[0], : part.shape[1]] = part
    for start in range(0, len(cut), batch):
        shapes.add(cut[start : start + batch])
    return shapes.totals()


def whole() -> tuple[BoundaryTotal, ObjectTotal]:
    """The totals of scenes looked at as a whole."""
    boundaries, objects = BoundaryTotal.of(3), ObjectTotal.of(3)
    for scene, prediction in enumerate(predicted()):
        sample = Fields().read(scene, Window(0, 0, *SIZES[scene]))
        label = sample["label"].astype(np.uint8)
        counted = sample["valid"].astype(bool) & (label != 255)
        boundaries.add(prediction, label, counted)
        objects.add(prediction, label, counted, sample["instance"].astype(np.int32))
    return boundaries, objects


def sums(total: Measure) -> dict[str, NDArray[Any]]:
    """Its arrays, without the parameters."""
    arrays = {name: v for name, v in vars(total).items() if isinstance(v, np.ndarray)}
    assert len(arrays) >= 2
    return arrays


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_windows_in_any_batches_count_as_whole_scenes(batch: int) -> None:
    for found, expected in zip(fed(batch), whole(), strict=True):
        for name, value in sums(expected).items():
            np.testing.assert_array_equal(getattr(found, name), value)


def test_the_shares_of_two_processes_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = whole()
    shares: list[list[NDArray[np.uint8]]] = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    gather = "jaxseg.metrics.measure.multihost_utils.process_allgather"
    for process in range(2):
        shares.append([])
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        monkeypatch.setattr(gather, lambda stored, own=shares[-1]: own.append(stored) or stored)
        fed(4)
    together = iter([np.stack(both) for both in zip(*shares, strict=True)])
    monkeypatch.setattr(gather, lambda stored: next(together))
    for found, wanted in zip(fed(4), expected, strict=True):
        for name, value in sums(wanted).items():
            np.testing.assert_allclose(getattr(found, name), value, rtol=1e-12)
