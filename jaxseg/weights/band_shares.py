"""Which band of the data gets which share of a first convolution that was trained on other bands.

A rule is a matrix (B, C): the share of the kernel of trained band c that goes to data band b. Every
column sums to one, so an image that is equal in all bands gives exactly the features that a grey
image gave the trained network: the mean response is kept. The three rules are our choice.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError


def even_shares(bands: int, trained: int) -> NDArray[np.float64]:
    """For unknown bands: each of them gets the same share of every kernel.

    If there are as many bands as were trained, they are assumed to be the same bands.
    """
    return np.eye(bands) if bands == trained else np.full((bands, trained), 1 / bands)


def shares_by_name(bands: Sequence[str], trained: Sequence[str]) -> NDArray[np.float64]:
    """A band of the same name (upper or lower case) keeps its kernel.

    Trained bands without a partner are spread over the data bands without a partner, or over all
    data bands if each has one. If all trained bands have partners, an additional band starts with a
    kernel of zeros.

    Raises:
        UserError: A name appears twice, or no band has a partner.
    """
    ours, theirs = [b.lower() for b in bands], [b.lower() for b in trained]
    for names in (ours, theirs):
        if len(set(names)) < len(names):
            raise UserError(f"Bands {', '.join(names)}: each name may appear once.")
    if not set(ours) & set(theirs):
        raise UserError(
            f"No band of the data ({', '.join(bands)}) has the name of one of the weights "
            f"({', '.join(trained)}). Give wavelengths, or no names to spread evenly."
        )
    free = [band not in theirs for band in ours]
    rest = np.array(free if any(free) else [True] * len(ours)) / (sum(free) or len(ours))
    columns = [np.array([b == band for b in ours]) if band in ours else rest for band in theirs]
    return np.stack(columns, axis=1).astype(np.float64)


def shares_by_wavelength(bands: Sequence[float], trained: Sequence[float]) -> NDArray[np.float64]:
    """Each trained band is divided among the data bands near it in wavelength.

    A data band at wavelength l (nm) requests the two trained bands around l with the weights of
    linear interpolation, or only the outermost one if l lies outside. A trained band is divided
    among the data bands in proportion to their requests; without requests it is spread evenly.

    Raises:
        UserError: A wavelength is not positive, or appears twice among the trained ones.
    """
    ours, theirs = np.asarray(bands, np.float64), np.asarray(trained, np.float64)
    if min(ours.min(initial=1), theirs.min(initial=1)) <= 0 or len(set(trained)) < len(theirs):
        raise UserError(
            f"Wavelengths {tuple(bands)} and {tuple(trained)}: give positive nanometres, and those "
            "of the weights without repetition."
        )
    order = np.argsort(theirs)
    asked = np.zeros((len(ours), len(theirs)))
    for band, name in enumerate(order):
        peak = np.zeros(len(theirs))
        peak[band] = 1
        asked[:, name] = np.interp(ours, theirs[order], peak)
    total = asked.sum(axis=0)
    return np.where(total > 0, asked / np.where(total > 0, total, 1), 1 / len(ours))


def spread_bands(kernel: NDArray[np.float32], shares: NDArray[np.float64]) -> NDArray[np.float32]:
    """A kernel (kh, kw, C, F) for the bands of the data: (kh, kw, B, F), by `shares` (B, C)."""
    if np.array_equal(shares, np.eye(*shares.shape)):
        return kernel
    spread: NDArray[np.float64] = np.einsum("bc,hwcf->hwbf", shares, kernel.astype(np.float64))
    return spread.astype(np.float32)
