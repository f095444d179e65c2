"""What optical, SAR, PolSAR and hyperspectral sensors see of a `Ground`: states, then images.

    optical        exp(state), with nodata = 0 beyond the swath
    sar            linear power of the state x Gamma(L, 1/L): speckle of L looks
    polsar         mean of L outer products of circular Gaussians whose covariance is the sum of
                   three scattering mechanisms: complex Wishart
    hyperspectral  spectra of the endmembers, mixed by the abundances, plus the sensor's noise

There is no point spread: neighbours do not mix, so classes with the same `Surface` have the same
distribution, on a one-pixel track as on a large roof, and `benchmarks/landscape_ceiling.py` can
compute the ceilings.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets.landscape.map import CLASSES, SPLITS, Ground
from jaxseg.datasets.landscape.shapes import SIZE, YX, Float, Mask, Rng
from jaxseg.datasets.landscape.surfaces import ENDMEMBERS, MODALITIES, SURFACES, Modality, Surface

MATERIAL = (0, 0, 1, 1, 2, 2, 3, 3, 4, 5)
"""Class id -> index of its surface in water, wood, field, grove, road, roof."""

HYPERSPECTRAL_SIZE = 128
"""A hyperspectral tile is the middle 128 x 128 pixels of the map, to keep the files small."""

WAVELENGTHS: Float = np.concatenate(
    [np.arange(410, 1340, 12.5), np.arange(1460, 1790, 15), np.arange(2030, 2385, 16)]
).astype(np.float32)
"""Band centres of the hyperspectral sensor in nm, without the bands of atmospheric water."""

EPSILON_POLSAR = 1e-3
"""Noise floor of each T3 diagonal element, linear power."""


def render(
    ground: Ground,
    modality: Modality,
    *,
    looks: int,
    key: tuple[int, str, int],
    surfaces: tuple[Surface, ...] = (),
) -> NDArray[np.generic]:
    """The sensor's image of a tile.

    Args:
        ground: The tile.
        modality: Which sensor.
        looks: Number of looks of the radars.
        key: Seed, split and index of the tile; with the sensor they determine all random numbers.
        surfaces: Distributions of water, wood, field, grove, road and roof; empty = the sensor's.

    Returns:
        `optical` (H, W, 4) uint16 reflectance x 10000, 0 = nodata; `sar` (H, W, 2) float32 linear
        power; `polsar` (H, W, 9) float32 linear power, T11 T22 T33 and Re, Im of T12 T13 T23;
        `hyperspectral` (H, W, 120) uint16 reflectance x 10000.
    """
    seed, split, index = key
    rng = np.random.default_rng([seed, SPLITS.index(split), index, 1 + MODALITIES.index(modality)])
    state = states(ground, surfaces or tuple(SURFACES[modality].values()), rng)
    if modality == "optical":
        digital = np.clip(np.rint(np.exp(state) * 10_000), 1, 16_000).astype(np.uint16)
        digital[_outside_swath(rng)] = 0
        return np.asarray(digital)
    power = np.asarray(10 ** (state / 10), np.float32)
    if modality == "sar":
        speckle = rng.standard_gamma(looks, state.shape, dtype=np.float32) / looks
        return _rounded(np.asarray(power * speckle, np.float32))
    if modality == "polsar":
        return _rounded(wishart(power, looks, rng))
    spectrum = mixed_spectra(state)
    spectrum += 0.002 * rng.standard_normal(spectrum.shape, dtype=np.float32)
    return np.clip(np.rint(spectrum * 10_000), 1, 16_000).astype(np.uint16)


def states(ground: Ground, surfaces: tuple[Surface, ...], rng: Rng) -> Float:
    """Draws the state of every pixel, (H, W, D) float32.

    Args:
        ground: Arrays of (H, W).
        surfaces: Water, wood, field, grove, road and roof, in this order.
        rng: Generator for the components and offsets of the cells and for the noise.
    """
    material = np.asarray(MATERIAL)[ground.label]
    cells = int(ground.cell.max()) + 1
    of_cell = np.zeros(cells, np.int64)
    of_cell[ground.cell.ravel()] = material.ravel()
    pick, shared = rng.random(cells), rng.standard_normal((cells, 1))
    alone = rng.standard_normal((cells, len(surfaces[0].texture)))
    cell = np.zeros_like(alone)
    for number, surface in enumerate(surfaces):
        here = of_cell == number
        component = np.searchsorted(np.cumsum(surface.shares[:-1]), pick[here])
        offset = surface.common * shared[here] + np.asarray(surface.each) * alone[here]
        cell[here] = np.asarray(surface.means)[component] + offset
    state = cell.astype(np.float32)[ground.cell]
    state += (
        np.asarray([s.texture for s in surfaces], np.float32)[material] * ground.texture[..., None]
    )
    state += (
        np.asarray([s.relief for s in surfaces], np.float32)[material] * ground.relief[..., None]
    )
    noise = np.asarray([s.noise for s in surfaces], np.float32)
    if noise.any():
        state += noise[material] * rng.standard_normal(state.shape, dtype=np.float32)
    return state


def coherency(power: Float) -> tuple[Float, NDArray[np.complex64]]:
    """Diagonal (..., 3) and element T12 (...) of T3 = Ps S + Pd D + Pv V + floor; T13 = T23 = 0.

    S is Bragg surface scattering, D a dihedral, V a cloud of thin dipoles, each of span 1;
    reflection symmetry makes T13 and T23 vanish.

    **Source:** Freeman and Durden, A Three-Component Scattering Model for PolSAR, TGRS 1998.

    Args:
        power: (..., 3) linear power of surface, double-bounce and volume scattering.
    """
    bragg, dihedral = 0.25 * np.exp(0.3j), 0.35 * np.exp(-0.5j)
    diagonal_of = np.array([[1, abs(bragg) ** 2, 0], [abs(dihedral) ** 2, 1, 0], [2, 1, 1]])
    diagonal_of /= diagonal_of.sum(1, keepdims=True)
    t12_of = np.array(
        [np.conj(bragg) / (1 + abs(bragg) ** 2), dihedral / (1 + abs(dihedral) ** 2), 0]
    )
    diagonal = power @ diagonal_of.astype(np.float32) + np.float32(EPSILON_POLSAR)
    return np.asarray(diagonal, np.float32), np.asarray(power @ t12_of, np.complex64)


def wishart(power: Float, looks: int, rng: Rng) -> Float:
    """T3 of L looks, (..., 9): the mean of L products k k^H, k ~ CN(0, `coherency(power)`)."""
    diagonal, t12 = coherency(power)
    first = np.sqrt(diagonal[..., 0])
    lower = np.conj(t12) / first
    second = np.sqrt(diagonal[..., 1] - np.abs(lower) ** 2)
    total = np.zeros((*power.shape[:-1], 9), np.float32)
    for _ in range(looks):
        real, imaginary = rng.standard_normal((2, 3, *power.shape[:-1]), dtype=np.float32)
        z = (real + 1j * imaginary) * np.float32(np.sqrt(0.5))
        k = (first * z[0], lower * z[0] + second * z[1], np.sqrt(diagonal[..., 2]) * z[2])
        for i in range(3):
            total[..., i] += k[i].real ** 2 + k[i].imag ** 2
        for place, (i, j) in enumerate(((0, 1), (0, 2), (1, 2))):
            product = k[i] * np.conj(k[j])
            total[..., 3 + 2 * place] += product.real
            total[..., 4 + 2 * place] += product.imag
    return np.asarray(total / looks, np.float32)


def mixed_spectra(state: Float) -> Float:
    """Reflectance (..., 120) of states (..., 7): softmax of the logits mixes `endmembers()`."""
    weight = np.exp(state[..., :-1] - state[..., :-1].max(-1, keepdims=True))
    weight *= np.exp(state[..., -1:]) / weight.sum(-1, keepdims=True)
    return np.asarray(weight @ endmembers())


@cache
def endmembers() -> Float:
    """Reflectance of the pure materials, (6, 120), in the order of `ENDMEMBERS`; analytic."""
    nm = WAVELENGTHS.astype(np.float64)

    def step(centre: float, width: float) -> NDArray[np.float64]:
        return 1 / (1 + np.exp(-(nm - centre) / width))

    def dip(centre: float, width: float, depth: float) -> NDArray[np.float64]:
        return 1 - depth * np.exp(-0.5 * ((nm - centre) / width) ** 2)

    wet = dip(970, 35, 0.10) * dip(1190, 50, 0.18) * (1 - 0.45 * step(1350, 30))
    wet = wet * dip(1450, 70, 0.45) * (1 - 0.45 * step(1900, 40)) * dip(1940, 90, 0.5)
    chlorophyll = 0.035 + 0.05 * np.exp(-0.5 * ((nm - 552) / 28) ** 2)
    spectra = {
        "leaf": (chlorophyll + 0.47 * step(715, 13)) * wet,
        "straw": (0.06 + 0.33 * step(640, 90))
        * dip(2100, 60, 0.22)
        * dip(2310, 40, 0.12)
        * dip(1730, 40, 0.06),
        "soil": (0.05 + 0.30 * (1 - np.exp(-(nm - 400) / 600)))
        * dip(870, 70, 0.05)
        * dip(2205, 25, 0.10),
        "mineral": (0.20 + 0.06 * step(520, 50) + 0.03 * step(1500, 300)) * dip(2335, 30, 0.08),
        "clear water": 0.055 * np.exp(-(((nm - 400) / 190) ** 2)) + 0.004,
        "shade": 0.012 + 0.006 * step(720, 40),
    }
    return np.stack([spectra[name] for name in ENDMEMBERS]).astype(np.float32)


def look_alikes(modality: Modality) -> tuple[tuple[str, ...], ...]:
    """The classes in groups: those of a group have the same pixel distribution in this sensor."""
    surfaces = tuple(SURFACES[modality].values())
    seen: dict[Surface, list[str]] = {}
    for name, material in zip(CLASSES, MATERIAL, strict=True):
        seen.setdefault(surfaces[material], []).append(name)
    return tuple(tuple(group) for group in seen.values())


def _rounded(power: Float) -> Float:
    """Keeps 11 of 23 bits of the mantissa: invisible under speckle, and the files are smaller."""
    bits = np.ascontiguousarray(power).view(np.uint32)
    return ((bits + np.uint32(0x800)) & np.uint32(0xFFFFF000)).view(np.float32)


def _outside_swath(rng: Rng) -> Mask:
    """Where an optical tile has no data: beyond a swath's slanted edge, or on lost scan lines."""
    outside = np.zeros((SIZE, SIZE), np.bool_)
    kind = rng.random()
    if kind < 0.1:
        angle = rng.uniform(0, 2 * np.pi)
        reach = (YX[0] - SIZE / 2) * np.sin(angle) + (YX[1] - SIZE / 2) * np.cos(angle)
        outside = reach > rng.uniform(0.2, 0.55) * SIZE
    elif kind < 0.15:
        first, count = rng.integers(0, SIZE - 4), rng.integers(1, 4)
        outside[first : first + count] = True
    return outside
