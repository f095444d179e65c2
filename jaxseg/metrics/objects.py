"""Objects: how many were found, merged and split, and how well they were outlined.

Pixels forgive what objects do not: two parcels merged by a gap in a hedge cost only a few wrong
pixels, but one object of two. A predicted object is a 4-connected component of one class of the
prediction. A true object is one instance id if the source has instances (0 = no object): its class
is that of most of its pixels, and its pixels of other classes are left out (such as background that
separates touching objects). Otherwise it is a 4-connected component of the reference. Pixels that
are not counted belong to no object.

A predicted and a true object of one class match at threshold t if their IoU is above t. For t of at
least 0.5 an object has at most one partner, so the matching is unique. With TP matches:

    precision  TP / predicted objects          recall  TP / true objects
    F1         2 TP / (predicted + true)       mean F1 over t = 0.5, 0.55, ..., 0.95
    PQ         sum of the matches' IoU at 0.5 / ((predicted + true) / 2)
    merged     predicted objects that hold more than half of two or more true objects
    split      true objects that hold more than half of two or more predicted objects
    Rand       foreground-restricted adapted Rand F-score: of the pairs of pixels that are together
               in the prediction or in the reference, the share that is together in both; only
               pixels of true objects of the class count, and those not predicted as the class form
               one segment

**Source:** Kirillov et al., Panoptic Segmentation, CVPR 2019 (PQ, the unique match); Caicedo et
al., Nucleus segmentation across imaging experiments, Nature Methods 2019 (F1 over thresholds);
Arganda-Carreras et al., Crowdsourcing the creation of image segmentation algorithms for
connectomics, Frontiers in Neuroanatomy 2015 (the Rand score). The counts of merged and split
objects are our own. Checked against a brute-force match and scikit-image's `adapted_rand_error`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import scipy.ndimage
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.metrics.measure import Array, Curves, Ids, Mask, Measure, Setting, ratio

THRESHOLDS = np.arange(10, 20) / 20
"""0.5, 0.55, ..., 0.95."""

Counts = NDArray[np.int64]


@dataclasses.dataclass
class ObjectTotal(Measure):
    """Objects per class, summed over maps."""

    name: ClassVar[str] = "objects"
    headings: ClassVar[dict[str, str]] = {
        "true": "true",
        "predicted": "found",
        "recall": "recall %",
        "precision": "prec. %",
        "f1": "F1 %",
        "mean_f1": "mean F1 %",
        "pq": "PQ %",
        "merged": "merged",
        "split": "split",
        "rand": "Rand %",
    }

    @classmethod
    def of(cls, num_classes: int) -> "ObjectTotal":
        """A total with nothing counted yet."""
        return cls().start(Setting(num_classes))

    def begin(self, setting: Setting) -> None:
        """Sets all counts to zero."""

        def zeros(*shape: int) -> Counts:
            return np.zeros((setting.num_classes, *shape), np.int64)

        self.true, self.predicted = zeros(), zeros()  # objects
        self.matched = zeros(len(THRESHOLDS))  # matches at each threshold
        self.overlap = np.zeros(setting.num_classes)  # sum of the IoU of the matches at 0.5
        self.merged = zeros()  # predicted objects that merge true ones
        self.split = zeros()  # true objects that are split
        # Pairs of pixels together in prediction and reference, in the prediction, in the reference.
        self.pairs = zeros(3)

    def add(self, prediction: Ids, label: Ids, counted: Mask, instance: Ids | None = None) -> None:
        """Counts one map.

        Args:
            prediction: (H, W) class ids.
            label: (H, W) class ids where `counted` is True.
            counted: (H, W), True for pixels with a label and data.
            instance: (H, W) object ids, 0 = no object; None = components of the label.

        Raises:
            UserError: Sizes differ, an id is negative, or ids are not integers.
        """
        if instance is not None and instance.shape != label.shape:
            raise UserError(
                f"Object ids of {instance.shape} and classes of {label.shape} pixels: the sizes "
                "must be equal."
            )
        own = None if instance is None else _of_their_class(instance, label, counted)
        for k in range(len(self.true)):
            asked = counted & (label == k)
            found = scipy.ndimage.label(counted & (prediction == k))[0]
            true = scipy.ndimage.label(asked)[0] if own is None else np.where(asked, own, 0)
            if true.any() or found.any():
                self._count(k, match_objects(found, true))

    def _count(self, k: int, match: "Match") -> None:
        self.true[k] += len(match.true_sizes)
        self.predicted[k] += len(match.predicted_sizes)
        self.matched[k] += (match.iou[:, None] > THRESHOLDS).sum(axis=0)
        self.overlap[k] += match.iou[match.iou > THRESHOLDS[0]].sum()
        self.merged[k] += match.merged()
        self.split[k] += match.split()
        self.pairs[k] += match.pairs

    def precision(self) -> Array:
        """(K,) precision at 0.5; NaN if no object is predicted."""
        return ratio(self.matched[:, 0], self.predicted)

    def recall(self) -> Array:
        """(K,) recall at 0.5; NaN if the reference has no object."""
        return ratio(self.matched[:, 0], self.true)

    def f1(self) -> Array:
        """(K, 10) F1 at each threshold; NaN if the reference has no object."""
        return self._known(ratio(2 * self.matched, (self.true + self.predicted)[:, None]))

    def panoptic_quality(self) -> Array:
        """(K,) PQ; NaN if the reference has no object."""
        return self._known(ratio(2 * self.overlap, self.true + self.predicted))

    def rand(self) -> Array:
        """(K,) foreground-restricted Rand F-score, 0..1; NaN if there is no pair."""
        return ratio(2 * self.pairs[:, 0], self.pairs[:, 1] + self.pairs[:, 2])

    def columns(self) -> dict[str, NDArray[Any]]:
        """Counts and scores at 0.5, and F1 at every threshold."""
        f1 = self.f1()
        return {
            "true": self.true,
            "predicted": self.predicted,
            "recall": self.recall(),
            "precision": self.precision(),
            "f1": f1[:, 0],
            "mean_f1": f1.mean(axis=1),
            "pq": self.panoptic_quality(),
            "merged": self.merged,
            "split": self.split,
            "rand": self.rand(),
            **{f"f1_at_{t:.2f}": f1[:, i] for i, t in enumerate(THRESHOLDS)},
        }

    def rows(self, classes: Sequence[str]) -> dict[str, dict[str, float]]:
        """The rows of all classes that have objects in the reference."""
        return {name: row for name, row in super().rows(classes).items() if row["true"]}

    def summary(self) -> str:
        """The criterion of a match."""
        return "objects: matched above IoU 0.5; mean F1 over IoU 0.5, 0.55, ..., 0.95"

    def points(self) -> dict[str, Array]:
        """F1 at 0.5."""
        return {"object F1": self.f1()[:, 0]} if self.true.any() else {}

    def curves(self) -> Curves | None:
        """F1 over the threshold."""
        if not self.true.any():
            return None
        labels = ("IoU that a match has to exceed", "object F1", "mean F1")
        return Curves(THRESHOLDS, self.f1(), *labels)

    def _known(self, score: Array) -> Array:
        known = self.true > 0
        return np.where(known if score.ndim == 1 else known[:, None], score, np.nan)


@dataclasses.dataclass(frozen=True, eq=False)
class Match:
    """The overlaps of the objects of two maps; objects are numbered from 0 in order of their ids.

    Attributes:
        predicted_sizes: (P,) pixels of each predicted object.
        true_sizes: (T,) pixels of each true object.
        predicted: (E,) number of the predicted object of each overlapping pair.
        true: (E,) number of the true object of each pair.
        shared: (E,) pixels in both objects.
        pairs: Pairs of pixels inside true objects that are together in both maps, in the
            prediction, in the reference.
    """

    predicted_sizes: Counts
    true_sizes: Counts
    predicted: Counts
    true: Counts
    shared: Counts
    pairs: tuple[int, int, int]

    @property
    def iou(self) -> Array:
        """(E,) IoU of every pair."""
        either = self.predicted_sizes[self.predicted] + self.true_sizes[self.true] - self.shared
        return np.asarray(self.shared / either)

    def merged(self) -> int:
        """Number of predicted objects that hold more than half of two or more true objects."""
        held = 2 * self.shared > self.true_sizes[self.true]
        return int((np.bincount(self.predicted[held]) > 1).sum())

    def split(self) -> int:
        """Number of true objects that hold more than half of two or more predicted objects."""
        held = 2 * self.shared > self.predicted_sizes[self.predicted]
        return int((np.bincount(self.true[held]) > 1).sum())


def match_objects(predicted: Ids, true: Ids) -> Match:
    """The overlaps of all objects of two maps of ids, in one pass over the pixels.

    Args:
        predicted: (H, W) non-negative integer ids, 0 = no object.
        true: (H, W), likewise.

    Raises:
        UserError: Sizes differ, an id is negative, or ids are not integers.
    """
    if predicted.shape != true.shape:
        raise UserError(
            f"Object ids of {predicted.shape} and {true.shape} pixels: the sizes must be equal."
        )
    for ids in (predicted, true):
        if ids.dtype.kind not in "iu":
            raise UserError(f"Object ids of type {ids.dtype}: they must be whole numbers.")
        if ids.size and ids.min() < 0:
            raise UserError(f"Object id {ids.min()}: ids count from 1, and 0 means no object.")
    p, t = predicted.ravel(), true.ravel()
    some = (p > 0) | (t > 0)
    p_names, p_index = np.unique(p[some], return_inverse=True)
    t_names, t_index = np.unique(t[some], return_inverse=True)
    joint, shared = np.unique(
        p_index.astype(np.int64) * max(1, len(t_names)) + t_index, return_counts=True
    )
    p_pair, t_pair = np.divmod(joint, max(1, len(t_names)))
    p_empty, t_empty = (int(len(n) > 0 and n[0] == 0) for n in (p_names, t_names))
    inside = t_pair >= t_empty
    both = inside & (p_pair >= p_empty)
    return Match(
        predicted_sizes=np.bincount(p_index, minlength=len(p_names))[p_empty:],
        true_sizes=np.bincount(t_index, minlength=len(t_names))[t_empty:],
        predicted=p_pair[both] - p_empty,
        true=t_pair[both] - t_empty,
        shared=shared[both],
        pairs=(
            _pairs(shared[inside]),
            _pairs(np.bincount(p_pair[inside], shared[inside])),
            _pairs(np.bincount(t_pair[inside], shared[inside])),
        ),
    )


def _of_their_class(instance: Ids, label: Ids, counted: Mask) -> Ids:
    """The ids (H, W), kept only where the label is the most frequent one of the object."""
    inside = counted & (instance != 0)
    _, index = np.unique(instance[inside], return_inverse=True)
    classes = label[inside].astype(np.int64)
    votes = np.zeros((index.max(initial=-1) + 1, classes.max(initial=0) + 1), np.int64)
    np.add.at(votes, (index, classes), 1)
    own = np.zeros_like(instance)
    own[inside] = np.where(votes.argmax(axis=1)[index] == classes, instance[inside], 0)
    return own


def _pairs(sizes: Ids | NDArray[np.float64]) -> int:
    """Number of ordered pairs of pixels within the same segment, for segments of these sizes."""
    whole = sizes.astype(np.int64)
    return int((whole * (whole - 1)).sum())
