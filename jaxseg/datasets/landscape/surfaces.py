"""The distributions behind `landscape`: what every sensor measures on every surface.

Every pixel has a Gaussian *state* of D values: one of its surface's mixture components, plus an
offset that all pixels of its cell share, plus texture and relief, which are N(0, 1) in every pixel:

    optical        4: log reflectance of the bands, the sensor's noise included
    sar            2: sigma0 of VV and VH in dB, before speckle
    polsar         3: power of surface, double-bounce and volume scattering in dB, before speckle
    hyperspectral  7: logits of the abundances of 6 endmembers, and log illumination

Surfaces that look alike to a sensor are one object here: `road` and `roof` to optical sensors,
`water` and `road` to radars. The values are chosen, not measured, within the usual ranges.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Modality = Literal["optical", "sar", "polsar", "hyperspectral"]

MODALITIES: tuple[Modality, ...] = ("optical", "sar", "polsar", "hyperspectral")


class Surface(NamedTuple):
    """The distribution of a surface's states; D values per state.

    Attributes:
        shares: (M,) probability of every mixture component; one is drawn per cell.
        means: (M, D) mean of every component.
        common: Standard deviation of the cell's offset that all D values share.
        each: Standard deviation of the cell's offset of each value; a number, or (D,).
        texture: (D,) effect of one standard deviation of `Ground.texture`.
        relief: (D,) effect of one standard deviation of `Ground.relief`.
        noise: (D,) standard deviation of the noise of every pixel.
    """

    shares: tuple[float, ...]
    means: tuple[tuple[float, ...], ...]
    common: float
    each: float | tuple[float, ...]
    texture: tuple[float, ...]
    relief: tuple[float, ...]
    noise: tuple[float, ...]

    def covariance(self) -> NDArray[np.float64]:
        """(D, D) covariance of a pixel's state around its component's mean."""
        size = len(self.texture)
        shared = self.common**2 * np.ones((size, size))
        alone = np.diag(np.square(self.each) + np.square(self.noise))
        texture, relief = np.outer(self.texture, self.texture), np.outer(self.relief, self.relief)
        return np.asarray(shared + alone + texture + relief)


def _reflectance(*spectra: tuple[float, ...]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(np.log(band)) for band in spectrum) for spectrum in spectra)


_OPTICAL_NOISE = (0.05, 0.045, 0.045, 0.03)
_LIT = (0.06, 0.06, 0.06, 0.06)
_SEALED = Surface(
    shares=(0.4, 0.3, 0.3),  # asphalt, concrete, gravel and tiles
    means=_reflectance(
        (0.085, 0.095, 0.105, 0.13), (0.16, 0.18, 0.20, 0.235), (0.10, 0.125, 0.155, 0.20)
    ),
    common=0.12,
    each=0.05,
    texture=(0.06, 0.06, 0.06, 0.06),
    relief=_LIT,
    noise=_OPTICAL_NOISE,
)
OPTICAL = {
    "water": Surface(
        shares=(0.55, 0.45),  # clear, turbid
        means=_reflectance((0.045, 0.042, 0.026, 0.014), (0.062, 0.078, 0.062, 0.032)),
        common=0.10,
        each=0.07,
        texture=(0.03, 0.04, 0.05, 0.06),
        relief=(0.0, 0.0, 0.0, 0.0),
        noise=_OPTICAL_NOISE,
    ),
    "wood": Surface(
        shares=(0.5, 0.5),  # broadleaved, conifers
        means=_reflectance((0.025, 0.045, 0.029, 0.32), (0.021, 0.034, 0.024, 0.21)),
        common=0.09,
        each=0.06,
        texture=(0.12, 0.13, 0.12, 0.16),
        relief=_LIT,
        noise=_OPTICAL_NOISE,
    ),
    "field": Surface(
        shares=(0.32, 0.28, 0.2, 0.2),  # lush, green, ripening, cut
        means=_reflectance(
            (0.030, 0.062, 0.034, 0.41),
            (0.042, 0.075, 0.056, 0.31),
            (0.070, 0.110, 0.125, 0.29),
            (0.072, 0.098, 0.112, 0.215),
        ),
        common=0.07,
        each=0.09,
        texture=(0.10, 0.08, 0.15, -0.09),
        relief=_LIT,
        noise=_OPTICAL_NOISE,
    ),
    "grove": Surface(
        shares=(0.4, 0.35, 0.25),  # mostly crowns, crowns and grass, dry grass
        means=_reflectance(
            (0.029, 0.050, 0.036, 0.33), (0.040, 0.066, 0.052, 0.28), (0.056, 0.082, 0.082, 0.24)
        ),
        common=0.08,
        each=0.08,
        texture=(-0.10, -0.05, -0.16, 0.13),
        relief=_LIT,
        noise=_OPTICAL_NOISE,
    ),
    "road": _SEALED,
    "roof": _SEALED,
}

_SMOOTH = Surface(
    shares=(0.5, 0.5),  # calm water and asphalt, wind and gravel
    means=((-20.0, -27.0), (-16.0, -24.0)),
    common=0.8,
    each=0.5,
    texture=(0.5, 0.4),
    relief=(0.0, 0.0),
    noise=(0.0, 0.0),
)
SAR = {
    "water": _SMOOTH,
    "wood": Surface(
        (0.6, 0.4), ((-8.5, -13.5), (-9.8, -14.8)), 0.5, 0.4, (1.0, 1.0), (0.7, 0.6), (0, 0)
    ),
    "field": Surface(
        shares=(0.4, 0.35, 0.25),  # crop, short grass, wet and rough
        means=((-11.0, -17.5), (-13.5, -20.5), (-9.5, -17.0)),
        common=0.7,
        each=0.6,
        texture=(1.5, 1.2),
        relief=(0.7, 0.6),
        noise=(0.0, 0.0),
    ),
    "grove": Surface(
        (0.6, 0.4), ((-9.8, -15.5), (-11.0, -17.0)), 0.6, 0.5, (1.5, 1.5), (0.7, 0.6), (0, 0)
    ),
    "road": _SMOOTH,
    "roof": Surface(
        (0.5, 0.5), ((-3.0, -12.0), (-6.5, -14.5)), 1.2, 0.8, (1.0, 1.0), (0.7, 0.6), (0, 0)
    ),
}

_BARE = Surface(
    shares=(0.5, 0.5),
    means=((-19.0, -34.0, -31.0), (-15.5, -31.0, -28.0)),
    common=0.8,
    each=0.5,
    texture=(0.5, 0.4, 0.4),
    relief=(0.0, 0.0, 0.0),
    noise=(0.0, 0.0, 0.0),
)
_SLOPE3 = (0.7, 0.6, 0.6)
_NONE3 = (0.0, 0.0, 0.0)
POLSAR = {
    "water": _BARE,
    "wood": Surface(
        (0.6, 0.4),
        ((-13.0, -12.0, -7.0), (-12.5, -14.0, -8.2)),
        0.5,
        0.5,
        (1.0, 1.0, 1.0),
        _SLOPE3,
        _NONE3,
    ),
    "field": Surface(
        shares=(0.4, 0.35, 0.25),
        means=((-11.5, -19.0, -12.0), (-13.0, -23.0, -16.5), (-9.0, -20.0, -14.5)),
        common=0.6,
        each=0.7,
        texture=(1.5, 0.8, 1.2),
        relief=_SLOPE3,
        noise=_NONE3,
    ),
    "grove": Surface(
        (0.6, 0.4),
        ((-12.5, -14.5, -9.2), (-12.0, -17.0, -10.8)),
        0.6,
        0.6,
        (1.2, 1.2, 1.5),
        _SLOPE3,
        _NONE3,
    ),
    "road": _BARE,
    "roof": Surface(
        (0.5, 0.5),
        ((-9.0, -3.0, -11.0), (-8.0, -6.0, -12.0)),
        1.2,
        0.8,
        (1.0, 1.0, 1.0),
        _SLOPE3,
        _NONE3,
    ),
}

ENDMEMBERS = ("leaf", "straw", "soil", "mineral", "clear water", "shade")
_GAIN = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.06)
_FLAT = (0.0,) * 7
_PLATES = Surface(
    shares=(0.4, 0.3, 0.3),  # asphalt, concrete, gravel and tiles
    means=(
        (-3.5, -2.5, -1.0, 1.0, -4.0, 1.2, 0.0),
        (-3.5, -2.5, -1.0, 2.0, -4.0, -0.5, 0.0),
        (-3.0, -1.5, 1.0, 1.3, -4.0, 0.4, 0.0),
    ),
    common=0.0,
    each=(*(0.25,) * 6, 0.08),
    texture=(0.0, 0.0, 0.1, 0.2, 0.0, -0.2, 0.0),
    relief=_GAIN,
    noise=_FLAT,
)
HYPERSPECTRAL = {
    "water": Surface(
        shares=(0.55, 0.45),  # clear, turbid
        means=((-4.0, -4.0, -3.5, -4.5, 3.0, -0.5, 0.0), (-3.0, -3.5, -0.6, -3.5, 2.5, -0.5, 0.0)),
        common=0.0,
        each=(*(0.25,) * 6, 0.08),
        texture=(0.1, 0.1, 0.15, 0.0, 0.0, 0.0, 0.0),
        relief=_FLAT,
        noise=_FLAT,
    ),
    "wood": Surface(
        shares=(0.5, 0.5),  # broadleaved, conifers
        means=((1.8, -2.0, -1.8, -4.0, -5.0, 0.9, 0.0), (1.2, -1.6, -1.4, -4.0, -5.0, 1.5, 0.0)),
        common=0.0,
        each=(*(0.25,) * 6, 0.08),
        texture=(0.25, 0.0, 0.0, 0.0, 0.0, -0.25, 0.0),
        relief=_GAIN,
        noise=_FLAT,
    ),
    "field": Surface(
        shares=(0.32, 0.28, 0.2, 0.2),  # lush, green, ripening, cut
        means=(
            (2.2, -0.8, -0.2, -4.0, -5.0, -0.3, 0.0),
            (1.3, -0.2, 0.4, -4.0, -5.0, -0.3, 0.0),
            (0.2, 1.3, 0.7, -4.0, -5.0, -0.3, 0.0),
            (-0.4, 0.6, 1.2, -3.5, -5.0, -0.2, 0.0),
        ),
        common=0.0,
        each=(*(0.4,) * 6, 0.08),
        texture=(-0.3, 0.2, 0.35, 0.0, 0.0, 0.0, 0.0),
        relief=_GAIN,
        noise=_FLAT,
    ),
    "grove": Surface(
        shares=(0.4, 0.35, 0.25),  # mostly crowns, crowns and grass, dry grass
        means=(
            (1.9, -1.0, -0.8, -4.0, -5.0, 0.6, 0.0),
            (1.2, -0.4, -0.1, -4.0, -5.0, 0.3, 0.0),
            (0.5, 0.6, 0.4, -3.8, -5.0, 0.2, 0.0),
        ),
        common=0.0,
        each=(*(0.35,) * 6, 0.08),
        texture=(0.35, -0.2, -0.3, 0.0, 0.0, 0.2, 0.0),
        relief=_GAIN,
        noise=_FLAT,
    ),
    "road": _PLATES,
    "roof": _PLATES,
}

SURFACES: dict[Modality, dict[str, Surface]] = {
    "optical": OPTICAL,
    "sar": SAR,
    "polsar": POLSAR,
    "hyperspectral": HYPERSPECTRAL,
}
