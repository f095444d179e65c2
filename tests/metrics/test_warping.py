"""Errors of topology, by hand and against counts of labelled regions."""

import numpy as np
import pytest
from fixtures.places import SHARED
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage import measure

from jaxseg.metrics.measure import Setting
from jaxseg.metrics.warping import WarpingError, simple_points, warped

Mask = NDArray[np.bool_]


def field(*columns: tuple[int, int], rows: tuple[int, int] = (2, 6)) -> Mask:
    """8 x 16 pixels; these rows and columns are the class."""
    image = np.zeros((8, 16), bool)
    for first, last in columns:
        image[rows[0] : rows[1], first:last] = True
    return image


def regions(mask: Mask) -> tuple[int, int]:
    """Numbers of 4-connected regions of the class and of 8-connected ones of the rest."""
    inside = np.pad(mask, 1)
    return (
        int(measure.label(inside, connectivity=1).max()),
        int(measure.label(~inside, connectivity=2).max()),
    )


def counted(prediction: Mask, label: Mask) -> list[int]:
    """Remaining pixels and errors of class 1."""
    total = WarpingError().start(Setting(2))
    total.add(prediction.astype(np.uint8), label.astype(np.uint8), np.ones(label.shape, bool))
    remaining, errors, pixels = total.counts[1].tolist()
    assert pixels == label.size
    return [remaining, errors]


def test_a_pixel_is_simple_if_its_flip_changes_no_number_of_regions() -> None:
    angles = [(0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)]
    simple = simple_points()
    for code in range(256):
        without = np.zeros((3, 3), bool)
        for bit, (y, x) in enumerate(angles):
            without[1 + y, 1 + x] = code >> bit & 1
        with_it = without.copy()
        with_it[1, 1] = True
        assert simple[code] == (regions(without) == regions(with_it)), without


@pytest.mark.parametrize(
    ("prediction", "label", "remaining", "errors"),
    [
        (field((2, 9)), field((5, 14)), 0, 0),  # moved by three and five pixels
        (field((2, 4)), field((2, 14)), 0, 0),  # much smaller
        (field((2, 14)), field((2, 7), (8, 14)), 4, 1),  # a gap of 1 x 4 pixels closed
        (field((2, 14)), field((2, 6), (9, 14)), 4, 1),  # one of 3 x 4: a line of it stays
        (field((2, 7), (9, 14)), field((2, 14)), 2, 1),  # broken by 2 columns
        (field((2, 6)), field((2, 6), (9, 13)), 1, 1),  # an object missed
        (field((2, 6), (9, 13)), field((2, 6)), 16, 1),  # one invented
        (field((2, 6), (9, 13)), field((2, 6), (8, 12)), 0, 0),
    ],
)
def test_only_another_topology_is_an_error(
    prediction: Mask, label: Mask, remaining: int, errors: int
) -> None:
    assert counted(prediction, label) == [remaining, errors]


def test_a_hole_that_is_closed_leaves_one_pixel() -> None:
    ring = field((2, 12))
    ring[3:5, 4:8] = False
    assert counted(field((2, 12)), ring) == [1, 1]


def test_touching_at_a_corner_is_not_touching() -> None:
    two = np.zeros((8, 16), bool)
    two[1:4, 1:4] = two[4:7, 4:7] = True
    joined = two.copy()
    joined[3, 4] = True
    assert regions(two) == (2, 1)
    assert counted(joined, two) == [1, 1]


@pytest.mark.parametrize("smooth", [0.5, 1.0, 2.0])
def test_random_maps_keep_their_topology_and_lose_all_simple_differences(smooth: float) -> None:
    random = np.random.default_rng(0)
    for _ in range(5):
        label, wanted = (
            ndimage.gaussian_filter(random.normal(size=(26, 31)), smooth) > 0 for _ in range(2)
        )
        found = warped(label, wanted)
        assert regions(found) == regions(label)
        # Euler's number changes with every flip of a point that is not simple.
        for y, x in np.argwhere(found != wanted):
            flipped = found.copy()
            flipped[y, x] ^= True
            assert regions(flipped) != regions(found)
        assert (found != wanted).sum() < (label != wanted).sum()


@pytest.mark.real_data
def test_real_cells_keep_their_topology_when_warped_to_those_of_the_next_section() -> None:
    masks = SHARED / "data/em_isbi2012/masks"
    if not masks.is_dir():
        pytest.skip(f"{masks} is absent")
    label, other = (np.asarray(Image.open(masks / f"0{n}.png")) > 0 for n in (0, 1))
    found = warped(label, other)
    assert regions(found) == regions(label) != regions(other)
    assert 0 < (found != other).sum() < 0.3 * (label != other).sum()


def test_a_prediction_equal_to_the_label_has_no_error_and_absent_classes_no_row() -> None:
    label = np.random.default_rng(0).integers(0, 3, (20, 20)).astype(np.uint8)
    total = WarpingError().start(Setting(4))
    total.add(label, label, np.ones(label.shape, bool))
    rows = total.rows(("a", "b", "c", "d"))
    assert list(rows) == ["a", "b", "c"]
    assert all(row["remaining"] == row["warping_error"] == 0 for row in rows.values())


def test_pixels_that_are_not_counted_are_outside() -> None:
    label, prediction = field((2, 7), (8, 14)), field((2, 14))
    seen = np.ones(label.shape, bool)
    seen[:, 7] = False  # the gap
    total = WarpingError().start(Setting(2))
    total.add(prediction.astype(np.uint8), label.astype(np.uint8), seen)
    assert total.counts[1].tolist() == [0, 0, 8 * 15]


def test_two_maps_add_up() -> None:
    label, prediction = field((2, 7), (8, 14)).astype(int), field((2, 14)).astype(int)
    total = WarpingError().start(Setting(2))
    for _ in range(2):
        total.add(prediction, label, np.ones(label.shape, bool))
    assert total.rows(("rest", "cell"))["cell"] == {
        "errors": 2,
        "remaining": 8,
        "warping_error": 8 / 256,
        "per_million": 1e6 * 8 / 256,
    }
