"""Charts show the numbers they are given."""

from collections.abc import Sequence

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from jaxseg.metrics.calibration import BINS, Reliability
from jaxseg.metrics.measure import Curves
from jaxseg.metrics.objects import THRESHOLDS
from jaxseg.pictures.charts import (
    GAP,
    INK,
    MARKERS,
    SHADES,
    SHOWN,
    _count,
    confusion_figure,
    curves_figure,
    reliability_figure,
    scores_figure,
)
from jaxseg.pictures.marking import Colors
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


def objects_figure(f1: np.ndarray, names: Sequence[str], colors: Colors) -> Figure:
    curves = Curves(THRESHOLDS, f1, "IoU that a match has to exceed", "object F1", "mean F1")
    return curves_figure(curves, names, colors)


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


def test_every_score_is_drawn_in_percent_in_the_row_of_its_class() -> None:
    iou, low, high = (0.2, 0.8, 0.5), np.array([0.1, 0.7, 0.3]), np.array([0.3, 0.9, 0.6])
    others = {f"score {n}": (0.1 * n, 0.2, 0.3) for n in range(len(MARKERS))}
    figure = scores_figure(NAMES, iou, (low, high), others)
    (axes,) = figure.axes
    order = [1, 2, 0]
    points = {c.get_label(): c for c in axes.collections}
    for number, (name, values) in enumerate(others.items()):
        expected = [(100 * values[k], row) for row, k in enumerate(order)]
        np.testing.assert_allclose(points[name].get_offsets(), expected)
        np.testing.assert_allclose(points[name].get_facecolor()[0, :3], to_rgb(SHADES[number]))
    assert len({points[name].get_paths()[0].vertices.tobytes() for name in others}) == len(MARKERS)
    expected = [(100 * iou[k], row) for row, k in enumerate(order)]
    np.testing.assert_allclose(points["IoU"].get_offsets(), expected)
    lines = points["95 % interval of IoU"].get_segments()  # type: ignore[attr-defined]
    np.testing.assert_allclose(
        lines, [[(100 * low[k], row), (100 * high[k], row)] for row, k in enumerate(order)]
    )
    assert axes.yaxis_inverted()  # the best class stands above
    assert axes.get_xlim() == (-2, 102)
    assert axes.get_xlabel() == "score (%)"


def test_of_many_classes_those_are_shown_that_matter() -> None:
    names = [f"class {k}" for k in range(100)]
    ends = np.linspace(0, 1, 100)
    figure = scores_figure(names, ends.tolist(), (ends, ends), {})
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert shown == [f"class {k}" for k in range(SHOWN - 1, -1, -1)]  # the lowest IoU
    part = reliability(0.5, classes=100)
    # The later a class, the larger its error.
    right = (part.pixels * np.linspace(0.5, 0.2, 101)[:, None]).astype(int)
    part = Reliability(part.pixels, right, np.maximum(part.confidence, right), 1.0)
    figure = reliability_figure(part, part, 1.0, names)
    shown = [label.get_text() for label in figure.axes[-1].get_yticklabels()]
    worst = np.argsort(-part.ece()[1:], kind="stable")[:SHOWN]
    assert shown == [f"class {k}" for k in worst]
    f1 = np.outer(np.linspace(0.1, 1, 100), np.linspace(1, 0.5, 10))
    figure = objects_figure(f1, names, [(k, k, k) for k in range(100)])
    lines = [line.get_label() for line in figure.axes[0].lines]
    assert len(lines) == SHOWN + 1
    assert lines[0] == f"class 99  {100 * f1[99].mean():.1f}"
    assert lines[-1] == f"mean  {100 * f1.mean():.1f}"  # of all classes, not of the shown


