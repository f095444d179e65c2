"""Decompositions: canonical targets have their textbook values, powers their sum."""

import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.polsar_folder import scattering
from jax import Array

from jaxseg.datasets.landscape.sensors import wishart
from jaxseg.physics import decompositions, polsar


def single(hh: complex, hv: complex, vv: complex) -> Array:
    """T3 of one deterministic target."""
    return polsar.t3_from_s2(jnp.asarray([hh, hv, hv, vv], jnp.complex64))


def turned_dipoles() -> Array:
    """T3 of thin dipoles at all angles: the random volume."""
    angle = np.linspace(0, np.pi, 360, endpoint=False)
    c, s = np.cos(angle), np.sin(angle)
    looks = np.stack([c * c, c * s, c * s, s * s], -1).astype(np.complex64)
    return polsar.t3_from_s2(jnp.asarray(looks)).mean(0)


def drawn(count: int = 300, averaged: int = 6) -> Array:
    """(N, 9) T3 of a few looks each."""
    s = scattering(averaged, count)
    return polsar.t3_from_s2(jnp.asarray(s)).mean(0)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e9])
def test_eigenvalues_and_first_components_are_numpys(scale: float) -> None:
    t3 = scale * drawn()
    values, moduli = decompositions.eigen(t3)
    expected, vectors = np.linalg.eigh(np.asarray(polsar.matrices(t3)).astype(np.complex128))
    largest = expected[:, -1:]
    np.testing.assert_allclose(values / largest, expected[:, ::-1] / largest, atol=2e-6)
    np.testing.assert_allclose(moduli, np.abs(vectors[:, 0, ::-1]), atol=2e-4)


def test_eigenvalues_that_are_equal_or_zero_are_no_trouble() -> None:
    some = jnp.stack([jnp.zeros(9), jnp.eye(9)[0] + jnp.eye(9)[1], jnp.ones(9) * 0 + jnp.eye(9)[2]])
    values, moduli = decompositions.eigen(some)
    np.testing.assert_allclose(values, [[0, 0, 0], [1, 1, 0], [1, 0, 0]], atol=1e-7)
    assert np.isfinite(np.asarray(moduli)).all()


def test_eigenvalues_do_not_change_with_a_unitary_change_of_basis() -> None:
    random = np.random.default_rng(1)
    matrix = random.standard_normal((3, 3)) + 1j * random.standard_normal((3, 3))
    unitary, _ = np.linalg.qr(matrix)
    t3 = np.asarray(polsar.matrices(drawn(50)))
    turned = polsar.bands_of(jnp.asarray(unitary @ t3 @ unitary.conj().T, jnp.complex64))
    before = decompositions.eigen(polsar.bands_of(jnp.asarray(t3)))[0]
    after = decompositions.eigen(turned)[0]
    np.testing.assert_allclose(after, before, atol=3e-6 * float(before.max()))


@pytest.mark.parametrize(
    ("target", "entropy", "alpha"),
    [
        (single(1, 0, 1), 0.0, 0.0),  # trihedral, sphere: surface
        (single(1, 0, -1), 0.0, 90.0),  # dihedral: double bounce
        (single(1, 0, 0), 0.0, 45.0),  # horizontal dipole
        (single(0, 1, 0), 0.0, 90.0),  # dihedral at 45 degrees
        (turned_dipoles(), 0.946, 45.0),  # 1/2, 1/4, 1/4: H = 1.5 ln 2 / ln 3
        (jnp.eye(9)[:3].sum(0), 1.0, 60.0),  # noise
    ],
    ids=["trihedral", "dihedral", "dipole", "turned dihedral", "volume", "noise"],
)
def test_canonical_targets(target: Array, entropy: float, alpha: float) -> None:
    h, _, found = np.asarray(decompositions.cloude_pottier(target))
    assert h == pytest.approx(entropy, abs=1e-3)
    assert found == pytest.approx(alpha, abs=0.1)


def test_alpha_takes_the_first_component_of_each_eigenvector() -> None:
    t3 = drawn(100)
    values, vectors = np.linalg.eigh(np.asarray(polsar.matrices(t3)).astype(np.complex128))
    p = values / values.sum(1, keepdims=True)
    alpha = np.degrees((p * np.arccos(np.abs(vectors[:, 0]))).sum(1))
    entropy = -(p * np.log(p)).sum(1) / np.log(3)
    anisotropy = (values[:, 1] - values[:, 0]) / (values[:, 1] + values[:, 0])
    found = np.asarray(decompositions.cloude_pottier(t3))
    np.testing.assert_allclose(found[:, 0], entropy, atol=1e-5)
    np.testing.assert_allclose(found[:, 1], anisotropy, atol=1e-4)
    np.testing.assert_allclose(found[:, 2], alpha, atol=0.05)
    wrong = np.degrees((p * np.arccos(np.abs(vectors[:, :, 2]))).sum(1))
    assert np.abs(wrong - alpha).max() > 5


def test_brightness_changes_neither_entropy_nor_anisotropy_nor_alpha() -> None:
    t3 = drawn(50)
    one, other = (decompositions.cloude_pottier(f * t3) for f in (1.0, 1e-9))
    np.testing.assert_allclose(one, other, atol=1e-3)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e7])
def test_freeman_durden_powers_are_not_negative_and_sum_to_the_span(scale: float) -> None:
    t3 = scale * jnp.concatenate([drawn(500), drawn(200, averaged=1), turned_dipoles()[None]])
    powers = np.asarray(decompositions.freeman_durden(t3))
    assert powers.min() >= 0
    np.testing.assert_allclose(powers.sum(-1), polsar.span(t3), rtol=2e-6)
    assert ((powers > 0).sum(-1) == 3).any()


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (single(1, 0, 1), (2, 0, 0)),
        (single(1, 0, -1), (0, 2, 0)),
        (turned_dipoles(), (0, 0, 1)),
        (single(1, 0, 0.5) + turned_dipoles(), (1.25, 0, 1)),
        (single(1, 0, -0.6) + turned_dipoles(), (0, 1.36, 1)),
    ],
)
def test_freeman_durden_finds_the_mechanisms_a_target_is_made_of(
    target: Array, expected: tuple[float, ...]
) -> None:
    np.testing.assert_allclose(decompositions.freeman_durden(target), expected, atol=1e-3)


def test_a_pixel_without_data_has_no_answer() -> None:
    t3 = jnp.stack([jnp.zeros(9), jnp.full(9, jnp.nan), single(1, 0, 1)])
    np.testing.assert_array_equal(decompositions.has_data(t3), [False, False, True])
    for function in (decompositions.cloude_pottier, decompositions.freeman_durden):
        np.testing.assert_array_equal(
            np.isnan(np.asarray(function(t3))).all(-1), [True, True, False]
        )


def test_matrices_of_radars_pass_and_others_are_found() -> None:
    good = jnp.asarray(wishart(np.full((20, 20, 3), 0.1, np.float32), 1, np.random.default_rng(0)))
    assert np.asarray(decompositions.is_semidefinite(good)).all()
    negative, decibel, swapped = good.at[..., 2].multiply(-1), 10 * jnp.log10(good[..., :3]), good
    swapped = swapped.at[..., 3].add(2 * polsar.span(good))
    for bad in (negative, good.at[..., :3].set(decibel), swapped):
        assert np.asarray(decompositions.is_semidefinite(bad)).mean() < 0.05
    c2 = good[..., jnp.array([0, 1, 3, 4])]
    assert np.asarray(decompositions.is_semidefinite(c2)).all()
    assert not np.asarray(decompositions.is_semidefinite(c2.at[..., 2].multiply(100))).all()
