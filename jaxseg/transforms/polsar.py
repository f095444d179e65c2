"""Radiometry of polarimetric SAR: the nine bands of a coherency matrix as inputs of a network.

Preprocess steps as in `jaxseg.transforms.transform`, with the formulae of `jaxseg.physics.polsar`.
"""

import dataclasses

import jax

from jaxseg.errors import POSITIVE, UserError, check_ranges
from jaxseg.physics import polsar


@dataclasses.dataclass(frozen=True)
class CoherencyFeatures:
    """T11, T22, T33, Re and Im of T12, T13, T23 -> nine features of well-scaled values.

    The diagonal in dB, then the coherences T_ij / sqrt(T_ii T_jj), which lie in the unit circle and
    do not depend on brightness (`physics.polsar.coherency_features`). Also applies to the
    covariance matrix C3. Zeros and NaN on the diagonal become the floor.

    Attributes:
        floor: Smallest distinguishable power, as in `LogIntensity`.
    """

    floor: float = dataclasses.field(default=polsar.FLOOR, metadata=POSITIVE)

    def __post_init__(self) -> None:
        """Rejects numbers outside their ranges."""
        check_ranges(self, "CoherencyFeatures")

    def __call__(self, image: jax.Array) -> jax.Array:
        """See the class.

        Raises:
            UserError: The image does not have nine bands.
        """
        _check_matrix(self, image)
        return polsar.coherency_features(image, self.floor)


@dataclasses.dataclass(frozen=True)
class ZhouFeatures:
    """The nine bands of a T3 -> six real features without its phases.

    Span in dB, the shares of T22 and T33 in the span, and the moduli of the three coherences
    (`physics.polsar.zhou_features`).

    Attributes:
        floor: Smallest distinguishable power, as in `LogIntensity`.
    """

    floor: float = dataclasses.field(default=polsar.FLOOR, metadata=POSITIVE)

    def __post_init__(self) -> None:
        """Rejects numbers outside their ranges."""
        check_ranges(self, "ZhouFeatures")

    def __call__(self, image: jax.Array) -> jax.Array:
        """See the class.

        Raises:
            UserError: The image does not have nine bands.
        """
        _check_matrix(self, image)
        return polsar.zhou_features(image, self.floor)


def _check_matrix(step: object, image: jax.Array) -> None:
    if image.shape[-1] != len(polsar.T3_BANDS):
        raise UserError(
            f"{type(step).__name__} for images of {image.shape[-1]} band(s): it needs the nine of "
            "a 3 x 3 matrix: T11, T22, T33, then Re and Im of T12, T13, T23."
        )
