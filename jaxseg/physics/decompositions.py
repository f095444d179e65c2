"""Polarimetric decompositions: eigenvalues, entropy / anisotropy / alpha, three scattering powers.

All work pixel by pixel on the nine real bands of `jaxseg.physics.polsar`, with any batch axes, and
return NaN where a pixel has no power or is not finite. For maps and checks, not for gradients:
derivatives do not exist where eigenvalues are equal.
"""

import jax
import jax.numpy as jnp
from jax import Array

from jaxseg.physics.polsar import C2_BANDS, PAIRS, c3_from_t3, span

TOLERANCE = 1e-4
"""Share of the span by which an eigenvalue may be negative: rounding of float32 files."""

_SWEEPS = 5


@jax.jit
def eigen(bands: Array) -> tuple[Array, Array]:
    """Eigenvalues, and the modulus of the first component of each eigenvector.

    Five sweeps of cyclic Jacobi rotations: elementwise, hence fast for millions of pixels on every
    device, and as exact as float32 allows, even for equal eigenvalues.

    Source: Golub and van Loan, Matrix Computations, 2013, section 8.5, for Hermitian matrices.
    Checked against `numpy.linalg.eigh` in complex128.

    Args:
        bands: (..., 9) Hermitian matrices.

    Returns:
        (..., 3) real eigenvalues, largest first, in the unit of the bands; (..., 3) moduli 0..1 of
        the first components of their unit eigenvectors.
    """
    scale = jnp.abs(bands).max(-1, keepdims=True)
    scale = jnp.where(scale > 0, scale, 1)  # squares of very small powers underflow in float32
    b = bands / scale
    diagonal = [b[..., i] for i in range(3)]
    above = [jax.lax.complex(b[..., 3 + 2 * i], b[..., 4 + 2 * i]) for i in range(3)]
    one = jnp.ones_like(above[0])
    first = [one, 0 * one, 0 * one]  # row of the matrix of eigenvectors

    def sweep(_: int, state: tuple[list[Array], ...]) -> tuple[list[Array], ...]:
        for p, q in PAIRS:
            state = _rotated(*state, p=p, q=q)
        return state

    diagonal, _, first = jax.lax.fori_loop(0, _SWEEPS, sweep, (diagonal, above, first))
    pairs = [(d, jnp.abs(f)) for d, f in zip(diagonal, first, strict=True)]
    for i, j in ((0, 1), (1, 2), (0, 1)):  # three comparisons sort three numbers
        (d, f), (e, g) = pairs[i], pairs[j]
        swap = d < e
        pairs[i] = jnp.where(swap, e, d), jnp.where(swap, g, f)
        pairs[j] = jnp.where(swap, d, e), jnp.where(swap, f, g)
    values, moduli = (jnp.stack(part, axis=-1) for part in zip(*pairs, strict=True))
    return values * scale, jnp.minimum(moduli, 1)


def _rotated(
    diagonal: list[Array], above: list[Array], first: list[Array], *, p: int, q: int
) -> tuple[list[Array], list[Array], list[Array]]:
    """The same matrix in a basis in which element pq is zero.

    The new axes are c e_p - s u e_q and s e_p + c u e_q; u is the conjugate phase of element pq.
    """
    diagonal, above, first = list(diagonal), list(above), list(first)
    r = 3 - p - q

    def element(i: int, j: int) -> Array:
        return above[i + j - 1] if i < j else above[i + j - 1].conj()

    a = element(p, q)
    size = jnp.abs(a)
    u = jnp.where(size > 0, a.conj() / jnp.where(size > 0, size, 1), 1)
    gap = diagonal[q] - diagonal[p]
    reach = jnp.abs(gap) + jnp.hypot(gap, 2 * size)
    t = jnp.where(gap < 0, -1, 1) * 2 * size / jnp.where(reach > 0, reach, 1)  # tangent
    c = jax.lax.rsqrt(1 + t * t)
    s = t * c
    diagonal[p], diagonal[q] = diagonal[p] - t * size, diagonal[q] + t * size
    rp, rq = element(r, p), u * element(r, q)
    for column, value in ((p, c * rp - s * rq), (q, s * rp + c * rq)):
        above[r + column - 1] = value if r < column else value.conj()
    above[p + q - 1] = jnp.zeros_like(a)
    vp, vq = first[p], u * first[q]
    first[p], first[q] = c * vp - s * vq, s * vp + c * vq
    return diagonal, above, first


@jax.jit
def has_data(bands: Array) -> Array:
    """(..., 9 or 4) -> (...) bool: finite, and not zero in every band."""
    return jnp.isfinite(bands).all(-1) & (bands != 0).any(-1)


