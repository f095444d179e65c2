"""From predictions to numbers: the confusion matrix, and the usual scores that follow from it.

The device counts (`confusion_matrix`, int32, one batch), the host adds up (`ConfusionTotal`, int64,
one split), and `scores_of` turns the total into IoU, F1, precision, recall and their summaries.
Every score comes from this one matrix, so no result is an average over batches or tiles.

Rows are the reference, columns the prediction. With N pixels in the matrix, and for class k
TP = its diagonal, row = pixels of k in the reference, column = pixels predicted as k:

    IoU        TP / (row + column - TP)             Jaccard 1912; Everingham et al., IJCV 2010
    F1, Dice   2 TP / (row + column)                Dice 1945
    precision  TP / column                          user's accuracy, Congalton 1991
    recall     TP / row                             producer's accuracy, Congalton 1991
    mIoU, mean F1                                   mean over the classes that occur
    overall accuracy OA                             sum of TP / N
    average accuracy AA                             mean recall over the classes in the reference
    kappa      (OA - e) / (1 - e), e = sum(row column) / N^2        Cohen 1960
    FWIoU      sum(row IoU) / N                     Long et al., CVPR 2015

A class in neither reference nor prediction has no score: it is NaN, left out of every mean, and
listed in `Scores.absent`. A class that is only predicted is an error and counts: IoU 0, F1 0.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxseg.scenes.scene import IGNORE


def confusion_matrix(
    prediction: jax.Array, label: jax.Array, valid: jax.Array, *, num_classes: int
) -> jax.Array:
    """Counts how often class r (row) of the reference was predicted as class p (column).

    One int8 matrix product of two one-hot maps with int32 accumulation: exact up to 2^31 pixels per
    batch, without a scatter, and with a sharded batch every device counts its own pixels before one
    (K, K) all-reduce. A pixel is left out if it is invalid, its label is IGNORE, or one of its two
    ids is not in 0..K-1.

    Args:
        prediction: Class ids of any integer type, (B, H, W) or any other shape.
        label: Reference ids of any integer type, same shape, IGNORE allowed.
        valid: bool, same shape.
        num_classes: K, at most 255.

    Returns:
        (K, K) int32.

    Raises:
        ValueError: The shapes differ.
    """
    if not prediction.shape == label.shape == valid.shape:
        shapes = f"{prediction.shape}, {label.shape} and {valid.shape}"
        raise ValueError(f"prediction, label and valid have shapes {shapes}: they must be equal.")
    if not 1 <= num_classes <= IGNORE:
        raise ValueError(f"num_classes is {num_classes}: it must be 1 to {IGNORE}.")
    classes = jnp.arange(num_classes, dtype=jnp.int32)
    label = label.astype(jnp.int32)
    seen = valid & (label != IGNORE)
    reference = seen[..., None] & (label[..., None] == classes)  # (B, H, W, K)
    predicted = prediction.astype(jnp.int32)[..., None] == classes
    pixels = tuple(range(label.ndim))
    return jax.lax.dot_general(
        reference.astype(jnp.int8),
        predicted.astype(jnp.int8),
        dimension_numbers=((pixels, pixels), ((), ())),
        preferred_element_type=jnp.int32,
    )


class ConfusionTotal:
    """The int64 sum of many batches' matrices, on the host.

    A matrix is fetched only when the next one arrives, so the host never waits for the step it has
    just started.
    """

    def __init__(self, num_classes: int) -> None:
        """Starts at zero for K classes."""
        self._sum = np.zeros((num_classes, num_classes), np.int64)
        self._pending: jax.Array | NDArray[np.integer] | None = None

    def add(self, confusion: jax.Array | NDArray[np.integer]) -> None:
        """Adds one (K, K) matrix; returns before the device has computed it."""
        self._fetch()
        self._pending = confusion

    def value(self) -> NDArray[np.int64]:
        """The (K, K) sum of everything added so far; waits for the last matrix."""
        self._fetch()
        return self._sum.copy()

    def _fetch(self) -> None:
        if self._pending is not None:
            self._sum += np.asarray(self._pending)
            self._pending = None


@dataclass(frozen=True)
class Scores:
    """The scores of one confusion matrix; each is a fraction 0..1 (kappa -1..1) or NaN.

    Attributes:
        classes: K names.
        iou: Per class; NaN if the class is absent from reference and prediction.
        f1: Per class; NaN as for `iou`.
        precision: Per class; NaN if the class is never predicted.
        recall: Per class; NaN if the class is not in the reference.
        support: Pixels of each class in the reference.
        absent: Names of the classes in neither reference nor prediction.
        miou: Mean IoU over the classes that are not absent.
        mean_f1: Mean F1 over the classes that are not absent.
        overall_accuracy: Share of correctly predicted pixels.
        average_accuracy: Mean recall over the classes in the reference.
        kappa: Cohen's kappa; NaN if reference and prediction consist of the same single class.
        fwiou: IoU weighted by the classes' share of the reference.
    """

    classes: tuple[str, ...]
    iou: tuple[float, ...]
    f1: tuple[float, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    support: tuple[int, ...]
    absent: tuple[str, ...]
    miou: float
    mean_f1: float
    overall_accuracy: float
    average_accuracy: float
    kappa: float
    fwiou: float

    @property
    def best_by(self) -> float:
        """What the best checkpoint has most of: the mIoU."""
        return self.miou

    def summary(self) -> dict[str, float]:
        """The six scores over all classes, by field name."""
        return {name: getattr(self, name) for name in _SUMMARY}

    def as_json(self) -> dict[str, Any]:
        """Plain values for `json.dump`: the summary, `absent`, `per_class`; NaN becomes None."""
        per_class: dict[str, object] = {}
        for k, name in enumerate(self.classes):
            row: dict[str, object] = {
                column: _plain(getattr(self, column)[k]) for column in _COLUMNS
            }
            per_class[name] = row | {"support": self.support[k]}
        summary = {name: _plain(number) for name, number in self.summary().items()}
        return {**summary, "absent": list(self.absent), "per_class": per_class}

    def csv_rows(self) -> list[list[str]]:
        """A header and one row per class for `csv.writer`; NaN becomes an empty cell."""
        rows = [["class", *_COLUMNS, "support"]]
        for k, name in enumerate(self.classes):
            numbers = (_plain(getattr(self, column)[k]) for column in _COLUMNS)
            cells = ["" if number is None else f"{number:.6f}" for number in numbers]
            rows.append([name, *cells, str(self.support[k])])
        return rows


_COLUMNS = ("iou", "f1", "precision", "recall")
_SUMMARY = {
    "miou": "mIoU",
    "mean_f1": "mean F1",
    "overall_accuracy": "overall accuracy",
    "average_accuracy": "average accuracy",
    "kappa": "kappa",
    "fwiou": "frequency-weighted IoU",
}


def scores_of(confusion: NDArray[np.integer], classes: Sequence[str]) -> Scores:
    """All scores of one (K, K) confusion matrix; the formulas are at the top of this file.

    Args:
        confusion: (K, K) counts, rows = reference, columns = prediction.
        classes: The K names.

    Raises:
        ValueError: The matrix is not K x K.
    """
    if confusion.shape != (len(classes), len(classes)):
        raise ValueError(
            f"A confusion matrix of {confusion.shape} does not fit {len(classes)} classes."
        )
    counts = confusion.astype(np.float64)  # exact to 2^53 pixels; int64 products would overflow
    right, rows, columns = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    found = rates(right, rows, columns)
    return Scores(
        classes=tuple(classes),
        support=tuple(confusion.sum(axis=1, dtype=np.int64).tolist()),
        absent=tuple(name for name, n in zip(classes, rows + columns, strict=True) if n == 0),
        iou=tuple(found["iou"].tolist()),
        f1=tuple(found["f1"].tolist()),
        precision=tuple(found["precision"].tolist()),
        recall=tuple(found["recall"].tolist()),
        **{name: float(found[name]) for name in _SUMMARY},
    )


def rates(
    right: NDArray[np.float64], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """The formulas at the top of this file, for any number of confusion matrices at once.

    Args:
        right: (..., K) diagonals.
        rows: (..., K) pixels of each class in the reference.
        columns: (..., K) pixels of each class in the prediction.

    Returns:
        By the field names of `Scores`: (..., K) `iou`, `f1`, `precision`, `recall`, and (...) the
        six summaries.
    """
    total = rows.sum(axis=-1)
    iou = _ratio(right, rows + columns - right)
    f1 = _ratio(2 * right, rows + columns)
    recall = _ratio(right, rows)
    accuracy = _ratio(right.sum(axis=-1), total)
    chance = _ratio((rows * columns).sum(axis=-1), total * total)
    return {
        "iou": iou,
        "f1": f1,
        "precision": _ratio(right, columns),
        "recall": recall,
        "miou": _mean(iou),
        "mean_f1": _mean(f1),
        "overall_accuracy": accuracy,
        "average_accuracy": _mean(recall),
        "kappa": _ratio(accuracy - chance, 1.0 - chance),
        "fwiou": _ratio(np.nansum(rows * iou, axis=-1), total),
    }


def print_scores(console: Console, scores: Scores, *, title: str = "scores") -> None:
    """Shows one row per class and the summary below it, in percent, within 100 columns."""
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("class", max_width=32, no_wrap=True, overflow="ellipsis")
    for heading in ("IoU %", "F1 %", "precision %", "recall %", "share of pixels %"):
        table.add_column(heading, justify="right", no_wrap=True)
    total = sum(scores.support)
    for k, name in enumerate(scores.classes):
        share = scores.support[k] / total if total else math.nan
        numbers = [*(getattr(scores, column)[k] for column in _COLUMNS), share]
        style = "dim" if name in scores.absent else ""
        table.add_row(Text(name), *map(_percent, numbers), style=style)
    summary = Table.grid(padding=(0, 2), pad_edge=True)
    cells = [(_SUMMARY[name], number) for name, number in scores.summary().items()]
    for (left, a), (right, b) in zip(cells[:3], cells[3:], strict=True):
        shown = f"{b:.4f}  " if right == "kappa" else f"{_percent(b)} %"
        summary.add_row(
            left,
            Text(f"{_percent(a)} %", style="bold", justify="right"),
            right,
            Text(shown, style="bold", justify="right"),
        )
    console.print(Text.assemble((title, "bold"), f", {total:,} labelled pixels"))
    console.print(table, summary)
    if scores.absent:
        console.print(Text("absent, left out of the means: " + ", ".join(scores.absent)))


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    part = np.asarray(part)  # sums over the last axis may be plain numbers
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=np.asarray(whole) > 0)


def _mean(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the last axis of the numbers that are not NaN."""
    known = ~np.isnan(numbers)
    return _ratio(np.where(known, numbers, 0).sum(axis=-1), known.sum(axis=-1))


def _plain(number: float) -> float | None:
    return None if math.isnan(number) else number


def _percent(number: float) -> str:
    return "-" if math.isnan(number) else f"{100 * number:.2f}"
