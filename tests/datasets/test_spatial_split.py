"""Splits of one scene: blocks stay apart, pixels do not, and both give what they promise."""

import numpy as np
import pytest
from scipy import ndimage

from jaxseg.datasets.spatial_split import block_split, random_split
from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE

THIRDS = (0.4, 0.2, 0.4)


def fields() -> np.ndarray:
    """A scene of 60 x 66 pixels in fields of 10 x 11, four classes in turn, and a road between."""
    rows, columns = np.indices((60, 66))
    label = ((rows // 10) + 2 * (columns // 11)) % 4
    return np.where(columns % 11 == 0, IGNORE, label).astype(np.uint8)


@pytest.mark.parametrize("guard", [0, 1, 3])
def test_no_training_pixel_is_near_one_of_another_split(guard: int) -> None:
    label = fields()
    split = block_split(label, block=10, guard=guard, fractions=THIRDS)
    distance = ndimage.distance_transform_cdt(split != 0, metric="chessboard")
    for other in (1, 2):
        assert (split == other).any()
        assert distance[split == other].min() > guard


def test_blocks_are_whole_and_every_labelled_pixel_outside_of_the_guard_is_used() -> None:
    label = fields()
    split = block_split(label, block=10, guard=0, fractions=THIRDS)
    assert ((split == IGNORE) == (label == IGNORE)).all()
    for row in range(0, 60, 10):
        for column in range(0, 66, 10):
            block = split[row : row + 10, column : column + 10]
            assert len(np.unique(block[block != IGNORE])) == 1


def test_every_class_that_fills_several_blocks_is_learned_and_tested() -> None:
    label = fields()
    label[3:8, 2:9] = 4  # inside one block: it can only be learned
    split = block_split(label, block=10, guard=2, fractions=THIRDS)
    for number in range(5):
        assert (split[label == number] == 0).any()
    for number in range(4):
        assert (split[label == number] == 2).any()


def test_the_same_seed_gives_the_same_split_and_another_another() -> None:
    one, same, other = (
        block_split(fields(), block=10, guard=1, fractions=THIRDS, seed=seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_random_pixels_keep_the_shares_of_every_class() -> None:
    label = fields()
    split = random_split(label, fractions=(0.1, 0.05, 0.85))
    assert ((split == IGNORE) == (label == IGNORE)).all()
    for number in range(4):
        counts = np.bincount(split[label == number], minlength=3)
        np.testing.assert_allclose(counts / counts.sum(), (0.1, 0.05, 0.85), atol=0.002)


def test_a_rare_class_is_learned_from_one_pixel_at_least() -> None:
    label = np.zeros((5, 5), np.uint8)
    label[2, 2:4] = 1
    split = random_split(label, fractions=(0.1, 0.0, 0.9))
    assert (split[label == 1] == 0).sum() == 1


def test_blocks_larger_than_the_scene_and_shares_that_are_none_are_refused() -> None:
    with pytest.raises(UserError, match=r"1 block\(s\) of 100: take smaller blocks"):
        block_split(fields(), block=100, guard=0, fractions=THIRDS)
    with pytest.raises(UserError, match="none below 0, together 1"):
        block_split(fields(), block=10, guard=0, fractions=(0.5, 0.1, 0.1))
    with pytest.raises(UserError, match="none below 0, together 1"):
        random_split(fields(), fractions=(0.9, 0.9, 0.1))
    for wrong in ({"block": 0}, {"guard": -1}, {"seed": -1}):
        numbers = {"block": 10, "guard": 0, "seed": 0} | wrong
        with pytest.raises(UserError, match=f"{next(iter(wrong))} {next(iter(wrong.values()))}"):
            block_split(fields(), fractions=THIRDS, **numbers)
    with pytest.raises(UserError, match="seed -1"):
        random_split(fields(), fractions=THIRDS, seed=-1)
