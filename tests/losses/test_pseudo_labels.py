"""Labels by the old network, against a loop over pixels."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.losses.pseudo_labels import PseudoLabels, medians
from jaxseg.scenes.scene import IGNORE

OLD, ALL = 3, 5


def drawn(seed: int) -> tuple[jax.Array, dict[str, jax.Array], jax.Array]:
    """Logits, batch and validity of two images of 4 x 5 pixels."""
    random = np.random.default_rng(seed)
    label = random.choice([0, 0, 1, 3, 4, IGNORE], (2, 4, 5))
    batch = {
        "label": jnp.array(label),
        "valid": jnp.ones((2, 4, 5), bool),
        "teacher_logits": jnp.array(random.normal(0, 2, (2, 4, 5, OLD)), jnp.float32),
    }
    valid = batch["valid"] & (batch["label"] != IGNORE)
    return jnp.array(random.normal(size=(2, 4, 5, ALL)), jnp.float32), batch, valid


def by_pixels(logits: jax.Array, batch: dict[str, jax.Array], valid: jax.Array) -> float:
    """The loss, pixel by pixel."""
    q = np.asarray(jax.nn.softmax(batch["teacher_logits"]), np.float64)
    log_p = np.asarray(jax.nn.log_softmax(logits), np.float64)
    label, counted = np.asarray(batch["label"]), np.asarray(valid)
    entropy, answer = -(q * np.log(q)).sum(-1), q.argmax(-1)
    most = {}
    for k in range(OLD):
        of_class = np.sort(entropy[counted & (label < OLD) & (answer == k)])
        if of_class.size:
            most[k] = of_class[(of_class.size - 1) // 2]
    total = 0.0
    for image in range(len(label)):
        lost, background, certain = 0.0, 0, 0
        for place in np.ndindex(label.shape[1:]):
            at = (image, *place)
            if not counted[at]:
                continue
            if label[at] >= OLD:
                lost -= log_p[at][label[at]]
                continue
            background += 1
            if entropy[at] <= most[answer[at]] + 1e-7:
                certain += 1
                lost -= log_p[at][answer[at]]
        total += lost * (certain / background if background else 1.0)
    return float(total / counted.sum())


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sure_answers_of_the_old_network_are_labels(seed: int) -> None:
    logits, batch, valid = drawn(seed)
    found = PseudoLabels()(logits, batch, valid)
    np.testing.assert_allclose(found, by_pixels(logits, batch, valid), rtol=1e-5)


def test_an_image_of_new_classes_alone_counts_whole() -> None:
    logits, batch, valid = drawn(3)
    batch = batch | {"label": jnp.full((2, 4, 5), 4)}
    expected = -float(jax.nn.log_softmax(logits)[..., 4].mean())
    np.testing.assert_allclose(PseudoLabels()(logits, batch, valid | True), expected, rtol=1e-5)


def test_the_old_network_is_a_constant_and_gradients_are_finite() -> None:
    logits, batch, valid = drawn(4)

    def lost(logits: jax.Array, teacher: jax.Array, valid: jax.Array) -> jax.Array:
        return PseudoLabels()(logits, batch | {"teacher_logits": teacher}, valid)

    gradients = jax.jit(jax.grad(lost, argnums=(0, 1)))
    own, other = gradients(logits, batch["teacher_logits"], valid)
    assert own.any()
    assert np.isfinite(own).all()
    assert not other.any()
    assert not gradients(logits, batch["teacher_logits"], valid & False)[0].any()


def test_medians_of_groups_are_the_lower_ones() -> None:
    values = jnp.array([0.4, 0.1, 0.3, 0.2, 0.9, 0.5]).reshape(1, 2, 3)
    groups = jnp.array([0, 0, 0, 0, 2, 2]).reshape(1, 2, 3)
    mask = jnp.array([1, 1, 1, 1, 1, 0], bool).reshape(1, 2, 3)
    np.testing.assert_allclose(medians(values, groups, mask, 3), [0.2, 0.0, 0.9])


def test_without_an_old_network_they_are_refused() -> None:
    logits, batch, valid = drawn(5)
    del batch["teacher_logits"]
    with pytest.raises(UserError, match=r"--config\.incremental\.run"):
        PseudoLabels()(logits, batch, valid)
    with pytest.raises(UserError, match="weight"):
        PseudoLabels(weight=-math.inf)
