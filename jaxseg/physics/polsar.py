"""Polarimetric SAR: scattering, covariance and coherency matrices, and features of them.

    S2   (..., 4) complex   S_hh, S_hv, S_vh, S_vv of one look
    C3   (..., 9) real      mean of k k^H, k = (S_hh, sqrt 2 S_hv, S_vv)
    T3   (..., 9) real      mean of k k^H, k = (S_hh + S_vv, S_hh - S_vv, 2 S_hv) / sqrt 2
    C2   (..., 4) real      mean of k k^H of the two channels of dual-polarimetric radars

Hermitian matrices are stored as real bands: the diagonal, then Re and Im of the elements above it,
T12, T13, T23. Element ij is the mean of k_i times the conjugate of k_j. Monostatic radars measure
S_hv = S_vh except for noise, so these two are averaged. Powers are linear, in the unit of the data.

Source: Lee and Pottier, Polarimetric Radar Imaging, CRC Press 2009, chapters 3 and 4. C3 <-> T3 was
checked against D C3 D^T with the unitary D in NumPy.
"""

import jax
import jax.numpy as jnp
from jax import Array

from jaxseg.physics import sar

T3_BANDS = ("T11", "T22", "T33", "ReT12", "ImT12", "ReT13", "ImT13", "ReT23", "ImT23")
C3_BANDS = ("C11", "C22", "C33", "ReC12", "ImC12", "ReC13", "ImC13", "ReC23", "ImC23")
C2_BANDS = ("C11", "C22", "ReC12", "ImC12")
S2_BANDS = ("HH", "HV", "VH", "VV")

PAIRS = ((0, 1), (0, 2), (1, 2))
"""Row and column of the elements above the diagonal, in the order of their bands."""

FLOOR = sar.FLOOR
"""Default smallest distinguishable power, -60 dB: about the noise of a calibrated sensor."""

ROOT_HALF = 0.5**0.5


def matrices(bands: Array) -> Array:
    """Real bands -> complex matrices: (..., 9) -> (..., 3, 3), (..., 4) -> (..., 2, 2)."""
    size = _size(bands)
    rows = [[bands[..., i].astype(jnp.complex64) for i in range(size)] for _ in range(size)]
    for place, (i, j) in enumerate(_pairs(size)):
        element = jax.lax.complex(bands[..., size + 2 * place], bands[..., size + 2 * place + 1])
        rows[i][j], rows[j][i] = element, element.conj()
    for i in range(size):
        rows[i][i] = bands[..., i].astype(jnp.complex64)
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def bands_of(matrix: Array) -> Array:
    """The inverse of `matrices`; elements below the diagonal are ignored.

    `asymmetry` measures whether they may be.
    """
    size = matrix.shape[-1]
    parts = [matrix[..., i, i].real for i in range(size)]
    for i, j in _pairs(size):
        parts += [matrix[..., i, j].real, matrix[..., i, j].imag]
    return jnp.stack(parts, axis=-1)


def asymmetry(matrix: Array) -> Array:
    """How far matrices are from Hermitian: (..., n, n) -> (...), 0 for Hermitian ones.

    The largest |M_ij - conj M_ji|, imaginary parts on the diagonal included, over the largest
    |M_ij|.
    """
    largest = jnp.abs(matrix).max((-2, -1))
    off = jnp.abs(matrix - matrix.swapaxes(-2, -1).conj()).max((-2, -1))
    return jnp.where(largest > 0, off / jnp.where(largest > 0, largest, 1), 0)


def c3_from_s2(scattering: Array) -> Array:
    """C3 of single looks: (..., 4) complex S_hh, S_hv, S_vh, S_vv -> (..., 9)."""
    hh, cross, vv = _monostatic(scattering)
    return _outer((hh, 2**0.5 * cross, vv))


def t3_from_s2(scattering: Array) -> Array:
    """T3 of single looks: (..., 4) complex S_hh, S_hv, S_vh, S_vv -> (..., 9)."""
    hh, cross, vv = _monostatic(scattering)
    return _outer((ROOT_HALF * (hh + vv), ROOT_HALF * (hh - vv), 2**0.5 * cross))


def t3_from_c3(c3: Array) -> Array:
    """The same pixels in the Pauli basis: (..., 9) -> (..., 9), exact except for rounding."""
    c11, c22, c33, re12, im12, re13, im13, re23, im23 = jnp.moveaxis(c3, -1, 0)
    mean, half = 0.5 * (c11 + c33), 0.5 * (c11 - c33)
    t13 = (ROOT_HALF * (re12 + re23), ROOT_HALF * (im12 - im23))
    t23 = (ROOT_HALF * (re12 - re23), ROOT_HALF * (im12 + im23))
    return jnp.stack((mean + re13, mean - re13, c22, half, -im13, *t13, *t23), axis=-1)


def c3_from_t3(t3: Array) -> Array:
    """The inverse of `t3_from_c3`: (..., 9) -> (..., 9)."""
    t11, t22, t33, re12, im12, re13, im13, re23, im23 = jnp.moveaxis(t3, -1, 0)
    mean, half = 0.5 * (t11 + t22), 0.5 * (t11 - t22)
    c12 = (ROOT_HALF * (re13 + re23), ROOT_HALF * (im13 + im23))
    c23 = (ROOT_HALF * (re13 - re23), ROOT_HALF * (im23 - im13))
    return jnp.stack((mean + re12, t33, mean - re12, *c12, half, -im12, *c23), axis=-1)


