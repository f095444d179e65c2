"""Losses: what an ignored pixel may not do to any, and hand-computed values of those of pixels."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.loss_examples import LOSSES, PAIR, PAIR_LABEL, WEIGHTED, compiled, example, value_of

from jaxseg.errors import UserError
from jaxseg.losses.edges import EdgeAware
from jaxseg.losses.loss import Loss
from jaxseg.losses.pixels import (
    BinaryCrossEntropy,
    CrossEntropy,
    EdgeWeightedCrossEntropy,
    Focal,
    HardPixelCrossEntropy,
    SymmetricCrossEntropy,
)
from jaxseg.losses.regions import Dice, Jaccard, LovaszSoftmax, Tversky
from jaxseg.scenes.scene import IGNORE

# A boundary is a maximum of neighbours less the pixel, which cancels where it is that maximum; hard
# pixels are a quarter; what is right already adds nothing to Lovasz' IoU. Other losses reach all.
REACHED = {EdgeAware: 0.85, HardPixelCrossEntropy: 0.25, LovaszSoftmax: 0.8}


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
    assert value_of(loss, logits, batch, valid) == pytest.approx(
        (weight * nll).sum() / weight.sum(), rel=1e-5
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_an_ignored_pixel_has_no_gradient(loss: Loss) -> None:
    logits, batch, valid = example()
    gradient = compiled(loss)(logits, batch, valid)[1]
    assert np.all(np.asarray(gradient)[~np.asarray(valid)] == 0)
    reached = np.abs(np.asarray(gradient)[np.asarray(valid)]).sum(-1) > 1e-8  # more than rounding
    assert reached.mean() >= REACHED.get(type(loss), 1.0)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_of_ignored_pixels_has_loss_and_gradient_zero(loss: Loss) -> None:
    logits, batch, valid = example()
    value, gradient = compiled(loss)(logits, batch, jnp.zeros_like(valid))
    assert float(value) == 0
    assert np.all(np.asarray(gradient) == 0)


@pytest.mark.parametrize("loss", LOSSES)
def test_padding_with_ignored_pixels_changes_nothing(loss: Loss) -> None:
    logits, batch, valid = example()
    padding = ((0, 1), (0, 3), (0, 2))
    padded = {
        "label": jnp.pad(batch["label"], padding, constant_values=IGNORE),
        "separation": jnp.pad(batch["separation"], padding, constant_values=jnp.inf),
    }
    wide = jnp.pad(logits, (*padding, (0, 0)), constant_values=1e30)
    assert value_of(loss, wide, padded, jnp.pad(valid, padding)) == pytest.approx(
        value_of(loss, logits, batch, valid), rel=1e-6
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_what_an_ignored_pixel_predicts_reaches_nothing(loss: Loss) -> None:
    logits, batch, valid = example()
    wild = jnp.where(valid[..., None], logits, jnp.array([-1e30, 3e38, 1e4]))
    value, gradient = compiled(loss)(wild, batch, valid)
    assert float(value) == value_of(loss, logits, batch, valid)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("scale", [1.0, 1e4, 1e30])
def test_bfloat16_and_extreme_logits_keep_value_and_gradient_finite(
    loss: Loss, scale: float
) -> None:
    logits, batch, valid = example()
    extreme = (scale * logits).astype(jnp.bfloat16)
    value, gradient = compiled(loss)(extreme, batch, valid)
    assert value.dtype == jnp.float32
    assert gradient.dtype == jnp.bfloat16
    assert np.isfinite(value)
    assert np.isfinite(gradient.astype(jnp.float32)).all()
    # The sums are in float32: the value is that of the rounded logits.
    rounded = loss(extreme.astype(jnp.float32), batch, valid)
    assert float(value) == pytest.approx(float(rounded), rel=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_certain_and_right_prediction_has_a_finite_gradient(loss: Loss) -> None:
    _, batch, valid = example()
    sure = 200.0 * jax.nn.one_hot(batch["label"], 3) - 100.0
    value, gradient = compiled(loss)(sure, batch, valid)
    assert np.isfinite(gradient).all()
    if not getattr(loss, "label_smoothing", 0) and getattr(loss, "smooth", (0, 0)) != (0.02, 0.01):
        assert float(value) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_batch_and_rows_may_lie_on_many_devices(loss: Loss, mesh: jax.sharding.Mesh) -> None:
    logits, batch, valid = example()
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(("data", "fsdp"), "space"))
    apart = jax.device_put((logits, batch, valid), rows)
    assert len(apart[0].sharding.device_set) == 8
    value, gradient = compiled(loss)(logits, batch, valid)
    sharded_value, sharded_gradient = compiled(loss)(*apart)
    assert float(sharded_value) == pytest.approx(float(value), rel=1e-5)
    np.testing.assert_allclose(sharded_gradient, gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("loss", WEIGHTED)
def test_a_class_of_weight_zero_has_no_say(loss: Any) -> None:
    logits, batch, valid = example()
    # Where no pixel of class 0 is left there is nothing to train; `absent` and w0 count on.
    first = dataclasses.replace(loss, class_weights=(1.0, 0.0, 0.0))
    others = valid & (batch["label"] != 0)
    value, gradient = compiled(first)(logits, batch, others)
    if getattr(loss, "absent", False) or isinstance(loss, EdgeWeightedCrossEntropy):
        assert float(value) > 0
    else:
        assert float(value) == 0
        assert np.all(np.asarray(gradient) == 0)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        # Logits log .8, log .2: sigmoids .8 / 1.8 and .2 / 1.2; log .4, log .6: .4/1.4 and .6/1.6.
        (
            BinaryCrossEntropy(),
            -sum(map(math.log, (0.8 / 1.8, 1 / 1.2, 1 / 1.4, 0.6 / 1.6))) / 4,
        ),
        (Focal(), -(0.2**2 * math.log(0.8) + 0.4**2 * math.log(0.6)) / 2),
        (
            Focal(class_weights=(1.0, 3.0), gamma=1.0),
            -(0.2 * math.log(0.8) + 3 * 0.4 * math.log(0.6)) / 4,
        ),
        # Each class's mean of two sigmoids' terms as above, times its weight, over both weights.
        (
            BinaryCrossEntropy(class_weights=(1.0, 3.0)),
            -(math.log(0.8 / 1.8 / 1.2) + 3 * math.log(0.6 / 1.4 / 1.6)) / 2 / 4,
        ),
        (CrossEntropy(class_weights=(1.0, 3.0)), -(math.log(0.8) + 3 * math.log(0.6)) / 4),
        (HardPixelCrossEntropy(fraction=0.5), -math.log(0.6)),
        # The weight of the first pixel does not make it the harder one.
        (HardPixelCrossEntropy(class_weights=(9.0, 1.0), fraction=0.5), -math.log(0.6)),
        (
            HardPixelCrossEntropy(class_weights=(9.0, 1.0), fraction=1.0),
            -(9 * math.log(0.8) + math.log(0.6)) / 10,
        ),
        (HardPixelCrossEntropy(fraction=0.51), -(math.log(0.8) + math.log(0.6)) / 2),
        (
            SymmetricCrossEntropy(alpha=2.0, beta=0.5),
            -2 * (math.log(0.8) + math.log(0.6)) / 2 + 0.5 * 4 * (0.2 + 0.4) / 2,
        ),
        (
            SymmetricCrossEntropy(class_weights=(1.0, 3.0), log_zero=-6.0),
            (-0.1 * (math.log(0.8) + 3 * math.log(0.6)) + 6 * (0.2 + 3 * 0.4)) / 4,
        ),
    ],
)
def test_two_pixels_have_the_value_computed_by_hand(loss: Loss, expected: float) -> None:
    value = loss(PAIR, {"label": PAIR_LABEL}, PAIR_LABEL != IGNORE)
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_losses_without_what_they_add_are_cross_entropy() -> None:
    example_ = example()
    for loss, twin in (
        (Focal(gamma=0.0), CrossEntropy()),
        (HardPixelCrossEntropy(fraction=1.0), CrossEntropy()),
        (SymmetricCrossEntropy(alpha=1.0, beta=0.0), CrossEntropy()),
    ):
        assert value_of(loss, *example_) == pytest.approx(value_of(twin, *example_), rel=1e-5)


@pytest.mark.parametrize("fraction", [0.05, 0.25, 0.61, 1.0])
def test_hard_pixels_are_the_largest_share_of_the_valid_ones(fraction: float) -> None:
    logits, batch, valid = example(size=20)
    logp = np.asarray(jax.nn.log_softmax(logits))[np.asarray(valid)]
    y = np.asarray(batch["label"])[np.asarray(valid)]
    nll = np.sort(-logp[np.arange(len(y)), y])[::-1]
    expected = nll[: math.ceil(fraction * len(y))].mean()
    loss = HardPixelCrossEntropy(fraction=fraction)
    assert value_of(loss, logits, batch, valid) == pytest.approx(expected, rel=1e-5)
    gradient = compiled(loss)(logits, batch, valid)[1]
    assert (np.abs(gradient).sum(-1) > 0).sum() == math.ceil(fraction * len(y))


def test_hard_pixels_do_not_hide_a_number_that_is_none() -> None:
    logits, batch, valid = example()
    assert math.isnan(
        value_of(HardPixelCrossEntropy(), logits.at[1, 3, 3].set(jnp.nan), batch, valid)
    )


@pytest.mark.parametrize("loss", WEIGHTED)
def test_wrong_number_of_class_weights_is_refused(loss: Any) -> None:
    logits, batch, valid = example()
    with pytest.raises(UserError, match="2 class weights for 3 classes"):
        dataclasses.replace(loss, class_weights=(1.0, 2.0))(logits, batch, valid)


@pytest.mark.parametrize("loss", WEIGHTED)
def test_class_weights_that_cannot_be_meant_are_refused(loss: Any) -> None:
    for wrong, said in (
        ((1.0, -1.0), "weight -1.0: it must be finite, 0 or more"),
        ((1.0, math.nan), "weight nan"),
        ((0.0, 0.0), "class_weights are all 0"),
        ("median", "'median' is not a rule: give one of inverse_frequency, median_frequency"),
    ):
        with pytest.raises(UserError, match=said):
            dataclasses.replace(loss, class_weights=wrong)
    with pytest.raises(UserError, match="weight -2"):
        dataclasses.replace(loss, weight=-2.0)
    logits, batch, valid = example()
    with pytest.raises(UserError, match="has to be replaced by numbers first"):
        dataclasses.replace(loss, class_weights="enet")(logits, batch, valid)


@pytest.mark.parametrize(
    ("kind", "field", "value", "said"),
    [
        (CrossEntropy, "label_smoothing", 1.5, "is 1.5: it must be 0 or more, 1 or less"),
        (CrossEntropy, "label_smoothing", -0.1, "label-smoothing"),
        (CrossEntropy, "label_smoothing", math.nan, "label-smoothing"),
        (Focal, "gamma", -1.0, "gamma of a loss is -1.0: it must be 0 or more"),
        (HardPixelCrossEntropy, "fraction", 0.0, "is 0.0: it must be above 0, 1 or less"),
        (HardPixelCrossEntropy, "fraction", 1.1, "fraction"),
        (SymmetricCrossEntropy, "alpha", -1.0, "alpha"),
        (SymmetricCrossEntropy, "beta", math.inf, "beta"),
        (
            SymmetricCrossEntropy,
            "log_zero",
            4.0,
            "log-zero of a loss is 4.0: it must be 0 or less",
        ),
        (EdgeWeightedCrossEntropy, "sigma", 0.0, "sigma"),
        (EdgeWeightedCrossEntropy, "w0", -1.0, "w0"),
        (EdgeAware, "tolerance", -1, "tolerance"),
        (Dice, "smooth", (-1.0, 1.0), "smooth"),
        (Jaccard, "smooth", (1.0, -1.0), "smooth"),
        (Tversky, "alpha", -0.1, "alpha"),
        (Tversky, "gamma", 0.5, "gamma of a loss is 0.5: it must be 1 or more"),
        (Tversky, "smooth", (math.nan, 1.0), "smooth"),
    ],
)
def test_a_field_out_of_range_is_refused(kind: Any, field: str, value: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        kind(**{field: value})


@pytest.mark.parametrize("loss", LOSSES)
def test_one_logit_per_pixel_is_refused_where_softmax_were_always_one(loss: Loss) -> None:
    logits, batch, valid = example()
    if isinstance(loss, BinaryCrossEntropy):
        return
    with pytest.raises(UserError, match="use BinaryCrossEntropy"):
        loss(logits[..., :1], batch, valid)


def test_edge_weights_without_distances_are_refused() -> None:
    logits, batch, valid = example()
    with pytest.raises(UserError, match="`separation` in the batch"):
        EdgeWeightedCrossEntropy()(logits, {"label": batch["label"]}, valid)


def test_a_single_logit_is_that_of_class_one_and_weighted_by_the_class_of_the_pixel() -> None:
    # Sigmoids of 0.2 and 0.6 of class 1: the first pixel is of class 0, the second of class 1.
    logits = jnp.log(jnp.array([[[[0.2 / 0.8], [0.6 / 0.4]]]]))
    batch, valid = {"label": PAIR_LABEL}, PAIR_LABEL != IGNORE
    terms = -math.log(0.8), -math.log(0.6)
    plain = BinaryCrossEntropy()(logits, batch, valid)
    assert float(plain) == pytest.approx(sum(terms) / 2, rel=1e-5)
    weighted = BinaryCrossEntropy(class_weights=(1.0, 3.0))(logits, batch, valid)
    assert float(weighted) == pytest.approx((terms[0] + 3 * terms[1]) / 4, rel=1e-5)


def test_all_pixels_that_are_as_hard_as_the_last_one_wanted_count() -> None:
    # Losses of 3, 1, 1, 1, 0 and a share of two pixels: both of loss 1 and those that equal it.
    wrong = jnp.asarray([3.0, 1, 1, 1, 0])
    nll = jnp.log1p(jnp.exp(wrong))
    logits = jnp.stack([jnp.zeros(5), wrong], -1)[None, None]
    batch = {"label": jnp.zeros((1, 1, 5), jnp.uint8)}
    loss = HardPixelCrossEntropy(fraction=0.4)(logits, batch, jnp.ones((1, 1, 5), bool))
    assert float(loss) == pytest.approx(float(nll[:4].mean()), rel=1e-5)


def test_the_border_weight_adds_to_the_weight_of_the_class() -> None:
    logits, batch, valid = PAIR, {"label": PAIR_LABEL}, PAIR_LABEL != IGNORE
    batch["separation"] = jnp.asarray([[[3.0, jnp.inf]]])
    first = 0.5 + 7 * math.exp(-9 / 8)
    loss = EdgeWeightedCrossEntropy(class_weights=(0.5, 2.0), w0=7.0, sigma=2.0)
    expected = -(first * math.log(0.8) + 2 * math.log(0.6)) / (first + 2)
    assert float(loss(logits, batch, valid)) == pytest.approx(expected, rel=1e-5)


def test_a_range_includes_its_ends() -> None:
    for loss in (
        CrossEntropy(label_smoothing=0.0),
        CrossEntropy(label_smoothing=1.0),
        Focal(gamma=0.0),
        HardPixelCrossEntropy(fraction=1.0),
        SymmetricCrossEntropy(alpha=0.0, beta=0.0, log_zero=0.0),
        EdgeWeightedCrossEntropy(w0=0.0),
        EdgeAware(tolerance=0),
        Dice(weight=0.0, smooth=(0.0, 0.0)),
        Tversky(alpha=0.0, beta=0.0, gamma=1.0),
    ):
        logits, batch, valid = example()
        assert math.isfinite(float(loss(logits, batch, valid)))


@pytest.mark.parametrize("weight", [math.inf, math.nan])
def test_a_factor_that_is_not_finite_is_refused(weight: float) -> None:
    with pytest.raises(UserError, match=f"weight {weight}: it must be finite"):
        CrossEntropy(weight=weight)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_labelled_pixel_without_data_is_as_one_without_a_label(loss: Loss) -> None:
    logits, batch, valid = example()
    seen = valid & jnp.asarray(np.random.default_rng(1).random(valid.shape) < 0.7)
    unlabelled = batch | {"label": jnp.where(seen, batch["label"], IGNORE)}
    value, gradient = compiled(loss)(logits, batch, seen)
    expected, its_gradient = compiled(loss)(logits, unlabelled, seen)
    assert float(value) == pytest.approx(float(expected), rel=1e-6)
    np.testing.assert_allclose(gradient, its_gradient, atol=1e-7)


@pytest.mark.parametrize("loss", WEIGHTED)
def test_class_weights_count_relative_to_each_other(loss: Any) -> None:
    logits, batch, valid = example()
    if isinstance(loss, EdgeWeightedCrossEntropy):
        loss = dataclasses.replace(loss, w0=0.0)
    faint = dataclasses.replace(loss, class_weights=tuple(1e-4 * w for w in loss.class_weights))
    assert float(faint(logits, batch, valid)) == pytest.approx(
        float(loss(logits, batch, valid)), rel=1e-5
    )


def test_hard_pixels_are_told_apart_to_the_last_digits() -> None:
    nll = 1 + 1e-5 * jnp.arange(64)
    logits = jnp.stack([jnp.zeros(64), jnp.log(jnp.expm1(nll))], -1)[None, None]
    batch, valid = {"label": jnp.zeros((1, 1, 64), jnp.uint8)}, jnp.ones((1, 1, 64), bool)
    gradient = jax.grad(HardPixelCrossEntropy(fraction=0.25))(logits, batch, valid)
    np.testing.assert_array_equal(np.abs(gradient[0, 0]).sum(-1) > 0, np.arange(64) >= 48)
