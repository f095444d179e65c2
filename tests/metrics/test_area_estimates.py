"""Areas from a reference sample: the paper's own example, and what has to hold for any sample."""

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.metrics.area_estimates import Z, area_estimates

CLASSES = ("deforestation", "forest gain", "stable forest", "stable non-forest")
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
PIXELS = np.array([200_000.0, 150_000.0, 3_200_000.0, 6_450_000.0])
HECTARES = 0.09
"""Of a pixel of Landsat."""


def test_the_worked_example_of_olofsson_et_al_2014() -> None:
    """Section 5: table 8 is `COUNTS`, the map has ten million pixels of 30 m."""
    found = area_estimates(COUNTS, PIXELS, CLASSES)
    assert found.area[0] == pytest.approx(235_086, abs=1)  # pixels
    assert Z * found.area_error[0] == pytest.approx(68_418, abs=5)
    assert HECTARES * found.area[0] == pytest.approx(21_158, abs=1)
    assert HECTARES * Z * found.area_error[0] == pytest.approx(6_158, abs=1)
    np.testing.assert_allclose(found.users, [0.88, 0.73, 0.93, 0.96], atol=0.005)
    np.testing.assert_allclose(Z * found.users_error, [0.07, 0.10, 0.04, 0.02], atol=0.005)
    np.testing.assert_allclose(found.producers, [0.75, 0.85, 0.93, 0.96], atol=0.005)
    assert found.overall == pytest.approx(0.95, abs=0.005)
    assert Z * found.overall_error == pytest.approx(0.02, abs=0.005)


def test_a_sample_without_errors_gives_the_areas_of_the_map() -> None:
    found = area_estimates(np.diag([5, 9, 2, 40]), PIXELS, CLASSES)
    np.testing.assert_array_equal(found.area, PIXELS)
    for error in (found.area_error, found.users_error, found.producers_error, found.overall_error):
        np.testing.assert_array_equal(error, 0)
    np.testing.assert_array_equal(found.users, 1)
    np.testing.assert_array_equal(found.producers, 1)
    assert found.overall == 1


def test_areas_add_up_to_the_map_and_the_unit_does_not_matter() -> None:
    found = area_estimates(COUNTS, PIXELS, CLASSES)
    assert found.area.sum() == pytest.approx(PIXELS.sum())
    hectares = area_estimates(COUNTS, PIXELS * HECTARES, CLASSES)
    np.testing.assert_allclose(hectares.area, found.area * HECTARES)
    np.testing.assert_allclose(hectares.area_error, found.area_error * HECTARES)
    np.testing.assert_allclose(hectares.producers_error, found.producers_error)


def test_the_errors_are_those_of_the_formulas_written_out() -> None:
    """Equations 5, 6, 7 and 10 of the paper, place by place."""
    found = area_estimates(COUNTS, PIXELS, CLASSES)
    weight, places = PIXELS / PIXELS.sum(), COUNTS.sum(1)
    users = np.diag(COUNTS) / places
    overall = sum(
        w**2 * u * (1 - u) / (n - 1) for w, u, n in zip(weight, users, places, strict=True)
    )
    assert found.overall_error == pytest.approx(np.sqrt(overall))
    for k in range(4):
        share = weight * COUNTS[:, k] / places
        spread = sum(
            (w * s - s**2) / (n - 1) for w, s, n in zip(weight, share, places, strict=True)
        )
        assert found.area_error[k] == pytest.approx(PIXELS.sum() * np.sqrt(spread))
        total = sum(PIXELS[i] / places[i] * COUNTS[i, k] for i in range(4))
        right = PIXELS[k] / places[k] * COUNTS[k, k] / total
        own = PIXELS[k] ** 2 * (1 - right) ** 2 * users[k] * (1 - users[k]) / (places[k] - 1)
        others = sum(
            PIXELS[i] ** 2
            * (COUNTS[i, k] / places[i])
            * (1 - COUNTS[i, k] / places[i])
            / (places[i] - 1)
            for i in range(4)
            if i != k
        )
        error = np.sqrt((own + right**2 * others) / total**2)
        assert found.producers_error[k] == pytest.approx(error)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Drawn again and again from a known map and a known truth."""
    random = np.random.default_rng(0)
    truth = random.random((200, 200)) < 0.3
    wrong = random.random(truth.shape) < 0.1
    says = np.where(wrong, ~truth, truth)
    mapped = np.array([(~says).sum(), says.sum()], float)
    inside = [np.flatnonzero(says == k) for k in (0, 1)]
    hits, middle = 0, []
    for _ in range(400):
        counts = np.zeros((2, 2), np.int64)
        for k in (0, 1):
            drawn = random.choice(inside[k], 60, replace=False)
            counts[k] = np.bincount(truth.ravel()[drawn].astype(int), minlength=2)
        found = area_estimates(counts, mapped, ("no", "yes"))
        middle.append(found.area[1])
        hits += abs(found.area[1] - truth.sum()) <= Z * found.area_error[1]
    assert hits / 400 == pytest.approx(0.95, abs=0.03)
    assert np.mean(middle) == pytest.approx(truth.sum(), rel=0.01)


def test_a_class_of_the_map_needs_two_places_and_others_none() -> None:
    counts = np.array([[3, 1, 0], [0, 1, 0], [0, 0, 0]])
    with pytest.raises(UserError, match=r"1 place\(s\) where the map says b"):
        area_estimates(counts, np.array([5.0, 5.0, 0.0]), ("a", "b", "c"))
    more = np.array([[0, 0, 1], [0, 1, 0], [0, 0, 0]])
    found = area_estimates(counts + more, np.array([5.0, 5.0, 0.0]), ("a", "b", "c"))
    assert found.area[2] == pytest.approx(1.0)  # a fifth of a half: the map misses it
    assert np.isnan(found.users[2])
    assert found.producers[2] == 0