def test_the_reliability_diagram_stacks_the_gap_upon_what_is_right() -> None:
    part = reliability(0.3)
    figure = reliability_figure(part, reliability(0.5), 1.8, NAMES)
    axes, shares, *_, errors = figure.axes
    left = [b / BINS for b in range(BINS) if b != 3]  # the empty bin has no bar
    right, gap = axes.patches[: BINS - 1], axes.patches[BINS - 1 :]
    assert [bar.get_x() for bar in right] == pytest.approx(left)
    assert [bar.get_x() for bar in gap] == pytest.approx(left)
    assert {round(bar.get_width(), 6) for bar in right} == {round(1 / BINS, 6)}
    middle = [x + 0.5 / BINS for x in left]
    assert [bar.get_y() for bar in gap] == pytest.approx([0.3] * (BINS - 1))
    assert [bar.get_y() + bar.get_height() for bar in gap] == pytest.approx(middle)
    (diagonal,) = axes.lines
    assert diagonal.get_xydata().tolist() == [[0, 0], [1, 1]]
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 1), (0, 1))
    heights = [bar.get_height() for bar in shares.patches]
    assert heights == pytest.approx([0 if b == 3 else 100 / (BINS - 1) for b in range(BINS)])
    assert [bar.get_facecolor()[:3] for bar in errors.patches[::3]] == [to_rgb(GAP), to_rgb(INK)]
    labels = [text.get_text() for text in errors.get_legend().get_texts()]
    assert labels == ["as trained", "T = 1.8"]
    assert errors.yaxis_inverted()


def test_a_line_of_objects_has_the_colour_of_its_class() -> None:
    f1 = np.full((3, 10), np.nan)
    f1[0], f1[2] = np.linspace(0.4, 0.2, 10), np.linspace(0.9, 0.1, 10)
    figure = objects_figure(f1, NAMES, COLORS)
    (axes,) = figure.axes
    better, worse, mean = axes.lines
    for line, k in ((better, 2), (worse, 0)):
        assert line.get_label().startswith(NAMES[k].replace("$", r"\$"))
        assert to_rgb(line.get_color()) == tuple(part / 255 for part in COLORS[k])
        np.testing.assert_allclose(line.get_xdata(), np.arange(0.5, 1, 0.05))
        np.testing.assert_allclose(line.get_ydata(), 100 * f1[k])
    np.testing.assert_allclose(mean.get_ydata(), 50 * (f1[0] + f1[2]))
    assert axes.get_ylim() == (-2, 102)


