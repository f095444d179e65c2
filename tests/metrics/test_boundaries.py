"""Boundary F1 and Boundary IoU counted by hand."""

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.metrics.boundaries import BoundaryTotal, Tolerance


def square(row: int, column: int) -> np.ndarray:
    image = np.zeros((20, 20), np.uint8)
    image[row : row + 6, column : column + 6] = 1
    return image


EVERYWHERE = np.ones((20, 20), bool)


def test_a_border_in_its_place_is_perfect_and_one_too_far_is_worthless() -> None:
    for shift, expected in ((0, 1.0), (2, 1.0), (8, 0.0)):
        total = BoundaryTotal.of(2)
        total.add(square(4, 4 + shift), square(4, 4), EVERYWHERE)
        assert total.f1()[1] == pytest.approx(expected)


def test_a_shift_beyond_the_tolerance_loses_the_sides_it_moves() -> None:
    total = BoundaryTotal.of(2, tolerance=1)
    total.add(square(4, 6), square(4, 4), EVERYWHERE)
    # The first and last rows have 6 border pixels: 4 lie on the other border, 1 beside it, 1 two
    # columns away from it. Of the 4 other pixels on each side, those next to a row lie beside it
    # where the other square has pixels too: the ends of the left side, none of the right.
    assert total.counts[1].tolist() == [12, 20, 12, 20]
    assert total.f1()[1] == pytest.approx(12 / 20)


def test_what_is_not_counted_makes_no_border() -> None:
    counted = EVERYWHERE.copy()
    counted[:, :12] = False
    total = BoundaryTotal.of(3)
    total.add(square(4, 4), square(4, 4), counted)
    assert total.counts.sum() == 0
    assert np.isnan(total.f1()).all()


def test_windows_are_summed_before_they_are_divided() -> None:
    total = BoundaryTotal.of(2)
    total.add(square(4, 4), square(4, 4), EVERYWHERE)
    total.add(np.zeros((20, 20), np.uint8), square(4, 4), EVERYWHERE)
    assert total.f1()[1] == pytest.approx(2 * 0.5 / 1.5)


def test_a_rim_counts_the_pixels_along_the_border_on_the_inner_side() -> None:
    total = BoundaryTotal.of(2, rim=1)
    total.add(square(4, 5), square(4, 4), EVERYWHERE)
    # Squares of 6 x 6, one column apart: each has a rim of 20 pixels. Both rims share the 5 common
    # pixels of the first and of the last row and no column between them.
    assert total.rims[1].tolist() == [10, 30]
    assert total.iou()[1] == pytest.approx(1 / 3)
    assert np.isnan(BoundaryTotal.of(2).iou()).all()


def test_the_edge_of_the_map_makes_no_rim() -> None:
    half = np.zeros((20, 20), np.uint8)
    half[:, :10] = 1
    total = BoundaryTotal.of(2, rim=3)
    total.add(half, half, EVERYWHERE)
    assert total.rims[1].tolist() == [60, 60]


def test_a_tolerance_wider_than_the_map_meets_everything() -> None:
    total = BoundaryTotal.of(2, tolerance=50, rim=50)
    total.add(square(0, 0), square(13, 13), EVERYWHERE)
    assert total.f1()[1] == 1
    assert total.iou()[1] == 0


@pytest.mark.parametrize(
    ("tolerance", "pixels"),
    [
        (Tolerance(2.5), 2.5),
        (Tolerance(10, "metres"), 2.0),
        (Tolerance(0.02, "diagonal"), 1.0),
    ],
)
def test_tolerances_become_pixels(tolerance: Tolerance, pixels: float) -> None:
    assert tolerance.pixels(30, 40, gsd=5.0) == pytest.approx(pixels)


def test_tolerances_without_meaning_are_refused() -> None:
    with pytest.raises(UserError, match="does not state the size of a pixel in metres"):
        Tolerance(10, "metres").pixels(30, 40, gsd=None)
    for value in (-1.0, float("nan")):
        with pytest.raises(UserError, match="give 0 or more"):
            Tolerance(value).pixels(30, 40, gsd=None)


def test_rims_are_rounded_to_whole_pixels_and_at_least_one() -> None:
    widths = [BoundaryTotal.of(1, rim=rim).rim_pixels for rim in (0.0, 0.2, 1.4, 1.6, 2.4, 2.6)]
    assert widths == [1, 1, 1, 2, 2, 3]


@pytest.mark.parametrize("tolerance", [0.0, 0.9, 1.0, 1.5, 2.0, 3.7])
def test_a_pixel_is_met_within_the_euclidean_distance(tolerance: float) -> None:
    for dy, dx in np.ndindex(5, 5):
        label, said = np.zeros((2, 15, 15), np.uint8)
        label[5, 5] = said[5 + dy, 5 + dx] = 1
        for one, other in ((label, said), (label[:, ::-1], said[:, ::-1]), (said, label)):
            total = BoundaryTotal.of(2, tolerance=tolerance)
            total.add(other, one, np.ones((15, 15), bool))
            assert total.counts[1].tolist() == [int(np.hypot(dy, dx) <= tolerance), 1] * 2


def test_a_class_that_is_missed_scores_zero_and_one_that_is_only_predicted_not_at_all() -> None:
    nothing, some = np.zeros((20, 20), np.uint8), square(4, 4)
    missed, invented = BoundaryTotal.of(2), BoundaryTotal.of(2)
    missed.add(nothing, some, EVERYWHERE)
    invented.add(some, nothing, EVERYWHERE)
    assert missed.f1()[1] == 0
    assert np.isnan(invented.f1()[1])
    assert missed.iou()[1] == invented.iou()[1] == 0


def test_precision_is_of_the_prediction_and_recall_of_the_reference() -> None:
    total = BoundaryTotal.of(2, tolerance=0)
    both = square(2, 2) | square(12, 12)
    total.add(both, square(2, 2), EVERYWHERE)
    assert total.counts[1].tolist() == [20, 40, 20, 20]
    assert total.f1()[1] == pytest.approx(2 * 0.5 / 1.5)


def test_a_metre_of_unknown_ground_is_refused_and_a_pixel_of_it_is_not() -> None:
    assert Tolerance(3.0).pixels(30, 40, gsd=None) == 3
    assert Tolerance(0.02, "diagonal").pixels(30, 40, gsd=None) == pytest.approx(1)
    assert Tolerance(0.0).pixels(30, 40, gsd=None) == 0
    with pytest.raises(UserError, match="A boundary tolerance of inf"):
        Tolerance(float("inf"), "metres").pixels(30, 40, gsd=1.0)
