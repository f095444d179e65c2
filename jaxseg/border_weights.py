"""Distances to the two nearest objects, the geometry behind the U-Net's border weights."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

LIMIT = 64
"""Pixels up to which distances are exact; the border term is nothing beyond, for a sigma of 5."""


def separation(instance: NDArray[Any], limit: int = LIMIT) -> NDArray[np.float32]:
    """d1 + d2: the sum of each pixel's distances to the nearest and second nearest object.

    Every object's distance transform is taken in its own bounding box widened by `limit`, so the
    cost grows with the objects' neighbourhoods and not with objects times image. Source:
    Ronneberger et al., MICCAI 2015.

    Args:
        instance: (H, W) object ids; 0 or less = no object. Inside an object its own distance is 0.
        limit: Distance in pixels up to which the result is exact.

    Returns:
        (H, W) float32 pixels. Where a second object is missing, or farther than `limit`, infinity.
    """
    nearest = np.full(instance.shape, np.inf, np.float32)
    second = np.full(instance.shape, np.inf, np.float32)
    ids, compact = np.unique(np.maximum(instance, 0), return_inverse=True)
    compact = compact.reshape(instance.shape) + (
        ids[0] != 0
    )  # 0 stays "no object" where every pixel has one
    reach = math.ceil(limit)
    for number, box in enumerate(ndimage.find_objects(compact), start=1):
        if box is None:
            continue
        area = tuple(slice(max(0, s.start - reach), s.stop + reach) for s in box)
        distance = ndimage.distance_transform_edt(compact[area] != number).astype(np.float32)
        distance[distance > limit] = np.inf
        second[area] = np.minimum(second[area], np.maximum(nearest[area], distance))
        nearest[area] = np.minimum(nearest[area], distance)
    return nearest + second
