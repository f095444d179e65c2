"""Boundary F1 and Boundary IoU: whether class borders lie where they should, up to a few pixels.

Area scores hardly change for a border that is off by two pixels or a road that is broken; these do.

    Boundary F1   a border pixel is matched if a border pixel of the other map lies within the
                  tolerance (Euclidean); F1 of the matched share of the predicted border pixels
                  (precision) and of the reference's (recall)
    Boundary IoU  IoU of the two rims: the pixels of a class within `rim` pixels of its outside,
                  counted along rows, columns and diagonals

A border pixel of a class has at least one of its four neighbours in another class; neighbours that
are not counted (nodata, no label) and the edge of the map form no border. Counts are summed over
all maps before they are divided, so maps may differ in size.

Source: Csurka, Larlus, Perronnin, What is a good evaluation measure for semantic segmentation?,
BMVC 2013 (F1); Cheng, Girshick, Dollar, Berg, Kirillov, Boundary IoU, CVPR 2021, and the erosion by
3 x 3 squares of its reference code, whose default rim is 2 % of the diagonal. Difference: in the
reference code the edge of the image is a border, too.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.metrics.measure import Array, Ids, Mask, Measure, Setting, mean, percent, ratio


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """The distance by which a border may be displaced.

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
            gsd: Ground sample distance in metres; None if not known.

        Raises:
            UserError: It is negative or not finite, or in metres while `gsd` is not known.
        """
        if not (math.isfinite(self.value) and self.value >= 0):
            raise UserError(f"A boundary tolerance of {self.value}: give 0 or more.")
        if self.unit == "diagonal":
            return self.value * math.hypot(height, width)
        if self.unit == "pixels":
            return self.value
        if gsd is None:
            raise UserError(
                f"A boundary tolerance of {self.value} metres, but the source does not state the "
                "size of a pixel in metres. Give it in pixels, or georeference the images."
            )
        return self.value / gsd


@dataclasses.dataclass
class BoundaryTotal(Measure):
    """Border pixels per class, summed over maps.

    Attributes:
        tolerance: The distance by which a border may be displaced for Boundary F1.
        rim: Width of the rims along borders that Boundary IoU compares.
    """

    name: ClassVar[str] = "boundaries"
    headings: ClassVar[dict[str, str]] = {
        "boundary_f1": "boundary F1 %",
        "boundary_iou": "boundary IoU %",
    }
    beside_scores: ClassVar[bool] = True

    tolerance: Tolerance = Tolerance(2.0)
    rim: Tolerance = Tolerance(0.02, "diagonal")

    @classmethod
    def of(cls, num_classes: int, *, tolerance: float = 2.0, rim: float = 2.0) -> "BoundaryTotal":
        """A total with nothing counted yet and distances in pixels."""
        return cls(Tolerance(tolerance), Tolerance(rim)).start(Setting(num_classes))

    def begin(self, setting: Setting) -> None:
        """Converts distances to pixels; rims to whole pixels, at least 1."""
        self.side, self.gsd = setting.side, setting.gsd
        self.at(setting.gsd)
        # Those of the first scene, for the report.
        self.tolerance_pixels, self.rim_pixels = self._tolerance, self._rim
        # Border pixels: predicted and matched, predicted, reference and matched, reference.
        self.counts = np.zeros((setting.num_classes, 4), np.int64)
        # Pixels in both rims, pixels in at least one of them.
        self.rims = np.zeros((setting.num_classes, 2), np.int64)

    def at(self, gsd: float | None) -> None:
        """Converts the distances to pixels of this size."""
        self._tolerance = self.tolerance.pixels(self.side, self.side, gsd)
        self._rim = max(1, round(self.rim.pixels(self.side, self.side, gsd)))

    def add(self, prediction: Ids, label: Ids, counted: Mask, instance: Ids | None = None) -> None:
        """Counts the borders of the classes in one map; objects are not used."""
        for k in range(len(self.counts)):
            inside = [counted & (classes == k) for classes in (prediction, label)]
            if not (inside[0].any() or inside[1].any()):
                continue
            outside = [counted & ~mask for mask in inside]
            borders = [m & _plus(out) for m, out in zip(inside, outside, strict=True)]
            for column, (one, other) in enumerate((borders, borders[::-1])):
                met = int((one & _within(other, self._tolerance)).sum()) if one.any() else 0
                self.counts[k, 2 * column : 2 * column + 2] += (met, int(one.sum()))
            a, b = (m & _square(out, self._rim) for m, out in zip(inside, outside, strict=True))
            self.rims[k] += (int((a & b).sum()), int((a | b).sum()))

    def f1(self) -> Array:
        """Boundary F1 per class (K,), 0..1; NaN for a class without a border in the reference."""
        met, predicted, found, reference = self.counts.T.astype(np.float64)
        precision = np.divide(met, predicted, out=np.zeros_like(met), where=predicted > 0)
        recall = np.divide(found, reference, out=np.full_like(met, np.nan), where=reference > 0)
        total = precision + recall
        f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(met), where=total > 0)
        return np.where(np.isnan(recall), np.nan, f1)

    def iou(self) -> Array:
        """Boundary IoU per class (K,), 0..1; NaN for a class without a rim in both maps."""
        return ratio(*self.rims.T)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Both scores."""
        return {"boundary_f1": self.f1(), "boundary_iou": self.iou()}

    def summary(self) -> str:
        """Distances and means."""
        tolerance, rim = (
            f"{pixels:.3g} pixels" + (f" ({pixels * self.gsd:.3g} m)" if self.gsd else "")
            for pixels in (self.tolerance_pixels, self.rim_pixels)
        )
        if self.tolerance.unit == "metres":  # each scene by the size of its own pixels
            tolerance = self._distance()
        f1, iou = (percent(mean(scores)) for scores in (self.f1(), self.iou()))
        return f"boundaries: F1 within {tolerance}, IoU of rims of {rim}; means {f1} and {iou} %"

    def as_json(self, classes: Sequence[str]) -> dict[str, Any]:
        """Distances, means, and the scores of each class."""
        f1, iou = self.f1(), self.iou()
        return {
            "tolerance": dataclasses.asdict(self.tolerance),
            "tolerance_pixels": self.tolerance_pixels,
            "rim_pixels": self.rim_pixels,
            "gsd": self.gsd,
            "mean_f1": mean(f1),
            "mean_iou": mean(iou),
            "f1": dict(zip(classes, f1.tolist(), strict=True)),
            "iou": dict(zip(classes, iou.tolist(), strict=True)),
        }

    def _distance(self) -> str:
        if self.tolerance.unit == "metres":
            return f"{self.tolerance.value:.3g} m"
        return f"{self.tolerance_pixels:.3g} px"

    def points(self) -> dict[str, Array]:
        """Both scores with their distances."""
        return {
            f"boundary F1, {self._distance()}": self.f1(),
            f"boundary IoU, {self.rim_pixels} px": self.iou(),
        }


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

    The disc is a stack of rows; rows of equal length share one horizontal dilation, so the cost is
    proportional to the radius, not to its square.
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
