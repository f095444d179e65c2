"""How good a map is: counts that add up over batches, scenes and processes, and their scores."""

from jaxseg.metrics.boundaries import BoundaryTotal, Tolerance
from jaxseg.metrics.calibration import CalibrationTotal, Reliability
from jaxseg.metrics.intervals import Intervals, bootstrap
from jaxseg.metrics.measure import Measure, Setting, measures
from jaxseg.metrics.objects import ObjectTotal
from jaxseg.metrics.scores import ConfusionTotal, Scores, confusion_matrix, rates, scores_of
from jaxseg.metrics.warping import WarpingError

__all__ = [
    "BoundaryTotal",
    "CalibrationTotal",
    "ConfusionTotal",
    "Intervals",
    "Measure",
    "ObjectTotal",
    "Reliability",
    "Scores",
    "Setting",
    "Tolerance",
    "WarpingError",
    "bootstrap",
    "confusion_matrix",
    "measures",
    "rates",
    "scores_of",
]
