"""The intervals hold what they promise, and draw whole blocks."""

import numpy as np
import pytest
from numpy.typing import NDArray

from jaxseg.metrics.intervals import bootstrap
from jaxseg.metrics.scores import scores_of

NAMES = ("a", "b", "c")


def windows(seed: int, scenes: int, each: int = 4) -> tuple[NDArray[np.int64], list[int]]:
    """Confusion matrices (N, K, K) of windows whose accuracy depends on their scene."""
    random = np.random.default_rng(seed)
    accuracy = np.clip(random.normal(0.7, 0.1, scenes), 0, 1).repeat(each)
    shares = random.dirichlet((4, 3, 2), scenes * each)
    confusions = np.zeros((scenes * each, 3, 3), np.int64)
    for n, (right, share) in enumerate(zip(accuracy, shares, strict=True)):
        for k in range(3):
            p = np.full(3, (1 - right) / 2)
            p[k] = right
            confusions[n, k] = random.multinomial(int(1000 * share[k]), p)
    return confusions, np.arange(scenes).repeat(each).tolist()


def margins(confusions: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.stack(
        [np.diagonal(confusions, axis1=1, axis2=2), confusions.sum(2), confusions.sum(1)], axis=1
    )


def test_an_interval_of_95_percent_holds_the_truth_in_about_95_of_100_cases() -> None:
    everything, _ = windows(0, 5000)
    truth = scores_of(everything.sum(0), NAMES).overall_accuracy
    hits = 0
    for seed in range(1, 201):
        confusions, of = windows(seed, 40)
        found = bootstrap(margins(confusions), of, draws=400)
        low, high = found.low["overall_accuracy"], found.high["overall_accuracy"]
        hits += low <= truth <= high
    assert 180 <= hits <= 199  # 190 expected, and a few less of only 40 scenes


def test_windows_of_one_scene_are_drawn_together() -> None:
    confusions, of = windows(3, 40)
    together = bootstrap(margins(confusions), of)
    assert (together.unit, together.blocks) == ("scenes", 40)
    apart = bootstrap(margins(confusions), list(range(len(of))))
    assert (apart.unit, apart.blocks) == ("scenes", 160)
    widths = [float(f.high["miou"] - f.low["miou"]) for f in (together, apart)]
    assert widths[0] > 1.4 * widths[1]  # four windows that err alike are no four facts


def test_of_a_single_scene_windows_are_drawn() -> None:
    confusions, of = windows(4, 1, each=8)
    found = bootstrap(margins(confusions), of)
    assert (found.unit, found.blocks, found.known) == ("windows", 8, True)
    assert found.low["miou"] < found.high["miou"]


@pytest.mark.parametrize(("scenes", "each"), [(2, 40), (4, 4), (1, 4)])
def test_of_fewer_than_five_blocks_there_is_no_interval(scenes: int, each: int) -> None:
    confusions, of = windows(4, scenes, each)
    found = bootstrap(margins(confusions), of)
    assert not found.known
    for ends in (found.low, found.high):
        assert all(np.isnan(values).all() for values in ends.values())
        assert ends["iou"].shape == (3,)
        assert ends["miou"].shape == ()


def test_every_score_has_an_interval_around_it() -> None:
    confusions, of = windows(5, 30)
    found = bootstrap(margins(confusions), of)
    whole = scores_of(confusions.sum(0), NAMES)
    for name, number in whole.summary().items():
        assert found.low[name] < number < found.high[name]
    for name in ("iou", "f1", "precision", "recall"):
        assert (found.low[name] < getattr(whole, name)).all()
        assert (found.high[name] > getattr(whole, name)).all()
    again = bootstrap(margins(confusions), of)
    np.testing.assert_array_equal(again.low["iou"], found.low["iou"])


def test_a_single_draw_is_scored_as_the_windows_drawn() -> None:
    confusions, of = windows(6, 12, each=1)
    found = bootstrap(margins(confusions), of, seed=7, draws=1)
    times = np.random.default_rng(7).multinomial(12, np.full(12, 1 / 12))
    drawn = scores_of(confusions.repeat(times, axis=0).sum(0), NAMES)
    assert found.low["kappa"] == found.high["kappa"] == pytest.approx(drawn.kappa)
    np.testing.assert_allclose(found.low["iou"], drawn.iou)


def test_windows_without_a_counted_pixel_and_absent_classes_do_no_harm() -> None:
    confusions, of = windows(7, 20)
    confusions[::5] = 0
    confusions[:, 2] = confusions[:, :, 2] = 0
    found = bootstrap(margins(confusions), of)
    assert np.isnan(found.low["iou"][2])
    assert np.isfinite(found.low["miou"])
    with pytest.raises(ValueError, match="nothing to draw from"):
        bootstrap(np.zeros((3, 3, 3), int), [0, 1, 2])
    with pytest.raises(ValueError, match="3 windows and 2 scene"):
        bootstrap(np.ones((3, 3, 3), int), [0, 1])


def test_a_class_of_few_scenes_has_an_interval_of_the_draws_that_show_it() -> None:
    confusions, of = windows(8, 12)
    confusions[4:, 2] = confusions[4:, :, 2] = 0  # class 2 is in the first scene alone
    found = bootstrap(margins(confusions), of)
    for ends in (found.low, found.high):
        for name in ("iou", "f1", "precision", "recall"):
            assert np.isfinite(ends[name]).all()
    whole = scores_of(confusions.sum(0), NAMES)
    assert found.low["iou"][2] <= whole.iou[2] <= found.high["iou"][2]


def test_the_ends_are_the_quantiles_of_all_draws() -> None:
    confusions, of = windows(9, 12, each=1)
    found = bootstrap(margins(confusions), of, seed=3, draws=120)
    random, drawn = np.random.default_rng(3), []
    for size in (50, 50, 20):  # drawn in parts
        for times in random.multinomial(12, np.full(12, 1 / 12), size=size):
            drawn.append(scores_of(np.tensordot(times, confusions, 1), NAMES).miou)
    assert found.low["miou"] == pytest.approx(np.quantile(drawn, 0.025))
    assert found.high["miou"] == pytest.approx(np.quantile(drawn, 0.975))
    other = bootstrap(margins(confusions), of, seed=4, draws=120)
    assert other.low["miou"] != found.low["miou"]


def test_scenes_are_drawn_from_five_on_whatever_their_numbers() -> None:
    confusions, of = windows(10, 5, each=2)
    shuffled = np.random.default_rng(0).permutation(10)
    numbers = np.asarray(of)[shuffled] * 100
    found = bootstrap(margins(confusions)[shuffled], numbers.tolist())
    assert (found.unit, found.blocks) == ("scenes", 5)
    expected = bootstrap(margins(confusions), of)
    np.testing.assert_allclose(found.low["miou"], expected.low["miou"])
    # A scene without any counted pixel is none.
    confusions[:2] = 0
    assert not bootstrap(margins(confusions), of).known