def test_each_diagram_has_the_pixels_and_the_error_of_its_own_temperature() -> None:
    """Of the most probable class, not of another row; at T = 1 left, at the temperature right."""
    before, after = reliability(0.3), reliability(0.5)
    for part, factor in ((before, 3), (after, 7)):
        part.pixels[0, : BINS // 2] *= factor
        part.right[0] = part.pixels[0] // 4
        part.confidence[0] = part.pixels[0] * (np.arange(BINS) + 0.5) / BINS
    figure = reliability_figure(before, after, 1.8, NAMES)
    for axes, below, part in zip(
        figure.axes[0:4:2], figure.axes[1:4:2], (before, after), strict=True
    ):
        ece = part.ece()
        assert ece[0] != pytest.approx(ece[1], abs=1e-3)
        assert axes.get_title().endswith(f"ECE {100 * ece[0]:.2f} %")
        heights = [bar.get_height() for bar in below.patches]
        assert heights == pytest.approx((100 * part.pixels[0] / part.pixels[0].sum()).tolist())


@pytest.mark.parametrize("size", [2, 7, 30])
def test_a_confusion_chart_labels_its_axes_and_keeps_everything_inside(size: int) -> None:
    names = [f"land{k}" + "W" * (k % 3) * (size // 2) for k in range(size)]
    confusion = np.diag(np.full(size, 9_600_000)) + np.eye(size, k=1, dtype=int) * 400_000
    figure = confusion_figure(confusion, names)
    picture = figure_array(figure)
    axes, bar = figure.axes
    assert axes.get_xlabel() == "predicted class"
    assert axes.get_ylabel() == "reference class  (pixels)"
    assert bar.get_ylabel() == "share of the reference class (%)"
    assert [label.get_text() for label in axes.get_xticklabels()] == [
        name if len(name) <= 28 else name[:27] + "…" for name in names
    ]
    for part in (axes, bar):
        box = part.get_tightbbox()
        assert box is not None
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= picture.shape[1]
        assert box.y1 <= picture.shape[0]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells[1, 0] == ("4.0" if size <= 16 else "4")  # reference 0, predicted 1
    assert cells[0, 1] == ""


def test_a_class_that_is_not_in_the_reference_has_an_empty_row_not_zeros() -> None:
    figure = confusion_figure(np.array([[3, 1], [0, 0]]), ("land", "water"))
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["75.0", "25.0", "", ""]
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == ["land  (4)", "water  (0)"]


@pytest.mark.parametrize(
    ("pixels", "shown"),
    [(0, "0"), (999, "999"), (1000, "1 k"), (1.5e6, "1.5 M"), (2.34e9, "2.34 G")],
)
def test_counts_are_short(pixels: float, shown: str) -> None:
    assert _count(pixels) == shown


def test_small_shares_are_a_dot_and_dark_cells_have_white_words() -> None:
    confusion = np.array([[9_996, 4], [40, 60]])
    figure = confusion_figure(confusion, ("land", "water"))
    cells = {text.get_position(): text for text in figure.axes[0].texts}
    found = {place: text.get_text() for place, text in cells.items()}
    assert found == {(0, 0): "100.0", (1, 0): "·", (0, 1): "40.0", (1, 1): "60.0"}
    colors = {place: text.get_color() for place, text in cells.items()}
    assert colors == {(0, 0): "white", (1, 0): "0.15", (0, 1): "0.15", (1, 1): "white"}
    names = [f"c{k}" for k in range(17)]
    many = np.eye(17, dtype=int) * 1000 + np.eye(17, k=1, dtype=int) * 4
    texts = {t.get_position(): t.get_text() for t in confusion_figure(many, names).axes[0].texts}
    assert texts[1, 0] == "·"
    assert texts[0, 0] == "100"
    image = figure.axes[0].images[0]
    np.testing.assert_allclose(image.get_array(), [[99.96, 0.04], [40, 60]])
    assert image.get_clim() == (0, 100)


def test_dollars_in_names_of_classes_are_dollars_and_not_mathematics() -> None:
    figure_array(confusion_figure(np.eye(2, dtype=int), (r"$\broken$", "$")))


def test_two_classes_have_room_and_an_unknown_interval_has_no_entry() -> None:
    unknown = np.full(2, np.nan)
    figure = scores_figure(("a", "b"), (0.9, 0.6), (unknown, unknown), {"object F1": (0.1, 0.5)})
    (axes,) = figure.axes
    bottom, top = axes.get_ylim()
    assert bottom > 1.3
    assert top < -0.3
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["object F1", "IoU"]


def test_the_legend_of_calibration_errors_hides_no_bar() -> None:
    figure = reliability_figure(reliability(0.3), reliability(0.5), 1.8, NAMES)
    figure_array(figure)
    axes = figure.axes[4]
    legend = axes.get_legend()
    assert legend is not None
    box = legend.get_tightbbox()
    assert box is not None
    assert all(not box.overlaps(bar.get_tightbbox()) for bar in axes.patches)


def test_without_a_temperature_there_is_one_diagram() -> None:
    figure = reliability_figure(reliability(0.3), reliability(0.5), None, NAMES)
    assert len(figure.axes) == 3
    assert [axes.get_title() for axes in figure.axes if axes.get_title()] == [
        f"as trained:  ECE {100 * reliability(0.3).ece()[0]:.2f} %",
        "probability of one class",
    ]
    legend = figure.axes[2].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["as trained"]
