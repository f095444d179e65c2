"""Losses that choose labels: who is believed, and what reaches the gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.losses.noisy_labels import CoTeaching, CrossModalSelection, _thresholds
from jaxseg.losses.pixels import CrossEntropy
from jaxseg.scenes.scene import IGNORE

RNG = np.random.default_rng(0)
K = 4
FIRST, SECOND = (jnp.asarray(2 * RNG.standard_normal((2, 8, 8, K)), jnp.float32) for _ in range(2))
LABEL = jnp.asarray(RNG.integers(0, K, (2, 8, 8)), jnp.int32).at[0, :2].set(IGNORE)
VALID = LABEL != IGNORE
LOSSES = [CoTeaching(), CoTeaching(forget=0.3), CrossModalSelection()]


def batch(progress: float, second: jax.Array = SECOND) -> dict[str, jax.Array]:
    return {"label": LABEL, "second_logits": second, "progress": jnp.float32(progress)}


def cross_entropy(logits: jax.Array) -> np.ndarray:
    every = -np.asarray(jax.nn.log_softmax(logits))
    return np.take_along_axis(every, np.where(VALID, LABEL, 0)[..., None], -1)[..., 0]


def test_thresholds_are_those_of_a_sort() -> None:
    values = jnp.abs(FIRST[..., 0])
    target = (LABEL[..., None] == jnp.arange(K)) & VALID[..., None]
    wanted = jnp.array([1, 3, 5, 2])
    found = _thresholds(values, target, wanted)
    for k, number in enumerate(wanted.tolist()):
        of_class = np.sort(np.asarray(values)[np.asarray(target[..., k])])[::-1]
        assert found[k] == of_class[number - 1]


@pytest.mark.parametrize("forget", [0.3, None])
def test_at_the_start_co_teaching_is_cross_entropy_of_both(forget: float | None) -> None:
    plain = CrossEntropy()
    expected = plain(FIRST, batch(0.0), VALID) + plain(SECOND, batch(0.0), VALID)
    np.testing.assert_allclose(
        CoTeaching(forget=forget)(FIRST, batch(0.0), VALID), expected, rtol=1e-6
    )
    later = CoTeaching(forget=forget, start=0.4, ramp=0.8)
    np.testing.assert_allclose(later(FIRST, batch(0.4), VALID), expected, rtol=1e-6)
    halfway = CoTeaching(forget=forget, ramp=1.0)(FIRST, batch(0.5), VALID)
    np.testing.assert_allclose(later(FIRST, batch(0.6), VALID), halfway, rtol=1e-6)


def test_each_learns_from_what_the_other_finds_easy() -> None:
    loss = CoTeaching(forget=0.4, ramp=0.5)(FIRST, batch(0.5), VALID)
    losses = [cross_entropy(x)[np.asarray(VALID)] for x in (FIRST, SECOND)]
    keep = int(np.ceil(0.6 * losses[0].size))
    expected = sum(own[np.argsort(other)[:keep]].mean() for own, other in (losses, losses[::-1]))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize("progress", [0.25, 0.5, 1.0])
def test_each_learns_what_the_other_believes_of_each_class(progress: float) -> None:
    loss = CoTeaching(ramp=0.5)(FIRST, batch(progress), VALID)
    losses = [cross_entropy(x) for x in (FIRST, SECOND)]
    expected = 0.0
    for own, other in (losses, losses[::-1]):
        believed = np.exp(-other)
        easy = np.zeros(believed.shape, bool)
        for k in range(K):
            mine = np.asarray((k == LABEL) & VALID)
            easy |= mine & (believed >= min(1.0, 2 * progress) * believed[mine].mean())
            assert easy[mine].any()
        expected += own[easy].mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_labels_that_no_sensor_believes_weigh_little() -> None:
    target = (LABEL[..., None] == jnp.arange(K)) & VALID[..., None]
    sure = jnp.where(target, 5.0, 0.0)
    # One pixel has a label that both sensors are sure is wrong.
    doubted = sure.at[1, 4, 4].set(jnp.roll(sure[1, 4, 4], 1))
    loss = CrossModalSelection(consistency=0.0)
    gradient = jax.grad(lambda x: loss(x, batch(1.0, doubted), VALID))(doubted)
    plain = jax.grad(lambda x: CrossEntropy()(x, batch(1.0), VALID))(doubted)
    # Its share of the gradient, against that of plain cross-entropy.
    norms = [np.abs(g).sum(-1) for g in (np.asarray(gradient), np.asarray(plain))]
    shares = [n[1, 4, 4] / n.sum() for n in norms]
    assert shares[1] > 0.3
    assert shares[0] < 0.05 * shares[1]


def test_at_the_start_every_label_counts_whole() -> None:
    loss = CrossModalSelection(consistency=0.0)(FIRST, batch(0.0), VALID)
    believed = [np.exp(-cross_entropy(x)) for x in (FIRST, SECOND)]
    expected = 0.0
    for own, logits in enumerate((FIRST, SECOND)):
        trust = (believed[own] + believed[0] * believed[1]) / 2
        weight = np.zeros(trust.shape)
        for k in range(K):
            mine = np.asarray((k == LABEL) & VALID)
            weight[mine] = np.minimum(1, trust[mine] / trust[mine].min())
        expected += (weight * cross_entropy(logits)).sum() / weight.sum()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES, ids=["co-teaching", "share", "cross-modal"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_ignored_pixels_have_no_gradient_and_nothing_left_is_no_loss(
    loss: CoTeaching, dtype: str
) -> None:
    def value(first: jax.Array, second: jax.Array, valid: jax.Array) -> jax.Array:
        return loss(first, batch(0.7, second), valid)

    logits = FIRST.astype(dtype), SECOND.astype(dtype)
    for gradient in jax.grad(value, (0, 1))(*logits, VALID):
        assert np.isfinite(gradient).all()
        assert gradient[1].any()
        assert not gradient[0, :2].any()
    nothing = jnp.zeros_like(VALID)
    assert value(*logits, nothing) == 0
    for gradient in jax.grad(value, (0, 1))(*logits, nothing):
        assert not gradient.any()


@pytest.mark.parametrize("loss", LOSSES, ids=["co-teaching", "share", "cross-modal"])
def test_one_network_is_not_enough(loss: CoTeaching) -> None:
    with pytest.raises(UserError, match="needs two networks"):
        loss(FIRST, {"label": LABEL}, VALID)


def test_shares_outside_of_0_to_1_are_refused() -> None:
    with pytest.raises(UserError, match=r"forget of a loss is 1\.2"):
        CoTeaching(forget=1.2)
    with pytest.raises(UserError, match=r"start 0\.5 must be below ramp 0\.2"):
        CoTeaching(start=0.5)
    with pytest.raises(UserError, match="rho of a loss is 0"):
        CrossModalSelection(rho=0.0)


def softmax(logits: jax.Array) -> np.ndarray:
    every: np.ndarray = np.asarray(jax.nn.softmax(logits)).astype(np.float64)
    return every


@pytest.mark.parametrize("progress", [0.1, 0.3, 1.0])
def test_cross_modal_selection_is_its_formula_and_its_weights_are_constants(
    progress: float,
) -> None:
    rule = CrossModalSelection(rho=0.43, ramp=0.5, consistency=0.7)
    # The first sensor is sure, the second hesitates.
    logits = 3 * FIRST, SECOND
    valid, label = np.asarray(VALID), np.asarray(LABEL)
    p = [softmax(x) for x in logits]
    believed = [np.exp(-cross_entropy(x)).astype(np.float64) for x in logits]
    sure = [1 + (q * np.log(q)).sum(-1) / np.log(K) for q in p]
    assert abs(sure[0].mean() - sure[1].mean()) > 0.2
    part = min(progress / 0.5, 1)
    share = 1 - part * (1 - 0.43)
    weights, trusts = [], []
    for own in (0, 1):
        trust = (believed[own] + believed[0] * believed[1]) / 2
        weight = np.zeros(trust.shape)
        for k in range(K):
            mine = valid & (label == k)
            best = np.sort(trust[mine])[::-1]
            threshold = best[int(np.ceil(np.float32(share) * mine.sum())) - 1]
            weight[mine] = np.minimum(1, trust[mine] / threshold)
        weights.append(weight)
        other = (sure[1 - own] + sure[0] * sure[1]) / 2  # how sure the other one is
        trusts.append(np.where(valid, 1 - part + part * other, 0))

    def expected(first: jax.Array, second: jax.Array) -> jax.Array:
        total = jnp.float32(0)
        for own, x in enumerate((first, second)):
            log_p = jax.nn.log_softmax(x)
            nll = -jnp.take_along_axis(log_p, np.where(valid, label, 0)[..., None], -1)[..., 0]
            total += (weights[own] * nll).sum() / weights[own].sum()
            follow = -(p[1 - own] * log_p).sum(-1)
            total += 0.7 * (trusts[own] * follow).sum() / trusts[own].sum()
        return total

    def found(first: jax.Array, second: jax.Array) -> jax.Array:
        return rule(first, batch(progress, second), VALID)

    np.testing.assert_allclose(found(*logits), expected(*logits), rtol=1e-4)
    for ours, theirs in zip(
        jax.grad(found, (0, 1))(*logits), jax.grad(expected, (0, 1))(*logits), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)


def test_shares_at_the_ends_of_their_range_are_accepted() -> None:
    CoTeaching(forget=0.0, start=0.0, ramp=1.0)
    CoTeaching(forget=1.0, start=0.99, ramp=1.0)
    CrossModalSelection(rho=1.0, ramp=1.0, consistency=0.0)
    for wrong in ({"ramp": 0.0}, {"ramp": 1.1}, {"weight": -1.0}, {"forget": -0.1}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            CoTeaching(**wrong)
    for wrong in ({"ramp": 0.0}, {"ramp": 1.1}, {"weight": -1.0}, {"consistency": -1.0}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            CrossModalSelection(**wrong)
    with pytest.raises(UserError, match=r"rho of a loss is 1\.1"):
        CrossModalSelection(rho=1.1)
    with pytest.raises(UserError, match=r"start 0\.2 must be below ramp 0\.2"):
        CoTeaching(start=0.2, ramp=0.2)
