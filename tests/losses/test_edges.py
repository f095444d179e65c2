"""The loss of boundaries: hand-computed values, and what makes no boundary."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.loss_examples import value_of

from jaxseg.losses import edges as edge_losses
from jaxseg.losses.edges import EdgeAware
from jaxseg.scenes.scene import IGNORE


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
    loss = value_of(EdgeAware(), certain(halves(20, 10 + off)), batch, valid)
    assert loss == pytest.approx(expected, abs=1e-6)


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
    loss = value_of(EdgeAware(), logits, {"label": label}, label != IGNORE)
    assert loss == pytest.approx(1 - np.mean(scores), rel=1e-5)


@pytest.mark.parametrize("sure", [1.0, 0.01])
def test_classes_without_a_boundary_do_not_count(sure: float) -> None:
    label = halves(20, 10)
    both = jnp.concatenate((label, jnp.ones_like(label)))  # the second image is all of one class
    valid = jnp.ones_like(both, bool)
    logits = sure * certain(both, num_classes=5) + jnp.asarray(
        np.random.default_rng(0).normal(size=(2, 12, 20, 5)), jnp.float32
    )
    one = value_of(EdgeAware(), logits[:1], {"label": label}, valid[:1])
    both_images = value_of(EdgeAware(), logits, {"label": both}, valid)
    assert both_images == pytest.approx(one, rel=1e-6)


def test_an_ignored_strip_hides_a_boundary() -> None:
    label = halves(20, 10)
    hidden = label.at[:, :, 9:11].set(IGNORE)
    batch, valid = {"label": hidden}, hidden != IGNORE
    for said in (1 - label, halves(20, 3)):
        assert value_of(EdgeAware(), certain(said), batch, valid) == 0


@pytest.mark.parametrize("reach", [0, 1, 3])
def test_the_gradient_of_a_maximum_goes_to_where_it_was_found(reach: int) -> None:
    random = np.random.default_rng(reach)
    # Two decimals: many neighbours are equal, and a pixel keeps to itself where none is larger.
    x = jnp.asarray(random.integers(0, 20, (2, 9, 7, 3)) / 20, jnp.float32)
    upstream = jnp.asarray(random.normal(size=x.shape), jnp.float32)

    def compared(x: jax.Array) -> jax.Array:
        for axis in (1, 2):
            pads = [(0, 0)] * 4
            pads[axis] = (reach, reach)
            padded = jnp.pad(x, pads)
            for shift in range(2 * reach + 1):
                other = jax.lax.slice_in_dim(padded, shift, shift + x.shape[axis], axis=axis)
                x = jnp.where(x >= other, x, other)
        return x

    expected, back = jax.vjp(compared, x)
    largest, own_back = jax.vjp(lambda x: edge_losses._largest_near(x, reach), x)
    np.testing.assert_array_equal(largest, expected)
    np.testing.assert_allclose(own_back(upstream)[0], back(upstream)[0], atol=1e-5)


def test_boundaries_of_a_class_count_by_its_weight() -> None:
    # As above: the scores of classes 0 and 1 of one row of soft probabilities.
    p = np.array([0.9, 0.9, 0.6, 0.3, 0.1, 0.2])
    label = jnp.array([[[0, 0, 0, 1, 1, 1]]], jnp.uint8)
    logits = jnp.log(jnp.asarray(np.stack([p, 1 - p], -1), jnp.float32))[None, None]
    one, other = (
        value_of(EdgeAware(class_weights=weights), logits, {"label": label}, label != IGNORE)
        for weights in ((1.0, 0.0), (0.0, 1.0))
    )
    assert one != pytest.approx(other, rel=0.01)
    both = EdgeAware(class_weights=(1.0, 3.0))
    assert value_of(both, logits, {"label": label}, label != IGNORE) == pytest.approx(
        (one + 3 * other) / 4, rel=1e-5
    )


@pytest.mark.parametrize("tolerance", [0, 1, 4])
def test_the_tolerance_is_that_of_the_loss_in_rows_and_in_columns(tolerance: int) -> None:
    for turned in (False, True):
        for off, expected in ((tolerance, 0.0), (tolerance + 1, 1.0)):
            truth, said = halves(20, 10), certain(halves(20, 10 + off))
            if turned:
                truth, said = truth.swapaxes(1, 2), said.swapaxes(1, 2)
            valid = jnp.ones(truth.shape, bool)
            loss = value_of(EdgeAware(tolerance=tolerance), said, {"label": truth}, valid)
            assert loss == pytest.approx(expected, abs=1e-6)


def test_corners_are_neighbours() -> None:
    # One pixel of class 1 and its eight neighbours of class 0 are boundary, nothing else is.
    label = jnp.zeros((1, 7, 7), jnp.uint8).at[0, 3, 3].set(1)
    elsewhere = jnp.zeros((1, 7, 7), jnp.uint8).at[0, 2, 2].set(1)
    loss = EdgeAware(tolerance=0)
    valid = jnp.ones(label.shape, bool)
    # Class 1: no pixel of both; class 0: of eight pixels each, two lie in both rings.
    assert value_of(loss, certain(elsewhere), {"label": label}, valid) == pytest.approx(
        1 - (0 + 2 / 8) / 2, abs=1e-6
    )
