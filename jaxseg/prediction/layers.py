"""What a map shows of the class probabilities: classes, and how sure they are.

All quantities are stored as whole numbers 0..254 that stand for 0..1, 255 = no data; the file says
so by GDAL's scale, so that readers see 0..1.
"""

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from jaxseg.files.maps import MapBand

Layer = Literal["classes", "probabilities", "confidence", "entropy", "margin"]

LAYERS: tuple[Layer, ...] = get_args(Layer)

STEPS = 254
"""Whole numbers that stand for 0..1."""

NODATA = 255
"""Of quantities, and of classes where fewer than 255 are told apart."""


class Numbers(NamedTuple):
    """How a layer is stored.

    Attributes:
        dtype: uint8 or uint16.
        nodata: The number of pixels without data.
        bands: One or more.
    """

    dtype: str
    nodata: int
    bands: tuple[MapBand, ...]


def numbers(layer: Layer, classes: tuple[str, ...]) -> Numbers:
    """How a layer of a map of these classes is stored."""
    if layer == "classes":
        wide = len(classes) > NODATA
        return Numbers(*(("uint16", 65535) if wide else ("uint8", NODATA)), (MapBand("class"),))
    names = classes if layer == "probabilities" else (layer,)
    return Numbers("uint8", NODATA, tuple(MapBand(name, 1 / STEPS) for name in names))


def drawn(
    layer: Layer,
    probabilities: NDArray[Any],
    valid: NDArray[np.bool_],
    thresholds: tuple[float, ...] = (),
) -> NDArray[np.generic]:
    """A layer (h, w, bands) as it is stored.

    Args:
        layer: Which one.
        probabilities: (K, h, w), which sum to 1; for classes also (1, h, w), their number as it is
            stored.
        valid: (h, w), False where there are no data.
        thresholds: (K,) of the classes, see `jaxseg.metrics.thresholds`; empty = the most probable
            class.
    """
    if layer == "classes":
        if thresholds:
            factors = np.float32(1) / np.asarray(thresholds, np.float32)
            probabilities = probabilities * factors[:, None, None]
        numbered = probabilities.dtype.kind == "u"
        stored = numbers(layer, ("",) * len(probabilities))
        found: NDArray[np.generic] = (
            probabilities[0].copy()
            if numbered
            else most_probable(probabilities).astype(stored.dtype)
        )
        found[~valid] = np.iinfo(probabilities.dtype).max if numbered else stored.nodata
        return found[..., None]
    if layer == "probabilities":
        quantity = np.moveaxis(probabilities, 0, -1)
    elif layer == "confidence":
        quantity = probabilities.max(0)[..., None]
    elif layer == "entropy":
        logs = np.log(np.maximum(probabilities, np.float32(1e-30)))
        spread = max(1e-9, np.log(len(probabilities)))
        quantity = (-(probabilities * logs).sum(0) / np.float32(spread))[..., None]
    else:
        ranked = np.partition(probabilities, -2, axis=0) if len(probabilities) > 1 else None
        first = probabilities[0] if ranked is None else ranked[-1] - ranked[-2]
        quantity = first[..., None]
    steps: NDArray[np.uint8] = np.rint(np.clip(quantity, 0, 1) * np.float32(STEPS)).astype(np.uint8)
    steps[~valid] = NODATA
    return steps


def most_probable(probabilities: NDArray[np.float32]) -> NDArray[np.uint16]:
    """(K, h, w) -> (h, w) number of the largest, the first of equal ones.

    Class by class, because `argmax` over the first axis takes five times as long.
    """
    best = probabilities[0].copy()
    found = np.zeros(best.shape, np.uint16)
    for number in range(1, len(probabilities)):
        better = probabilities[number] > best
        np.maximum(best, probabilities[number], out=best)
        np.putmask(found, better, np.uint16(number))
    return found
