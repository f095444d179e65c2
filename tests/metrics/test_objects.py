"""Objects counted by hand."""

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.metrics.objects import ObjectTotal, match_objects

EVERYWHERE = np.ones((8, 12), bool)


def field(*parts: tuple[int, int], ids: bool = False) -> np.ndarray:
    """Rows 2 to 5 of these column ranges are class 1, or objects 1, 2, ..."""
    image = np.zeros((8, 12), np.uint8)
    for number, (first, last) in enumerate(parts, start=1):
        image[2:6, first:last] = number if ids else 1
    return image


def counted(prediction: np.ndarray, label: np.ndarray, instance: np.ndarray) -> ObjectTotal:
    total = ObjectTotal.of(2)
    total.add(prediction, label, EVERYWHERE, instance)
    return total


def test_two_touching_objects_that_are_predicted_as_one_are_merged() -> None:
    two = field((1, 5), (5, 9), ids=True)
    total = counted(field((1, 9)), field((1, 9)), two)
    assert (total.true[1], total.predicted[1], total.matched[1, 0]) == (2, 1, 0)
    assert (total.merged[1], total.split[1]) == (1, 0)
    # Together in both maps: pairs within an object of 16 pixels. In the prediction: within 32.
    assert total.pairs[1].tolist() == [2 * 16 * 15, 32 * 31, 2 * 16 * 15]
    assert total.rand()[1] == pytest.approx(2 * 480 / (480 + 992))


def test_one_object_that_is_predicted_as_two_is_split() -> None:
    total = counted(field((1, 4), (5, 9)), field((1, 9)), field((1, 9), ids=True))
    assert (total.true[1], total.predicted[1]) == (1, 2)
    assert (total.merged[1], total.split[1]) == (0, 1)
    assert total.matched[1, 0] == 0  # 16 of 32 pixels: an IoU of 0.5 is not above it


def test_a_match_counts_up_to_its_iou() -> None:
    total = counted(field((1, 8)), field((1, 9)), field((1, 9), ids=True))
    iou = 7 / 8
    assert total.matched[1].tolist() == [1] * 8 + [0] * 2
    assert total.panoptic_quality()[1] == pytest.approx(iou)
    assert total.f1()[1].mean() == pytest.approx(0.8)
    assert total.precision()[1] == total.recall()[1] == 1


def test_a_prediction_of_another_class_matches_nothing() -> None:
    total = ObjectTotal.of(3)
    total.add(2 * field((1, 9)), field((1, 9)), EVERYWHERE, field((1, 9), ids=True))
    assert total.true.tolist() == [0, 1, 0]
    assert total.matched.sum() == 0
    assert total.recall()[1] == 0
    assert np.isnan(total.f1()[2]).all()  # the reference has no object of class 2


def test_without_instances_the_reference_falls_into_components() -> None:
    total = ObjectTotal.of(2)
    total.add(field((1, 4), (6, 9)), field((1, 4), (6, 9)), EVERYWHERE)
    assert total.true.tolist() == [1, 2]  # the ground around them is one component
    assert total.panoptic_quality().tolist() == [1.0, 1.0]


def test_an_object_counts_in_the_class_that_most_of_its_pixels_have() -> None:
    # The column where two objects would touch is background, and no object of the background.
    apart = field((1, 5), (5, 9))
    apart[:, 4:6] = 0
    total = counted(apart, apart, field((1, 5), (5, 9), ids=True))
    assert total.true.tolist() == [0, 2]
    assert total.matched[1].tolist() == [2] * 10
    assert total.panoptic_quality()[1] == 1


def test_objects_that_touch_at_a_corner_are_two() -> None:
    corner = np.zeros((8, 12), np.uint8)
    corner[2:4, 2:4] = corner[4:6, 4:6] = 1
    total = ObjectTotal.of(2)
    total.add(corner, corner, EVERYWHERE)
    assert total.true[1] == 2


def test_what_is_not_counted_belongs_to_no_object() -> None:
    seen = EVERYWHERE.copy()
    seen[:, 5:] = False
    total = ObjectTotal.of(2)
    total.add(field((1, 5)), field((1, 9)), seen, field((1, 9), ids=True))
    assert total.matched[1].tolist() == [1] * 10


def test_a_map_without_any_object_counts_nothing() -> None:
    nothing = np.zeros((8, 12), np.int64)
    match = match_objects(nothing, nothing)
    assert (len(match.true_sizes), len(match.predicted_sizes), len(match.shared)) == (0, 0, 0)
    assert (match.merged(), match.split(), match.pairs) == (0, 0, (0, 0, 0))


