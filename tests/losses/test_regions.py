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
        (Dice(smooth=(0.5, 2.0)), 1 - (2.1 / 4.2 + 1.7 / 3.8) / 2),
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
        (LovaszSoftmax(class_weights=(1.0, 3.0)), (0.3 + 3 * 0.4) / 4),
        (Jaccard(), 1 - (1.8 / 2.4 + 1.6 / 2.2) / 2),
        (Jaccard(smooth=(0.5, 2.0)), 1 - (1.3 / 3.4 + 1.1 / 3.2) / 2),
        (Jaccard(class_weights=(1.0, 3.0)), 1 - (1.8 / 2.4 + 3 * 1.6 / 2.2) / 4),
        (Tversky(smooth=(0.5, 2.0)), 1 - (1.3 / (1.06 + 2) + 1.1 / (0.94 + 2)) / 2),
        (
            Tversky(class_weights=(1.0, 3.0), smooth=(0.0, 0.0)),
            1 - (0.8 / 1.06 + 3 * 0.6 / 0.94) / 4,
        ),
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


# Three pixels of classes 0, 1 and 1: I = .7, 1.3, 0; P = 1.1, 1.5, .4; T = 1, 2, 0.
THREE = jnp.log(jnp.array([[[[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.1, 0.7, 0.2]]]]))
THREE_LABEL = jnp.array([[[0, 1, 1]]], jnp.uint8)


@pytest.mark.parametrize(
    ("kind", "losses"),
    [
        (Dice, (1 - 2.4 / 3.1, 1 - 3.6 / 4.5, 1 - 1 / 1.4)),
        (Jaccard, (1 - 1.7 / 2.4, 1 - 2.3 / 3.2, 1 - 1 / 1.4)),
        (Tversky, (1 - 1.7 / 2.03, 1 - 2.3 / 2.85, 1 - 1 / 1.12)),
    ],
)
def test_a_class_that_is_not_there_counts_where_it_is_asked_to(
    kind: Any, losses: tuple[float, ...]
) -> None:
    batch, valid = {"label": THREE_LABEL}, THREE_LABEL != IGNORE
    for absent, counted in ((False, losses[:2]), (True, losses)):
        loss = kind(absent=absent)(THREE, batch, valid)
        assert float(loss) == pytest.approx(np.mean(counted), rel=1e-5)
        weighted = kind(absent=absent, class_weights=(1.0, 2.0, 5.0))(THREE, batch, valid)
        weights = (1, 2, 5)[: len(counted)]
        assert float(weighted) == pytest.approx(np.average(counted, weights=weights), rel=1e-5)


def test_small_classes_count_by_one_over_the_square_of_their_pixels() -> None:
    batch, valid = {"label": THREE_LABEL}, THREE_LABEL != IGNORE
    loss = GeneralisedDice()(THREE, batch, valid)
    expected = 1 - 2 * (0.7 + 1.3 / 4) / (2.1 + 3.5 / 4)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", [Dice, Jaccard, Tversky, LovaszSoftmax])
def test_the_mean_over_images_is_that_of_the_classes_that_each_image_has(kind: Any) -> None:
    # Class 0 is in both images, 1 in the first and 2 in none: three losses, by their weights.
    logits = jnp.concatenate([THREE, THREE[:, :, ::-1]])
    label = jnp.concatenate([THREE_LABEL, jnp.zeros_like(THREE_LABEL)])
    valid = jnp.ones(label.shape, bool)
    single = [
        float(
            kind(class_weights=weights)(
                logits[i : i + 1], {"label": label[i : i + 1]}, valid[i : i + 1]
            )
        )
        for i, weights in ((0, (1.0, 0.0, 0.0)), (0, (0.0, 1.0, 0.0)), (1, ()))
    ]
    loss = kind(regions="image", class_weights=(1.0, 4.0, 9.0))
    assert float(loss(logits, {"label": label}, valid)) == pytest.approx(
        np.average(single, weights=(1, 4, 1)), rel=1e-5
    )


def test_focal_tversky_of_what_is_met_exactly_is_next_to_nothing() -> None:
    sure = 100.0 * jax.nn.one_hot(THREE_LABEL, 3)
    loss = Tversky(gamma=2.0)(sure, {"label": THREE_LABEL}, THREE_LABEL != IGNORE)
    assert float(loss) == pytest.approx(1e-3, rel=1e-3)  # the root of 1e-6