def span(bands: Array) -> Array:
    """Total power, the trace: (..., 9) or (..., 4) -> (...); equal for C3 and T3."""
    return bands[..., : _size(bands)].sum(-1)


def pauli_decibel(t3: Array, floor: float = FLOOR) -> Array:
    """Red T22 (double bounce), green T33 (volume), blue T11 (surface), in dB: (..., 9) -> (..., 3).

    For display, each channel is usually stretched from its 5th to its 95th percentile.
    """
    return sar.intensity_to_decibel(t3[..., jnp.array([1, 2, 0])], floor=floor)


def coherency_features(bands: Array, floor: float = FLOOR) -> Array:
    """Nine real features of a T3 or C3: the diagonal in dB, then coherences: (..., 9) -> (..., 9).

    Coherences T_ij / sqrt(T_ii T_jj), as Re and Im, lie in the unit circle and do not depend on
    brightness. Zeros and NaN on the diagonal become the floor.
    """
    power = sar.above(bands[..., :3], floor)
    root = jnp.sqrt(power)  # separately: products of very small or large powers exceed float32
    pairs = root[..., jnp.array([0, 0, 1])] * root[..., jnp.array([1, 2, 2])]
    coherence = bands[..., 3:] / jnp.repeat(pairs, 2, axis=-1)
    return jnp.concatenate((10 * jnp.log10(power), jnp.nan_to_num(coherence)), axis=-1)


def zhou_features(t3: Array, floor: float = FLOOR) -> Array:
    """Six real features of a T3 without its phases: (..., 9) -> (..., 6).

    Span in dB, T22 / span, T33 / span, |T12| / sqrt(T11 T22), |T13| / sqrt(T11 T33),
    |T23| / sqrt(T22 T33): all but the first between 0 and 1.

    Source: Zhou, Wang, Xu, Jin, Polarimetric SAR Image Classification Using Deep Convolutional
    Neural Networks, IEEE GRSL 2016.
    """
    full = coherency_features(t3, floor)
    power = sar.above(t3[..., :3], floor)
    total = power.sum(-1, keepdims=True)
    moduli = jnp.hypot(full[..., 3::2], full[..., 4::2])
    return jnp.concatenate((10 * jnp.log10(total), power[..., 1:] / total, moduli), axis=-1)


def with_speckle(key: Array, bands: Array, looks: float | Array) -> Array:
    """Coherency or covariance matrices with additional speckle: float32, same unit.

    T' = C W C^H with the Cholesky factor C of T and W ~ Wishart(L, 1 / L), whose mean is the
    identity: all elements vary together, as those of a measured matrix do, and the mean stays.
    W = A A^H / L is drawn by Bartlett's decomposition: |A_ii|^2 ~ Gamma(L - i), A_ij ~ CN(0, 1)
    below the diagonal, i = 0, 1, ...

    Source: Goodman, Statistical Analysis Based on a Certain Multivariate Complex Gaussian
    Distribution, Annals of Mathematical Statistics 1963.

    Args:
        key: Random key.
        bands: (..., 9) or (..., 4) real bands of 3 x 3 or 2 x 2 matrices.
        looks: L, above the number of rows less 1.
    """
    bands = bands.astype(jnp.float32)
    size = _size(bands)
    matrix = matrices(bands)
    # Matrices of less looks than rows have no inverse: a millionth of their power is added.
    floor = 1e-6 * bands[..., :size].mean(-1) + 1e-30
    root = jnp.linalg.cholesky(matrix + floor[..., None, None] * jnp.eye(size))
    diagonal, below = jax.random.split(key)
    shapes = looks - jnp.arange(size, dtype=jnp.float32)
    powers = jax.random.gamma(diagonal, shapes, (*bands.shape[:-1], size), jnp.float32)
    draws = jax.random.normal(below, matrix.shape, jnp.complex64)
    factor = jnp.tril(draws, -1) + jnp.eye(size) * jnp.sqrt(powers)[..., None]
    product = root @ factor
    return bands_of(product @ product.conj().mT / looks)


def _monostatic(scattering: Array) -> tuple[Array, Array, Array]:
    """S_hh, the mean of S_hv and S_vh, S_vv."""
    hh, hv, vh, vv = jnp.moveaxis(scattering, -1, 0)
    return hh, 0.5 * (hv + vh), vv


def _outer(vector: tuple[Array, Array, Array]) -> Array:
    """The bands of k k^H."""
    parts = [jnp.square(k.real) + jnp.square(k.imag) for k in vector]
    for i, j in PAIRS:
        product = vector[i] * vector[j].conj()
        parts += [product.real, product.imag]
    return jnp.stack(parts, axis=-1)


def _size(bands: Array) -> int:
    """Number of rows of the matrix that the bands hold."""
    sizes = {9: 3, 4: 2}
    if bands.shape[-1] not in sizes:
        raise ValueError(f"{bands.shape[-1]} bands: a 3 x 3 matrix has 9, a 2 x 2 matrix 4.")
    return sizes[bands.shape[-1]]


def _pairs(size: int) -> tuple[tuple[int, int], ...]:
    return PAIRS if size == 3 else ((0, 1),)
