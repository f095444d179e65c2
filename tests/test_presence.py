"""The loss of what an image holds: a hand-computed value, and what does not count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.batch import IGNORE
from jaxseg.presence import presence_loss

LABEL = jnp.array([[[0, 0], [0, 2]], [[1, 1], [2, 2]], [[0, 1], [2, IGNORE]]], jnp.uint8)
VALID = jnp.array([[[1, 1], [1, 0]], [[1, 1], [1, 1]], [[0, 0], [0, 0]]], bool)
LOGITS = jnp.array([[2.0, -1.0, 0.5], [0.0, 3.0, -2.0], [9.0, 9.0, 9.0]])


def test_it_is_the_mean_over_classes_and_images_of_minus_log_probability() -> None:
    # The first image holds class 0 (its 2 is not valid), the second 1 and 2, the third nothing.
    present = np.array([[1, 0, 0], [0, 1, 1]])
    probability = 1 / (1 + np.exp(-np.asarray(LOGITS[:2])))
    expected = -np.log(np.where(present, probability, 1 - probability)).mean()
    assert float(presence_loss(LOGITS, LABEL, VALID)) == pytest.approx(expected, rel=1e-6)


def test_an_image_without_a_valid_pixel_has_no_gradient() -> None:
    gradient = jax.grad(presence_loss)(LOGITS, LABEL, VALID)
    assert np.abs(gradient[:2]).min() > 0
    np.testing.assert_array_equal(gradient[2], 0)


def test_a_batch_without_a_valid_pixel_has_loss_and_gradient_zero() -> None:
    value, gradient = jax.value_and_grad(presence_loss)(LOGITS, LABEL, jnp.zeros_like(VALID))
    assert float(value) == 0
    np.testing.assert_array_equal(gradient, 0)


def test_large_logits_stay_finite() -> None:
    logits = jnp.array([[1e4, -1e4, 1e4]])
    value, gradient = jax.value_and_grad(presence_loss)(logits, LABEL[:1], VALID[:1])
    assert float(value) == pytest.approx(1e4 / 3)  # wrong about class 2 alone
    assert np.isfinite(gradient).all()
