"""The counts are exact, the scores are the textbook's, and what does not exist is not averaged."""

import csv
import io
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from numpy.typing import NDArray
from rich.console import Console

from jaxseg.metrics.scores import ConfusionTotal, confusion_matrix, print_scores, rates, scores_of
from jaxseg.scenes.scene import IGNORE

Maps = tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.bool_]]


def random_maps(seed: int, num_classes: int, shape: tuple[int, ...] = (8, 32, 24)) -> Maps:
    """A prediction, a label with a fifth of IGNORE, and a valid mask."""
    random = np.random.default_rng(seed)
    label = random.integers(0, num_classes, shape).astype(np.uint8)
    label[random.random(shape) < 0.2] = IGNORE
    prediction = random.integers(0, num_classes, shape).astype(np.int32)
    return prediction, label, random.random(shape) < 0.8


def counted_one_by_one(
    prediction: NDArray[np.int32], label: NDArray[np.uint8], valid: NDArray[np.bool_], classes: int
) -> NDArray[np.int64]:
    """The definition of a confusion matrix."""
    confusion = np.zeros((classes, classes), np.int64)
    for p, r, v in zip(prediction.ravel(), label.ravel(), valid.ravel(), strict=True):
        if v and r != IGNORE:
            confusion[r, p] += 1
    return confusion


@pytest.mark.parametrize("num_classes", [1, 2, 7, 30])
def test_the_confusion_matrix_is_what_counting_one_by_one_gives(num_classes: int) -> None:
    maps = random_maps(num_classes, num_classes)
    confusion = jax.jit(confusion_matrix, static_argnames="num_classes")(
        *maps, num_classes=num_classes
    )
    assert confusion.dtype == jnp.int32
    np.testing.assert_array_equal(confusion, counted_one_by_one(*maps, num_classes))


def test_rows_are_the_reference_and_columns_the_prediction() -> None:
    confusion = confusion_matrix(
        jnp.array([2]), jnp.array([1], jnp.uint8), jnp.array([True]), num_classes=3
    )
    assert confusion[1, 2] == 1
    assert confusion.sum() == 1


@pytest.mark.parametrize(
    ("prediction", "label", "valid"),
    [
        (0, IGNORE, True),
        (0, 0, False),
        (0, 3, True),
        (3, 0, True),
        (IGNORE, 0, True),
        (-1, 0, True),
    ],
)
def test_a_pixel_that_is_ignored_invalid_or_of_no_class_adds_nothing(
    prediction: int, label: int, valid: bool
) -> None:
    confusion = confusion_matrix(
        jnp.array([prediction]), jnp.array([label]), jnp.array([valid]), num_classes=3
    )
    assert confusion.sum() == 0


def test_255_classes_do_not_take_the_ignored_pixels_in() -> None:
    label = jnp.array([254, IGNORE], jnp.uint8)
    confusion = confusion_matrix(label, label, jnp.array([True, True]), num_classes=255)
    assert confusion[254, 254] == 1
    assert confusion.sum() == 1


def test_one_cell_is_exact_beyond_the_integers_of_float32() -> None:
    pixels = 2**24 + 3  # float32 accumulation stops at 2**24
    ones = jnp.ones((1, pixels), jnp.uint8)
    count = jax.jit(confusion_matrix, static_argnames="num_classes")
    confusion = count(ones, ones, jnp.ones((1, pixels), bool), num_classes=2)
    assert int(confusion[1, 1]) == pixels


def test_the_total_keeps_more_pixels_than_int32_holds() -> None:
    total = ConfusionTotal(2)
    for _ in range(3):
        total.add(np.full((2, 2), 2**31 - 1, np.int32))
    np.testing.assert_array_equal(total.value(), np.full((2, 2), 3 * (2**31 - 1)))
    np.testing.assert_array_equal(total.value(), np.full((2, 2), 3 * (2**31 - 1)))


def test_a_batch_cut_over_eight_devices_gives_the_same_counts_on_each() -> None:
    maps = random_maps(5, 7)
    mesh = jax.make_mesh((2, 2, 2), ("data", "fsdp", "space"), axis_types=(AxisType.Auto,) * 3)
    batch = NamedSharding(mesh, PartitionSpec(("data", "fsdp"), "space"))
    placed = [jax.device_put(a, batch) for a in maps]
    count = jax.jit(confusion_matrix, static_argnames="num_classes")
    confusion = count(*placed, num_classes=7)
    assert confusion.is_fully_replicated
    np.testing.assert_array_equal(confusion, counted_one_by_one(*maps, 7))
    program = count.lower(*placed, num_classes=7).compile().as_text()
    assert "all-reduce" in program
    assert "all-gather" not in program
    assert "scatter" not in program


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must be equal"):
        confusion_matrix(jnp.zeros((2, 2)), jnp.zeros((4,)), jnp.zeros((2, 2), bool), num_classes=2)


