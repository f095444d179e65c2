"""Splits of one scene: blocks stay apart, pixels do not, and both give what they promise."""

import itertools

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


@pytest.mark.parametrize("shape", [(8, 24), (24, 8)])
def test_any_two_blocks_of_a_scene_that_is_not_square_may_go_to_different_splits(
    shape: tuple[int, int],
) -> None:
    label = np.zeros(shape, np.uint8)
    rows, columns = shape[0] // 4, shape[1] // 4
    found = []
    for seed in range(30):
        split = block_split(label, block=4, guard=0, fractions=THIRDS, seed=seed, draws=1)
        blocks = split.reshape(rows, 4, columns, 4).swapaxes(1, 2).reshape(rows * columns, 16)
        assert (blocks == blocks[:, :1]).all()  # every block is whole
        found.append(blocks[:, 0])
    drawn = np.array(found)
    apart = (drawn[:, :, None] != drawn[:, None, :]).any(0)
    assert apart[~np.eye(rows * columns, dtype=bool)].all()


def judged(
    label: np.ndarray, split: np.ndarray, shares: tuple[float, ...]
) -> tuple[int, int, float]:
    """Classes that can be learned, classes that can be tested, distance from the shares."""
    learned = tested = 0
    distances = []
    for number in np.unique(label[label != IGNORE]):
        counts = [int((split[label == number] == part).sum()) for part in range(3)]
        learned += counts[0] > 0
        tested += counts[2] > 0
        distances.append(
            max(
                abs(count / max(sum(counts), 1) - share)
                for count, share in zip(counts, shares, strict=True)
            )
        )
    return learned, tested, -sum(distances) / len(distances)


@pytest.mark.parametrize("kind", ["even", "rare", "lines", "noise", "skewed"])
@pytest.mark.parametrize("guard", [0, 1])
def test_the_best_of_all_assignments_is_found(kind: str, guard: int) -> None:
    label = (np.indices((7, 6))[1] // 3 % 2).astype(np.uint8)  # 2 x 2 blocks, the last ones cut
    if kind == "rare":
        label[1, 4:6], label[5, 1] = 2, IGNORE
    if kind == "lines":
        label[:, ::2], label[3:5] = IGNORE, 5
    if kind == "noise":
        label = np.random.default_rng(31).choice(4, label.shape, p=(0.4, 0.3, 0.2, 0.1))
        label = label.astype(np.uint8)
    rows, columns = np.indices(label.shape) // 4
    block = rows * 2 + columns
    # By these shares alone all would go to training, and nothing could be tested.
    shares = (0.9, 0.05, 0.05) if kind == "skewed" else (0.3, 0.3, 0.4)
    best = (-1, -1, -np.inf)
    results = {}
    for assignment in itertools.product(range(3), repeat=4):
        split = np.array(assignment)[block]
        near = ndimage.distance_transform_cdt(split != 0, metric="chessboard") <= guard
        if (split == 0).any():
            split = np.where(near & (split != 0), IGNORE, split)
        split = np.where(label == IGNORE, IGNORE, split)
        score = judged(label, split, shares)
        results[split.astype(np.uint8).tobytes()] = score
        best = max(best, score)
    found = block_split(label, block=4, guard=guard, fractions=shares, draws=2500)
    score = results[found.tobytes()]
    assert score[:2] == best[:2]
    assert score[2] == pytest.approx(best[2])


def test_more_draws_give_another_split_only_if_it_is_a_better_one() -> None:
    label = fields()[::2, ::2]
    splits = [
        block_split(label, block=8, guard=1, fractions=THIRDS, draws=draws)
        for draws in range(1, 40)
    ]
    scores = [judged(label, split, THIRDS) for split in splits]
    assert scores == sorted(scores)
    assert scores[0] < scores[-1]
    for (one, other), (split, later) in zip(
        itertools.pairwise(scores), itertools.pairwise(splits), strict=True
    ):
        assert (one == other) == np.array_equal(split, later)
    even = np.zeros((4, 4), np.uint8)  # where every division into halves is as good
    one, *others = (
        block_split(even, block=2, guard=0, fractions=(0.5, 0.0, 0.5), draws=draws)
        for draws in (10, 20, 50, 200)
    )
    assert (one == 0).mean() == 0.5
    for more in others:
        np.testing.assert_array_equal(one, more)


def test_a_split_whose_share_is_0_gets_no_block() -> None:
    for seed in range(20):
        split = block_split(
            fields(), block=10, guard=0, fractions=(0.5, 0.0, 0.5), seed=seed, draws=1
        )
        assert set(np.unique(split)) == {0, 2, IGNORE}


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


def test_random_pixels_follow_the_seed_and_shares_that_do_not_divide_are_rounded() -> None:
    label = fields()
    one, same, other = (random_split(label, fractions=THIRDS, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert (one != other).mean() > 0.3
    assert one.dtype == np.uint8
    seven = random_split(np.zeros((1, 7), np.uint8), fractions=(0.5, 0.25, 0.25))
    assert np.bincount(seven.ravel(), minlength=3).tolist() == [4, 2, 1]  # 3.5, 1.75
    alone = random_split(np.zeros((1, 8), np.uint8), fractions=(0.0, 0.5, 0.5))
    assert np.bincount(alone.ravel(), minlength=3).tolist() == [1, 4, 3]


def test_as_many_blocks_as_splits_and_no_guard_are_enough() -> None:
    label = np.zeros((2, 6), np.uint8)
    split = block_split(label, block=2, guard=0, fractions=(1 / 3, 1 / 3, 1 / 3))
    assert set(np.unique(split)) == {0, 1, 2}
    single = block_split(np.zeros((1, 3), np.uint8), block=1, guard=0, fractions=THIRDS)
    assert single.shape == (1, 3)
    with pytest.raises(UserError, match=r"A scene of 2 x 4 pixels has 2 block\(s\) of 2"):
        block_split(label[:, :4], block=2, guard=0, fractions=THIRDS)
    with pytest.raises(UserError, match="none below 0, together 1"):
        block_split(label, block=2, guard=0, fractions=(1.2, 0.0, -0.2))


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
