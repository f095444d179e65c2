"""The refined Lee filter: homogeneous ground becomes smooth, edges stay.

    parts of the window around a pixel, 3 x 3, overlapping  -->  the edge through it, one of four
    the half of the window on the pixel's side of the edge  -->  out = mean + b (in - mean)

The filter shared by `sar_filters`, for each band of intensity, and `polsar_filters`, for all
elements of a matrix: edges and variation are measured on a `guide`, and `values` are filtered. The
two modules differ in the padding of the scene, in what represents a side of an edge, and in how b
is computed; they specify this by an `EdgeWindow` and a function.

Source: Lee, Refined Filtering of Image Noise Using Local Statistics, Computer Graphics and Image
Processing 1981.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

SIDES = (
    ((0, 3, 6), (2, 5, 8)),  # left, right
    ((1, 2, 5), (3, 6, 7)),  # upper right, lower left
    ((0, 1, 2), (6, 7, 8)),  # above, below
    ((0, 1, 3), (5, 7, 8)),  # upper left, lower right
)
"""Indices of the parts on both sides of four edges, among the 3 x 3 parts in reading order."""

MIDDLES = (3, 5, 2, 6, 1, 7, 0, 8)
"""The middle part of each of these eight sides."""

NOTHING = 1e-6
"""Share of a window, far below that of one pixel, up to which it counts as empty (rounding)."""


class EdgeWindow(NamedTuple):
    """How a filter finds the edge through the window around a pixel.

    Attributes:
        parts: (9, n, n) weights of the window's parts, see `parts`.
        halves: (8, n, n) weights of its halves, see `halves`.
        look: (9, ...) means of the parts -> (4, ...) differences across the edges and (8, ...) the
            means that represent their sides, in the order of `SIDES`.
        mirrored: Whether the scene is padded by reflection; otherwise there are no data beyond it.
    """

    parts: NDArray[np.floating]
    halves: NDArray[np.floating]
    look: Callable[[Array], tuple[Array, Array]]
    mirrored: bool


def refined_lee(
    values: Array,
    guide: Array,
    known: Array,
    *,
    window: EdgeWindow,
    kept: Callable[[Callable[[Array], Array], Array], Array],
) -> Array:
    """Speckle filter that averages on one side of an edge: (..., H, W, C) -> (..., H, W, C).

    The largest of the four differences determines the direction of the edge through the window. Of
    the two sides, the one whose mean is closer to that of the central part is averaged. A part
    without data takes the mean of the central part.

    Args:
        values: (..., H, W, C) values to filter, 0 where not known.
        guide: (..., H, W, C) or (..., H, W, 1) linear power, 0 where not known.
        known: Shape of the guide, 1 where there are data, else 0.
        window: How the edge is found.
        kept: Returns b, the share of the difference to the mean that is kept. Its arguments are a
            function that averages an image like the guide over the half, and the guide's mean in
            the central part.
    """
    sums = functools.partial(window_sums, mirrored=window.mirrored)
    share = sums(known, window.parts)
    filled = share > NOTHING
    means = sums(guide, window.parts) / jnp.where(filled, share, 1)  # (9, ..., H, W, C)
    middle = means[4]
    differences, sides = window.look(jnp.where(filled, means, middle))
    edge = jnp.abs(differences).argmax(0)  # (..., H, W, C), one of four
    far = jnp.abs(sides - middle)
    second = jnp.take_along_axis(far[1::2] < far[::2], edge[None], axis=0)[0]
    chosen = jax.nn.one_hot(2 * edge + second, 8, axis=0)

    def over_half(image: Array) -> Array:
        return (chosen * window_means(image, known, window.halves, mirrored=window.mirrored)).sum(0)

    mean = over_half(values)
    return mean + kept(over_half, middle) * (values - mean)


def window_means(
    image: Array, known: Array, weights: NDArray[np.floating], *, mirrored: bool
) -> Array:
    """Means of the known pixels over K window shapes, 0 without known pixels; see `window_sums`."""
    share = window_sums(known, weights, mirrored=mirrored)
    return window_sums(image, weights, mirrored=mirrored) / jnp.where(share > NOTHING, share, 1)


def window_sums(image: Array, weights: NDArray[np.floating], *, mirrored: bool) -> Array:
    """Weighted sums over K window shapes: (..., H, W, C), (K, n, n) -> (K, ..., H, W, C).

    Args:
        image: (..., H, W, C).
        weights: (K, n, n), n odd.
        mirrored: Whether the scene is padded by reflection; otherwise by zeros.
    """
    *before, height, width, bands = image.shape
    planes = jnp.moveaxis(image, -1, 0).reshape(-1, height, width)
    half = weights.shape[-1] // 2
    beyond = ((half, half), (half, half))
    if mirrored:
        # Scenes smaller than half the window cannot be reflected that far.
        mode = "symmetric" if min(height, width) >= half else "edge"
        planes, beyond = jnp.pad(planes, ((0, 0), *beyond), mode=mode), ((0, 0), (0, 0))
    sums = jax.lax.conv_general_dilated(
        planes[..., None],
        jnp.asarray(weights, image.dtype).transpose(1, 2, 0)[:, :, None],  # (n, n, 1, K)
        (1, 1),
        beyond,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=jax.lax.Precision.HIGHEST,
    )
    sums = sums.reshape(bands, *before, height, width, len(weights))
    return jnp.moveaxis(jnp.moveaxis(sums, -1, 0), 1, -1)


def parts(size: int) -> NDArray[np.float64]:
    """(9, size, size) the 3 x 3 overlapping parts of a window, in reading order: masks of 0 and 1.

    Args:
        size: Rows and columns of the window: 5, 7, 9 or 11.
    """
    side = {5: 3, 7: 3, 9: 5, 11: 5}[size]
    step = (size - side) // 2
    masks = np.zeros((9, size, size))
    for number in range(9):
        top, left = step * (number // 3), step * (number % 3)
        masks[number, top : top + side, left : left + side] = 1
    return masks


def halves(size: int) -> NDArray[np.float64]:
    """(8, size, size) the halves of a window in the order of `SIDES`; both include the edge."""
    row, column = np.indices((size, size)) - size // 2
    across = (column, row - column, row, row + column)  # the coordinate across each edge
    return np.stack([half for axis in across for half in (axis <= 0, axis >= 0)]).astype(np.float64)
