"""The loss of what an image holds: values by hand and of PyTorch, and what does not count."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.places import GOLDENS

from jaxseg.errors import UserError
from jaxseg.losses.presence import presence_loss
from jaxseg.scenes.scene import IGNORE

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


def test_value_and_gradient_are_those_of_pytorch() -> None:
    # The inputs follow the rule of goldens/make_losses.py.
    golden = json.loads((GOLDENS / "losses.json").read_text())["presence"]
    rng = np.random.default_rng(7)
    logits = 2 * rng.standard_normal((3, 6, 5, 4)).astype(np.float32)
    label = rng.integers(0, 3, (3, 6, 5))
    label[0, :2] = IGNORE
    label[2, :, 3] = IGNORE
    gradient_of = jax.value_and_grad(
        lambda x: presence_loss(x.mean((1, 2)), label, label != IGNORE, (0.5, 2.0, 1.0, 3.0))
    )
    value, gradient = gradient_of(jnp.asarray(logits))
    assert float(value) == pytest.approx(golden["value"], rel=1e-5)
    expected = np.array(golden["gradient"]).reshape(gradient.shape)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-7)


def test_padding_with_ignored_pixels_and_images_changes_nothing() -> None:
    padding = ((0, 2), (0, 3), (0, 1))
    label = jnp.pad(LABEL, padding, constant_values=IGNORE)
    logits = jnp.pad(LOGITS, ((0, 2), (0, 0)), constant_values=1e30)
    wide = presence_loss(logits, label, jnp.pad(VALID, padding))
    assert float(wide) == pytest.approx(float(presence_loss(LOGITS, LABEL, VALID)), rel=1e-6)


def test_bfloat16_is_summed_in_float32() -> None:
    rounded = LOGITS.astype(jnp.bfloat16)
    value, gradient = jax.value_and_grad(presence_loss)(rounded, LABEL, VALID)
    assert value.dtype == jnp.float32
    assert gradient.dtype == jnp.bfloat16
    exact = presence_loss(rounded.astype(jnp.float32), LABEL, VALID)
    assert float(value) == pytest.approx(float(exact), rel=1e-6)


def test_another_number_of_class_weights_is_refused() -> None:
    with pytest.raises(UserError, match="2 class weights for 3 classes"):
        presence_loss(LOGITS, LABEL, VALID, (1.0, 2.0))


def test_images_and_rows_may_lie_on_many_devices(mesh: jax.sharding.Mesh) -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (4, 8, 8)).astype(np.uint8)
    valid = rng.random(label.shape) < 0.1
    logits = rng.standard_normal((4, 3)).astype(np.float32)
    split = jax.sharding.PartitionSpec(("data", "fsdp"), "space")
    rows = jax.sharding.NamedSharding(mesh, split)
    images = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(("data", "fsdp")))
    both = jax.jit(jax.value_and_grad(presence_loss))
    value, gradient = both(logits, label, valid)
    apart = both(jax.device_put(logits, images), *jax.device_put((label, valid), rows))
    assert float(apart[0]) == pytest.approx(float(value), rel=1e-6)
    np.testing.assert_allclose(apart[1], gradient, rtol=1e-5, atol=1e-7)


def test_class_weights_multiply_each_classes_term_and_do_not_divide() -> None:
    plain, double = (presence_loss(LOGITS, LABEL, VALID, (w, w, w)) for w in (1.0, 2.0))
    assert float(double) == pytest.approx(2 * float(plain), rel=1e-6)
    first = float(presence_loss(LOGITS, LABEL, VALID, (1.0, 0.0, 0.0)))
    terms = np.log1p(np.exp([-2.0, 0.0]))  # class 0 is in the first image and not in the second
    assert first == pytest.approx(terms.sum() / 2 / 3, rel=1e-6)
