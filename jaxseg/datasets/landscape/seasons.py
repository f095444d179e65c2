"""Seasons of `landscape`: classes exchange what they look like, and one strip says which it is.

A scene is the middle 128 x 128 pixels of an optical tile. Those of odd numbers are of the second
season, in which the classes of each pair in `EXCHANGED` have swapped everything that can be seen:
pixel values, texture, shapes and places. Only the labels are swapped, so the pixels of both seasons
have the same joint distribution and tell nothing about the season, with one exception: along one
side of the scene, equally likely each in either season, lies a strip of snow (first season) or of
blossom (second). Its pixels are unmistakable and have no label (255).

So a classifier that sees w x w pixels around a pixel cannot do better than toss a coin between the
two classes of a pair wherever its window misses the strip. With u the share of a pair's pixels
whose window misses it, the best IoU that can be expected of both classes is (2 - u) / (2 + u), and
the season is right on 1 - u / 2 of their pixels:

    w                 1      17     33     65     97     129    255
    u                 1.000  0.932  0.864  0.732  0.602  0.471  0.000
    season is right   0.500  0.534  0.568  0.634  0.699  0.764  1.000
    mIoU              0.733  0.746  0.759  0.786  0.815  0.847  1.000

These are ceilings of any classifier that otherwise makes no error; that of single pixels, which
cannot tell surfaces without doubt either, is 0.241 mIoU. `benchmarks/landscape_ceiling.py` computes
all of them. The design is ours.
"""

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets.landscape.map import CLASSES, SPLITS
from jaxseg.datasets.landscape.shapes import SIZE
from jaxseg.datasets.landscape.surfaces import MODALITIES
from jaxseg.scenes.scene import IGNORE

SIDE = 128
"""Rows and columns of a scene."""

EXCHANGED = (("cropland", "orchard"), ("forest", "garden"))
"""Pairs of classes that look like each other in the other season."""

STRIP = 8
"""Width in pixels of the strip that shows the season."""

SHOWN = ((3500, 3500, 3000, 1200), (400, 2500, 3200, 7000))
"""Reflectance x 10 000 of snow and of blossom, the evidence of the two seasons."""

CEILING = {1: 0.733, 17: 0.746, 33: 0.759, 65: 0.786, 97: 0.815, 129: 0.847, 255: 1.0}
"""Side of a classifier's window -> the best mIoU that can be expected of it."""

PER_PIXEL_CEILING = 0.241
"""Best mIoU of any classifier that sees one pixel and knows the densities of all surfaces."""


def exchange() -> NDArray[np.uint8]:
    """Class id -> the class that looks like it in the other season, (K,)."""
    other = np.arange(len(CLASSES), dtype=np.uint8)
    for pair in EXCHANGED:
        one, two = map(CLASSES.index, pair)
        other[[one, two]] = two, one
    return other


def in_season(
    tile: dict[str, NDArray[np.generic]], key: tuple[int, str, int]
) -> dict[str, NDArray[np.generic]]:
    """The scene in the middle of an optical tile, in its season.

    Args:
        tile: (256, 256, 4) `image`, 0 = nodata, and (256, 256) `label` and `instance`.
        key: Seed, split and index of the tile; the index decides the season.

    Returns:
        The same fields of the scene: the image with its strip, where the label is 255 and no object
        is, and the labels of the season.
    """
    seed, split, index = key
    edge = (SIZE - SIDE) // 2
    image, label, instance = (
        tile[name][edge:-edge, edge:-edge] for name in ("image", "label", "instance")
    )
    rng = np.random.default_rng([seed, SPLITS.index(split), index, 1 + len(MODALITIES)])
    season = index % 2
    known = (image != 0).any(-1)
    strip = np.zeros((SIDE, SIDE), np.bool_)
    strip[:STRIP] = True
    sides = [np.rot90(strip, turns) for turns in rng.permutation(4)]
    shown = next(side for side in sides if known[side].all())  # nodata never covers all of them
    return {
        "image": np.where(shown[..., None], np.array(SHOWN[season], image.dtype), image),
        "label": np.where(shown, np.uint8(IGNORE), exchange()[label] if season else label),
        "instance": np.where(shown, instance.dtype.type(0), instance),
    }
