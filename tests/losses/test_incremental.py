"""Losses for classes that come later, against cases worked by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.losses.incremental import (
    LocalPOD,
    UnbiasedCrossEntropy,
    UnbiasedDistillation,
    local_pod,
)
from jaxseg.losses.loss import Loss

# Background, one old class, two new ones; the old network knows two.
LOGITS = (1.0, 2.0, 0.5, -1.0)
TEACHER = (0.3, -0.7)
ALL = sum(math.exp(z) for z in LOGITS)


def of(loss: Loss, label: int, logits: jax.Array | None = None) -> float:
    batch = {
        "label": jnp.full((1, 1, 1), label),
        "valid": jnp.ones((1, 1, 1), bool),
        "teacher_logits": jnp.array(TEACHER).reshape(1, 1, 1, 2),
    }
    given = jnp.array(LOGITS).reshape(1, 1, 1, 4) if logits is None else logits
    return float(loss(given, batch, batch["valid"] & (batch["label"] != 255)))


@pytest.mark.parametrize(
    ("label", "probability"),
    [
        (0, (math.exp(1.0) + math.exp(2.0)) / ALL),
        (1, (math.exp(1.0) + math.exp(2.0)) / ALL),
        (2, math.exp(0.5) / ALL),
        (3, math.exp(-1.0) / ALL),
    ],
)
def test_to_labels_of_new_classes_background_is_background_or_old(
    label: int, probability: float
) -> None:
    assert of(UnbiasedCrossEntropy(), label) == pytest.approx(-math.log(probability), abs=1e-5)


def test_to_the_old_network_new_classes_are_background() -> None:
    q = [math.exp(z) / sum(math.exp(z) for z in TEACHER) for z in TEACHER]
    background = (math.exp(1.0) + math.exp(0.5) + math.exp(-1.0)) / ALL
    old = math.exp(2.0) / ALL
    expected = -(q[0] * math.log(background) + q[1] * math.log(old)) / 2
    assert of(UnbiasedDistillation(), 0) == pytest.approx(expected, abs=1e-5)
    assert of(UnbiasedDistillation(), 255) == pytest.approx(expected, abs=1e-5)  # labelled or not


def test_means_of_rows_and_columns_of_the_parts_of_each_scale() -> None:
    x = np.arange(16.0).reshape(4, 4)
    expected = [*x.mean(1), *x.mean(0)]
    quarters = [x[y : y + 2, z : z + 2] for y in (0, 2) for z in (0, 2)]
    found = np.asarray(local_pod(jnp.array(x).reshape(1, 4, 4, 1)))[0]
    assert found.shape == (2 * 4 + 4 * 4 + 16 * 2,)
    np.testing.assert_allclose(found[:8], expected, atol=1e-5)
    half = np.sort([value for part in quarters for value in (*part.mean(1), *part.mean(0))])
    np.testing.assert_allclose(np.sort(found[8:24]), half, atol=1e-5)
    np.testing.assert_allclose(found[24:40], x.ravel(), atol=1e-5)


def test_local_pod_is_the_length_of_the_change_of_squares() -> None:
    own = jnp.full((1, 4, 4, 1), 2.0)
    other = jnp.full((1, 4, 4, 1), 1.0)
    logits = jnp.zeros((1, 4, 4, 4)).at[..., 2:].set(0.5)
    batch = {
        "features/block": own,
        "teacher/block": other,
        "teacher_logits": jnp.zeros((1, 4, 4, 2)),
        "valid": jnp.ones((1, 4, 4), bool),
    }
    loss = LocalPOD(layers=("block",))
    # 56 means of rows and columns: squares differ by 3 in the features; new logits are added to
    # the background, whose square is 1 there, beside an old class without change.
    length = math.sqrt(56)
    expected = math.sqrt(4 / 2) * (0.01 * 3 * length + 0.0005 * 1 * length) / 2
    found = loss(logits, batch, batch["valid"])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_nothing_changed_has_a_finite_gradient_and_invalid_places_none() -> None:
    features = jax.random.normal(jax.random.key(0), (1, 4, 4, 3))
    logits = jax.random.normal(jax.random.key(1), (1, 4, 4, 4))
    valid = jnp.ones((1, 4, 4), bool).at[0, 0, 0].set(False)
    rest = {"label": jnp.full((1, 4, 4), 2), "valid": valid, "teacher_logits": logits[..., :2] * 2}
    pod = LocalPOD(layers=("block",))

    def total(features: jax.Array, logits: jax.Array, teacher: jax.Array) -> jax.Array:
        batch = rest | {"features/block": features, "teacher/block": teacher}
        losses = (UnbiasedCrossEntropy(), UnbiasedDistillation(), pod)
        return sum((loss(logits, batch, valid) for loss in losses), jnp.float32(0))

    gradients = jax.jit(jax.grad(total, argnums=(0, 1, 2)))
    assert all(np.isfinite(gradient).all() for gradient in gradients(features, logits, features))
    learnt = gradients(features, logits, -2 * features)
    for gradient in learnt[:2]:
        assert not gradient[0, 0, 0].any()
        assert gradient[0, 1:].any()
    assert not learnt[2].any()  # the old network is a constant


def test_a_run_without_an_old_network_or_without_new_classes_is_refused() -> None:
    logits = jnp.zeros((1, 4, 4, 2))
    with pytest.raises(UserError, match="needs new classes"):
        of(UnbiasedDistillation(), 0, logits)
    valid = jnp.ones((1, 4, 4), bool)
    batch = {"label": jnp.zeros((1, 4, 4), int), "valid": valid}
    with pytest.raises(UserError, match=r"--config\.incremental\.run"):
        UnbiasedCrossEntropy()(logits, batch, valid)
    small = {"features/block": jnp.zeros((1, 2, 2, 1)), "teacher/block": jnp.zeros((1, 2, 2, 1))}
    batch |= small | {"teacher_logits": logits}
    with pytest.raises(UserError, match="Local POD of layer block"):
        LocalPOD(layers=("block",))(jnp.zeros((1, 4, 4, 3)), batch, valid)
