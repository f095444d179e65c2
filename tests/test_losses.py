"""Losses: hand-computed values, and what an ignored pixel may not do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.batch import IGNORE
from jaxseg.errors import UserError
from jaxseg.losses import CrossEntropy, EdgeAware, EdgeWeightedCrossEntropy, Loss

LOSSES: list[Loss] = [
    CrossEntropy(),
    CrossEntropy(class_weights=(0.5, 2.0, 1.0), label_smoothing=0.1),
    EdgeWeightedCrossEntropy(class_weights=(0.5, 2.0, 1.0)),
    EdgeAware(),
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
    reached = np.abs(np.asarray(gradient)[np.asarray(valid)]).sum(-1) > 0
    # A boundary is a maximum of neighbours: some pixel may not be the one.
    assert reached.mean() > (0.9 if isinstance(loss, EdgeAware) else 0.999)


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


def halves(columns: int, first: int) -> jax.Array:
    """A label map of 12 rows: class 0 in the first columns, then class 1."""
    row = jnp.where(jnp.arange(columns) < first, 0, 1)
    return jnp.broadcast_to(row, (1, 12, columns)).astype(jnp.uint8)


def certain(label: jax.Array, num_classes: int = 2) -> jax.Array:
    return 200.0 * jax.nn.one_hot(label, num_classes)


@pytest.mark.parametrize(
    ("off", "expected"), [(0, 0.0), (1, 0.0), (2, 0.0), (3, 1.0), (-2, 0.0), (-5, 1.0)]
)
def test_a_boundary_off_by_more_than_the_tolerance_costs_everything(
    off: int, expected: float
) -> None:
    # A class's boundary is its last column; 1 - F1 of columns that are `off` apart.
    batch = {"label": halves(20, 10)}
    valid = jnp.ones((1, 12, 20), bool)
    loss = EdgeAware()(certain(halves(20, 10 + off)), batch, valid)
    assert float(loss) == pytest.approx(expected, abs=1e-6)


def test_the_boundary_loss_is_one_minus_f1_of_soft_boundaries() -> None:
    # One row of class 0 0 0 1 1 1 and probabilities of class 0 written out; class 1 has the rest.
    p = np.array([0.9, 0.9, 0.6, 0.3, 0.1, 0.2])
    label = jnp.array([[[0, 0, 0, 1, 1, 1]]], jnp.uint8)
    logits = jnp.log(jnp.asarray(np.stack([p, 1 - p], -1), jnp.float32))[None, None]
    scores = []
    for predicted, true, near_true, near_predicted in (
        # max3(1 - p) - (1 - p) of [.1 .1 .4 .7 .9 .8] is [0 .3 .3 .2 0 .1]; the true one [0 0 1 0 0
        # 0]; max5 of the true one reaches columns 0 to 4, of the predicted one is .3 at column 2.
        ([0, 0.3, 0.3, 0.2, 0, 0.1], [0, 0, 1, 0, 0, 0], [1, 1, 1, 1, 1, 0], 0.3),
        # 1 - p of class 1 is p: [.9 .9 .6 .3 .1 .2] gives [0 0 .3 .3 .2 0]; true [0 0 0 1 0 0].
        ([0, 0, 0.3, 0.3, 0.2, 0], [0, 0, 0, 1, 0, 0], [0, 1, 1, 1, 1, 1], 0.3),
    ):
        precision = np.dot(predicted, near_true) / np.sum(predicted)
        recall = near_predicted / np.sum(true)
        scores.append(2 * precision * recall / (precision + recall))
    loss = EdgeAware()(logits, {"label": label}, label != IGNORE)
    assert float(loss) == pytest.approx(1 - np.mean(scores), rel=1e-5)


def test_classes_without_a_boundary_do_not_count() -> None:
    label = halves(20, 10)
    both = jnp.concatenate((label, jnp.ones_like(label)))  # the second image is all of one class
    valid = jnp.ones_like(both, bool)
    logits = certain(both, num_classes=5) + jnp.asarray(
        np.random.default_rng(0).normal(size=(2, 12, 20, 5)), jnp.float32
    )
    one = EdgeAware()(logits[:1], {"label": label}, valid[:1])
    assert float(EdgeAware()(logits, {"label": both}, valid)) == pytest.approx(float(one), rel=1e-6)


def test_an_ignored_strip_hides_a_boundary() -> None:
    label = halves(20, 10)
    hidden = label.at[:, :, 9:11].set(IGNORE)
    batch, valid = {"label": hidden}, hidden != IGNORE
    assert float(EdgeAware()(certain(1 - label), batch, valid)) == 0


def test_the_boundary_loss_takes_bfloat16_and_extreme_logits() -> None:
    logits, batch, valid = example()
    for scale in (1.0, 1e4):
        value, gradient = jax.value_and_grad(
            lambda x, s=scale: EdgeAware()((s * x).astype(jnp.bfloat16), batch, valid)
        )(logits)
        assert value.dtype == jnp.float32
        assert 0 <= float(value) <= 1
        assert np.isfinite(gradient).all()
