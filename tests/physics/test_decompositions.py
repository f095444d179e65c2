"""Decompositions: canonical targets have their textbook values, powers their sum."""

import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.polsar_folder import scattering
from jax import Array
from numpy.typing import NDArray

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


def test_matrices_that_are_not_semidefinite_have_defined_mechanisms() -> None:
    random = np.random.default_rng(3)
    half = random.standard_normal((2000, 3, 3)) + 1j * random.standard_normal((2000, 3, 3))
    t3 = of_matrices(half + half.conj().swapaxes(1, 2))  # any Hermitian matrix
    powerful = np.asarray(polsar.span(t3)) > 0.1
    assert not np.asarray(decompositions.is_semidefinite(t3)).all()
    powers = np.asarray(decompositions.freeman_durden(t3))
    assert powers[powerful].min() >= 0
    np.testing.assert_allclose(powers[powerful].sum(-1), polsar.span(t3)[powerful], rtol=1e-4)
    assert np.isnan(powers[np.asarray(polsar.span(t3)) <= 0]).all()
    h, a, alpha = np.moveaxis(np.asarray(decompositions.cloude_pottier(t3)), -1, 0)
    positive = np.asarray(decompositions.eigen(t3)[0][..., 0]) > 0
    assert (np.isfinite(h) == positive).all()
    for found, most in ((h, 1), (a, 1), (alpha, 90)):
        assert found[positive].min() >= 0
        assert found[positive].max() <= most + 1e-3


def test_a_negative_volume_is_none_and_the_rest_is_the_span() -> None:
    # Surface of 2 with a cross-polarised power of -0.1, as after noise is subtracted.
    c3 = jnp.asarray([1.0, -0.1, 1.0, 0, 0, 1.0, 0, 0, 0])
    found = decompositions.freeman_durden(polsar.t3_from_c3(c3))
    np.testing.assert_allclose(found, [1.9, 0, 0], atol=1e-5)


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


def of_matrices(matrix: Array | NDArray[np.complex128]) -> Array:
    return polsar.bands_of(jnp.asarray(matrix, jnp.complex64))


def test_first_components_are_exact_where_eigenvalues_differ() -> None:
    random = np.random.default_rng(2)
    unitary, _ = np.linalg.qr(random.standard_normal((300, 3, 3, 2)) @ [1, 1j])
    matrix = (unitary * [1.0, 0.4, 0.05]) @ unitary.conj().swapaxes(1, 2)
    values, moduli = decompositions.eigen(of_matrices(matrix))
    np.testing.assert_allclose(values, np.tile([1, 0.4, 0.05], (300, 1)), atol=1e-6)
    np.testing.assert_allclose(moduli, np.abs(unitary[:, 0]), atol=4e-6)


def test_eigenvalues_may_be_negative_and_are_sorted_by_value() -> None:
    t3 = jnp.stack([jnp.eye(9)[:3].T @ jnp.asarray(d) for d in ([-1.0, 2, 0.5], [0, -3, -1])])
    values, moduli = decompositions.eigen(t3)
    np.testing.assert_allclose(values, [[2, 0.5, -1], [0, -1, -3]], atol=1e-6)
    np.testing.assert_allclose(moduli, [[0, 0, 1], [1, 0, 0]], atol=1e-6)


def test_shares_of_a_matrix_of_one_slightly_negative_eigenvalue_sum_to_one() -> None:
    unitary, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((200, 3, 3, 2)) @ [1, 1j])
    matrix = (unitary * [1.0, 0.01, -0.005]) @ unitary.conj().swapaxes(1, 2)
    h, a, alpha = np.asarray(decompositions.cloude_pottier(of_matrices(matrix))).T
    p = np.array([1.0, 0.01]) / 1.01
    np.testing.assert_allclose(h, -(p * np.log(p)).sum() / np.log(3), atol=1e-5)
    np.testing.assert_allclose(a, 1, atol=1e-5)
    angles = np.degrees(np.arccos(np.abs(unitary[:, 0, :2])))
    np.testing.assert_allclose(alpha, angles @ p, atol=0.02)


def test_anisotropy_of_a_single_mechanism_is_zero() -> None:
    single_eigenvalue = jnp.stack([jnp.eye(9)[2], 1e-9 * jnp.eye(9)[0]])
    np.testing.assert_allclose(
        decompositions.cloude_pottier(single_eigenvalue)[:, :2], 0, atol=1e-6
    )


