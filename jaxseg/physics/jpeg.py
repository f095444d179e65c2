"""What JPEG does to a band of 8 bits: a cosine transform of 8 x 8 pixels, rounded coarsely.

Only what is lost is computed (transform, quantisation and back), not the file. Each band is
compressed by itself with the table of luminance, as a file of one band is; the quality scales the
table as the library of the Independent JPEG Group does.

Source: ITU-T T.81 (1992), annex A.3.3 and table K.1; the scale of qualities: libjpeg, jcparam.c.
Checked against files that Pillow wrote and read.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

SIDE = 8

LUMINANCE = np.array(
    [
        *(16, 11, 10, 16, 24, 40, 51, 61),
        *(12, 12, 14, 19, 26, 58, 60, 55),
        *(14, 13, 16, 24, 40, 57, 69, 56),
        *(14, 17, 22, 29, 51, 87, 80, 62),
        *(18, 22, 37, 56, 68, 109, 103, 77),
        *(24, 35, 55, 64, 81, 104, 113, 92),
        *(49, 64, 78, 87, 103, 121, 120, 101),
        *(72, 92, 95, 98, 112, 100, 103, 99),
    ],
    np.float32,
).reshape(SIDE, SIDE)
"""Steps of quantisation at quality 50."""

_K = np.arange(SIDE)
COSINES = np.sqrt(2 / SIDE) * np.cos((2 * _K[None] + 1) * _K[:, None] * np.pi / (2 * SIDE))
COSINES[0] /= np.sqrt(2)
"""(8, 8) orthonormal cosine transform: row = frequency, column = pixel."""


def quantisation(quality: float | Array) -> Array:
    """(8, 8) steps of a quality 1..100."""
    scale = jnp.where(quality < 50, 5000 / jnp.maximum(quality, 1), 200 - 2 * quality)
    return jnp.clip(jnp.floor((LUMINANCE * scale + 50) / 100), 1, 255)


def compressed(band: Array, quality: float | Array) -> Array:
    """Bands as they come back from a file: whole numbers 0..255, float32.

    Args:
        band: (..., H, W) whole numbers 0..255 in any type; any H and W.
        quality: 1..100.
    """
    *before, height, width = band.shape
    edges = [(0, 0)] * len(before) + [(0, -height % SIDE), (0, -width % SIDE)]
    padded = jnp.pad(band.astype(jnp.float32), edges, mode="edge")
    high, wide = padded.shape[-2] // SIDE, padded.shape[-1] // SIDE
    blocks = padded.reshape(*before, high, SIDE, wide, SIDE)
    table = quantisation(quality)[:, None]  # (8, 1, 8): frequencies of rows, of columns
    cosines = jnp.asarray(COSINES, jnp.float32)
    exact = jax.lax.Precision.HIGHEST
    turned = jnp.einsum("fy,...ayxz,gz->...afxg", cosines, blocks - 128, cosines, precision=exact)
    # Sums of pixels often lie halfway between two steps, and files go away from zero there; the
    # margin is that of the sums in float32, so that every machine decides alike.
    steps = turned / table
    kept = jnp.sign(steps) * jnp.floor(jnp.abs(steps) + 0.5 + 1e-3) * table
    back = jnp.einsum("fy,...afxg,gz->...ayxz", cosines, kept, cosines, precision=exact)
    whole = jnp.clip(jnp.round(back + 128), 0, 255).reshape(padded.shape)
    return whole[..., :height, :width]
