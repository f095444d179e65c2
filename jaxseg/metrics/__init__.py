"""How good a map is: counts that add up over batches, scenes and processes, and what they say."""

from jaxseg.metrics.boundaries import BoundaryTotal, Tolerance
from jaxseg.metrics.calibration import CalibrationTotal, Reliability
from jaxseg.metrics.intervals import Intervals, bootstrap
from jaxseg.metrics.objects import ObjectTotal
from jaxseg.metrics.scores import ConfusionTotal, Scores, confusion_matrix, rates, scores_of

__all__ = [
    "BoundaryTotal",
    "CalibrationTotal",
    "ConfusionTotal",
    "Intervals",
    "ObjectTotal",
    "Reliability",
    "Scores",
    "Tolerance",
    "bootstrap",
    "confusion_matrix",
    "rates",
    "scores_of",
]
