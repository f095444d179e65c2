"""Which windows are shown."""

import numpy as np

from jaxseg.evaluation import pictured
from jaxseg.metrics.scores import scores_of
from jaxseg.run.evaluator import Evaluation


def evaluation(right: list[int], counted: list[int]) -> Evaluation:
    """Windows of one class with so many right pixels of so many."""
    margins = np.zeros((len(right), 3, 2), np.int32)
    margins[:, 0, 0], margins[:, 1, 0], margins[:, 2, 0] = right, counted, counted
    return Evaluation(np.eye(2, dtype=int), scores_of(np.eye(2, dtype=int), ("a", "b")), margins)


def scene(number: int) -> str:
    """Five windows of the first scene, then one of each other."""
    return "first" if number < 5 else str(number)


def test_the_worst_windows_are_those_of_several_scenes() -> None:
    found = evaluation([10, 20, 30, 40, 50, 55, 90, 80, 70], [100] * 9)
    assert pictured.worst(found, scene) == [0, 5, 8, 7]


def test_of_few_scenes_several_windows_are_shown_from_the_worst() -> None:
    found = evaluation([40, 20, 30, 10, 50, 15], [100] * 6)
    assert pictured.worst(found, scene) == [3, 5, 1, 2]
    assert pictured.worst(evaluation([40, 0, 30], [100, 0, 100]), scene) == [2, 0]


def test_worst_and_best_windows_are_of_two_halves() -> None:
    found = evaluation([10, 20, 30, 40, 50, 55, 90, 80, 70], [100] * 9)
    assert pictured.halves(found, scene) == {"worst": [0, 1, 2, 3], "best": [6, 7, 8, 5]}
    one = lambda number: "one"  # noqa: E731
    assert pictured.halves(evaluation([40], [100]), one) == {"worst": [0], "best": []}
    # A strip is not shown for the reason that it is the only one of its scene in its half.
    strip = evaluation([1, 10, 20, 30, 40, 70, 75, 80, 90, 95], [9, *[100] * 9])
    assert 0 not in pictured.halves(strip, one)["worst"]


def test_the_medium_windows_are_those_of_several_scenes_around_the_middle() -> None:
    # In order: 6, 0, 1, 5, 2, 7, 3, 4, 8.
    found = evaluation([20, 30, 50, 70, 80, 40, 10, 60, 90], [100] * 9)
    assert pictured.median(found, scene) == [6, 5, 2, 7]
    one = lambda number: "one"  # noqa: E731
    assert pictured.median(found, one) == [1, 5, 2, 7]
    assert pictured.median(evaluation([], []), one) == []


def test_a_strip_at_the_border_of_a_scene_is_shown_only_if_there_is_nothing_else() -> None:
    # The third window is all wrong, and counts four rows of a hundred.
    found = evaluation([10, 20, 0, 40, 50, 55, 1], [100, 100, 4, 100, 100, 100, 8])
    assert pictured.worst(found, scene) == [0, 6, 1, 5]  # the last is all that its scene has
    assert pictured.worst(evaluation([10, 0, 20], [100, 4, 90]), scene) == [1, 0, 2]