def test_ids_may_be_huge_and_have_gaps() -> None:
    ids = field((1, 4), (6, 9), ids=True).astype(np.int64) * (2**40)
    match = match_objects(ids, ids)
    assert match.iou.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    ("predicted", "true", "message"),
    [
        (np.zeros((4, 4), int), np.zeros((4, 5), int), "sizes must be equal"),
        (np.zeros((4, 4), int), np.zeros((4, 4)), "whole numbers"),
        (np.full((4, 4), -3), np.zeros((4, 4), int), "Object id -3"),
    ],
)
def test_maps_that_are_no_maps_of_ids_are_refused(
    predicted: np.ndarray, true: np.ndarray, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        match_objects(predicted, true)


def test_instances_of_another_size_than_the_classes_are_refused() -> None:
    with pytest.raises(UserError, match=r"\(8, 11\) and classes of \(8, 12\)"):
        counted(field((1, 9)), field((1, 9)), np.zeros((8, 11), int))


def test_an_object_of_many_pixels_has_more_pairs_than_32_bits_hold() -> None:
    large = np.ones((300, 300), np.int32)
    match = match_objects(large, large)
    assert match.pairs == (90_000 * 89_999,) * 3
    total = ObjectTotal.of(2)
    total.add(large, large, large > 0, large)
    assert total.rand()[1] == 1


def test_a_class_that_is_only_predicted_has_no_quality_and_a_precision_of_zero() -> None:
    total = ObjectTotal.of(2)
    total.add(field((1, 4)), np.zeros((8, 12), np.uint8), EVERYWHERE)
    assert (total.true[1], total.predicted[1]) == (0, 1)
    assert np.isnan(total.panoptic_quality()[1])
    assert np.isnan(total.f1()[1]).all()
    assert np.isnan(total.recall()[1])
    assert total.precision()[1] == 0
    assert total.panoptic_quality()[0] == pytest.approx(84 / 96)


def test_a_class_that_is_missed_has_a_quality_of_zero_and_no_precision() -> None:
    total = ObjectTotal.of(2)
    total.add(np.zeros((8, 12), np.uint8), field((1, 4)), EVERYWHERE)
    assert total.panoptic_quality()[1] == 0
    assert total.recall()[1] == 0
    assert np.isnan(total.precision()[1])
    assert total.rand()[1] == pytest.approx(2 * 132 / (132 + 132))  # one segment in both


@pytest.mark.parametrize("unknown", [255, 0])
def test_pixels_that_are_not_counted_have_no_say_in_an_objects_class(unknown: int) -> None:
    # The larger part of the object is not counted, with the label of nothing or of another class.
    label = field((1, 9))
    label[2:6, 3:9] = unknown
    seen = EVERYWHERE.copy()
    seen[2:6, 3:9] = False
    total = ObjectTotal.of(2)
    total.add(field((1, 9)), label, seen, field((1, 9), ids=True))
    assert total.true.tolist() == [0, 1]
    assert total.matched[1].tolist() == [1] * 10


def test_objects_hold_others_by_more_than_half_of_them() -> None:
    # The prediction holds 8 of 16 pixels of the first object and all of the second: not merged.
    two = field((1, 5), (5, 9), ids=True)
    total = counted(field((3, 9)), field((1, 9)), two)
    assert (total.merged[1], total.split[1]) == (0, 0)
    # With 12 of 16 it is; and the mirror image of both for splits.
    assert counted(field((2, 9)), field((1, 9)), two).merged[1] == 1
    for first, expected in ((3, 0), (2, 1)):
        label = field((first, 9))
        total = counted(field((1, 5), (6, 9)), label, field((first, 9), ids=True))
        assert total.split[1] == expected


def test_numbers_of_maps_add_up() -> None:
    two = field((1, 5), (6, 9), ids=True)
    total = counted(field((1, 9)), field((1, 5), (6, 9)), two)
    once = {name: np.copy(value) for name, value in vars(total).items()}
    total.add(field((1, 9)), field((1, 5), (6, 9)), EVERYWHERE, two)
    for name, value in vars(total).items():
        np.testing.assert_array_equal(value, 2 * once[name])
    assert once["merged"][1] == 1


def test_the_rand_score_counts_the_pairs_of_pixels_of_true_objects() -> None:
    # Of two objects of 16 and 8 pixels, one prediction holds 12 and 4, another 2 of the second.
    predicted, true = np.zeros((2, 40), int), np.zeros((2, 40), int)
    true[0, :16], true[0, 16:24] = 1, 2
    predicted[0, 4:20], predicted[0, 20:22] = 5, 9
    predicted[1, 10:30] = 5  # outside of all objects: not counted
    both = 12 * 11 + 4 * 3 + 2 * 1 + 4 * 3 + 2 * 1  # with what is not predicted as one segment
    in_prediction = 16 * 15 + 2 * 1 + 6 * 5
    assert match_objects(predicted, true).pairs == (both, in_prediction, 16 * 15 + 8 * 7)


def test_ids_that_are_negative_or_no_numbers_are_refused_on_either_side() -> None:
    good = np.zeros((4, 4), int)
    for bad in (np.full((4, 4), -3), np.zeros((4, 4))):
        for maps in ((good, bad), (bad, good)):
            with pytest.raises(UserError, match="Object id"):
                match_objects(*maps)
