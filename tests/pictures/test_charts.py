"""Charts show the numbers they are given."""

import numpy as np
import pytest

from jaxseg.metrics.calibration import BINS, Reliability
from jaxseg.pictures.charts import SHOWN, objects_figure, reliability_figure, scores_figure
from jaxseg.pictures.tiles import figure_array

NAMES = ("lake $1", "forest", "road")
COLORS = ((10, 20, 200), (10, 120, 30), (90, 90, 90))


def reliability(share: float, classes: int = 3) -> Reliability:
    """Confidences in the middle of the bins, of which `share` are right; one bin is empty."""
    pixels = np.full((1 + classes, BINS), 100)
    pixels[:, 3] = 0
    middle = (np.arange(BINS) + 0.5) / BINS
    return Reliability(pixels, (pixels * share).astype(int), pixels * middle, nll=1.0)


def test_the_reliability_diagram_has_a_bar_for_every_bin_that_is_not_empty() -> None:
    before, after = reliability(0.3), reliability(0.5)
    figure = reliability_figure(before, after, 1.8, NAMES)
    first, below, second, _, errors = figure.axes
    heights = [bar.get_height() for bar in first.patches[: BINS - 1]]
    assert heights == pytest.approx([0.3] * (BINS - 1))
    assert f"ECE {100 * before.ece()[0]:.2f} %" in first.get_title()
    assert "T = 1.8" in second.get_title()
    assert below.get_xlabel() == "confidence of the predicted class"
    assert sum(bar.get_height() for bar in below.patches) == pytest.approx(100)
    lengths = [bar.get_width() for bar in errors.patches]
    expected = [100 * part.ece()[1] for part in (before, after) for _ in NAMES]
    assert lengths == pytest.approx(expected)
    assert figure_array(figure).shape[2] == 3


def test_classes_stand_from_the_best_to_the_worst_with_their_interval() -> None:
    interval = (np.array([0.1, 0.7, np.nan]), np.array([0.3, 0.9, np.nan]))
    others = {"boundary F1": (0.5, np.nan, 0.2)}
    figure = scores_figure(NAMES, (0.2, 0.8, np.nan), interval, others)
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["forest", r"lake \$1", "road"]
    drawn = [c for c in axes.collections if hasattr(c, "get_segments")]
    lines = drawn[0].get_segments()
    assert lines[0][:, 0].tolist() == pytest.approx([70, 90])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert set(legend) == {"IoU", "95 % interval of IoU", "boundary F1"}
    figure_array(figure)


def test_only_classes_with_objects_have_a_line() -> None:
    f1 = np.full((3, 10), np.nan)
    f1[1] = np.linspace(0.9, 0.1, 10)
    figure = objects_figure(f1, NAMES, COLORS)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["forest  50.0", "mean  50.0"]
    figure_array(figure)
    with pytest.raises(ValueError, match="nothing to draw"):
        objects_figure(np.full((3, 10), np.nan), NAMES, COLORS)


def test_of_many_classes_a_readable_number_is_shown() -> None:
    names = [f"class {k}" for k in range(100)]
    ends = np.linspace(0, 1, 100)
    figure = scores_figure(names, ends.tolist(), (ends, ends), {})
    assert len(figure.axes[0].get_yticks()) == SHOWN
    part = reliability(0.5, classes=100)
    figure = reliability_figure(part, part, 1.0, names)
    assert len(figure.axes[-1].get_yticks()) == SHOWN
