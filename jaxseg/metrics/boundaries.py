"""Boundary F1 and Boundary IoU: whether class borders lie where they should, up to a few pixels.

Area scores hardly notice a border that is off by two pixels or a road that is broken; these do.

    Boundary F1   a border pixel is met where a border pixel of the other map lies within the
                  tolerance, Euclidean; F1 of the share of predicted pixels that are met (precision)
                  and the share of the reference's (recall)
    Boundary IoU  IoU of the two rims: the pixels of a class within `rim` pixels of what is outside
                  of it, counted along rows, columns and diagonals

A border pixel of a class has one of its four neighbours in another class; neighbours that are not
counted (nodata, no label) and the edge of the map make no border. Counts are summed over all maps
before they are divided, so that maps need not have equal size.

Source: Csurka, Larlus, Perronnin, What is a good evaluation measure for semantic segmentation?,
BMVC 2013 (F1); Cheng, Girshick, Dollar, Berg, Kirillov, Boundary IoU, CVPR 2021, and the erosion by
3 x 3 squares of its reference code, whose default rim is 2 % of the diagonal. Differs: in the
reference code the edge of the image is a border too.
"""

import dataclasses
import math
from typing import Literal

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from jaxseg.errors import UserError

Mask = NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """How far a border may be off.

    Attributes:
        value: The distance.
        unit: `pixels`; `metres` on the ground; or `diagonal`, shares (0..1) of the diagonal of an
            evaluated window.
    """

    value: float
    unit: Literal["pixels", "metres", "diagonal"] = "pixels"

    def pixels(self, height: int, width: int, gsd: float | None) -> float:
        """The distance in pixels.

        Args:
            height: Rows of a window.
            width: Columns of a window.
            gsd: Ground sample distance in metres; None where the source does not know it.

        Raises:
            UserError: It is negative or not finite, or in metres on ground of unknown scale.
        """
        if not (math.isfinite(self.value) and self.value >= 0):
            raise UserError(f"A boundary tolerance of {self.value}: give a number from 0 on.")
        if self.unit == "diagonal":
            return self.value * math.hypot(height, width)
        if self.unit == "pixels":
            return self.value
        if gsd is None:
            raise UserError(
                f"A boundary tolerance of {self.value} metres, but the source does not know how "
                "many metres a pixel has. Give it in pixels, or georeference the images."
            )
        return self.value / gsd


@dataclasses.dataclass
class BoundaryTotal:
    """Border pixels per class, summed over maps.

    Attributes:
        tolerance: Distance in pixels up to which a border pixel counts as met.
        rim: Width in pixels of the rims that Boundary IoU compares.
        counts: (K, 4) int64: predicted and met, predicted, of the reference and met, of the
            reference.
        rims: (K, 2) int64: pixels in both rims, pixels in one of them or both.
    """

    tolerance: float
    rim: int
    counts: NDArray[np.int64]
    rims: NDArray[np.int64]

    @classmethod
    def of(cls, num_classes: int, *, tolerance: float = 2.0, rim: float = 2.0) -> "BoundaryTotal":
        """Nothing counted yet; a rim is rounded to whole pixels, at least 1."""
        counts = (np.zeros((num_classes, columns), np.int64) for columns in (4, 2))
        return cls(tolerance, max(1, round(rim)), *counts)

    def add(
        self, prediction: NDArray[np.integer], label: NDArray[np.integer], counted: Mask
    ) -> None:
        """Counts one map: classes (H, W) and which pixels have a label and data."""
        for k in range(len(self.counts)):
            inside = [counted & (classes == k) for classes in (prediction, label)]
            if not (inside[0].any() or inside[1].any()):
                continue
            outside = [counted & ~mask for mask in inside]
            borders = [m & _plus(out) for m, out in zip(inside, outside, strict=True)]
            for column, (one, other) in enumerate((borders, borders[::-1])):
                met = int((one & _within(other, self.tolerance)).sum()) if one.any() else 0
                self.counts[k, 2 * column : 2 * column + 2] += (met, int(one.sum()))
            a, b = (m & _square(out, self.rim) for m, out in zip(inside, outside, strict=True))
            self.rims[k] += (int((a & b).sum()), int((a | b).sum()))

    def f1(self) -> NDArray[np.float64]:
        """Boundary F1 per class (K,), 0..1; NaN for a class without any border in the reference."""
        met, predicted, found, reference = self.counts.T.astype(np.float64)
        precision = np.divide(met, predicted, out=np.zeros_like(met), where=predicted > 0)
        recall = np.divide(found, reference, out=np.full_like(met, np.nan), where=reference > 0)
        total = precision + recall
        f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(met), where=total > 0)
        return np.where(np.isnan(recall), np.nan, f1)

    def iou(self) -> NDArray[np.float64]:
        """Boundary IoU per class (K,), 0..1; NaN for a class without a rim in both maps."""
        both, either = self.rims.T.astype(np.float64)
        return np.asarray(np.divide(both, either, np.full_like(both, np.nan), where=either > 0))


def _plus(mask: Mask) -> Mask:
    """Pixels with one of their four neighbours in the mask."""
    out = np.zeros_like(mask)
    out[1:] |= mask[:-1]
    out[:-1] |= mask[1:]
    out[:, 1:] |= mask[:, :-1]
    out[:, :-1] |= mask[:, 1:]
    return out


def _within(mask: Mask, radius: float) -> Mask:
    """Pixels whose centre is at most `radius` from a pixel of the mask: dilation by a disc.

    The disc is a stack of rows; rows of equal length share one horizontal dilation, so the cost
    grows with the radius and not with its square.
    """
    out = np.zeros_like(mask)
    wide, reached = mask.copy(), 0
    for dy in range(math.floor(radius), -1, -1):
        half = math.floor(math.sqrt(radius * radius - dy * dy))
        for dx in range(reached + 1, min(half, mask.shape[1] - 1) + 1):
            wide[:, dx:] |= mask[:, :-dx]
            wide[:, :-dx] |= mask[:, dx:]
        reached = max(reached, half)
        if dy < mask.shape[0]:
            out[dy:] |= wide[: mask.shape[0] - dy]
            out[: mask.shape[0] - dy] |= wide[dy:]
    return out


def _square(mask: Mask, reach: int) -> Mask:
    """Pixels at most `reach` rows and columns from a pixel of the mask."""
    for axis in (0, 1):
        wide = scipy.ndimage.maximum_filter1d(
            mask.view(np.uint8), 2 * reach + 1, axis=axis, mode="constant"
        )
        mask = wide.astype(np.bool_)
    return mask