def test_the_scores_are_those_worked_out_by_hand() -> None:
    result = scores_of(np.array([[50, 10], [5, 35]]), ("land", "water"))
    assert result.iou == pytest.approx((50 / 65, 35 / 50))
    assert result.f1 == pytest.approx((100 / 115, 70 / 85))
    assert result.precision == pytest.approx((50 / 55, 35 / 45))
    assert result.recall == pytest.approx((50 / 60, 35 / 40))
    assert result.support == (60, 40)
    assert result.miou == pytest.approx((50 / 65 + 35 / 50) / 2)
    assert result.mean_f1 == pytest.approx((100 / 115 + 70 / 85) / 2)
    assert result.overall_accuracy == pytest.approx(0.85)
    assert result.average_accuracy == pytest.approx((50 / 60 + 35 / 40) / 2)
    assert result.kappa == pytest.approx((0.85 - 0.51) / 0.49)  # e = (60 * 55 + 40 * 45) / 100^2
    assert result.fwiou == pytest.approx(0.6 * 50 / 65 + 0.4 * 35 / 50)
    assert result.absent == ()


@pytest.mark.parametrize("seed", range(12))
def test_the_scores_equal_set_operations_on_the_maps(seed: int) -> None:
    num_classes = 2 + seed % 6
    prediction, label, valid = random_maps(seed, num_classes, (40, 25))
    label[label == seed % 3] = 0  # some classes vanish from the reference
    prediction[prediction == seed % 4] = 0  # and some from the prediction
    seen = valid & (label != IGNORE)
    p, r = prediction[seen], label[seen]
    result = scores_of(
        counted_one_by_one(prediction, label, valid, num_classes), list("abcdefg")[:num_classes]
    )

    iou, recall, weighted, agreement = [], [], 0.0, 0.0
    for k in range(num_classes):
        either, both = np.sum((p == k) | (r == k)), np.sum((p == k) & (r == k))
        agreement += float(np.mean(p == k) * np.mean(r == k))
        if either == 0:
            assert math.isnan(result.iou[k])
            continue
        iou.append(both / either)
        weighted += both / either * np.mean(r == k)
        assert result.iou[k] == pytest.approx(both / either)
        assert result.f1[k] == pytest.approx(2 * both / (np.sum(p == k) + np.sum(r == k)))
        if np.any(r == k):
            recall.append(both / np.sum(r == k))
    assert result.miou == pytest.approx(np.mean(iou))
    assert result.average_accuracy == pytest.approx(np.mean(recall))
    assert result.overall_accuracy == pytest.approx(np.mean(p == r))
    assert result.fwiou == pytest.approx(weighted)
    assert result.kappa == pytest.approx((np.mean(p == r) - agreement) / (1 - agreement))
    assert len(result.absent) == num_classes - len(iou)


def test_an_absent_class_has_no_score_and_lowers_no_mean() -> None:
    result = scores_of(np.array([[8, 0, 2], [0, 0, 0], [1, 0, 9]]), ("field", "glacier", "forest"))
    assert result.absent == ("glacier",)
    assert math.isnan(result.iou[1])
    assert math.isnan(result.f1[1])
    assert result.miou == pytest.approx((8 / 11 + 9 / 12) / 2)
    assert result.average_accuracy == pytest.approx((0.8 + 0.9) / 2)


def test_a_class_that_is_only_predicted_counts_as_zero_iou_but_has_no_recall() -> None:
    result = scores_of(np.array([[6, 2], [0, 0]]), ("field", "glacier"))
    assert result.iou == (0.75, 0.0)
    assert result.miou == 0.375
    assert math.isnan(result.recall[1])
    assert result.average_accuracy == 0.75
    assert result.absent == ()


def test_a_class_that_is_never_predicted_has_no_precision_and_zero_iou() -> None:
    result = scores_of(np.array([[5, 0], [3, 0]]), ("field", "glacier"))
    assert math.isnan(result.precision[1])
    assert result.iou[1] == 0.0


def test_an_empty_matrix_has_no_scores_and_raises_nothing() -> None:
    result = scores_of(np.zeros((2, 2), np.int64), ("a", "b"))
    assert all(math.isnan(number) for number in result.summary().values())
    assert result.absent == ("a", "b")


def test_kappa_survives_counts_whose_products_overflow_int64() -> None:
    small = np.array([[50, 10], [5, 35]], np.int64)
    assert scores_of(small * 10**11, "ab").kappa == pytest.approx(scores_of(small, "ab").kappa)


