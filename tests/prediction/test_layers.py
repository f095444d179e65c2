"""What a map stores: classes, and quantities between 0 and 1 as whole numbers."""

from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from jaxseg.prediction.layers import Layer, drawn, numbers

VALID = np.array([[True, True, False]])


def shares(*pixels: tuple[float, ...]) -> NDArray[np.float32]:
    """Probabilities (K, 1, pixels)."""
    return np.asarray(pixels, np.float32).T[:, None]


THREE = shares((0.5, 0.25, 0.25), (0.1, 0.2, 0.7), (1, 0, 0))


@pytest.mark.parametrize(
    ("layer", "first", "second"),
    [
        ("classes", [0], [2]),
        ("probabilities", [127, 64, 64], [25, 51, 178]),
        ("confidence", [127], [178]),
        ("margin", [64], [127]),
        ("entropy", [240], [185]),
    ],
)
def test_a_layer_holds_its_quantity_and_255_without_data(
    layer: Layer, first: list[int], second: list[int]
) -> None:
    found = drawn(layer, THREE, VALID)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[0], [first, second, [255] * len(first)])


@pytest.mark.parametrize("classes", [1, 2, 7])
def test_entropy_is_1_where_all_classes_are_equally_likely(classes: int) -> None:
    even = shares((1 / classes,) * classes, (1.0, *(0.0,) * (classes - 1)))
    found = drawn("entropy", even, VALID[:, :2])
    assert found[0, 1, 0] == 0
    assert found[0, 0, 0] == (254 if classes > 1 else 0)


def test_the_margin_of_a_single_class_is_its_probability() -> None:
    np.testing.assert_array_equal(drawn("margin", shares((1.0,)), VALID[:, :1]), [[[254]]])


def test_of_equally_likely_classes_the_first_is_stored() -> None:
    found = drawn("classes", shares((0.25, 0.375, 0.375), (0.5, 0.5, 0.0)), VALID[:, :2])
    np.testing.assert_array_equal(found[0, :, 0], [1, 0])


@pytest.mark.parametrize(
    ("classes", "dtype", "nodata"), [(255, "uint8", 255), (256, "uint16", 65535)]
)
def test_every_class_has_a_number_that_does_not_mean_no_data(
    classes: int, dtype: str, nodata: int
) -> None:
    last = np.eye(classes, dtype=np.float32)[:, None, -1:].repeat(2, -1)
    found = drawn("classes", last, VALID[:, 1:])
    stored = numbers("classes", ("",) * classes)
    assert (found.dtype, stored.dtype, stored.nodata) == (dtype, dtype, nodata)
    assert found.ravel().tolist() == [classes - 1, nodata]


@pytest.mark.parametrize("layer", [layer for layer in get_args(Layer) if layer != "classes"])
def test_a_quantity_says_what_it_is_and_that_254_is_1(layer: Layer) -> None:
    stored = numbers(layer, ("land", "water"))
    names = ["land", "water"] if layer == "probabilities" else [layer]
    assert [band.description for band in stored.bands] == names
    assert all(254 * band.scale == pytest.approx(1) for band in stored.bands)
    assert (stored.dtype, stored.nodata) == ("uint8", 255)
