"""The landscape with seasons: classes exchange their looks, and one strip alone shows when."""

import sys
from pathlib import Path

import numpy as np
import pytest
from fixtures.places import ROOT
from scipy import stats

from jaxseg.datasets.landscape.builder import TILES, Settings, record
from jaxseg.datasets.landscape.map import CLASSES
from jaxseg.datasets.landscape.seasons import (
    CEILING,
    EXCHANGED,
    SHOWN,
    SIDE,
    STRIP,
    exchange,
    in_season,
)
from jaxseg.datasets.landscape.source import PER_PIXEL_CEILING, Landscape
from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE, Window

sys.path.append(str(ROOT / "benchmarks"))
import landscape_ceiling
import seasons

MIDDLE = (slice(64, 192),) * 2

Tile = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def pairs() -> list[tuple[Tile, Tile]]:
    """Ten tiles without seasons, and the scenes in their middle with them."""
    given = ("optical", TILES["optical"], 3)
    plain, with_seasons = Settings(*given), Settings(*given, seasons=True)
    return [
        (
            {name: field[MIDDLE] for name, field in record(plain, "train", index).items()},
            record(with_seasons, "train", index),
        )
        for index in range(10)
    ]


def test_only_labels_and_the_strip_differ_from_the_tile_without_seasons(
    pairs: list[tuple[Tile, Tile]],
) -> None:
    for index, (plain, scene) in enumerate(pairs):
        strip = scene["label"] == IGNORE
        expected = exchange()[plain["label"]] if index % 2 else plain["label"]
        np.testing.assert_array_equal(scene["label"][~strip], expected[~strip])
        np.testing.assert_array_equal(scene["image"][~strip], plain["image"][~strip])
        np.testing.assert_array_equal(scene["instance"][~strip], plain["instance"][~strip])
        np.testing.assert_array_equal(
            scene["image"][strip], np.broadcast_to(SHOWN[index % 2], (strip.sum(), 4))
        )
        assert not scene["instance"][strip].any()


def test_the_classes_of_two_pairs_are_exchanged_and_no_others() -> None:
    other = exchange()
    np.testing.assert_array_equal(other[other], np.arange(10))
    moved = {(CLASSES[k], CLASSES[other[k]]) for k in range(10) if other[k] != k}
    assert moved == {*EXCHANGED, *((two, one) for one, two in EXCHANGED)}


def test_each_scene_has_a_strip_along_one_side_on_known_ground(
    pairs: list[tuple[Tile, Tile]],
) -> None:
    for plain, scene in pairs:
        rows, columns = np.nonzero(scene["label"] == IGNORE)
        assert len(rows) == STRIP * SIDE
        assert {np.ptp(rows), np.ptp(columns)} == {STRIP - 1, SIDE - 1}
        assert {rows.min(), rows.max(), columns.min(), columns.max()} >= {0, SIDE - 1}
        assert plain["image"][rows, columns].any(-1).all()


def test_nothing_else_looks_like_a_strip(pairs: list[tuple[Tile, Tile]]) -> None:
    for shown in np.array(SHOWN, float):
        for plain, _ in pairs:
            known = plain["image"][(plain["image"] != 0).any(-1)].astype(float)
            assert np.abs(np.log(known / shown)).max(-1).min() > 0.3


def test_the_side_of_the_strip_tells_nothing_about_the_season() -> None:
    tile = {
        "image": np.ones((256, 256, 4), np.uint16),
        "label": np.zeros((256, 256), np.uint8),
        "instance": np.zeros((256, 256), np.uint16),
    }
    counts = np.zeros((2, 4), int)
    for index in range(400):
        strip = in_season(tile, (0, "test", index))["label"] == IGNORE
        sides = (strip[0], strip[-1], strip[:, 0], strip[:, -1])
        counts[index % 2, [side.all() for side in sides].index(True)] += 1
    assert stats.chi2_contingency(counts).pvalue > 0.01
    assert stats.chisquare(counts.sum(0)).pvalue > 0.01


def test_it_is_stored_beside_the_landscape_without_seasons(tmp_path: Path) -> None:
    source = Landscape(tiles=(2, 1, 1), data_dir=str(tmp_path), seasons=True)
    scenes = source.scenes("train")
    assert source.counts_file().parent.parent.name == "optical_2x1x1_seasons"
    assert scenes.size(1) == (128, 128)
    sample = scenes.read(1, Window(0, 0, 128, 128))
    expected = record(Settings("optical", (2, 1, 1), seasons=True), "train", 1)
    np.testing.assert_array_equal(sample["image"], expected["image"])
    np.testing.assert_array_equal(sample["label"], expected["label"])
    assert source.per_pixel_ceiling < PER_PIXEL_CEILING["optical"]


def test_a_sensor_without_seasons_is_named() -> None:
    with pytest.raises(UserError, match="only the optical landscape has seasons"):
        Landscape("sar", seasons=True).scenes("train")


def test_the_ceilings_are_those_of_the_scenes() -> None:
    unseen = landscape_ceiling.season_unseen(tuple(CEILING), 24)
    best = landscape_ceiling.best_of_windows(unseen)
    np.testing.assert_allclose(best, list(CEILING.values()), atol=0.03)
    assert (unseen[0] == 1).all()  # a pixel with a label is not part of the strip
    assert (unseen[-1] == 0).all()  # the whole scene shows it


def test_no_rule_of_coins_exceeds_the_ceiling_of_windows() -> None:
    # Two classes of equal size, u of whose pixels are called the first with probability q.
    for u in (0.2, 0.7, 1.0):
        (best,) = landscape_ceiling.best_of_windows(np.full((1, 2), u))
        for q in np.linspace(0, 1, 21):
            ious = []
            for share in (q, 1 - q):
                hit, called = (1 - u) / 2 + share * u / 2, (1 - u) / 2 + share * u
                ious.append(hit / (0.5 + called - hit))
            assert (4 * np.mean(ious) + 6) / 10 <= best + 1e-12


def test_the_season_counts_where_one_of_the_two_classes_is_named() -> None:
    confusion = np.zeros((10, 10), np.int64)
    crop, orchard, forest, garden = map(CLASSES.index, ("cropland", "orchard", "forest", "garden"))
    confusion[crop, crop], confusion[crop, orchard] = 30, 10
    confusion[forest, garden], confusion[garden, garden] = 10, 10
    confusion[crop, garden] = confusion[0, crop] = 99  # other mistakes
    assert seasons.season_right(confusion) == pytest.approx(40 / 60)
