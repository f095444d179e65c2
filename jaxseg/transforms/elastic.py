"""Elastic deformation: tissue, fields and coasts bend, and a network must not mind.

Random displacement vectors stand on a coarse grid; between its nodes they are interpolated, so that
the whole window is bent smoothly.

Source: Ronneberger, Fischer, Brox, U-Net, MICCAI 2015, section 3.1: a grid of 3 x 3, a Gaussian of
10 pixels, bicubic interpolation. Not checked against the authors' code.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import NOT_NEGATIVE, check_ranges
from jaxseg.scenes.scene import IGNORE, Batch
from jaxseg.transforms.transform import IMAGES, is_length


@dataclasses.dataclass(frozen=True)
class Elastic:
    """Bends each image by random displacements of the nodes of a coarse grid.

    An output pixel at p shows the input at p + d(p). d is the bicubic interpolation (Keys 1981,
    a = -1/2, nodes at the edge repeated beyond it) of displacements that are drawn for each node
    and axis. The nodes lie evenly, the outer ones on the outer pixels. Images are sampled
    bilinearly, labels and all other maps at the nearest pixel; pixels from outside the window are
    invalid. Bilinear sampling and the lack of data outside, where the paper mirrors, are our
    choice.

    The paper's tiles have 512 pixels and more. The same 10 pixels bend a smaller window more, and
    fold it where a displacement changes by more than a pixel from pixel to pixel: of windows of
    128, 64 and 32 pixels 0.03, 2.7 and 22 % of the pixels lie in a fold. A fiftieth of a window's
    side bends it as the paper's tiles are bent.

    `separation` and other lengths are multiplied by the local zoom, 1 / sqrt(|det(I + d')|), as if
    the window were zoomed alike along both axes: an approximation, as the same factor applies to a
    gap that is stretched across and to one that is stretched along its course. On touching nuclei
    in windows of 128 pixels the border term, where it exceeds 1, differs by 6, 9 and 14 % from that
    of warped object ids for 2.5, 5 and 10 pixels (without the factor by 5, 9 and 17 %). The ids
    would be no truth either: gaps are rounded to whole pixels, and objects outside the window are
    missing. Maps are computed up to the distance where the border term is negligible, so where the
    window shrinks to 2/3 the term is cut off below 0.01.

    Attributes:
        std: Standard deviation of the displacements along each axis, in pixels.
        nodes: Rows and columns of the grid.
    """

    std: float = dataclasses.field(default=10.0, metadata=NOT_NEGATIVE)
    nodes: int = dataclasses.field(default=3, metadata={"least": 2, "most": 64})

    def __post_init__(self) -> None:
        """Rejects a negative deviation, and grids of fewer than 2 x 2 nodes."""
        check_ranges(self, "Elastic")

    def __call__(self, key: jax.Array, batch: Batch) -> Batch:
        """See the class."""
        count, height, width = batch["label"].shape
        vectors = self.std * jax.random.normal(key, (2, count, self.nodes, self.nodes))
        rows, row_slopes = bicubic(self.nodes, height)
        columns, column_slopes = bicubic(self.nodes, width)

        def spread(along: NDArray[np.float32], across: NDArray[np.float32]) -> jax.Array:
            """(2, B, H, W) from the nodes, in full precision on all devices."""
            return jnp.einsum("yi,abij,xj->abyx", along, vectors, across, precision="highest")

        shift = spread(rows, columns)
        y = jnp.arange(height)[:, None] + shift[0]
        x = jnp.arange(width) + shift[1]
        inside = (y > -0.5) & (y < height - 0.5) & (x > -0.5) & (x < width - 0.5)
        by_row, by_column = spread(row_slopes, columns), spread(rows, column_slopes)
        area = (1 + by_row[0]) * (1 + by_column[1]) - by_row[1] * by_column[0]
        zoom = jax.lax.rsqrt(jnp.maximum(jnp.abs(area), 1e-4))

        out = {}
        for name, array in batch.items():
            out[name] = _bilinear(array, y, x) if name in IMAGES else _nearest(array, y, x)
            if is_length(name):
                out[name] = out[name] * zoom
        for name in {"valid", "side_valid"} & batch.keys():
            out[name] = out[name] & inside
        out["label"] = jnp.where(inside, out["label"], IGNORE)
        return out


def bicubic(nodes: int, length: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cubic convolution from nodes to pixels along one axis (Keys 1981, a = -1/2).

    Args:
        nodes: Number of nodes; the first lies on the first pixel, the last on the last one.
        length: Number of pixels.

    Returns:
        (length, nodes) weights of the nodes, and their derivatives with respect to the pixel.
    """
    place = np.linspace(0, nodes - 1, length)
    signed = place[:, None] - np.arange(-2, nodes + 2)  # two more nodes at each end
    away = np.abs(signed)
    near, far = away < 1, away < 2
    weight = np.where(
        near,
        (1.5 * away - 2.5) * away**2 + 1,
        np.where(far, ((-0.5 * away + 2.5) * away - 4) * away + 2, 0),
    )
    slope = np.where(
        near, (4.5 * away - 5) * away, np.where(far, (-1.5 * away + 5) * away - 4, 0)
    ) * np.sign(signed)
    slope *= (nodes - 1) / max(1, length - 1)
    return _edge_repeated(weight), _edge_repeated(slope)


def _edge_repeated(weight: NDArray[np.float64]) -> NDArray[np.float32]:
    """Without the two nodes beyond each end, whose weights go to the nodes at the ends."""
    inner = weight[:, 2:-2].copy()
    inner[:, 0] += weight[:, :2].sum(1)
    inner[:, -1] += weight[:, -2:].sum(1)
    return inner.astype(np.float32)


def _at(array: jax.Array, row: jax.Array, column: jax.Array) -> jax.Array:
    """(B, H, W, ...) at (B, H, W) rows and columns; beyond the window its edge is repeated."""
    count, height, width = array.shape[:3]
    row = jnp.clip(row, 0, height - 1).astype(jnp.int32)
    column = jnp.clip(column, 0, width - 1).astype(jnp.int32)
    pixels = array.reshape(count, height * width, -1)
    place = (row * width + column).reshape(count, -1, 1)
    return jnp.take_along_axis(pixels, place, axis=1).reshape(array.shape)


def _nearest(array: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    return _at(array, jnp.round(y), jnp.round(x))


def _bilinear(image: jax.Array, y: jax.Array, x: jax.Array) -> jax.Array:
    """(B, H, W, C) at fractional rows and columns."""
    top, left = jnp.floor(y), jnp.floor(x)
    down, right = (y - top)[..., None], (x - left)[..., None]
    above = (1 - right) * _at(image, top, left) + right * _at(image, top, left + 1)
    below = (1 - right) * _at(image, top + 1, left) + right * _at(image, top + 1, left + 1)
    return (1 - down) * above + down * below
