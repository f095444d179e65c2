"""Histogram matching: of the training nothing changes, a new scene becomes like it."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.transforms import HistogramMatching

RNG = np.random.default_rng(0)
IMAGE = RNG.gamma(2.0, 100.0, (40, 50, 2))
VALID = RNG.random((40, 50)) < 0.9
FITTED = HistogramMatching().fit([(IMAGE, VALID)])


def test_images_of_the_training_stay_as_they_are() -> None:
    assert FITTED.fitted
    np.testing.assert_array_equal(FITTED(jnp.asarray(IMAGE)), jnp.asarray(IMAGE))


def test_any_increasing_change_of_a_band_is_undone() -> None:
    new = np.stack((3 * IMAGE[..., 0] + 70, np.sqrt(IMAGE[..., 1])), axis=-1)
    new[~VALID] = 1e6  # not measured
    found = np.asarray(FITTED.matching([(new, VALID)])(jnp.asarray(new, jnp.float32)))
    error = np.abs(found - IMAGE)[VALID]
    # Linear between quantiles: exact for the first band, up to their distance for the second.
    np.testing.assert_allclose(error[:, 0], 0, atol=0.02)
    inside = IMAGE[VALID][:, 1] < np.quantile(IMAGE[VALID][:, 1], 0.98)
    assert error[inside, 1].max() < 5
    assert np.median(error[:, 1]) < 0.2


def test_all_pixels_of_all_windows_are_one_distribution() -> None:
    halves = [(IMAGE[:20], VALID[:20]), (IMAGE[20:], VALID[20:])]
    assert HistogramMatching().fit(halves) == FITTED


def test_a_scene_without_data_or_with_other_bands_is_refused() -> None:
    with pytest.raises(UserError, match="no valid pixel"):
        FITTED.matching([(IMAGE, np.zeros_like(VALID))])
    with pytest.raises(UserError, match=r"2 band.s. of the training and 2 of the scene; the image"):
        FITTED.matching([(IMAGE, VALID)])(jnp.zeros((1, 2, 2, 3)))
