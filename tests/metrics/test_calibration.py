"""The temperature is the best one, and both ways to count bins agree, on any mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.metrics import calibration
from jaxseg.metrics.calibration import TEMPERATURES, CalibrationTotal, measure, minimum

K = 5
Arrays = tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.bool_]]


def overconfident(factor: float, seed: int = 0) -> Arrays:
    """Labels drawn from a softmax, and its logits made `factor` times larger."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (4, 32, 32, K))
    p = scipy.special.softmax(logits, axis=-1)
    label = (random.random((4, 32, 32, 1)) > p.cumsum(-1)).sum(-1).clip(0, K - 1)
    return (
        (factor * logits).astype(np.float32),
        label.astype(np.uint8),
        random.random(label.shape) < 0.9,
    )


@pytest.mark.parametrize("factor", [0.3, 1.0, 1.6, 4.0])
def test_the_temperature_is_the_minimum_of_the_likelihood(factor: float) -> None:
    logits, label, counted = overconfident(factor)

    def nll(log_t: float) -> float:
        log_p = scipy.special.log_softmax(logits.astype(np.float64) / np.exp(log_t), axis=-1)
        return -float(np.take_along_axis(log_p, label[..., None].astype(int), -1)[counted].mean())

    exact = float(np.exp(scipy.optimize.minimize_scalar(nll, bounds=(-2, 2)).x))
    total = CalibrationTotal()
    total.add(jax.jit(measure)(logits, label, counted, jnp.float32(np.nan)))
    found = total.best_temperature()
    assert found == pytest.approx(exact, rel=0.01)
    assert nll(np.log(found)) == pytest.approx(nll(np.log(exact)), rel=1e-4)


def test_the_fitted_temperature_repairs_the_confidence() -> None:
    logits, label, counted = overconfident(3.0)
    total = CalibrationTotal()
    total.add(jax.jit(measure)(logits, label, counted, jnp.float32(3.0)))
    before, after = total.reliability()
    assert before.ece()[0] > 0.2
    assert after.ece()[0] < 0.03
    assert after.nll < before.nll


def test_a_likelihood_that_falls_to_the_end_gives_the_end() -> None:
    falling = np.arange(len(TEMPERATURES), 0, -1.0)
    assert minimum(falling) == pytest.approx(TEMPERATURES[-1])
    assert minimum(falling[::-1]) == pytest.approx(TEMPERATURES[0])


def test_both_ways_to_count_the_bins_agree() -> None:
    random = np.random.default_rng(1)
    index = jnp.asarray(random.integers(0, calibration.BINS + 1, (2, 16, 16, K)))
    hit = jnp.asarray(random.random(index.shape) < 0.5)
    beyond = jnp.asarray(random.normal(size=index.shape), jnp.float32)
    scattered = jax.jit(calibration._scattered)(index, hit, beyond)
    compared = jax.jit(calibration._compared)(index, hit, beyond)
    for one, other in zip(scattered[:2], compared[:2], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(scattered[2], compared[2], atol=1e-5)


@pytest.mark.parametrize("temperature", [1.7, np.nan])
def test_a_sharded_batch_counts_alike(mesh: Mesh, temperature: float) -> None:
    arrays = overconfident(2.0)
    counting = jax.jit(measure)
    expected = counting(*arrays, jnp.float32(temperature))
    place = NamedSharding(mesh, PartitionSpec(("data", "fsdp"), "space"))
    found = counting(*(jax.device_put(array, place) for array in arrays), jnp.float32(temperature))
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-4)
    assert int(expected["pixels"].sum()) == (
        0 if np.isnan(temperature) else 2 * 6 * arrays[2].sum()
    )


