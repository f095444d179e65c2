"""Boundary F1 counted by hand."""

import numpy as np
import pytest

from jaxseg.boundaries import BoundaryTotal


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
