"""The probe of context: no class can be told from what is nearer than its distance."""

import itertools
import json
import sys
from collections import Counter
from pathlib import Path

import flax.linen as nn
import jax
import numpy as np
import pytest
from fixtures.places import ROOT
from jax import Array

from jaxseg import config as configs
from jaxseg.config_text.stored import check_storable
from jaxseg.errors import UserError
from jaxseg.models.parts.layers import Conv
from jaxseg.scenes.scene import IGNORE, Window

sys.path.append(str(ROOT / "benchmarks"))
import context
import experiment
from context_parts import picture, report, scenes, sight
from context_parts.networks import NETWORKS, LevelledUNet

DISTANCES = (2, 8, 16, 32)


class Stack(nn.Module):
    """Plain 3x3 convolutions, linear.

    Attributes:
        depth: Their number.
    """

    depth: int
    num_classes: int = 2

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:  # noqa: D102
        for _ in range(self.depth - 1):
            image = Conv(1)(image)
        return Conv(self.num_classes)(image)


# -- scenes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["cue", "pair"])
@pytest.mark.parametrize("distance", DISTANCES)
def test_all_that_is_nearer_says_nothing_about_the_class(rule: scenes.Rule, distance: int) -> None:
    asked = 3 * scenes.CELL - distance  # decided by the last of four cells
    left = 0 if rule == "cue" else asked // scenes.CELL * scenes.CELL
    # All scenes of one row of cells: what is seen nearer than r, with either class as often.
    seen: dict[int, Counter[bytes]] = {0: Counter(), 1: Counter()}
    for coins in itertools.product((0, 1), repeat=4):
        bits = np.array([coins], np.uint8)
        near = scenes.pixels(bits)[:, left : asked + distance]
        seen[int(scenes.labels(bits, rule, distance)[0, asked])][near.tobytes()] += 1
    assert seen[0] == seen[1]
    assert seen[0].total() == 8


@pytest.mark.parametrize("rule", ["cue", "pair"])
@pytest.mark.parametrize("distance", DISTANCES)
def test_the_far_cell_changes_the_class_of_the_pixels_it_decides_and_nothing_near_them(
    rule: scenes.Rule, distance: int
) -> None:
    bits = np.random.default_rng(0).integers(0, 2, (3, 5), dtype=np.uint8)
    flipped = bits.copy()
    flipped[1, 4] ^= 1
    label, other = (scenes.labels(one, rule, distance) for one in (bits, flipped))
    rows, columns = np.nonzero(label != other)
    # With `pair` the cell decides pixels of its own, too, if they are asked; none is here.
    assert set(columns) == {4 * scenes.CELL - distance}
    assert set(rows) == set(range(scenes.CELL, 2 * scenes.CELL))
    changed = np.nonzero(scenes.pixels(bits) != scenes.pixels(flipped))[1]
    assert changed.min() - columns.max() == distance
    np.testing.assert_array_equal(label == IGNORE, other == IGNORE)


def test_a_pair_is_decided_by_none_of_its_two_cells_alone() -> None:
    counts = Counter[tuple[int, int, int]]()
    for coins in itertools.product((0, 1), repeat=3):
        label = scenes.labels(np.array([coins], np.uint8), "pair", 32)
        counts[coins[0], coins[2], int(label[0, 0])] += 1
    assert counts == {(0, 0, 0): 2, (0, 1, 1): 2, (1, 0, 1): 2, (1, 1, 0): 2}


@pytest.mark.parametrize("reach", [0, 5, 16, 60])
def test_the_ceiling_of_windows_is_that_of_all_scenes_counted(reach: int) -> None:
    side = 3
    size = side * scenes.CELL
    right = 0
    total = 0
    x = np.arange(size)
    spans = sorted(
        Counter(
            zip(
                np.maximum(x - reach, 0) // scenes.CELL,
                np.minimum(x + reach, size - 1) // scenes.CELL,
                strict=True,
            )
        ).items()
    )
    patterns = [np.array(p).reshape(side, side) for p in itertools.product((0, 1), repeat=side**2)]
    for (rows, count), (columns, count2) in itertools.product(spans, spans):
        votes: dict[bytes, list[int]] = {}
        for bits in patterns:
            window = bits[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1]
            label = scenes.labels(bits.astype(np.uint8), "scene", 1)[0, 0]
            votes.setdefault(window.tobytes(), [0, 0])[label] += 1
        right += count * count2 * sum(max(vote) for vote in votes.values())
        total += count * count2 * len(patterns)
    assert scenes.ceiling(size, reach) == pytest.approx(right / total)


