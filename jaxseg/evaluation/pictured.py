"""Which windows are shown: one of each scene, as long as there are enough scenes."""

from collections.abc import Callable, Sequence

from jaxseg.run.evaluator import Evaluation

WINDOWS = 4
"""Windows in a picture."""

PART = 0.25
"""A window that counts less than this share of what the fullest one of its scene does, such as a
strip at the scene's border, is shown only if there are no others."""


def worst(result: Evaluation, scene: Callable[[int], str]) -> list[int]:
    """The windows with the lowest accuracy, from the worst.

    Args:
        result: An evaluation.
        scene: The name of a window's scene.
    """
    return _of_several_scenes(result, result.ranked(), scene)


def halves(result: Evaluation, scene: Callable[[int], str]) -> dict[str, list[int]]:
    """`worst` ones of the worse half of all windows, and `best` ones of the better half.

    Of few scenes, the worst windows of each may be good ones; these are not.

    Args:
        result: An evaluation.
        scene: The name of a window's scene.
    """
    ranked = result.ranked()
    middle = (len(ranked) + 1) // 2
    return {
        "worst": _of_several_scenes(result, ranked[:middle], scene),
        "best": _of_several_scenes(result, ranked[middle:][::-1], scene),
    }


def median(result: Evaluation, scene: Callable[[int], str]) -> list[int]:
    """The windows whose accuracy is nearest to the middle of all windows, from the worst."""
    ranked = result.ranked()
    middle = (len(ranked) - 1) / 2
    outwards = sorted(range(len(ranked)), key=lambda place: abs(place - middle))
    chosen = set(_of_several_scenes(result, [ranked[place] for place in outwards], scene))
    return [number for number in ranked if number in chosen]


def _of_several_scenes(
    result: Evaluation, order: Sequence[int], scene: Callable[[int], str]
) -> list[int]:
    """The first windows of those with the fewest faults, in the given order."""
    counted = result.margins[:, 1].sum(axis=-1)
    fullest: dict[str, int] = {}
    for number in result.ranked():
        fullest[scene(number)] = max(fullest.get(scene(number), 0), int(counted[number]))
    seen: set[str] = set()
    faults: dict[int, tuple[bool, bool]] = {}
    for number in order:
        small = bool(counted[number] < PART * fullest[scene(number)])
        faults[number] = small, scene(number) in seen
        if not small:
            seen.add(scene(number))
    chosen = set(sorted(order, key=lambda number: faults[number])[:WINDOWS])
    return [number for number in order if number in chosen]
