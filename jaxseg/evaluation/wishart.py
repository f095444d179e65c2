"""The classic of polarimetric SAR: maximum likelihood under the complex Wishart distribution.

A pixel of coherency (or covariance) T gets the class k whose mean matrix S_k is nearest,

    d_k(T) = ln |S_k| + tr(S_k^-1 T),

which maximises the likelihood of L-look matrices, for any L, if all classes are equally probable.
The fit is the mean of the training pixels of each class. Pixels are the raw bands of
`jaxseg.physics.polsar`: diagonal, then Re and Im of the elements above it; C3 and T3 give the same
map.

Source: Lee, Grunes, Kwok, Classification of Multi-Look Polarimetric SAR Imagery Based on Complex
Wishart Distribution, International Journal of Remote Sensing 1994. Checked against the complex
matrices in NumPy.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE

Array = NDArray[np.float64]

BANDS = 9
RIDGE = 1e-6
"""Share of the mean eigenvalue added to the diagonal: the mean of few looks may be singular."""

_ROWS, _COLUMNS = (0, 0, 1), (1, 2, 2)


@dataclass
class WishartClassifier:
    """Fitted by any number of `fit` calls, whose order and batch sizes do not matter.

    Attributes:
        num_classes: K.
        count: (K,) number of training pixels.
        total: (K, 9) sums of their bands.
    """

    num_classes: int
    count: Array = field(init=False)
    total: Array = field(init=False)

    def __post_init__(self) -> None:
        """Starts without pixels."""
        self.count = np.zeros(self.num_classes)
        self.total = np.zeros((self.num_classes, BANDS))

    def fit(self, pixels: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> None:
        """Adds training pixels.

        Args:
            pixels: (N, 9) finite bands of T3 or C3, linear power.
            labels: (N,) class ids; pixels of IGNORE are left out.

        Raises:
            ValueError: A pixel is not finite, or a label is not a class.
        """
        _check(pixels)
        present = np.unique(labels)
        if unknown := [k for k in present if k != IGNORE and not 0 <= k < self.num_classes]:
            raise ValueError(f"Labels {unknown} are none of the {self.num_classes} classes.")
        for k in present[present != IGNORE]:
            chosen = pixels[labels == k]
            self.count[k] += len(chosen)
            self.total[k] += chosen.sum(axis=0, dtype=np.float64)

    def centres(self) -> NDArray[np.complex128]:
        """The mean matrices, (K, 3, 3); meaningless for classes without pixels.

        Raises:
            UserError: Nothing was fitted.
        """
        if not self.count.any():
            raise UserError("The Wishart classifier has not seen any labelled, valid pixel.")
        mean = self.total / np.maximum(self.count, 1)[:, None]
        centres = np.zeros((self.num_classes, 3, 3), np.complex128)
        for i in range(3):
            centres[:, i, i] = mean[:, i] + RIDGE * mean[:, :3].mean(axis=1)
        upper = mean[:, 3::2] + 1j * mean[:, 4::2]
        centres[:, _ROWS, _COLUMNS] = upper
        centres[:, _COLUMNS, _ROWS] = upper.conj()
        return centres

    def predict(self, pixels: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
        """The nearest class of each pixel; classes without a training pixel are never predicted.

        Args:
            pixels: (..., 9) finite.

        Returns:
            (...) uint8 class ids.

        Raises:
            UserError: Nothing was fitted, or the mean of a class is not positive definite.
            ValueError: A pixel is not finite.
        """
        _check(pixels)
        centres = self.centres()
        known = np.flatnonzero(self.count)
        values = np.linalg.eigvalsh(centres[known])
        if (values[:, 0] <= 0).any():
            k = known[values[:, 0] <= 0][0]
            raise UserError(
                f"The mean matrix of class {k} is not positive definite ({self.count[k]:.0f} "
                "training pixels): its pixels are not polarimetric matrices, or are too few."
            )
        inverse = np.linalg.inv(centres[known])
        # tr(A T) for Hermitian A and T is linear in the nine bands of T.
        weights = np.empty((len(known), BANDS))
        weights[:, :3] = inverse[:, range(3), range(3)].real
        weights[:, 3::2] = 2 * inverse[:, _ROWS, _COLUMNS].real
        weights[:, 4::2] = 2 * inverse[:, _ROWS, _COLUMNS].imag
        distance = pixels.astype(np.float64) @ weights.T + np.log(values).sum(axis=1)
        return np.asarray(known[distance.argmin(axis=-1)], np.uint8)


def _check(pixels: NDArray[np.floating[Any]]) -> None:
    if pixels.shape[-1] != BANDS:
        raise ValueError(f"The pixels have {pixels.shape[-1]} bands: T3 and C3 have {BANDS}.")
    if not np.isfinite(pixels).all():
        raise ValueError("A pixel is not finite: pass only the pixels where valid is True.")
