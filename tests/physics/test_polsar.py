"""Polarimetric matrices: what bases and averages may not change, and numbers made of them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.polsar_folder import scattering
from numpy.typing import NDArray

from jaxseg.physics import polsar, sar
from jaxseg.transforms.polsar import CoherencyFeatures, ZhouFeatures

D = np.array([[1, 0, 1], [1, 0, -1], [0, np.sqrt(2), 0]]) / np.sqrt(2)


def looks(count: int = 5, pixels: int = 200, seed: int = 0) -> NDArray[np.complex64]:
    """(L, N, 4) looks of N pixels whose HV and VH are one, as without noise."""
    s = scattering(count, pixels, seed)
    s[..., 2] = s[..., 1]
    return s


def test_c3_and_t3_of_the_same_looks_are_turned_by_the_unitary_matrix() -> None:
    s = looks()
    c3, t3 = (f(jnp.asarray(s)).mean(0) for f in (polsar.c3_from_s2, polsar.t3_from_s2))
    expected = D @ np.asarray(polsar.matrices(c3)) @ D.T
    np.testing.assert_allclose(np.asarray(polsar.matrices(t3)), expected, atol=1e-5)
    np.testing.assert_allclose(polsar.t3_from_c3(c3), t3, atol=2e-6)
    np.testing.assert_allclose(polsar.c3_from_t3(t3), c3, atol=2e-6)


def test_c3_is_the_mean_outer_product_of_the_lexicographic_vector() -> None:
    s = scattering(3, 50)
    cross = (s[..., 1] + s[..., 2]) / 2  # HV and VH differ by noise: they are averaged
    k = np.stack([s[..., 0], np.sqrt(2) * cross, s[..., 3]], -1)
    expected = (k[..., :, None] * k[..., None, :].conj()).mean(0)
    c3 = polsar.c3_from_s2(jnp.asarray(s)).mean(0)
    np.testing.assert_allclose(np.asarray(polsar.matrices(c3)), expected, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_c3_to_t3_and_back_is_exact_to_a_millionth(scale: float) -> None:
    t3 = scale * polsar.t3_from_s2(jnp.asarray(looks())).mean(0)
    back = jax.jit(lambda t: polsar.t3_from_c3(polsar.c3_from_t3(t)))(t3)
    size = np.asarray(polsar.span(t3))[:, None]
    assert np.abs((np.asarray(back) - np.asarray(t3)) / size).max() < 1e-6


def test_the_span_and_the_eigenvalues_are_those_of_both_bases() -> None:
    c3 = polsar.c3_from_s2(jnp.asarray(looks())).mean(0)
    t3 = polsar.t3_from_c3(c3)
    np.testing.assert_allclose(polsar.span(c3), polsar.span(t3), rtol=1e-6)
    values = [np.linalg.eigvalsh(np.asarray(polsar.matrices(m))) for m in (c3, t3)]
    np.testing.assert_allclose(*values, atol=2e-6 * values[0].max())


@pytest.mark.parametrize("bands", [4, 9])
def test_bands_and_matrices_hold_the_same(bands: int) -> None:
    numbers = jnp.asarray(np.random.default_rng(0).standard_normal((2, 3, bands)), jnp.float32)
    matrix = polsar.matrices(numbers)
    size = {4: 2, 9: 3}[bands]
    assert matrix.shape == (2, 3, size, size)
    np.testing.assert_array_equal(polsar.bands_of(matrix), numbers)
    assert float(polsar.asymmetry(matrix).max()) == 0
    np.testing.assert_allclose(polsar.span(numbers), jnp.trace(matrix, axis1=2, axis2=3).real)


def test_what_is_not_hermitian_is_measured() -> None:
    matrix = np.eye(3, dtype=np.complex64)[None].repeat(3, 0)
    matrix[1, 0, 1] = 0.5  # without its mirror image
    matrix[2, 0, 0] = 1 + 0.1j
    found = np.asarray(polsar.asymmetry(jnp.asarray(matrix)))
    np.testing.assert_allclose(found, [0, 0.5, 0.2 / abs(1 + 0.1j)], rtol=1e-6)


def test_other_numbers_of_bands_are_refused() -> None:
    with pytest.raises(ValueError, match="5 bands"):
        polsar.matrices(jnp.zeros((2, 5)))


def test_multilook_is_the_mean_of_blocks_and_leaves_out_what_fills_none() -> None:
    image = jnp.arange(2 * 5 * 7 * 9, dtype=jnp.float32).reshape(2, 5, 7, 9)
    means = sar.multilook(image, rows=2, columns=3)
    assert means.shape == (2, 2, 2, 9)
    np.testing.assert_allclose(means[1, 1, 0], image[1, 2:4, :3].mean((0, 1)), rtol=1e-6)


def test_pauli_colours_are_double_bounce_volume_and_surface_in_decibels() -> None:
    t3 = jnp.zeros((1, 9)).at[0, :3].set(jnp.array([1.0, 0.1, 0.0]))
    np.testing.assert_allclose(polsar.pauli_decibel(t3), [[-10, -60, 0]], atol=1e-4)


def test_six_features_are_shares_and_moduli() -> None:
    t3 = polsar.t3_from_s2(jnp.asarray(looks())).mean(0)
    features = np.asarray(polsar.zhou_features(t3))
    m = np.asarray(polsar.matrices(t3))
    span = np.trace(m, axis1=1, axis2=2).real
    expected: list[Any] = [10 * np.log10(span), m[:, 1, 1].real / span, m[:, 2, 2].real / span]
    for i, j in polsar.PAIRS:
        expected.append(np.abs(m[:, i, j]) / np.sqrt(m[:, i, i].real * m[:, j, j].real))
    np.testing.assert_allclose(features, np.stack(expected, -1), rtol=1e-4, atol=1e-5)
    assert features[:, 1:].min() >= 0
    assert features[:, 1:].max() <= 1 + 1e-5
    nothing = polsar.zhou_features(jnp.array([[0.0] * 9, [np.nan] * 9]))
    assert np.isfinite(np.asarray(nothing)).all()


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e20, 1e30])
def test_coherences_do_not_depend_on_the_unit(scale: float) -> None:
    t3 = polsar.t3_from_s2(jnp.asarray(looks())).mean(0)
    expected = np.asarray(polsar.coherency_features(t3))[:, 3:]
    scaled = polsar.coherency_features(t3 * scale, floor=1e-36)
    np.testing.assert_allclose(np.asarray(scaled)[:, 3:], expected, atol=1e-5)


def test_asymmetry_is_relative_to_the_largest_element() -> None:
    matrix = np.eye(3, dtype=np.complex64)[None].repeat(2, 0)
    matrix[0, 2, 0] = 0.5j
    matrix[1, 0, 2] = matrix[1, 2, 0] = 1e3j  # conjugates would have opposite signs
    np.testing.assert_allclose(polsar.asymmetry(jnp.asarray(1e6 * matrix)), [0.5, 2], rtol=1e-6)
    assert float(polsar.asymmetry(jnp.zeros((3, 3)))) == 0


def test_element_ij_is_the_first_channel_times_the_conjugate_of_the_second() -> None:
    s = jnp.asarray([1, 0, 0, 1j], jnp.complex64)
    c3 = dict(zip(polsar.C3_BANDS, np.asarray(polsar.c3_from_s2(s)), strict=True))
    assert (c3["C11"], c3["C22"], c3["C33"]) == (1, 0, 1)
    assert (c3["ReC13"], c3["ImC13"]) == (0, -1)  # 1 times the conjugate of i
    matrix = np.asarray(polsar.matrices(polsar.c3_from_s2(s)))
    assert (matrix[0, 2], matrix[2, 0]) == (-1j, 1j)


def test_pauli_decibels_end_at_the_floor_that_is_asked_for() -> None:
    t3 = jnp.zeros((1, 9)).at[0, :3].set(jnp.array([1.0, 0.1, 0.001]))
    np.testing.assert_allclose(polsar.pauli_decibel(t3, floor=0.01), [[-10, -20, 0]], atol=1e-4)


# T33 lies below a floor of 0.01 and counts as that, in its coherences as well.
WEAK = jnp.asarray([4.0, 1.0, 1e-4, 1.0, 0.5, 0.01, -0.006, 0.002, 0.004])
COHERENCES = (0.5, 0.25, 0.05, -0.03, 0.02, 0.04)


def test_coherences_are_those_of_powers_above_the_floor() -> None:
    features = polsar.coherency_features(WEAK, floor=0.01)
    expected = [10 * np.log10(4), 0, -20, *COHERENCES]
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-5)


def test_shares_and_moduli_are_those_of_powers_above_the_floor() -> None:
    features = polsar.zhou_features(WEAK, floor=0.01)
    moduli = np.hypot(COHERENCES[::2], COHERENCES[1::2])
    expected = [10 * np.log10(5.01), 1 / 5.01, 0.01 / 5.01, *moduli]
    np.testing.assert_allclose(features, expected, rtol=1e-5)


def test_a_coherence_that_is_not_known_is_zero() -> None:
    features = polsar.coherency_features(WEAK.at[4].set(jnp.nan).at[0].set(jnp.nan), floor=0.01)
    assert float(features[0]) == pytest.approx(-20)
    assert float(features[4]) == 0
    assert np.isfinite(np.asarray(features)).all()


@pytest.mark.parametrize("step", [CoherencyFeatures, ZhouFeatures])
def test_steps_of_the_radiometry_hand_their_floor_on(step: Any) -> None:
    function = {
        CoherencyFeatures: polsar.coherency_features,
        ZhouFeatures: polsar.zhou_features,
    }[step]
    for floor in (0.01, 1e-3):
        np.testing.assert_array_equal(step(floor=floor)(WEAK), function(WEAK, floor))
