"""The mark of wrong pixels looks like no class."""

import numpy as np
import pytest

from jaxseg.datasets.folder.class_fields import hues
from jaxseg.pictures.marking import CLEAR, MAGENTA, RED, RIGHT, lab, wrong_color


def nearest(color: tuple[int, int, int], others: list[tuple[int, int, int]]) -> float:
    return float(np.linalg.norm(lab([color]) - lab(others), axis=-1).min())


def test_colours_have_their_published_coordinates() -> None:
    # Lindbloom's calculator, sRGB and D65.
    found = lab([(255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 0, 255), (119, 119, 119)])
    expected = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(found[:4], expected, atol=0.05)
    np.testing.assert_allclose(found[4], [50.03, 0, 0], atol=0.05)


def test_wrong_is_red_where_no_class_is() -> None:
    assert wrong_color([(0, 0, 0), (255, 255, 255), (60, 16, 152), (226, 169, 41)]) == RED


@pytest.mark.parametrize("red", [(214, 30, 40), (242, 61, 61), (200, 0, 0), (255, 0, 30)])
def test_wrong_is_another_colour_where_a_class_is_red(red: tuple[int, int, int]) -> None:
    assert wrong_color([(0, 0, 0), red, (0, 90, 200)]) == MAGENTA
    colors = [(0, 0, 0), red, (230, 0, 230)]
    assert nearest(wrong_color(colors), [*colors, RIGHT]) > CLEAR


@pytest.mark.parametrize("count", [2, 3, 5, 8, 12, 20, 21])
def test_wrong_is_clear_of_the_colours_that_a_folder_gives_its_classes(count: int) -> None:
    colors = list(hues(count))
    assert nearest(wrong_color(colors), [*colors, RIGHT]) >= CLEAR


def test_of_very_many_classes_wrong_is_as_far_as_can_be() -> None:
    colors = list(hues(120))
    assert nearest(wrong_color(colors), [*colors, RIGHT]) > 25


def test_wrong_is_well_seen_on_what_is_right_and_never_green() -> None:
    random = np.random.default_rng(0)
    for count in (2, 5, 20):
        for _ in range(20):
            colors = [(int(r), int(g), int(b)) for r, g, b in random.integers(0, 256, (count, 3))]
            found = wrong_color(colors)
            assert max(found) - min(found) >= 150
            assert found[1] < max(found)
            assert lab([RIGHT])[0, 0] - lab([found])[0, 0] >= 25
            assert found == RED or nearest(RED, colors) < CLEAR
            assert found in (RED, MAGENTA) or nearest(MAGENTA, colors) < CLEAR
