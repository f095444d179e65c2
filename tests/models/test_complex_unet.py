"""The complex network: its layers are those of complex numbers, written in real ones."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.networks import applied, initialised
from numpy.typing import NDArray
from scipy.signal import correlate

from jaxseg.errors import UserError
from jaxseg.models.complex_unet import ComplexUNet, as_complex, beside, mean_pool2x2
from jaxseg.models.parts.complex_layers import (
    ComplexBatchNorm,
    ComplexConv,
    ModReLU,
    complex_he_normal,
)


def numbers(*shape: int, seed: int = 0) -> NDArray[np.complex64]:
    random = np.random.default_rng(seed)
    parts = random.standard_normal((2, *shape)).astype(np.float32)
    return (parts[0] + 1j * parts[1]).astype(np.complex64)


def parts(z: NDArray[np.complexfloating[Any, Any]]) -> jax.Array:
    """Complex channels -> real parts, then imaginary parts."""
    return jnp.asarray(np.concatenate((z.real, z.imag), axis=-1), jnp.float32)


def whole(x: jax.Array) -> NDArray[np.complex64]:
    real, imaginary = np.split(np.asarray(x), 2, axis=-1)
    return np.asarray(real + 1j * imaginary)


@pytest.mark.parametrize("size", [1, 3])
def test_a_complex_convolution_is_that_of_complex_numbers(size: int) -> None:
    z, conv = numbers(1, 6, 7, 2), ComplexConv(3, kernel_size=size)
    variables = initialised(conv, parts(z))
    kernel = whole(variables["params"]["kernel"])  # (k, k, 2, 3)
    expected = np.zeros((1, 6, 7, 3), np.complex128)
    for c in range(2):
        for f in range(3):
            # scipy's correlation conjugates its second argument.
            taps = kernel[:, :, c, f].conj()
            expected[0, :, :, f] += correlate(z[0, :, :, c], taps, mode="same", method="direct")
    np.testing.assert_allclose(whole(applied(conv, variables, parts(z))), expected, atol=1e-5)


def test_a_turn_of_all_phases_turns_what_a_convolution_says() -> None:
    z, conv = numbers(2, 5, 5, 4), ComplexConv(3)
    variables = initialised(conv, parts(z))
    turn = np.exp(0.7j).astype(np.complex64)
    turned = whole(applied(conv, variables, parts(turn * z)))
    np.testing.assert_allclose(turned, turn * whole(applied(conv, variables, parts(z))), atol=1e-5)


def test_kernels_begin_with_uniform_phases_and_hes_variance() -> None:
    kernel = whole(complex_he_normal(jax.random.key(0), (3, 3, 50, 2 * 80)))
    assert (np.abs(kernel) ** 2).mean() == pytest.approx(2 / (9 * 50), rel=0.02)
    assert np.abs((kernel**2).mean()) < 0.02 * 2 / (9 * 50)  # circular
    phases, _ = np.histogram(np.angle(kernel), 8, (-np.pi, np.pi))
    assert phases.max() < 1.1 * phases.min()


def test_normalised_channels_are_circular_and_centred() -> None:
    z = numbers(4, 16, 16, 3)
    z = (z.real + 1j * (0.5 * z.imag + 0.8 * z.real)) * np.array([0.3, 1, 50]) + (3 - 2j)
    norm = ComplexBatchNorm(use_running_average=False)
    variables = initialised(norm, parts(z))
    apply = jax.jit(lambda v: norm.apply(v, parts(z), mutable=["batch_stats"]))
    out, moved = apply(variables)
    flat = whole(out).reshape(-1, 3)
    np.testing.assert_allclose(flat.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose((np.abs(flat) ** 2).mean(0), 1, rtol=2e-3)
    np.testing.assert_allclose((flat**2).mean(0), 0, atol=2e-3)
    for _ in range(200):
        _, moved = apply(variables | moved)
    stats = moved["batch_stats"]
    pixels = np.asarray(parts(z)).reshape(-1, 6)
    np.testing.assert_allclose(stats["mean"], pixels.mean(0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(stats["var"], pixels.var(0), rtol=1e-3)
    still = ComplexBatchNorm(use_running_average=True)
    again = applied(still, {"params": variables["params"], "batch_stats": stats}, parts(z))
    np.testing.assert_allclose(again, out, atol=2e-3)


def test_stored_statistics_keep_nine_tenths_of_what_they_were() -> None:
    z = numbers(2, 4, 4, 2) * 3 + (1 + 2j)
    z = z.real + 1j * (z.imag + z.real)
    norm = ComplexBatchNorm(use_running_average=False)
    _, moved = applied(norm, initialised(norm, parts(z)), parts(z), mutable=["batch_stats"])
    stats, pixels = moved["batch_stats"], np.asarray(parts(z)).reshape(-1, 4)
    centred = pixels - pixels.mean(0)
    np.testing.assert_allclose(stats["mean"], 0.1 * pixels.mean(0), rtol=1e-5)
    np.testing.assert_allclose(stats["var"], 0.9 + 0.1 * pixels.var(0), rtol=1e-5)
    together = (centred[:, :2] * centred[:, 2:]).mean(0)
    np.testing.assert_allclose(stats["covariance"], 0.1 * together, rtol=1e-5)


def test_a_learned_symmetric_matrix_and_an_offset_follow_the_whitening() -> None:
    z = numbers(2, 4, 4, 2)
    z = z.real + 1j * (0.5 * z.imag + z.real)
    norm = ComplexBatchNorm(use_running_average=False)
    variables = initialised(norm, parts(z))
    plain, _ = applied(norm, variables, parts(z), mutable=["batch_stats"])
    real, imaginary = np.split(np.asarray(plain) / np.sqrt(0.5), 2, axis=-1)
    p, q, r = np.array([0.3, 2.0]), np.array([1.5, -0.7]), np.array([0.4, -1.1])
    offset = np.array([1.0, 2.0, 3.0, 4.0])
    learned = {"scale": np.concatenate([p, q]), "shear": r, "bias": offset}
    learned = {name: jnp.asarray(value, jnp.float32) for name, value in learned.items()}
    out, _ = applied(norm, variables | {"params": learned}, parts(z), mutable=["batch_stats"])
    expected = np.concatenate([p * real + r * imaginary, r * real + q * imaginary], -1) + offset
    np.testing.assert_allclose(out, expected, atol=1e-4)


def test_modrelu_keeps_phases_and_shortens() -> None:
    z = numbers(1, 4, 4, 2)
    variables = {"params": {"offset": jnp.array([-0.5, 0.0])}}
    out = whole(applied(ModReLU(), variables, parts(z)))
    expected = np.maximum(np.abs(z) - np.array([0.5, 0]), 0) * z / np.abs(z)
    np.testing.assert_allclose(out, expected, atol=1e-5)
    slope = jax.grad(lambda x: ModReLU().apply(variables, x).sum())(jnp.zeros((1, 1, 1, 4)))
    assert np.isfinite(np.asarray(slope)).all()


def test_channels_beside_channels_and_means_are_those_of_complex_numbers() -> None:
    a, b = numbers(1, 4, 6, 2), numbers(1, 4, 6, 3, seed=1)
    np.testing.assert_array_equal(
        whole(beside(parts(a), parts(b))), np.concatenate((a, b), axis=-1)
    )
    means = a.reshape(1, 2, 2, 3, 2, 2).mean((2, 4))
    np.testing.assert_allclose(whole(mean_pool2x2(parts(a))), means, atol=1e-6)


def test_the_bands_of_a_coherency_matrix_become_three_real_and_three_complex_numbers() -> None:
    t3 = jnp.arange(9.0)
    np.testing.assert_array_equal(whole(as_complex(t3, 3)), [0, 1, 2, 3 + 4j, 5 + 6j, 7 + 8j])
    np.testing.assert_array_equal(whole(as_complex(t3[:8], 4)), [0 + 1j, 2 + 3j, 4 + 5j, 6 + 7j])
    np.testing.assert_array_equal(whole(as_complex(t3[:2], 0)), [0, 1])
    with pytest.raises(UserError, match="3 complex numbers need 6 bands, the image has 4"):
        as_complex(t3[:4], 3)


def test_phases_matter_to_the_network() -> None:
    # CReLU is what the contract test runs.
    model = ComplexUNet(4, pairs=3, features=2, activation="modrelu")
    image = np.random.default_rng(0).standard_normal((1, 20, 33, 9)).astype(np.float32)
    variables = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))(image)
    apply = jax.jit(lambda x: model.apply(variables, x, train=False))
    logits = apply(image)
    assert logits.shape == (1, 20, 33, 4)
    turned = image.copy()
    turned[..., 3], turned[..., 4] = -image[..., 4], image[..., 3]  # T12 by 90 degrees
    assert float(jnp.abs(apply(turned) - logits).max()) > 1e-3
