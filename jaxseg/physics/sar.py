"""Radar intensity: its units, means, ratios and speckle.

    amplitude --square--> intensity, linear power --10 log10--> dB

Images are (..., H, W, C), bands last, each band processed separately. A pixel that is not finite
has no data: it is excluded from means and stays NaN. Filters and numbers of looks are in
`sar_filters`.

An intensity I = R n is the product of the reflectivity R and fully developed speckle
n ~ Gamma(L, 1 / L) of L looks: mean 1, variance 1 / L, so the squared coefficient of variation of a
homogeneous area is 1 / L. In dB speckle is additive, with mean 10 / ln 10 (psi(L) - ln L) and
variance (10 / ln 10)^2 psi_1(L).

Source: Oliver and Quegan, Understanding Synthetic Aperture Radar Images, SciTech 2004, chapter 4.
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

RadarUnit = Literal["amplitude", "intensity", "decibel"]
"""Unit of the values of an image; intensity is linear power of any scale."""

FLOOR = 1e-6
"""Default smallest distinguishable power, -60 dB: below the noise of any spaceborne radar."""


def amplitude_to_intensity(amplitude: Array) -> Array:
    """Amplitude squared, in float32: whole numbers would overflow."""
    return jnp.square(amplitude.astype(jnp.float32))


def intensity_to_amplitude(intensity: Array) -> Array:
    """Square root of the intensity; negative values (after noise subtraction) become 0."""
    return jnp.sqrt(jnp.where(intensity < 0, 0, intensity))


def intensity_to_decibel(intensity: Array, *, floor: float = FLOOR) -> Array:
    """10 log10 of linear power, always finite.

    Values not above the floor become the floor: zeros, negative values and NaN.
    """
    return 10 * jnp.log10(above(intensity, floor))


def above(intensity: Array, floor: float) -> Array:
    """The intensity, raised to the floor where it is not above it, or where it is NaN."""
    return jnp.where(intensity > floor, intensity, floor)


def decibel_to_intensity(decibel: Array) -> Array:
    """Linear power of dB values; NaN stays NaN, minus infinity becomes 0."""
    return jnp.exp(decibel * (np.log(10) / 10))


def ratio(numerator: Array, denominator: Array, *, floor: float = FLOOR) -> Array:
    """Quotient of two linear powers, such as VV / VH; NaN where either has no data.

    Args:
        numerator: Linear power of any shape.
        denominator: Linear power of the same shape.
        floor: Smaller powers of both are raised to it: a quotient of noise is meaningless.
    """
    return jnp.maximum(numerator, floor) / jnp.maximum(denominator, floor)


@functools.partial(jax.jit, static_argnames=("rows", "columns"))
def multilook(intensity: Array, *, rows: int, columns: int) -> Array:
    """Mean intensity of blocks: (..., H, W, C) -> (..., H // rows, W // columns, C).

    Rows and columns that do not fill a block are left out; a block without any data is NaN. Do not
    average dB values: the mean would be too low by the mean of the speckle in dB.

    Args:
        intensity: (..., H, W, C) linear power.
        rows: Height of a block.
        columns: Width of a block.
    """
    *before, height, width, bands = intensity.shape
    high, wide = height // rows, width // columns
    cut = intensity[..., : high * rows, : wide * columns, :]
    blocks = cut.reshape(*before, high, rows, wide, columns, bands)
    known = jnp.isfinite(blocks)
    total = jnp.where(known, blocks, 0).sum((-4, -2))
    return total / known.sum((-4, -2))  # 0 / 0 = NaN


def speckle(key: Array, shape: tuple[int, ...], looks: float | Array) -> Array:
    """Factors of fully developed speckle of L looks, float32: Gamma, mean 1, variance 1 / L.

    Source: Goodman, Some Fundamental Properties of Speckle, Journal of the Optical Society of
    America 1976.
    """
    return jax.random.gamma(key, looks, shape, jnp.float32) / looks


def with_speckle(key: Array, image: Array, looks: float | Array, unit: RadarUnit) -> Array:
    """The image with additional speckle, independent per pixel and band: float32, same unit.

    NaN and zeros stay. An image of L looks then has L looks / (L + looks + 1) looks.
    """
    factor = speckle(key, image.shape, looks)
    image = image.astype(jnp.float32)
    if unit == "decibel":
        # A draw may be 0 in float32 if looks are far below 1.
        return image + 10 * jnp.log10(jnp.maximum(factor, 1e-30))
    return image * (jnp.sqrt(factor) if unit == "amplitude" else factor)