def test_a_scene_is_drawn_by_its_number_alone() -> None:
    source = scenes.Cells("cue", 32, size=64)
    whole, part = Window(0, 0, 64, 64), Window(8, 24, 16, 32)
    train, test = source.scenes("train"), source.scenes("test")
    image = train.read(3, whole)["image"]
    np.testing.assert_array_equal(image, train.read(3, whole)["image"])
    np.testing.assert_array_equal(image[8:24, 24:56], train.read(3, part)["image"])
    assert (image != test.read(3, whole)["image"]).any()
    assert (image != train.read(4, whole)["image"]).any()


def test_a_distance_without_a_pixel_that_is_asked_is_an_error() -> None:
    with pytest.raises(UserError, match="size of at least 144"):
        scenes.Cells("cue", 128, size=128)
    with pytest.raises(UserError, match="multiple of 16"):
        scenes.Cells(size=100)


# -- receptive fields ------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 3, 6])
def test_receptive_fields_of_plain_convolutions_are_those_known(depth: int) -> None:
    model = Stack(depth)
    seen = sight.theoretical(model)
    assert seen is not None
    assert seen.rows == 2 * depth + 1
    images = np.random.default_rng(0).standard_normal((2, 33, 33, 1)).astype(np.float32)
    variables = model.init(jax.random.key(0), images, train=False)
    # All taps 1, and the two classes of opposite signs: the gradient is a repeated sum of threes.
    taps = jax.tree.map(np.ones_like, variables)
    last = taps["params"][f"Conv_{depth - 1}"]
    last["kernel"] = last["kernel"] * np.array([-1, 1], np.float32)
    energies = sight.energy(model, taps, images, (16, 16))
    line = np.ones(1)
    for _ in range(depth):
        line = np.convolve(line, np.ones(3))
    square = np.outer(line, line) ** 2
    middle = slice(16 - depth, 17 + depth)
    np.testing.assert_allclose(energies[middle, middle], 2 * 4 * square, rtol=1e-5)
    assert energies.sum() == pytest.approx(8 * square.sum())
    inside = [
        square[depth - h : depth + h + 1, depth - h : depth + h + 1].sum() for h in range(depth + 1)
    ]
    expected = next(h for h, e in enumerate(inside) if e >= 0.9 * square.sum())
    assert sight.half_side(energies, (16, 16)) == expected


def test_all_of_the_energy_is_in_a_square_up_to_the_farthest_pixel_that_has_some() -> None:
    energies = np.zeros((9, 9))
    energies[4, 4], energies[2, 7] = 9, 1
    assert sight.half_side(energies, (4, 4)) == 0
    assert sight.half_side(energies, (4, 4), share=1) == 3


def test_a_decision_that_nothing_changes_has_no_receptive_field() -> None:
    assert np.isnan(sight.half_side(np.zeros((9, 9)), (4, 4)))


@pytest.mark.parametrize("distance", [2, 16, 32])
def test_a_network_that_cannot_see_a_cell_answers_the_same_whatever_it_is(distance: int) -> None:
    model = LevelledUNet(levels=2)
    bits = np.random.default_rng(1).integers(0, 2, (4, 4), dtype=np.uint8)
    flipped = bits.copy()
    flipped[:, 3] ^= 1
    images = np.stack([scenes.pixels(one) for one in (bits, flipped)])[..., None].astype("float32")
    variables = model.init(jax.random.key(0), images, train=False)
    logits = np.asarray(model.apply(variables, images, train=False))
    asked = 3 * scenes.CELL - distance
    same = bool((logits[0, :, asked] == logits[1, :, asked]).all())
    assert same == (not sight.can_see(model, distance))
    assert same == (distance > 2)