def test_json_is_strict_and_csv_leaves_missing_scores_empty() -> None:
    result = scores_of(np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]]), ("a, b", "c", "none"))
    again = json.loads(json.dumps(result.as_json(), allow_nan=False))
    assert again["per_class"]["none"] == {
        "iou": None, "f1": None, "precision": None, "recall": None, "support": 0
    }  # fmt: skip
    assert again["miou"] == pytest.approx(result.miou)
    text = io.StringIO()
    csv.writer(text).writerows(result.csv_rows())
    rows = list(csv.DictReader(io.StringIO(text.getvalue())))
    assert [row["class"] for row in rows] == ["a, b", "c", "none"]
    assert float(rows[0]["iou"]) == pytest.approx(0.75)
    assert rows[2]["iou"] == ""


def test_a_matrix_of_another_size_than_the_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit 3 classes"):
        scores_of(np.zeros((2, 2), np.int64), ("a", "b", "c"))


@pytest.mark.parametrize("width", [80, 100])
def test_the_printed_scores_fit_the_terminal_and_show_brackets_in_names(width: int) -> None:
    names = ("[red] roof", "a class with a name far too long for any table on earth", "none")
    console = Console(width=width, file=io.StringIO())
    print_scores(console, scores_of(np.diag([70, 30, 0]), names))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    assert "[red] roof" in text
    assert "absent, left out of the means: none" in text
    assert "70.00" in text


def test_a_value_taken_earlier_does_not_change_with_what_comes_later() -> None:
    total = ConfusionTotal(2)
    total.add(np.eye(2, dtype=np.int32))
    before = total.value()
    total.add(np.ones((2, 2), np.int32))
    after = total.value()
    np.testing.assert_array_equal(before, np.eye(2))
    np.testing.assert_array_equal(after, np.eye(2) + 1)


@pytest.mark.parametrize("num_classes", [0, 256])
def test_numbers_of_classes_that_labels_cannot_hold_are_refused(num_classes: int) -> None:
    pixel = jnp.zeros((1,), jnp.uint8)
    with pytest.raises(ValueError, match=f"num_classes is {num_classes}: it must be 1 to 255"):
        confusion_matrix(pixel, pixel, pixel == 0, num_classes=num_classes)
    assert confusion_matrix(pixel, pixel, pixel == 0, num_classes=255).shape == (255, 255)


def test_the_rows_of_a_table_hold_every_score_of_a_class() -> None:
    result = scores_of(np.array([[50, 10], [5, 35]]), ("land", "water"))
    assert result.csv_rows() == [
        ["class", "iou", "f1", "precision", "recall", "support"],
        ["land", "0.769231", "0.869565", "0.909091", "0.833333", "60"],
        ["water", "0.700000", "0.823529", "0.777778", "0.875000", "40"],
    ]
    stored = result.as_json()
    assert stored["per_class"]["water"] == {
        "iou": result.iou[1],
        "f1": result.f1[1],
        "precision": result.precision[1],
        "recall": result.recall[1],
        "support": 40,
    }
    assert {name: stored[name] for name in result.summary()} == result.summary()
    assert stored["absent"] == []
    assert scores_of(np.diag([1, 0]), "ab").as_json()["absent"] == ["b"]


def test_printed_scores_are_in_percent_and_kappa_is_not() -> None:
    result = scores_of(np.array([[50, 10, 0], [5, 35, 0], [0, 0, 0]]), ("land", "water", "ice"))
    console = Console(width=100, file=io.StringIO())
    print_scores(console, result, title="a title")
    assert isinstance(console.file, io.StringIO)
    lines = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]
    assert lines[0] == "a title, 100 labelled pixels"
    assert "land 76.92 86.96 90.91 83.33 60.00" in lines
    assert "water 70.00 82.35 77.78 87.50 40.00" in lines
    assert "ice - - - - 0.00" in lines
    assert "mIoU 73.46 % average accuracy 85.42 %" in lines
    assert "mean F1 84.65 % kappa 0.6939" in lines
    assert "overall accuracy 85.00 % frequency-weighted IoU 74.15 %" in lines


def test_scores_of_many_matrices_at_once_are_those_of_each() -> None:
    confusions = np.random.default_rng(0).integers(0, 9, (2, 5, 3, 3))
    confusions[0, 0, 1] = confusions[0, 0, :, 1] = 0
    right = np.diagonal(confusions, axis1=2, axis2=3).astype(np.float64)
    rows, columns = confusions.sum(3).astype(np.float64), confusions.sum(2).astype(np.float64)
    found = rates(right, rows, columns)
    for place in np.ndindex(2, 5):
        single = scores_of(confusions[place], "abc")
        for name, number in single.summary().items():
            assert found[name][place] == pytest.approx(number)
        for name in ("iou", "f1", "precision", "recall"):
            np.testing.assert_allclose(found[name][place], getattr(single, name))