def freeman_durden_by_definition(t3: NDArray[np.complex64]) -> tuple[float, float, float]:
    """(3, 3) -> surface, double bounce, volume: the paper's equations, solved by cases."""
    d = np.array([[1, 0, 1], [1, 0, -1], [0, np.sqrt(2), 0]]) / np.sqrt(2)
    c = d.T @ t3.astype(np.complex128) @ d
    hh, hv, vv, cross = c[0, 0].real, c[1, 1].real, c[2, 2].real, c[0, 2]
    fv = 1.5 * hv
    total, hh, vv, cross = hh + hv + vv, hh - fv, vv - fv, cross - fv / 3
    if hh <= 0 or vv <= 0:
        return 0.0, 0.0, total
    if abs(cross) ** 2 > hh * vv:
        cross *= np.sqrt(hh * vv) / abs(cross)
    rest = hh * vv - abs(cross) ** 2
    if cross.real >= 0:  # alpha = -1: a double bounce of known shape
        fd = rest / (hh + vv + 2 * cross.real)
        fs = vv - fd
        beta = (fd + cross) / fs
        return fs * (1 + abs(beta) ** 2), 2 * fd, 8 * fv / 3
    fs = rest / (hh + vv - 2 * cross.real)  # beta = 1: a surface of known shape
    fd = vv - fs
    alpha = (cross - fs) / fd
    return 2 * fs, fd * (1 + abs(alpha) ** 2), 8 * fv / 3


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_freeman_durden_is_the_solution_of_the_papers_equations(scale: float) -> None:
    # Surfaces and double bounces with and without noise, and pure noise that leaves no power.
    mixed = [w * single(hh, 0.1, vv) for w, hh, vv in ((1, 1, 0.6), (2, 1, -0.7), (1, 0.2, 1j))]
    t3 = jnp.concatenate([drawn(60), *(0.2 * drawn(40) + m for m in mixed), drawn(20, averaged=1)])
    expected = [freeman_durden_by_definition(one) for one in np.asarray(polsar.matrices(t3))]
    found = np.asarray(decompositions.freeman_durden(scale * t3)) / scale
    size = np.asarray(polsar.span(t3))[:, None]
    np.testing.assert_allclose(found / size, expected / size, atol=1e-4)
    larger = np.argmax(expected, 1)
    assert all((larger == kind).sum() > 10 for kind in range(3))
    assert (np.asarray(expected)[:, :2] == 0).all(1).sum() > 5  # all is volume


def test_data_is_finite_and_not_zero_in_every_band() -> None:
    for bands in (4, 9):
        some = np.zeros((bands + 3, bands), np.float32)
        some[np.arange(bands), np.arange(bands)] = -1e-30
        some[bands, 0], some[bands + 1, -1] = np.inf, np.nan
        some[bands : bands + 2, 1] = 1
        found = np.asarray(decompositions.has_data(jnp.asarray(some)))
        assert found.tolist() == [True] * bands + [False] * 3


@pytest.mark.parametrize("power", [1e-6, 1.0, 1e6])
def test_an_eigenvalue_may_be_as_negative_as_files_round_it(power: float) -> None:
    off = decompositions.TOLERANCE
    # Of a span of 2: a hundredth more or less than what is allowed.
    least = 2 * off * np.array([0.99, 1.01])
    t3 = np.zeros((2, 9))
    t3[:, 1], t3[:, 2], t3[:, 0] = 1.5, 0.5 + least, -least
    c2 = np.array([[1, 1, 0, 1 + d] for d in least])
    for bands in (t3, t3[:, [2, 0, 1, *range(3, 9)]], c2, c2[:, [0, 1, 3, 2]]):
        found = decompositions.is_semidefinite(jnp.asarray(power * bands, jnp.float32))
        assert np.asarray(found).tolist() == [True, False]


def test_two_channels_of_unlike_power_are_semidefinite_up_to_full_coherence() -> None:
    # C11 C22 = 0.1: |C12| up to its root, as a real, an imaginary and a negative number.
    for real, imaginary in ((1, 0), (0, -1), (-0.6, 0.8)):
        for share, expected in ((0.99, True), (1.05, False)):
            off = share * np.sqrt(0.1)
            c2 = jnp.asarray([1.0, 0.1, off * real, off * imaginary])
            assert bool(decompositions.is_semidefinite(c2)) is expected
    assert bool(decompositions.is_semidefinite(jnp.zeros(4)))
    assert not bool(decompositions.is_semidefinite(-jnp.eye(9)[0]))
