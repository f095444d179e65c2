"""Haze: light of the ground is lost on its way, light of the sun is added that never saw it.

    seen = t x ground + (1 - t) x airlight,    t = exp(-tau (wavelength / 550 nm)^-alpha)

tau is the optical depth at 550 nm and alpha the exponent of Angstrom: small particles scatter blue
more than infrared. The airlight is what an endlessly thick layer would show. The light passes the
layer once in this formula; sun and sensor at an angle make tau larger.

Source: Koschmieder, Theorie der horizontalen Sichtweite, 1924 (the mixture); Angstrom, On the
Atmospheric Transmission of Sun Radiation and on Dust in the Air, Geografiska Annaler 1929 (the
exponent, 1.3 for a usual aerosol). No radiative transfer: adjacency, gases and Rayleigh scattering
are left out.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

REFERENCE = 550.0
"""Nanometres, where the optical depth is stated."""

ANGSTROM = 1.3
"""Exponent of a usual continental aerosol."""


def transmission(
    optical_depth: float | Array, wavelengths: Sequence[float], *, angstrom: float = ANGSTROM
) -> Array:
    """(C,) share 0..1 of the ground's light that passes.

    Args:
        optical_depth: At 550 nm, 0 or more.
        wavelengths: Of the C bands in nanometres; 0 = not known: as at 550 nm.
        angstrom: Exponent alpha.
    """
    known: NDArray[np.float32] = np.array([w or REFERENCE for w in wavelengths], np.float32)
    return jnp.exp(-optical_depth * jnp.asarray((known / REFERENCE) ** -angstrom, jnp.float32))


def with_haze(image: Array, passed: Array, airlight: float | Array) -> Array:
    """The image through a layer of haze, in the unit of the image.

    Args:
        image: (..., C) reflectance, radiance or numbers proportional to them.
        passed: (C,) the transmission.
        airlight: What an endlessly thick layer shows, for all bands or (C,), in the same unit.
    """
    return image * passed + airlight * (1 - passed)
