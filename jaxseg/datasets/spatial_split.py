"""Splits of one labelled scene into training, validation and test pixels that do not leak.

A network sees the neighbourhood of a pixel. Training and test pixels that are drawn at random are
neighbours in the same field, with nearly the same values, so scores measure memorization. Blocks
with a guard band between them measure how a network generalizes to other places.

Source: Liang et al., On the Sampling Strategy for Evaluation of Spectral-Spatial Methods in
Hyperspectral Image Classification, IEEE JSTARS 2017, arXiv:1605.05829, for the leak. The search for
blocks that give every class its share is our own.
"""

import operator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE

SPLITS = ("train", "validation", "test")

DRAWS = 2000
"""Default number of random block assignments, of which the best is used."""


def block_split(
    label: NDArray[np.uint8],
    *,
    block: int,
    guard: int,
    fractions: tuple[float, float, float],
    seed: int = 0,
    draws: int = DRAWS,
) -> NDArray[np.uint8]:
    """Assigns whole blocks of a grid to splits, leaving out a guard band around training blocks.

    The best of `draws` random assignments is the one with the most classes in the training split,
    then with the most classes in the test split, then with the class shares closest to `fractions`
    on average. A class that lies in a single block cannot be in both.

    Args:
        label: (H, W) classes, 255 = unlabelled.
        block: Rows and columns of a block in pixels.
        guard: Validation and test pixels within this distance of a training block are left out;
            half the receptive field of the network keeps the splits fully apart.
        fractions: Shares of the three splits.
        seed: Seed of the random assignments.
        draws: Number of assignments that are tried; the time is proportional to it.

    Returns:
        (H, W) uint8: 0, 1, 2 = train, validation, test; 255 = no split.

    Raises:
        UserError: There are fewer blocks than splits, or an argument is out of range.
    """
    shares = _shares(fractions, seed)
    if block < 1 or guard < 0:
        raise UserError(f"block {block}, guard {guard}: at least 1 pixel, and 0 or more.")
    rows, columns = (-(-side // block) for side in label.shape)
    if rows * columns < len(SPLITS):
        raise UserError(
            f"A scene of {label.shape[0]} x {label.shape[1]} pixels has {rows * columns} block(s) "
            f"of {block}: take smaller blocks."
        )
    place = np.add.outer(
        np.arange(label.shape[0]) // block * columns, np.arange(label.shape[1]) // block
    )
    classes = np.unique(label[label != IGNORE])
    random = np.random.default_rng(seed)

    def drawn() -> tuple[tuple[int, int, float], NDArray[np.uint8]]:
        of_block = random.choice(len(SPLITS), rows * columns, p=shares).astype(np.uint8)
        split = _guarded(of_block[place], guard)
        split[label == IGNORE] = IGNORE
        pairs = np.bincount(
            (label * np.intp(4) + np.minimum(split, 3)).ravel(), minlength=4 * (IGNORE + 1)
        )
        counts = pairs.reshape(-1, 4)[classes, : len(SPLITS)]  # (classes, splits)
        learned, _, tested = (counts > 0).sum(0)
        off = np.abs(counts / np.maximum(counts.sum(1, keepdims=True), 1) - shares).max(1)
        return (int(learned), int(tested), -float(off.mean())), split

    return max((drawn() for _ in range(draws)), key=operator.itemgetter(0))[1]


def random_split(
    label: NDArray[np.uint8], *, fractions: tuple[float, float, float], seed: int = 0
) -> NDArray[np.uint8]:
    """Assigns single pixels of each class to splits at random: common in the field, but it leaks.

    Args:
        label: (H, W) classes, 255 = unlabelled.
        fractions: Shares of the three splits; at least one pixel of each class is for training.
        seed: Seed of the random assignment.

    Returns:
        (H, W) uint8: 0, 1, 2 = train, validation, test; 255 = unlabelled.

    Raises:
        UserError: An argument is out of range.
    """
    shares = _shares(fractions, seed)
    random = np.random.default_rng(seed)
    split = np.full(label.shape, IGNORE, np.uint8)
    for number in np.unique(label[label != IGNORE]):
        pixels = random.permutation(np.flatnonzero(label == number))
        first = max(1, round(shares[0] * len(pixels)))
        second = first + round(shares[1] * len(pixels))
        for value, part in enumerate(np.split(pixels, (first, second))):
            split.flat[part] = value
    return split


def _shares(fractions: tuple[float, float, float], seed: int) -> NDArray[np.float64]:
    shares = np.asarray(fractions, float)
    if (shares < 0).any() or not np.isclose(shares.sum(), 1):
        raise UserError(f"Shares {fractions} of the splits: none below 0, together 1.")
    if seed < 0:
        raise UserError(f"seed {seed} of the split: it must be 0 or more.")
    return shares


def _guarded(split: NDArray[np.uint8], guard: int) -> NDArray[np.uint8]:
    """The split without other pixels within `guard` rows and columns of a training pixel."""
    near = ndimage.maximum_filter(split == 0, size=2 * guard + 1)
    return np.where(near & (split != 0), np.uint8(IGNORE), split)
