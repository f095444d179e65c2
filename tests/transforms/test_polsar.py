"""Features of coherency matrices: they know no brightness, or no phase."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.datasets.landscape.sensors import wishart
from jaxseg.errors import UserError
from jaxseg.transforms.polsar import CoherencyFeatures, ZhouFeatures


def test_coherences_lie_in_the_unit_circle_and_do_not_know_brightness() -> None:
    random = np.random.default_rng(0)
    power = 10 ** random.uniform(-3, 0, (1, 20, 20, 3)).astype(np.float32)
    matrix = wishart(power, 4, random)
    features = np.asarray(CoherencyFeatures()(jnp.asarray(matrix)))
    np.testing.assert_allclose(features[..., :3], 10 * np.log10(matrix[..., :3]), atol=1e-4)
    t13 = matrix[..., 5] + 1j * matrix[..., 6]
    expected = t13 / np.sqrt(matrix[..., 0] * matrix[..., 2])
    np.testing.assert_allclose(features[..., 5], expected.real, atol=1e-5)
    np.testing.assert_allclose(features[..., 6], expected.imag, atol=1e-5)
    assert (np.hypot(features[..., 3::2], features[..., 4::2]) <= 1 + 1e-5).all()
    brighter = np.asarray(CoherencyFeatures()(jnp.asarray(10 * matrix)))
    np.testing.assert_allclose(brighter[..., :3], features[..., :3] + 10, atol=1e-4)
    np.testing.assert_allclose(brighter[..., 3:], features[..., 3:], atol=1e-5)


def test_coherences_of_nothing_are_finite() -> None:
    nothing = jnp.zeros((1, 1, 2, 9)).at[0, 0, 1].set(jnp.nan)
    features = CoherencyFeatures(floor=1e-4)(nothing)
    np.testing.assert_allclose(features[0, 0], [[-40.0] * 3 + [0.0] * 6] * 2, atol=1e-4)


def test_coherences_of_another_number_of_bands_are_refused() -> None:
    for step in (CoherencyFeatures(), ZhouFeatures()):
        with pytest.raises(UserError, match="Features for images of 4 band"):
            step(jnp.zeros((1, 2, 2, 4)))


def test_six_features_know_no_phase() -> None:
    matrix = wishart(np.full((1, 8, 8, 3), 0.1, np.float32), 4, np.random.default_rng(0))
    features = np.asarray(ZhouFeatures()(jnp.asarray(matrix)))
    assert features.shape == (1, 8, 8, 6)
    turned = matrix.copy()
    turned[..., 3], turned[..., 4] = -matrix[..., 4], matrix[..., 3]
    np.testing.assert_allclose(ZhouFeatures()(jnp.asarray(turned)), features, rtol=1e-4)
