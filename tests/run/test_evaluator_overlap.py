"""Where windows overlap, a pixel counts once, from the window in whose middle it lies."""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures import painted
from numpy.typing import NDArray

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.evaluation import baseline
from jaxseg.metrics.measure import Ids, Mask, Measure, Setting
from jaxseg.run import step
from jaxseg.run.evaluator import Evaluator
from jaxseg.scenes.scene import IGNORE
from jaxseg.sharding import MeshShape

SIDE = 8


class Place(nn.Module):
    """Answers by the place of a pixel in its window, whatever the window shows."""

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool) -> jax.Array:
        """Logits (B, H, W, K)."""
        sure = self.param("sure", nn.initializers.constant(2.0), ())
        rows, columns = jnp.indices(image.shape[1:3])
        answer = (rows + 3 * columns) // 2 % 3
        chosen = jax.nn.one_hot(answer, 3) * sure
        return jnp.broadcast_to(chosen, (image.shape[0], *chosen.shape))


@dataclasses.dataclass
class Maps(Measure):
    """Keeps what it is given."""

    name: ClassVar[str] = "maps"

    def begin(self, setting: Setting) -> None:
        """With nothing."""
        self.side = setting.side
        self.kept: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] = []

    def add(self, prediction: Ids, label: Ids, counted: Mask, instance: Ids | None = None) -> None:
        """One scene."""
        self.kept.append((prediction.copy(), label, counted))

    def columns(self) -> dict[str, NDArray[Any]]:
        """None."""
        return {}

    def summary(self) -> str:
        """None."""
        return ""


def config(*sizes: tuple[int, int]) -> Config:
    plain = painted.config(model=Place())
    source = painted.Painted(sizes=sizes or painted.Painted().sizes)
    return dataclasses.replace(plain, data=dataclasses.replace(plain.data, source=source))


def evaluator(
    config: Config, overlap: float, devices: int = 1
) -> tuple[Evaluator, step.TrainState]:
    mesh = sharding.make_mesh(MeshShape(data=devices), jax.devices()[:devices])
    found = Evaluator(config, mesh, "test", confidence=True, overlap=overlap)
    return found, step.init_state(config, 2, mesh)


def answers(size: tuple[int, int], stride: int) -> NDArray[np.uint8]:
    """The answer of each pixel in the window whose middle is nearest, by looking at all of them."""
    height, width = size
    starts = [
        [n for n in range(0, length, stride) if n == 0 or n + SIDE - stride < length]
        for length in size
    ]
    rows, columns = (
        [min(found, key=lambda start, n=n: abs(n - start - 3.5)) for n in range(length)]
        for found, length in zip(starts, size, strict=True)
    )
    place = np.arange(height)[:, None] - np.array(rows)[:, None]
    across = np.arange(width)[None] - np.array(columns)[None]
    return ((place + 3 * across) // 2 % 3).astype(np.uint8)


@pytest.mark.parametrize(("overlap", "stride"), [(0.0, 8), (0.25, 6), (0.5, 4)])
def test_maps_and_counts_are_made_of_the_middles_of_windows(overlap: float, stride: int) -> None:
    run = config()
    evaluate, state = evaluator(run, overlap, devices=2)
    assert evaluate.cover.step == stride
    result, confidence, (maps,), scenes = evaluate.with_shapes(state, 1.0, [Maps()])
    assert isinstance(maps, Maps)
    assert maps.side == SIDE
    arrays: list[dict[str, NDArray[Any]]] = run.data.source.scenes("test").arrays  # type: ignore[attr-defined]
    confusion = np.zeros((3, 3), int)
    for (predicted, label, counted), scene in zip(maps.kept, arrays, strict=True):
        expected = answers(scene["label"].shape, stride)  # type: ignore[arg-type]
        seen = scene["valid"] & (scene["label"] != IGNORE)
        np.testing.assert_array_equal(predicted, expected)
        np.testing.assert_array_equal(label[counted], scene["label"][seen])
        np.testing.assert_array_equal(counted, seen)
        np.add.at(confusion, (scene["label"][seen], expected[seen]), 1)
    np.testing.assert_array_equal(result.confusion, confusion)
    np.testing.assert_array_equal(result.margins[:, 1].sum(0), confusion.sum(1))
    np.testing.assert_array_equal(evaluate(state).confusion, confusion)
    assert confidence.reliability()[0].pixels[0].sum() == confusion.sum()
    for kept in scenes.worst:
        np.testing.assert_array_equal(kept.prediction, maps.kept[kept.scene][0])
    # Single pixels are the same however windows lie, and count as many.
    pixels = baseline.evaluated(run, "test", baseline.fitted(run))[0]
    np.testing.assert_array_equal(pixels.confusion.sum(1), confusion.sum(1))


def test_pictures_show_the_part_of_a_window_that_counts() -> None:
    run = config()
    evaluate, state = evaluator(run, 0.5)
    arrays: list[dict[str, NDArray[Any]]] = run.data.source.scenes("test").arrays  # type: ignore[attr-defined]
    result = evaluate(state)
    seen = [np.zeros(scene["label"].shape, int) for scene in arrays]
    tiles = evaluate.tiles(state, list(range(len(result.margins))))
    for tile, accuracy in zip(tiles, result.accuracy, strict=True):
        words = tile.name.replace(",", "").split()
        scene, y, x = (int(words[n]) for n in (3, 5, 7))
        place = np.s_[y : y + tile.label.shape[0], x : x + tile.label.shape[1]]
        seen[scene][place] += 1
        np.testing.assert_array_equal(tile.label, arrays[scene]["label"][place])
        expected = answers(seen[scene].shape, 4)[place]  # type: ignore[arg-type]
        np.testing.assert_array_equal(tile.prediction, expected)
        hits = (tile.prediction == tile.label)[tile.counted()]
        assert hits.mean() == pytest.approx(accuracy)  # what the title says
    assert all((one == 1).all() for one in seen)


@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.75])
def test_blocks_of_a_single_scene_do_not_shrink_with_the_overlap(overlap: float) -> None:
    run = config((32, 40))
    plain, state = evaluator(run, 0.0)
    evaluate, _ = evaluator(run, overlap)
    blocks = plain.intervals(plain(state)).blocks
    assert blocks == 4 * 5
    result = evaluate(state)
    assert len(result.margins) > 20
    found = evaluate.intervals(result)
    assert found.unit == "windows"
    assert 12 <= found.blocks <= 20
    assert found.low["miou"] < result.scores.miou < found.high["miou"]


def test_whole_scenes_remain_the_units_of_intervals() -> None:
    run = config((8, 16), (16, 8), (8, 8), (9, 9), (16, 16))
    evaluate, state = evaluator(run, 0.5)
    found = evaluate.intervals(evaluate(state))
    assert (found.unit, found.blocks) == ("scenes", 5)


def test_a_split_says_whether_each_scene_is_one_window() -> None:
    for sizes, one in (((8, 8), (3, 5)), True), (((8, 8), (3, 9)), False):
        assert evaluator(config(*sizes), 0.25)[0].one_window == one


def test_an_overlap_that_is_no_share_is_refused() -> None:
    with pytest.raises(UserError, match=r"--overlap 2: .* 2 of 8 pixels are --overlap 0\.25"):
        evaluator(config(), 2)
