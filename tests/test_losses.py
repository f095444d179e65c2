"""Losses: hand-computed values, and what an ignored pixel may not do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.batch import IGNORE
from jaxseg.errors import UserError
from jaxseg.losses import CrossEntropy, EdgeWeightedCrossEntropy, Loss

LOSSES: list[Loss] = [
    CrossEntropy(),
    CrossEntropy(class_weights=(0.5, 2.0, 1.0), label_smoothing=0.1),
    EdgeWeightedCrossEntropy(class_weights=(0.5, 2.0, 1.0)),
]


def example(seed: int = 0, size: int = 6) -> tuple[jax.Array, dict[str, jax.Array], jax.Array]:
    random = np.random.default_rng(seed)
    label = random.integers(0, 3, (2, size, size)).astype(np.uint8)
    label[0, :2] = IGNORE
    batch = {
        "label": jnp.asarray(label),
        "separation": jnp.asarray(random.uniform(0, 20, label.shape), jnp.float32),
    }
    logits = jnp.asarray(random.normal(size=(*label.shape, 3)), jnp.float32)
    return logits, batch, batch["label"] != IGNORE


def test_cross_entropy_is_the_mean_of_minus_log_probability() -> None:
    logits = jnp.log(jnp.array([[[[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]]]]))
    label = jnp.array([[[0, 1]]], jnp.uint8)
    loss = CrossEntropy()(logits, {"label": label}, label != IGNORE)
    assert float(loss) == pytest.approx(-(np.log(0.5) + np.log(0.8)) / 2, rel=1e-6)


def test_class_weights_and_smoothing_equal_pytorch() -> None:
    # torch.nn.CrossEntropyLoss(weight=[.5, 2, 1], ignore_index=255, label_smoothing=.1) on these
    # numbers; the same
    # value follows from its documented formula, written out below in NumPy.
    logits, batch, valid = example()
    weights = np.array([0.5, 2.0, 1.0])
    logp = np.asarray(jax.nn.log_softmax(logits)).reshape(-1, 3)
    y = np.asarray(batch["label"]).reshape(-1)
    keep = y != IGNORE
    logp, y = logp[keep], y[keep]
    nll = -weights[y] * logp[np.arange(len(y)), y]
    smooth = -(weights * logp).sum(1)
    expected = (0.9 * nll.sum() + 0.1 / 3 * smooth.sum()) / weights[y].sum()
    loss = CrossEntropy(class_weights=(0.5, 2.0, 1.0), label_smoothing=0.1)(logits, batch, valid)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_edge_weights_follow_the_paper() -> None:
    logits, batch, valid = example()
    w0, sigma, wc = 10.0, 5.0, np.array([0.5, 2.0, 1.0])
    y = np.where(np.asarray(valid), np.asarray(batch["label"]), 0)
    weight = wc[y] + w0 * np.exp(-(np.asarray(batch["separation"]) ** 2) / (2 * sigma**2))
    weight *= np.asarray(valid)
    nll = -np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), y[..., None], -1)[..., 0]
    loss = EdgeWeightedCrossEntropy(class_weights=(0.5, 2.0, 1.0), w0=w0, sigma=sigma)
    assert float(loss(logits, batch, valid)) == pytest.approx(
        (weight * nll).sum() / weight.sum(), rel=1e-5
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_an_ignored_pixel_has_no_gradient(loss: Loss) -> None:
    logits, batch, valid = example()
    gradient = jax.grad(lambda x: loss(x, batch, valid))(logits)
    assert np.all(np.asarray(gradient)[~np.asarray(valid)] == 0)
    assert np.all(np.abs(np.asarray(gradient)[np.asarray(valid)]).sum(-1) > 0)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_of_ignored_pixels_has_loss_and_gradient_zero(loss: Loss) -> None:
    logits, batch, valid = example()
    value, gradient = jax.value_and_grad(lambda x: loss(x, batch, jnp.zeros_like(valid)))(logits)
    assert float(value) == 0
    assert np.all(np.asarray(gradient) == 0)


@pytest.mark.parametrize("loss", LOSSES)
def test_padding_with_ignored_pixels_changes_nothing(loss: Loss) -> None:
    logits, batch, valid = example()
    padding = ((0, 0), (0, 3), (0, 2))
    padded = {
        "label": jnp.pad(batch["label"], padding, constant_values=IGNORE),
        "separation": jnp.pad(batch["separation"], padding, constant_values=jnp.inf),
    }
    wide = jnp.pad(logits, (*padding, (0, 0)), constant_values=7.0)
    assert float(loss(wide, padded, jnp.pad(valid, padding))) == pytest.approx(
        float(loss(logits, batch, valid)), rel=1e-6
    )


def test_wrong_number_of_class_weights_is_refused() -> None:
    logits, batch, valid = example()
    with pytest.raises(UserError, match="2 class weights for 3 classes"):
        CrossEntropy(class_weights=(1.0, 2.0))(logits, batch, valid)


def test_edge_weights_without_distances_are_refused() -> None:
    logits, batch, valid = example()
    with pytest.raises(UserError, match=r"data\.separation"):
        EdgeWeightedCrossEntropy()(logits, {"label": batch["label"]}, valid)
