"""A table from mask values to classes: gaps, negatives, floats, and every value that it lacks."""

import numpy as np
import pytest

from jaxseg.datasets.label_table import LabelTable, UnknownValue, packed, unpacked
from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE

TABLE = LabelTable.of((100, 7, -3), (0, 8))


def test_values_with_gaps_and_below_zero_become_classes_in_their_order() -> None:
    values = np.array([[100, 7, -3], [0, 8, 100]])
    expected = [[0, 1, 2], [IGNORE, IGNORE, 0]]
    for dtype in ("int16", "int64", "float32", "float64"):
        found = TABLE.classes(values.astype(dtype))
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("value", [-5, -4, -2, 1, 6, 9, 99, 101, 102, 2**31 - 1, -(2**31)])
@pytest.mark.parametrize("dtype", ["int32", "int64", "float64"])
def test_a_value_that_is_not_in_the_table_is_told_with_place_and_count(
    value: int, dtype: str
) -> None:
    values = np.full((4, 5), 7, dtype)
    values[1, 3] = values[2, 0] = value
    values[3, 3] = 50  # comes later
    with pytest.raises(UnknownValue) as found:
        TABLE.classes(values)
    unknown = found.value
    assert (unknown.value, unknown.count) == (value, 2)
    assert (unknown.row, unknown.column) == (1, 3)


def test_a_float_that_is_no_whole_number_is_told_before_all_others() -> None:
    values = np.array([[50.0, 7.0], [7.4, 100.0]])
    with pytest.raises(UnknownValue) as found:
        TABLE.classes(values)
    assert (found.value.value, found.value.row, found.value.column) == (7.4, 1, 0)
    for value in (1e30, -1e30):
        with pytest.raises(UnknownValue):
            TABLE.classes(np.array([[7.0, value]]))
    with pytest.raises(UnknownValue):
        TABLE.classes(np.array([[7.0, 255.0]], np.float32))


def test_unsigned_numbers_of_any_width_are_looked_up() -> None:
    table = LabelTable.of((0, 255), ())
    np.testing.assert_array_equal(table.classes(np.array([[0, 255]], np.uint8)), [[0, 1]])
    with pytest.raises(UnknownValue):
        table.classes(np.array([[0, 256]], np.uint16))
    with pytest.raises(UnknownValue):
        table.classes(np.array([[0, 2**32 - 1]], np.uint32))


def test_what_says_nothing_is_ignored_whatever_it_holds() -> None:
    known = np.array([[True, False, True]])
    np.testing.assert_array_equal(TABLE.classes(np.array([[7, 50, 100]]), known), [[1, IGNORE, 0]])
    values = np.array([[7.0, 50.5, np.nan]])
    np.testing.assert_array_equal(TABLE.classes(values, known), [[1, IGNORE, IGNORE]])
    np.testing.assert_array_equal(TABLE.classes(values[:, ::2]), [[1, IGNORE]])
    np.testing.assert_array_equal(known, [[True, False, True]])  # what was given stays as it is


def test_the_class_of_one_value_is_none_where_it_has_none() -> None:
    assert [TABLE.class_of(value) for value in (100, 7, -3.0)] == [0, 1, 2]
    for value in (0, 8, 50, 7.5, -4, -5, 101, 102, 1e9, -1e9):
        assert TABLE.class_of(value) is None, value


def test_a_value_has_one_meaning_and_all_lie_near_each_other() -> None:
    with pytest.raises(UserError, match="Mask value 3 is given twice"):
        LabelTable.of((5, 3), (3,))
    with pytest.raises(UserError, match="Mask value 4 is given twice"):
        LabelTable.of((5, 9, 4, 9, 4), ())
    LabelTable.of((0, 2**24 - 1), ())
    with pytest.raises(UserError, match=r"values 0 and 16777216 lie 2\*\*24 or more apart"):
        LabelTable.of((0, 2**24), ())


def test_colours_are_numbers_with_red_highest_and_come_back() -> None:
    colors = np.array([[[1, 2, 3], [255, 0, 0]], [[0, 0, 255], [0, 255, 0]]], np.uint8)
    numbers = packed(colors)
    np.testing.assert_array_equal(numbers, [[0x010203, 0xFF0000], [0x0000FF, 0x00FF00]])
    for number, color in zip(numbers.ravel().tolist(), colors.reshape(-1, 3), strict=True):
        assert unpacked(number) == tuple(color)
