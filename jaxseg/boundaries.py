"""Boundary F1: whether class borders lie where they should, up to a few pixels.

Area scores hardly notice a border that is off by two pixels or a road that is broken; this does.

Source: Csurka, Larlus, Perronnin, What is a good evaluation measure for semantic segmentation?,
BMVC 2013. A border pixel of a class has one of its four neighbours in another class; neighbours
that are not counted (nodata, no label) and the edge of the window make no border. Counts are summed
over all windows before they are divided, so that windows need not have equal size.
"""

import dataclasses

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray


@dataclasses.dataclass
class BoundaryTotal:
    """Border pixels per class, summed over windows.

    Attributes:
        tolerance: Distance in pixels up to which a border pixel counts as met.
        counts: (K, 4) int64: predicted and met, predicted, of the reference and met, of the
            reference.
    """

    tolerance: float
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, num_classes: int, *, tolerance: float = 2.0) -> "BoundaryTotal":
        """Nothing counted yet."""
        return cls(tolerance, np.zeros((num_classes, 4), np.int64))

    def add(
        self, prediction: NDArray[np.integer], label: NDArray[np.integer], counted: NDArray[np.bool]
    ) -> None:
        """Counts one window: classes (H, W) and which pixels have a label and data."""
        for k in range(len(self.counts)):
            borders = [_border(classes == k, counted) for classes in (prediction, label)]
            for column, (one, other) in enumerate((borders, borders[::-1])):
                met = 0
                if one.any() and other.any():
                    distance = scipy.ndimage.distance_transform_edt(~other)
                    met = int((distance[one] <= self.tolerance).sum())
                self.counts[k, 2 * column : 2 * column + 2] += (met, int(one.sum()))

    def f1(self) -> NDArray[np.float64]:
        """Boundary F1 per class (K,), 0..1; NaN for a class without any border in the reference."""
        met, predicted, found, reference = self.counts.T.astype(np.float64)
        precision = np.divide(met, predicted, out=np.zeros_like(met), where=predicted > 0)
        recall = np.divide(found, reference, out=np.full_like(met, np.nan), where=reference > 0)
        total = precision + recall
        f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(met), where=total > 0)
        return np.where(np.isnan(recall), np.nan, f1)


def _border(inside: NDArray[np.bool], counted: NDArray[np.bool]) -> NDArray[np.bool]:
    """Pixels of the class with a counted neighbour outside of it."""
    border = np.zeros_like(inside)
    outside = counted & ~inside
    border[1:] |= outside[:-1]
    border[:-1] |= outside[1:]
    border[:, 1:] |= outside[:, :-1]
    border[:, :-1] |= outside[:, 1:]
    return border & inside & counted
