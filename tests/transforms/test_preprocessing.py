"""Radiometry of valid pixels: standardised, in decibel, of some bands; invalid ones become 0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.transforms.radiometry import LogIntensity, OnBands, Standardize
from jaxseg.transforms.transform import preprocess


def test_invalid_pixels_leave_preprocessing_as_zero_even_from_nan() -> None:
    image = jnp.full((1, 4, 4, 2), 7.0).at[0, 0, 0].set(jnp.nan)
    valid = jnp.ones((1, 4, 4), bool).at[0, 0, 0].set(False)
    result = preprocess(image, valid, (Standardize((5.0, 3.0), (2.0, 4.0)),))
    np.testing.assert_allclose(result[0, 0, 0], 0)
    np.testing.assert_allclose(result[0, 1, 1], [1.0, 1.0])


def test_raw_integers_become_float32() -> None:
    image = jnp.full((1, 2, 2, 1), 40000, jnp.uint16)
    result = preprocess(image, jnp.ones((1, 2, 2), bool), (Standardize((0.0,), (2.0,)),))
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, 20000)


def test_statistics_for_another_number_of_bands_are_refused() -> None:
    with pytest.raises(UserError, match="2 means and 2 standard deviations for images of 3 band"):
        Standardize((0.0, 0.0), (1.0, 1.0))(jnp.zeros((1, 2, 2, 3)))


def test_standardize_is_fitted_to_the_counted_pixels_of_all_windows() -> None:
    random = np.random.default_rng(0)
    images = [random.normal((10, 1000), (2, 300), (5, width, 2)) for width in (4, 9)]
    counted = [random.random(image.shape[:2]) < 0.6 for image in images]
    found = Standardize().fit(zip(images, counted, strict=True))
    pixels = np.concatenate([image[where] for image, where in zip(images, counted, strict=True)])
    np.testing.assert_allclose(found.mean, pixels.mean(0), rtol=1e-5)
    np.testing.assert_allclose(found.std, pixels.std(0), rtol=1e-5)
    assert found.fitted
    assert not Standardize().fitted


def test_log_intensity_is_decibel_and_survives_zero_and_nan() -> None:
    power = jnp.array([1.0, 100.0, 0.001, 0.0, -1.0, jnp.nan]).reshape(1, 1, 6, 1)
    db = LogIntensity(floor=1e-5)(power)
    np.testing.assert_allclose(db.ravel(), [0, 20, -30, -50, -50, -50], atol=1e-4)


def test_log_intensity_keeps_invalid_pixels_blank() -> None:
    power = jnp.full((1, 2, 2, 2), 0.1).at[0, 0, 0].set(0).at[0, 1, 1].set(jnp.nan)
    valid = jnp.ones((1, 2, 2), bool).at[0, 0, 0].set(False).at[0, 1, 1].set(False)
    steps = (LogIntensity(), Standardize((-11.0, -18.0), (4.0, 4.0)))
    result = preprocess(power, valid, steps)
    np.testing.assert_allclose(result[0, :, :, 0], [[0, 0.25], [0.25, 0]], atol=1e-6)


def squared(image: jax.Array) -> jax.Array:
    return jnp.square(image)


def test_radiometry_of_some_bands_leaves_the_others_and_the_order_alone() -> None:
    image = jnp.arange(1.0, 6.0).reshape(1, 1, 1, 5)
    step = OnBands(start=1, stop=3, steps=(Standardize((1.0, 1.0), (2.0, 4.0)), squared))
    # Bands 2 and 3 become ((2 - 1) / 2)^2 and ((3 - 1) / 4)^2.
    np.testing.assert_allclose(step(image).ravel(), [1, 0.25, 0.25, 4, 5])
    more = OnBands(start=3, stop=5, steps=(lambda part: jnp.concatenate((part, -part), -1),))
    np.testing.assert_allclose(more(image).ravel(), [1, 2, 3, 4, 5, -4, -5])


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (2, 2), (2, 1), (1, 4), (3, 4)])
def test_bands_that_an_image_does_not_have_are_refused(start: int, stop: int) -> None:
    with pytest.raises(UserError, match=rf"OnBands from {start} to {stop} for images of 3 band"):
        OnBands(start, stop, ())(jnp.zeros((1, 2, 2, 3)))


@pytest.mark.parametrize(("means", "deviations"), [(2, 3), (3, 2)])
def test_as_many_means_as_deviations_as_bands_are_needed(means: int, deviations: int) -> None:
    with pytest.raises(UserError, match=f"{means} means and {deviations} standard deviations"):
        Standardize((0.0,) * means, (1.0,) * deviations)(jnp.zeros((1, 2, 2, 3)))


def test_each_band_is_standardized_by_its_own_numbers() -> None:
    image = jnp.asarray([5.0, 11.0]).reshape(1, 1, 1, 2)
    np.testing.assert_allclose(Standardize((3.0, 7.0), (2.0, 8.0))(image).ravel(), [1, 0.5])


def test_every_step_of_radiometry_sees_nan_where_there_is_no_data() -> None:
    seen = []

    def noting(image: jax.Array) -> jax.Array:
        seen.append(np.asarray(image))
        return jnp.nan_to_num(image, nan=9.0) + 1

    valid = jnp.asarray([[[True, False]]])
    found = preprocess(jnp.full((1, 1, 2, 1), 2), valid, (noting, noting))
    np.testing.assert_array_equal(np.ravel(seen), [2, np.nan, 3, np.nan])
    np.testing.assert_array_equal(found.ravel(), [4, 0])