def test_batches_add_up_and_uncounted_pixels_do_not_count() -> None:
    logits, label, counted = overconfident(2.0)
    counting = jax.jit(measure)
    whole, parts = CalibrationTotal(), CalibrationTotal()
    whole.add(counting(logits, label, counted, jnp.float32(1.5)))
    garbage = np.where(counted[..., None], logits, 1e4).astype(np.float32)
    for i in range(4):
        part = slice(i, i + 1)
        label_part = np.where(counted[part], label[part], 255).astype(np.uint8)
        parts.add(counting(garbage[part], label_part, counted[part], jnp.float32(1.5)))
    for one, other in zip(whole.reliability(), parts.reliability(), strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
        np.testing.assert_array_equal(one.right, other.right)
        np.testing.assert_allclose(one.confidence, other.confidence, rtol=1e-5)
        assert one.nll == pytest.approx(other.nll, rel=1e-5)


def test_nothing_to_fit_on_is_said() -> None:
    logits, label, counted = overconfident(1.0)
    total = CalibrationTotal()
    total.add(jax.jit(measure)(logits, label, np.zeros_like(counted), jnp.float32(np.nan)))
    with pytest.raises(UserError, match="No labelled, valid pixel"):
        total.best_temperature()


def measured(**counts: float) -> calibration.Measured:
    """One batch's numbers as the device gives them: int32 counts and float32 sums."""
    shape = {"pixels": (2, 2, 15), "right": (2, 2, 15), "excess": (2, 2, 15)}
    shape |= {"nll": (1, 13), "at": (1, 2)}
    kind = {name: jnp.int32 if name in ("pixels", "right") else jnp.float32 for name in shape}
    return {name: jnp.full(shape[name], counts.get(name, 0), kind[name]) for name in shape}


def test_totals_hold_more_than_the_numbers_of_the_device() -> None:
    total = CalibrationTotal()
    for _ in range(3):
        total.add(measured(pixels=2**31 - 1, right=2**31 - 2))
    before, _ = total.reliability()
    assert before.pixels[0, 0] == 3 * (2**31 - 1)
    assert before.right[0, 0] == 3 * (2**31 - 2)
    total = CalibrationTotal()
    total.add(measured(pixels=1, at=2.0**25, excess=2.0**25))
    total.add(measured(at=1.0, excess=1.0))
    before, after = total.reliability()
    pixels = 15
    assert before.nll == after.nll == (2**25 + 1) / pixels
    assert before.confidence[0, 0] == 2**25 + 1 + 0.5 / 15


def test_reliability_of_four_pixels_by_hand() -> None:
    # Probabilities of class 1 of .75 (right), .75 (wrong), .52 (right), and one not counted.
    p = np.array([0.75, 0.75, 0.52, 0.99])
    logits = np.log(np.stack([1 - p, p], -1)).astype(np.float32)[None, None]
    label, counted = np.array([[[1, 0, 1, 1]]], np.uint8), np.array([[[True] * 3 + [False]]])
    total = CalibrationTotal()
    total.add(measure(logits, label, counted, jnp.float32(2.0)))
    before, after = total.reliability()
    assert before.nll == pytest.approx(-np.log(0.75 * 0.25 * 0.52) / 3, rel=1e-5)
    likely, single, zero = before.pixels[0], before.pixels[2], before.pixels[1]
    assert np.flatnonzero(likely).tolist() == np.flatnonzero(single).tolist() == [7, 11]
    assert np.flatnonzero(zero).tolist() == [3, 7]  # probabilities of .25 and .48
    assert (likely[7], likely[11], zero[3], zero[7]) == (1, 2, 2, 1)
    assert before.right[0, [7, 11]].tolist() == before.right[2, [7, 11]].tolist() == [1, 1]
    assert before.right[1, [3, 7]].tolist() == [1, 0]
    assert before.confidence[0, [7, 11]] == pytest.approx([0.52, 1.5], rel=1e-5)
    assert before.ece()[0] == pytest.approx((0.5 + 0.48) / 3, rel=1e-5)
    warm = 1 / (1 + np.sqrt((1 - p) / p))  # at a temperature of 2
    assert after.confidence[2].sum() == pytest.approx(warm[:3].sum(), rel=1e-5)
    assert after.nll == pytest.approx(-np.log(warm[0] * (1 - warm[0]) * warm[2]) / 3, rel=1e-5)


def test_a_confidence_of_a_bins_end_belongs_to_the_bin_below() -> None:
    bins = [i / 15 for i in range(16)]
    p = jnp.asarray([[[[value, 1 - value] for value in bins]]], jnp.float32)
    hit, seen = jnp.zeros(p.shape, bool), jnp.ones((1, 1, 16), bool)
    pixels, right, excess = calibration._bins(p, hit, seen)
    expected = np.bincount([max(0, i - 1) for i in range(16)], minlength=15)
    found = np.asarray(pixels)[1]
    # Fifteenths are no float32: those rounded up count in the bin above.
    up = np.ceil(np.asarray(p)[0, 0, :, 0] * 15).astype(int)
    expected = np.bincount(np.clip(up - 1, 0, 14), minlength=15)
    np.testing.assert_array_equal(found, expected)
    assert found[0] >= 2
    assert found[14] >= 1
    assert int(right.sum()) == 0
    assert excess.shape == (3, 15)


def test_no_pixel_has_no_calibration() -> None:
    total = CalibrationTotal()
    total.add(measured())
    for part in total.reliability():
        assert np.isnan(part.nll)
        assert np.isnan(part.ece()).all()