@pytest.mark.parametrize(("network", "sees"), [("deeplab_1", False), ("deeplab_3", True)])
def test_a_single_rate_has_a_hole_where_the_cell_at_64_is(network: str, sees: bool) -> None:
    model, cell = NETWORKS[network], scenes.CELL
    bits = np.random.default_rng(1).integers(0, 2, (2, 14), dtype=np.uint8)
    flipped = bits.copy()
    flipped[:, 9] ^= 1
    image, other = (scenes.pixels(one)[None, ..., None] / np.float32(1) for one in (bits, flipped))
    variables = jax.jit(lambda: model.init(jax.random.key(0), image, train=False))()
    answer = jax.jit(lambda image: model.apply(variables, image, train=False))
    differs = (np.asarray(answer(image)) != np.asarray(answer(other))).any((0, 1, 3))
    assert sight.can_see(model, 64)  # the square of its receptive field is large enough
    assert differs[2 * cell : 3 * cell].any()  # at 112, beyond the hole
    assert differs[5 * cell : 6 * cell].any() == sees
    assert differs[8 * cell : 9 * cell].any()


# -- runs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["cue_2", "pair_256", "scene"])
def test_a_run_asks_what_its_name_says_and_can_be_continued(task: str) -> None:
    config = context.planned("psp_all", task, seed=2, steps=300)
    configs.check(config)
    check_storable(config)
    source = config.data.source
    assert isinstance(source, scenes.Cells)
    assert task in (source.rule, f"{source.rule}_{source.distance}")
    scene = source.scenes("test").read(0, Window(0, 0, source.size, source.size))
    assert set(np.unique(scene["label"])) <= {0, 1, IGNORE}
    assert (scene["label"] != IGNORE).any()


@pytest.mark.slow
def test_a_network_that_sees_the_cell_learns_the_class_and_a_finished_run_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "context.py --networks stride8 unet2 --tasks cue_32 --seeds 1 --steps 60 --workdir"
    one = jax.devices()[:1]  # which batches of four windows suit
    monkeypatch.setattr(jax, "devices", lambda *_: one)
    monkeypatch.setattr(sys, "argv", [*words.split(), str(tmp_path)])
    context.main()
    found = report.collected(tmp_path)
    assert set(found) == {("stride8", "cue_32")}  # two levels do not reach it
    numbers = found["stride8", "cue_32"][0]
    assert numbers["accuracy"] > 0.9
    assert numbers["effective_after"] <= 51
    assert not (tmp_path / "stride8-cue_32-0" / "run").exists()
    monkeypatch.setattr(experiment.training, "train", None)
    context.main()
    assert report.collected(tmp_path) == found


# -- report ----------------------------------------------------------------------------------------


def test_tables_and_picture_show_what_is_finished(tmp_path: Path) -> None:
    def finished(run: str, accuracy: float) -> None:
        numbers = {"accuracy": accuracy, "parameters": 6498.0, "cpu_s": 30.0}
        sights = {"effective_before": 4.0, "effective_after": 5.0}
        (tmp_path / run).mkdir()
        text = json.dumps({"config": "", "numbers": numbers | sights})
        (tmp_path / run / "result.json").write_text(text)

    for seed, accuracy in enumerate((0.9, 1.0)):
        finished(f"unet2-cue_2-{seed}", accuracy)
    finished("unet4-cue_32-0", 0.75)
    finished("unet2-scene-0", 0.5)
    found = report.collected(tmp_path)
    text = report.written(found, ["unet2", "unet4"])
    assert "| U-Net, 2 levels | 0.950 ± 0.071 (2) | 0.5, out of reach |" in text
    assert "| U-Net, 4 levels | not measured | 0.750 (1) |" in text
    reached = sight.farthest(NETWORKS["unet2"], sight.theoretical(NETWORKS["unet2"]))  # type: ignore[arg-type]
    assert f"| U-Net, 2 levels | 0.500 (1) | {scenes.ceiling(128, reached):.3f} |" in text
    assert "| U-Net, 2 levels | 6,498 | 9 | 9 | 4 | 5 |  | 5 |" in text
    assert "4 runs, 2 CPU minutes." in text
    picture.draw(found, ["unet2", "unet3", "unet4"], tmp_path / "context.png")
    assert (tmp_path / "context.png").stat().st_size > 10_000
