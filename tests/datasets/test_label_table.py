"""Mask values become class ids by a table, and what is not in it is told with its place."""

import numpy as np
import pytest
from numpy.typing import NDArray

from jaxseg.datasets.label_table import LabelTable, UnknownValue, packed, unpacked
from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE

TABLE = LabelTable.of((7, 3, -2), ignored=(0, 12))


@pytest.mark.parametrize("dtype", [np.int16, np.int64, np.float32, np.float64])
def test_values_are_classes_in_their_order(dtype: type) -> None:
    values = np.array([[3, 7], [-2, 0], [12, 7]], dtype)
    found = TABLE.classes(values)
    assert found.dtype == np.uint8
    assert found.tolist() == [[1, 0], [2, IGNORE], [IGNORE, 0]]


def test_further_values_have_the_class_of_another_one() -> None:
    table = LabelTable.of((7, 3), ignored=(0,), same=((5, 3), (-9, 7)))
    assert table.classes(np.array([[3, 5, 7, -9, 0]])).tolist() == [[1, 1, 0, 0, IGNORE]]
    assert (table.class_of(5), table.class_of(-9)) == (1, 0)
    with pytest.raises(UserError, match=r"5 is to count as 4, .* choose one of 7, 3"):
        LabelTable.of((7, 3), ignored=(0,), same=((5, 4),))
    with pytest.raises(UserError, match="value 3 is given twice"):
        LabelTable.of((7, 3), ignored=(0,), same=((3, 7),))


def test_pixels_of_which_nothing_is_known_are_ignored_whatever_they_hold() -> None:
    known = np.array([[True, False, False]])
    assert TABLE.classes(np.array([[3, 3, 99]]), known).tolist() == [[1, IGNORE, IGNORE]]
    values = np.array([[3.0, 0.5, np.nan]])
    assert TABLE.classes(values, known).tolist() == [[1, IGNORE, IGNORE]]
    values = np.array([[3.0, np.nan, 3.0]])
    assert TABLE.classes(values).tolist() == [[1, IGNORE, 1]]
    assert TABLE.classes(values, ~known).tolist() == [[IGNORE, IGNORE, 1]]
    assert np.isnan(values[0, 1])  # what was given stays


@pytest.mark.parametrize("value", [-3, 1, 8, 13, 200, 255, -(2**31), 2**31 - 1])
def test_a_value_that_is_not_in_the_table_is_told_with_its_place_and_number(value: int) -> None:
    values = np.array([[3, 7, 3], [7, value, value], [value, 3, 4]], np.int64)
    for given in (values, values.astype(np.float64)):
        with pytest.raises(UnknownValue, match=rf"{value}(\.0)? at row 1, column 1") as told:
            TABLE.classes(given)
        error = told.value
        assert (error.value, error.count, error.row, error.column) == (value, 3, 1, 1)


@pytest.mark.parametrize("value", [3.5, 2.999, 1e300, -1e300, np.inf])
def test_what_is_no_whole_number_of_the_table_is_told(value: float) -> None:
    with pytest.raises(UnknownValue) as told:
        TABLE.classes(np.array([[3.0, 7.0], [np.nan, value]]))
    assert (told.value.value, told.value.row, told.value.column) == (value, 1, 1)


def test_a_value_that_says_nothing_hides_no_other() -> None:
    known = np.array([[False, True], [True, True]])
    with pytest.raises(UnknownValue) as told:
        TABLE.classes(np.array([[99, 3], [99, 99]]), known)
    assert (told.value.count, told.value.row, told.value.column) == (2, 1, 0)


def test_the_class_of_a_single_value_is_told() -> None:
    found = [TABLE.class_of(value) for value in (7, 3.0, -2, 0, 12, 5, -3, 13, -99, 99, 3.5)]
    assert found == [0, 1, 2, None, None, None, None, None, None, None, None]


@pytest.mark.parametrize(("values", "ignored"), [((1, 1), ()), ((1, 2), (2,)), ((1,), (9, 9))])
def test_a_value_of_two_meanings_is_refused(
    values: tuple[int, ...], ignored: tuple[int, ...]
) -> None:
    twice = next(v for v in (*values, *ignored) if (*values, *ignored).count(v) > 1)
    with pytest.raises(UserError, match=f"Mask value {twice} is given twice"):
        LabelTable.of(values, ignored)


def test_values_that_lie_too_far_apart_are_refused() -> None:
    with pytest.raises(UserError, match=r"Mask values -5 and 16777211 lie 2\*\*24 or more apart"):
        LabelTable.of((2**24 - 5,), ignored=(-5,))
    table = LabelTable.of((2**24 - 6,), ignored=(-5,))
    assert table.class_of(2**24 - 6) == 0


def test_254_classes_fit() -> None:
    values: NDArray[np.int64] = np.arange(1000, 1254)
    table = LabelTable.of(values.tolist(), ignored=())
    np.testing.assert_array_equal(table.classes(values[None])[0], np.arange(254))


def test_colours_are_numbers_and_back() -> None:
    colours = np.array([[[255, 0, 1], [2, 128, 3]]], np.uint8)
    numbers = packed(colours)
    assert numbers.dtype == np.int32
    assert numbers.tolist() == [[255 * 65536 + 1, 2 * 65536 + 128 * 256 + 3]]
    assert [unpacked(number) for number in numbers[0].tolist()] == [(255, 0, 1), (2, 128, 3)]
