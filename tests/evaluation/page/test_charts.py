"""Charts of the page: points lie where the axes say."""

import re

import pytest

from jaxseg.evaluation.page import charts
from jaxseg.evaluation.page.charts import Line, chart, thinned, ticks


def places(svg: str, number: int = 0) -> list[tuple[float, float]]:
    """The points of a line, in the coordinates of the SVG."""
    found = re.findall(r'<polyline points="([^"]*)"', svg)[number]
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in found.split())]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 20, 40, 60, 80, 100]),
        (0.3, 2.3, [0.5, 1, 1.5, 2]),
        (0, 0.0021, [0, 0.0005, 0.001, 0.0015, 0.002]),
        (-3, 4, [-2, 0, 2, 4]),
        (5, 70, [20, 40, 60]),
    ],
)
def test_ticks_are_round_numbers_inside(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_the_ends_of_a_line_lie_at_the_ends_of_the_axes() -> None:
    svg = chart("Loss", [Line("a", [(10, 4.0), (20, 1.0), (30, 2.0)])], "step", "loss")
    right, low = charts.WIDTH - charts.RIGHT, charts.HEIGHT - charts.BOTTOM
    middle = (charts.LEFT + right) / 2
    first, second, third = places(svg)
    assert first == pytest.approx((charts.LEFT, charts.TOP))
    assert second == pytest.approx((middle, low), abs=0.1)
    assert third == pytest.approx((right, low - (low - charts.TOP) / 3), abs=0.1)


def test_a_tick_lies_on_its_number() -> None:
    svg = chart("x", [Line("a", [(0, 0), (100, 50)])], "x", "y")
    found = {
        float(text): float(y)
        for y, text in re.findall(r'<text x="[\d.]+" y="([\d.]+)" text-anchor="end">(\d+)<', svg)
    }
    low = charts.HEIGHT - charts.BOTTOM
    for value, y in found.items():
        assert y == pytest.approx(low - value / 50 * (low - charts.TOP) + 4, abs=0.1)
    assert list(found) == [0, 10, 20, 30, 40, 50]


def test_a_constant_and_a_single_point_have_a_chart() -> None:
    assert "nan" not in chart("x", [Line("a", [(3, 0.0)])], "x", "y")
    (x, y), _ = places(chart("x", [Line("a", [(1, 7.0), (2, 7.0)])], "x", "y"))
    assert charts.LEFT <= x <= charts.WIDTH
    assert charts.TOP < y < charts.HEIGHT - charts.BOTTOM


def test_of_many_points_means_are_drawn() -> None:
    points = [(float(n), float(n % 2)) for n in range(1000)]
    found, every = thinned(points)
    assert every == 4
    assert found[0] == (1.5, 0.5)
    assert len(found) == 250
    assert thinned(points[:5]) == (points[:5], 1)
    assert thinned([]) == ([], 1)


def test_a_line_that_is_perfect_lies_on_the_diagonal() -> None:
    line = Line("as trained", [(10, 10), (90, 90)])
    svg = charts.reliability("r", [line], [0.25, 0.75])
    x1, y1, x2, y2 = (
        float(n)
        for n in re.findall(
            r'<line x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" '
            r'y2="([\d.]+)" class="ideal"',
            svg,
        )[0]
    )
    for x, y in places(svg):
        assert (y - y1) / (x - x1) == pytest.approx((y2 - y1) / (x2 - x1), abs=1e-3)
    heights = [float(h) for h in re.findall(r'<rect .*?height="([\d.]+)"', svg)]
    assert heights[1] == pytest.approx(3 * heights[0], rel=1e-4)


def test_an_interval_lies_on_its_numbers() -> None:
    svg = charts.interval(0.5, 0.25, 0.75)
    assert 'x="25"' in svg
    assert 'width="50"' in svg
    assert 'cx="50"' in svg
    assert "circle" not in charts.interval(None, None, None)
