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
