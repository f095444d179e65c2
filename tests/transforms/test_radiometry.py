"""Mean and standard deviation as they are, whatever the unit, and bands that hold one value."""

import numpy as np
import pytest
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.transforms import Standardize


def fitted(*images: NDArray[np.generic]) -> Standardize:
    return Standardize().fit((image, np.ones(image.shape[:2], bool)) for image in images)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e6])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e4])
def test_values_are_standardized_in_any_unit_and_far_from_zero(offset: float, scale: float) -> None:
    images = [np.random.default_rng(seed).normal(seed, 2, (9, 7, 1)) for seed in range(3)]
    step = fitted(*(scale * (image + offset) for image in images))
    every = np.concatenate([image.ravel() for image in images]) + offset
    np.testing.assert_allclose(step.std, [scale * every.std()], rtol=1e-5)
    assert abs(step.mean[0] - scale * every.mean()) < 1e-4 * scale * every.std()


def test_values_that_float32_cannot_tell_apart_are_refused() -> None:
    image = np.random.default_rng(0).normal(size=(9, 7, 2)) + np.array([0, 3e9])
    with pytest.raises(UserError, match=r"band 2 holds values from 29\d+.*Subtract a constant"):
        fitted(image)


def test_a_band_of_one_value_is_left_on_its_scale_and_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = np.random.default_rng(0).normal(size=(9, 7, 3))
    image[..., 1] = 0.1
    step = fitted(image, image)
    assert step.std[1] == 1
    assert step.mean[1] == 0.1
    assert "band(s) 2 have one value in all training pixels" in capsys.readouterr().err
    assert fitted(image[..., :1]).std[0] != 1


def test_a_band_of_one_value_but_for_a_few_pixels_is_measured() -> None:
    image = np.full((900, 700, 1), 10_000, np.uint16)
    image[0, 0] += 1
    assert fitted(image).std == pytest.approx((1 / 630_000**0.5,), rel=1e-5)


def test_a_window_without_a_counted_pixel_changes_nothing() -> None:
    image = np.random.default_rng(0).normal(size=(9, 7, 2))
    windows = [(image, np.zeros((9, 7), bool)), (image, np.ones((9, 7), bool))]
    assert Standardize().fit(windows) == fitted(image)
