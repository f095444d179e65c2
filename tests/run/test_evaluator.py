"""An evaluation counts alike on every mesh, with and without the further looks."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest
from fixtures import painted

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.metrics.boundaries import BoundaryTotal, Tolerance
from jaxseg.metrics.intervals import bootstrap
from jaxseg.metrics.objects import ObjectTotal
from jaxseg.metrics.scores import scores_of
from jaxseg.metrics.thresholds import Thresholds, fit
from jaxseg.pictures import tiles as pictures
from jaxseg.run import completion, step
from jaxseg.run import evaluator as evaluation
from jaxseg.run.evaluator import Evaluation, Evaluator
from jaxseg.scenes.agreement import (
    BandOrderError,
    MissingBandError,
    ScaleError,
    SensorError,
    UnitError,
)
from jaxseg.scenes.scene import IGNORE, Extent, Window
from jaxseg.sharding import MeshShape
from jaxseg.transforms.radiometry import Standardize


def standardized(tiny: Path) -> Config:
    standardize = Standardize((80.0, 90.0, 80.0), (40.0, 30.0, 50.0))
    config = configs.load_config(str(tiny / "config.py"))
    return dataclasses.replace(config, preprocess=(standardize,))


@pytest.mark.slow
def test_a_split_counts_alike_on_one_device_and_on_eight(tiny: Path) -> None:
    config = standardized(tiny)
    found = []
    for shape, devices in ((MeshShape(), 1), (MeshShape(data=2, fsdp=2, space=2), 8)):
        mesh = sharding.make_mesh(shape, jax.devices()[:devices])
        state = step.init_state(config, 3, mesh)
        evaluator = Evaluator(config, mesh, "test", confidence=True)
        temperature = evaluator.calibration(state).best_temperature()
        measures = (BoundaryTotal(), ObjectTotal())
        found.append((temperature, *evaluator.with_shapes(state, 1.5, measures)[:3]))
    (t, one, confidence, (borders, objects)), (t8, eight, confidence8, (borders8, objects8)) = found
    moved = np.abs(eight.confusion - one.confusion).sum()
    assert moved <= 4  # rounding may turn a pixel
    assert one.confusion.sum() == eight.confusion.sum() == 2 * 48 * 72
    assert one.margins.shape == (4, 3, 3)
    np.testing.assert_allclose(t8, t, rtol=1e-3)
    for a, b in zip(confidence.reliability(), confidence8.reliability(), strict=True):
        assert a.pixels[0].sum() == one.confusion.sum()
        np.testing.assert_allclose(a.ece(), b.ece(), atol=1e-3)
        np.testing.assert_allclose(a.nll, b.nll, rtol=1e-5)
    np.testing.assert_array_equal(objects.true, objects8.true)
    if moved == 0:
        np.testing.assert_array_equal(borders.counts, borders8.counts)
        np.testing.assert_array_equal(objects.matched, objects8.matched)

    # A validation during training measures no confidence and counts the same.
    mesh = sharding.make_mesh(MeshShape(), jax.devices()[:1])
    plain = Evaluator(config, mesh, "test")(step.init_state(config, 3, mesh))
    np.testing.assert_array_equal(plain.margins, one.margins)
    np.testing.assert_array_equal(plain.confusion, one.confusion)
    np.testing.assert_array_equal(plain.margins[:, 1].sum(0), plain.confusion.sum(1))
    right = plain.margins[:, 0].sum(1) / plain.margins[:, 1].sum(1)
    np.testing.assert_array_equal(plain.accuracy, right)
    assert plain.ranked() == np.argsort(right, kind="stable").tolist()


@pytest.mark.parametrize(
    ("fault", "error", "fix"),
    [
        (
            {"band_numbers": (3, 2, 1)},
            BandOrderError,
            r"band-numbers 1 2 3\n.*--no-check$",
        ),  # of the files
        ({"band_numbers": (1, 2)}, MissingBandError, "has no band blue"),
        ({"multiply": 1 / 255}, ScaleError, r"multiply 1\n.*--no-check$"),  # in all
        ({"unit": "decibel"}, UnitError, "is in decibel"),
    ],
)
def test_images_that_are_not_what_was_trained_on_are_refused_before_anything_is_computed(
    tiny: Path, fault: dict[str, object], error: type[SensorError], fix: str
) -> None:
    config = standardized(tiny)
    source = dataclasses.replace(config.data.source, unit="digital number")  # type: ignore[type-var]
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, source=source))
    config = completion.completed(config)
    assert config.sensor.bands == ("red", "green", "blue")
    mesh = sharding.make_mesh(MeshShape(), jax.devices()[:1])
    assert Evaluator(config, mesh, "test")
    other = dataclasses.replace(config.data.source, **fault)  # type: ignore[type-var]
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, source=other))
    with pytest.raises(error, match=fix) as refused:
        Evaluator(config, mesh, "test", check="other")
    assert str(refused.value).startswith(f"The test split of {other.images}")


def made(margins: list[list[list[int]]]) -> Evaluation:
    each = np.array(margins, np.int32)
    return Evaluation(np.eye(2, dtype=int), scores_of(np.eye(2, dtype=int), ("a", "b")), each)


def test_windows_are_ranked_from_the_worst_without_those_that_nobody_counted() -> None:
    # Diagonal, sums of rows, sums of columns; 0.75, nothing, 0.25, 0.5, 0.25.
    found = made(
        [
            [[2, 1], [3, 1], [2, 2]],
            [[0, 0], [0, 0], [0, 0]],
            [[1, 0], [1, 3], [4, 0]],
            [[2, 3], [5, 5], [4, 6]],
            [[0, 2], [4, 4], [6, 2]],
        ]
    )
    np.testing.assert_array_equal(found.accuracy, [0.75, np.nan, 0.25, 0.5, 0.25])
    assert found.ranked() == [2, 4, 3, 0]


@pytest.fixture(scope="module")
def evaluator() -> tuple[Evaluator, step.TrainState]:
    """On two devices along the batch, so that batches grow from 3 to 4."""
    config = painted.config()
    mesh = sharding.make_mesh(MeshShape(data=2), jax.devices()[:2])
    assert config.data.batch_size == 3
    found = Evaluator(config, mesh, "test", confidence=True)
    return found, step.init_state(config, 2, mesh)


SCENES = painted.Painted().scenes("test")
WINDOWS = [
    (scene, y, x)
    for scene, (height, width) in enumerate(painted.Painted().sizes)
    for y in range(0, height, 8)
    for x in range(0, width, 8)
]


def whole(name: str, scene: int) -> np.ndarray:
    array: np.ndarray = SCENES.arrays[scene][name]
    return array


def counted(scene: int) -> np.ndarray:
    seen: np.ndarray = whole("valid", scene) & (whole("label", scene) != IGNORE)
    return seen


def answer(scene: int) -> np.ndarray:
    return whole("image", scene)[..., 0].astype(np.uint8)


def test_every_counted_pixel_of_a_split_is_counted_once_and_in_its_window(
    evaluator: tuple[Evaluator, step.TrainState],
) -> None:
    found = evaluator[0](evaluator[1])
    confusion = np.zeros((3, 3), int)
    for scene in (0, 1):
        seen = counted(scene)
        np.add.at(confusion, (whole("label", scene)[seen], answer(scene)[seen]), 1)
    np.testing.assert_array_equal(found.confusion, confusion)
    assert found.confusion.dtype == np.int64
    assert found.scores.classes == painted.CLASSES
    assert found.scores.overall_accuracy == np.trace(confusion) / confusion.sum()
    assert len(found.margins) == len(WINDOWS) == 10
    for margins, (scene, y, x) in zip(found.margins, WINDOWS, strict=True):
        place = slice(y, y + 8), slice(x, x + 8)
        seen = counted(scene)[place]
        label, told = whole("label", scene)[place][seen], answer(scene)[place][seen]
        for row, ids in zip(margins, (label[label == told], label, told), strict=True):
            np.testing.assert_array_equal(row, np.bincount(ids, minlength=3))


def test_one_pass_tells_borders_objects_and_confidence_of_whole_scenes(
    evaluator: tuple[Evaluator, step.TrainState],
) -> None:
    evaluate, state = evaluator
    metres = BoundaryTotal(Tolerance(3.0, "metres"), Tolerance(0.2, "diagonal"))
    found, confidence, totals, _ = evaluate.with_shapes(state, 4.0, [metres, ObjectTotal()])
    borders, objects = totals
    np.testing.assert_array_equal(found.confusion, evaluate(state).confusion)
    assert borders.tolerance_pixels == 1.5  # 2 m a pixel
    assert borders.rim_pixels == round(0.2 * np.hypot(8, 8))
    expected = BoundaryTotal.of(3, tolerance=1.5, rim=2), ObjectTotal.of(3)
    for scene in (0, 1):
        seen = answer(scene), whole("label", scene), counted(scene)
        expected[0].add(*seen)
        expected[1].add(*seen)
    np.testing.assert_array_equal(borders.counts, expected[0].counts)
    np.testing.assert_array_equal(borders.rims, expected[0].rims)
    np.testing.assert_array_equal(objects.true, expected[1].true)
    np.testing.assert_array_equal(objects.predicted, expected[1].predicted)
    before, after = confidence.reliability()
    assert before.nll == pytest.approx(nll(1.0), rel=1e-4)
    assert after.nll == pytest.approx(nll(4.0), rel=1e-4)
    assert before.pixels[0].sum() == after.pixels[0].sum() == found.confusion.sum()


def nll(temperature: float, windows: list[int] | None = None) -> float:
    """Mean of -log p(label) of the network that is sure to 2."""
    total, pixels = 0.0, 0
    for scene, y, x in [WINDOWS[n] for n in (range(10) if windows is None else windows)]:
        place = slice(y, y + 8), slice(x, x + 8)
        seen = counted(scene)[place]
        label, told = whole("label", scene)[place][seen], answer(scene)[place][seen].astype(int)
        logits = -2.0 * (told[:, None] - np.arange(3)) ** 2 / temperature
        log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        total -= np.take_along_axis(log_p, label[:, None].astype(int), -1).sum()
        pixels += int(seen.sum())
    return total / pixels


def test_the_temperature_is_fitted_on_windows_all_over_the_split(
    evaluator: tuple[Evaluator, step.TrainState], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate, state = evaluator
    for limit, windows in ((256, list(range(10))), (3, [0, 4, 9])):
        monkeypatch.setattr(evaluation, "CALIBRATION_WINDOWS", limit)
        total = evaluate.calibration(state)
        best = min(np.exp2(np.arange(-3, 3, 0.01)), key=lambda t, w=windows: nll(t, w))
        assert total.best_temperature() == pytest.approx(best, rel=0.02)


def test_tiles_show_what_lies_inside_of_the_scene(
    evaluator: tuple[Evaluator, step.TrainState],
) -> None:
    evaluate, state = evaluator
    numbers = [9, 5, 0, 1, 2]  # more than a batch, in the order asked for
    tiles = evaluate.tiles(state, numbers)
    assert len(tiles) == 5
    for tile, number in zip(tiles, numbers, strict=True):
        scene, y, x = WINDOWS[number]
        place = slice(y, y + 8), slice(x, x + 8)
        assert tile.name == f"split 2 scene {scene}, row {y}, column {x}"
        np.testing.assert_array_equal(tile.label, whole("label", scene)[place])
        np.testing.assert_array_equal(tile.valid, whole("valid", scene)[place])
        seen = tile.valid
        np.testing.assert_array_equal(tile.prediction[seen], answer(scene)[place][seen])
        shown = pictures.stretch(np.repeat(answer(scene)[place][..., None], 3, -1), tile.valid)
        np.testing.assert_array_equal(tile.rgb, shown)
    assert evaluate.tiles(state, []) == []


def test_tiles_of_a_block_are_called_by_their_place_in_its_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def extent(scenes: painted.PaintedScenes, index: int) -> Extent:
        return Extent("a.tif", Window(100 * index, 7, *scenes.size(index)), None)

    monkeypatch.setattr(painted.PaintedScenes, "files", lambda *_: ("a.tif",), raising=False)
    monkeypatch.setattr(painted.PaintedScenes, "extent", extent, raising=False)
    config, mesh = painted.config(), sharding.make_mesh(MeshShape(), jax.devices()[:1])
    evaluate = Evaluator(config, mesh, "test")
    names = [tile.name for tile in evaluate.tiles(step.init_state(config, 2, mesh), [1, 7])]
    assert names == ["split 2 scene 0, row 0, column 15", "split 2 scene 1, row 100, column 15"]


def test_snapshots_are_the_same_windows_from_the_first_to_the_last(
    evaluator: tuple[Evaluator, step.TrainState],
) -> None:
    evaluate, state = evaluator
    found = evaluate.snapshots(state)
    tiles = evaluate.tiles(state, [0, 4, 9])
    assert list(found) == [f"validation/{tile.name}" for tile in tiles]
    for picture, tile in zip(found.values(), tiles, strict=True):
        np.testing.assert_array_equal(picture, pictures.panel_array(tile, painted.COLORS))
    assert len(evaluate.snapshots(state, count=2)) == 2


def test_intervals_are_those_of_the_windows_with_their_scenes(
    evaluator: tuple[Evaluator, step.TrainState],
) -> None:
    evaluate, state = evaluator
    result = evaluate(state)
    found = evaluate.intervals(result)
    expected = bootstrap(result.margins, [scene for scene, _, _ in WINDOWS])
    assert (found.unit, found.blocks, found.known) == ("scenes", 2, False)
    np.testing.assert_array_equal(found.low["miou"], expected.low["miou"])


def test_of_many_scenes_scenes_are_drawn_for_the_intervals() -> None:
    config = painted.config()
    source = painted.Painted(sizes=((8, 16),) * 11)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, source=source))
    evaluate = Evaluator(config, sharding.make_mesh(MeshShape(), jax.devices()[:1]), "test")
    right = np.random.default_rng(0).integers(5, 20, (22, 3))
    margins = np.stack([right, right + 5, right[:, ::-1] + 5], 1).astype(np.int32)
    confusion = np.eye(3, dtype=int)
    result = Evaluation(confusion, scores_of(confusion, painted.CLASSES), margins)
    found = evaluate.intervals(result)
    assert (found.unit, found.blocks) == ("scenes", 11)
    expected = bootstrap(margins, np.repeat(np.arange(11), 2).tolist())
    np.testing.assert_array_equal(found.low["miou"], expected.low["miou"])


def test_an_evaluation_uses_the_moving_average_and_the_preprocessing(
    evaluator: tuple[Evaluator, step.TrainState],
) -> None:
    config = painted.config(preprocess=(Standardize((4.0, 0.0), (1.0, 1.0)),))
    mesh = sharding.make_mesh(MeshShape(), jax.devices()[:1])
    state = step.init_state(config, 2, mesh)
    wrong = Evaluator(config, mesh, "validation")
    turned = state.replace(ema={"sure": -state.params["sure"]})  # type: ignore[attr-defined]
    # The network sees the answer less 4, to which class 0 is nearest; where the average has turned
    # the sign of its one parameter, class 2, which is farthest, has the largest logit.
    found = wrong(state).confusion
    assert found[:, 1:].sum() == 0
    arrays = painted.Painted().scenes("validation").arrays
    labels = [a["label"][a["valid"] & (a["label"] != IGNORE)] for a in arrays]
    np.testing.assert_array_equal(found.sum(1), np.bincount(np.concatenate(labels)))
    assert wrong(turned).confusion[:, :2].sum() == 0


def test_a_split_without_a_scene_or_with_windows_that_the_mesh_cannot_cut_is_refused() -> None:
    mesh = sharding.make_mesh(MeshShape(data=2, space=4))
    empty = painted.config()
    data = dataclasses.replace(empty.data, source=painted.Painted(sizes=()))
    with pytest.raises(UserError, match="The split test holds no scene"):
        Evaluator(dataclasses.replace(empty, data=data), mesh, "test")
    for crops in ({"crop": 9}, {"crop": 8, "evaluation_crop": 10}):
        data = dataclasses.replace(empty.data, **crops)
        with pytest.raises(UserError, match="rows over 4 devices"):
            Evaluator(dataclasses.replace(empty, data=data), mesh, "test")
    blank = dataclasses.replace(empty.data, source=painted.Painted(sizes=((1, 3),)))
    with pytest.raises(UserError, match="The split test has no labelled, valid pixel"):
        Evaluator(dataclasses.replace(empty, data=blank), mesh, "test")


def test_thresholds_are_fitted_to_calibrated_probabilities(
    evaluator: tuple[Evaluator, step.TrainState], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, state = evaluator
    given: list[np.ndarray] = []

    def fitted(probabilities: np.ndarray, label: np.ndarray) -> Thresholds:
        given.extend([probabilities, label])
        return fit(probabilities, label)

    monkeypatch.setattr(evaluation, "fit", fitted)
    temperature, decision = found.decisions(state)
    assert abs(temperature - 1) > 0.1
    assert decision == fit(*given)
    # The network answers 0, 1 or 2, and is as sure of it as `sure` says.
    logits = -float(state.params["sure"]) * (np.arange(3)[:, None] - np.arange(3)) ** 2
    answers = np.exp(logits / temperature)
    answers /= answers.sum(1, keepdims=True)
    known = given[1] >= 0
    apart = np.abs(given[0][known][:, None] - answers).max(-1).min(1)
    assert apart.max() < 1e-5
    assert 0 < known.sum() <= sum(counted(scene).sum() for scene in range(len(SCENES)))


def test_a_validation_ends_between_two_batches_unless_it_is_wanted_anyway() -> None:
    config = painted.config()
    mesh = sharding.make_mesh(MeshShape(), jax.devices()[:1])
    evaluator, state = Evaluator(config, mesh, "test"), step.init_state(config, 2, mesh)
    asked: list[bool] = []

    def second() -> bool:
        asked.append(True)
        return len(asked) >= 2

    assert evaluator.unless(second, state) is None
    assert len(asked) == 2
    whole = evaluator(state).confusion
    for found in (
        evaluator.unless(second, state, anyway=True),
        evaluator.unless(lambda: False, state),
    ):
        assert found is not None
        np.testing.assert_array_equal(found.confusion, whole)
