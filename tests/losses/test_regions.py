"""Losses of regions: hand-computed values, and what their sums go over."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.loss_examples import PAIR, PAIR_LABEL, example, value_of

from jaxseg.losses import regions as region_losses
from jaxseg.losses.loss import Loss
from jaxseg.losses.regions import Dice, GeneralisedDice, Jaccard, LovaszSoftmax, Tversky
from jaxseg.scenes.scene import IGNORE


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        # I = .8, .6; P = 1.2, .8; T = 1, 1.
        (Dice(smooth=(0.0, 0.0)), 1 - (1.6 / 2.2 + 1.2 / 1.8) / 2),
        (Dice(), 1 - (2.6 / 3.2 + 2.2 / 2.8) / 2),
        (Dice(class_weights=(0.0, 1.0)), 1 - 2.2 / 2.8),
        (GeneralisedDice(), 1 - 2 * 1.4 / 4),
        (GeneralisedDice(class_weights=(3.0, 1.0)), 1 - 2 * 3 / (3 * 2.2 + 1.8)),
        (Jaccard(smooth=(0.0, 0.0)), 1 - (0.8 / 1.4 + 0.6 / 1.2) / 2),
        (
            Tversky(smooth=(0.0, 0.0)),
            1 - (0.8 / (0.8 + 0.3 * 0.4 + 0.7 * 0.2) + 0.6 / (0.6 + 0.3 * 0.2 + 0.7 * 0.4)) / 2,
        ),
        (Tversky(gamma=2.0, smooth=(0.0, 0.0), alpha=1, beta=1), (0.6 / 1.4) ** 0.5 / 2 + 0.5**1.5),
        # Class 0: errors .4 (not its pixel), .2 (its pixel); 1 - IoU goes 0, 1/2, 1.
        # Class 1: errors .4 (its pixel), .2 (not): 1 - IoU goes 0, 1, 1.
        (LovaszSoftmax(), ((0.4 * 0.5 + 0.2 * 0.5) + 0.4) / 2),
    ],
)
def test_two_pixels_have_the_value_computed_by_hand(loss: Loss, expected: float) -> None:
    value = loss(PAIR, {"label": PAIR_LABEL}, PAIR_LABEL != IGNORE)
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_tversky_of_equal_costs_is_dice_or_jaccard() -> None:
    example_ = example()
    none = (0.0, 0.0)
    for loss, twin in (
        (Tversky(alpha=0.5, beta=0.5, smooth=none), Dice(smooth=none)),
        (Tversky(alpha=1.0, beta=1.0, smooth=none), Jaccard(smooth=none)),
    ):
        assert value_of(loss, *example_) == pytest.approx(value_of(twin, *example_), rel=1e-5)


@pytest.mark.parametrize("kind", [Dice, GeneralisedDice, Jaccard, Tversky, LovaszSoftmax])
def test_regions_of_images_are_the_mean_of_single_images(kind: Any) -> None:
    logits, batch, valid = example()
    # All images show all classes, so each has as many terms in the mean.
    single = [
        value_of(kind(), *jax.tree.map(lambda array, i=i: array[i : i + 1], (logits, batch, valid)))
        for i in range(4)
    ]
    assert value_of(kind(regions="image"), logits, batch, valid) == pytest.approx(
        np.mean(single), rel=1e-5
    )


def test_both_ways_to_sort_agree() -> None:
    random = np.random.default_rng(0)
    key = random.integers(0, 50, (2, 3, 400)).astype(np.int32)  # many are equal
    key[0, 0, :5] = 2**31 - 1
    place = np.broadcast_to(np.arange(400, dtype=np.int32), key.shape)
    order = np.argsort(key, axis=2, kind="stable")
    for sorting in (region_losses._sorted_as_one, region_losses._sorted_beside):
        np.testing.assert_array_equal(jax.jit(sorting)(key, place), order)
    values = random.normal(size=key.shape).astype(np.float32)
    back = jax.jit(region_losses._sorted_beside)(jnp.asarray(order, jnp.int32), values)
    np.testing.assert_array_equal(
        jax.jit(region_losses._put)(jnp.asarray(order, jnp.int32), values), back
    )


def test_equal_errors_have_the_value_of_any_order() -> None:
    # Every error of class 1 is 1/2: 1 - IoU goes from 0 to 1 whatever the order.
    label = jnp.array([[[0, 1, 1, 0, 1]]], jnp.uint8)
    logits = jnp.zeros((1, 1, 5, 2))
    value = LovaszSoftmax()(logits, {"label": label}, label != IGNORE)
    assert float(value) == pytest.approx(0.5, rel=1e-6)