@jax.jit
def is_semidefinite(bands: Array) -> Array:
    """(..., 9 or 4) -> (...) bool: no eigenvalue is below -`TOLERANCE` times the span.

    Also True for pixels without data, unless they are NaN.
    """
    if bands.shape[-1] == len(C2_BANDS):
        c11, c22, real, imaginary = jnp.moveaxis(bands, -1, 0)
        half = 0.5 * (c11 - c22)
        smallest = 0.5 * (c11 + c22) - jnp.sqrt(half**2 + real**2 + imaginary**2)
    else:
        smallest = eigen(bands)[0][..., 2]
    semidefinite: Array = smallest >= -TOLERANCE * jnp.maximum(span(bands), 0)
    return semidefinite


@jax.jit
def cloude_pottier(t3: Array) -> Array:
    """Entropy, anisotropy and mean alpha: (..., 9) coherency -> (..., 3).

    With eigenvalues l1 >= l2 >= l3 and p_i = l_i / (l1 + l2 + l3):

        H      -sum p_i log3 p_i                    0 one mechanism .. 1 all alike
        A      (l2 - l3) / (l2 + l3)                0..1; 0 where both are 0
        alpha  sum p_i arccos |first component of eigenvector i|, in degrees: 0 surface,
               45 dipole, 90 double bounce

    Needs averaged matrices: matrices of one look have H = 0 everywhere. Negative eigenvalues, which
    matrices have that are not semidefinite (by rounding, or after noise is subtracted), count as 0.

    Source: Cloude and Pottier, An Entropy Based Classification Scheme for Land Applications of
    Polarimetric SAR, IEEE TGRS 1997. Checked against `numpy.linalg.eigh`. Some published code uses
    the components of the first eigenvector instead of the first components of all eigenvectors.
    """
    values, moduli = eigen(t3)
    values = jnp.maximum(values, 0)
    total = values.sum(-1, keepdims=True)
    p = values / jnp.where(total > 0, total, 1)
    entropy = -(p * jnp.log(jnp.maximum(p, 1e-12))).sum(-1) / jnp.log(3.0)
    small = values[..., 1] + values[..., 2]
    anisotropy = (values[..., 1] - values[..., 2]) / jnp.where(small > 0, small, 1)
    alpha = jnp.degrees((p * jnp.arccos(moduli)).sum(-1))
    out = jnp.stack((jnp.clip(entropy, 0, 1), anisotropy, alpha), axis=-1)
    return jnp.where((total > 0) & has_data(t3)[..., None], out, jnp.nan)


@jax.jit
def freeman_durden(t3: Array) -> Array:
    """Powers of surface, double bounce and volume: (..., 9) coherency -> (..., 3), never negative.

    Their sum is the span. In the lexicographic basis the volume of randomly oriented dipoles, fv =
    3/2 C22, is subtracted first; if no power is left in HH or VV, everything is volume. If Re C13
    >= 0, the rest is surface with a free ratio beta and double bounce with ratio -1; otherwise it
    is double bounce with a free ratio and surface with ratio 1.

    For matrices that are not semidefinite, as after noise is subtracted: a negative C22 counts as 0
    and the powers are scaled to the span, |C13|^2 is limited to C11 C33, and where the span itself
    is not positive the powers are NaN.

    Source: Freeman and Durden, A Three-Component Scattering Model for Polarimetric SAR Data, IEEE
    TGRS 1998; negative powers are treated as in PolSARpro.
    """
    c11, c22, c33, _, _, re13, im13, _, _ = jnp.moveaxis(c3_from_t3(t3), -1, 0)
    total = c11 + c22 + c33
    volume = 1.5 * jnp.maximum(c22, 0)
    c11, c33 = c11 - volume, c33 - volume
    re13 = re13 - volume / 3
    is_volume = (c11 <= 0) | (c33 <= 0)
    c11, c33 = (jnp.where(is_volume, 1.0, c) for c in (c11, c33))
    root = jnp.sqrt(c11) * jnp.sqrt(c33)  # products of small powers underflow in float32
    modulus = jnp.hypot(re13, im13)
    shrink = jnp.where(modulus > root, root / jnp.where(modulus > 0, modulus, 1), 1)
    re13, modulus = re13 * shrink, modulus * shrink
    other = jnp.maximum(root - modulus, 0) * ((root + modulus) / (c11 + c33 + 2 * jnp.abs(re13)))
    fixed, free = 2 * other, jnp.maximum(c11 + c33 - 2 * other, 0)
    is_surface = re13 >= 0
    surface, double = jnp.where(is_surface, free, fixed), jnp.where(is_surface, fixed, free)
    powers = jnp.stack((surface, double, 8 * volume / 3), axis=-1)
    powers = jnp.where((c22 < 0)[..., None], powers * (total / powers.sum(-1))[..., None], powers)
    only_volume = jnp.stack((jnp.zeros_like(total), jnp.zeros_like(total), total), axis=-1)
    powers = jnp.where(is_volume[..., None], only_volume, powers)
    return jnp.where((has_data(t3) & (total > 0))[..., None], powers, jnp.nan)
