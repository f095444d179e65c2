"""Splits of one labelled scene into training, validation and test pixels that do not leak.

A network sees the neighbourhood of a pixel. Where training and test pixels are drawn at random they
are neighbours, the same field and nearly the same numbers, and scores measure memory. Blocks with a
guard band between them measure what a scene elsewhere would.

Source: Liang et al., On the Sampling Strategy for Evaluation of Spectral-Spatial Methods in
Hyperspectral Image Classification, IEEE JSTARS 2017, arXiv:1605.05829, for the leak. The search for
blocks that give every class its share is ours.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from jaxseg.errors import UserError
from jaxseg.scenes.scene import IGNORE

SPLITS = ("train", "validation", "test")

DRAWS = 2000
"""Random assignments of blocks among which the best is taken, unless fewer are asked for."""


def block_split(
    label: NDArray[np.uint8],
    *,
    block: int,
    guard: int,
    fractions: tuple[float, float, float],
    seed: int = 0,
    draws: int = DRAWS,
) -> NDArray[np.uint8]:
    """Whole blocks of a grid go to one split; a guard band around the training blocks to none.

    Of `draws` random assignments that one is taken in which most classes can be learned, then most
    can be tested, and then classes come closest to their shares on average. A class that fills a
    single block cannot be both learned and tested.

    Args:
        label: (H, W) classes, 255 = none.
        block: Rows and columns of a block in pixels.
        guard: Pixels of validation and test that are this close to a training block, or closer, are
            left out; half of what a network sees keeps the splits apart.
        fractions: Shares of the three splits.
        seed: Decides the draws.
        draws: Assignments that are tried; the time grows with them.

    Returns:
        (H, W) uint8: 0, 1, 2 = train, validation, test; 255 = none.

    Raises:
        UserError: There are fewer blocks than splits, or a number is none.
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
    best, best_score = None, (-1, -1, -np.inf)
    for _ in range(draws):
        of_block = random.choice(len(SPLITS), rows * columns, p=shares).astype(np.uint8)
        split = _guarded(of_block[place], guard)
        split[label == IGNORE] = IGNORE
        pairs = np.bincount(
            (label * np.intp(4) + np.minimum(split, 3)).ravel(), minlength=4 * (IGNORE + 1)
        )
        counts = pairs.reshape(-1, 4)[classes, : len(SPLITS)]  # (classes, splits)
        learned, _, tested = (counts > 0).sum(0)
        off = np.abs(counts / np.maximum(counts.sum(1, keepdims=True), 1) - shares).max(1)
        score = (int(learned), int(tested), -float(off.mean()))
        if best is None or score > best_score:
            best, best_score = split, score
    assert best is not None  # noqa: S101
    return best


def random_split(
    label: NDArray[np.uint8], *, fractions: tuple[float, float, float], seed: int = 0
) -> NDArray[np.uint8]:
    """Single pixels of each class go to a split at random: the custom of the field, and it leaks.

    Args:
        label: (H, W) classes, 255 = none.
        fractions: Shares of the three splits; of each class at least one pixel trains.
        seed: Decides the draw.

    Returns:
        (H, W) uint8: 0, 1, 2 = train, validation, test; 255 = none.

    Raises:
        UserError: A number is none.
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
    """Without what lies within `guard` rows and columns of a training pixel."""
    near = ndimage.maximum_filter(split == 0, size=2 * guard + 1)
    return np.where(near & (split != 0), np.uint8(IGNORE), split)
