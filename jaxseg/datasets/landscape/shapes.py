"""The shapes a landscape is drawn with: random fields, cells, curves and rectangles, on one tile.

All randomness comes from a `numpy.random.Generator`; lengths are in pixels, coordinates (y, x).
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, sparse

Rng = np.random.Generator
Float = NDArray[np.float32]
Int = NDArray[np.int32]
Mask = NDArray[np.bool_]

SIZE = 256
"""Side of a tile in pixels."""

TORUS = 320
"""Side of the periodic square of the random fields; larger, so that no tile shows the period."""

YX: Float = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
"""Coordinates of the pixel centres, (2, SIZE, SIZE)."""


class Cells(NamedTuple):
    """A partition of the tile: the cell of each pixel, and its distance to the next cell.

    Attributes:
        cell: (SIZE, SIZE) number of the cell, from 1.
        edge: (SIZE, SIZE) distance to the border with the nearest other cell in pixels.
        neighbour: (SIZE, SIZE) number of that other cell.
    """

    cell: Int
    edge: Float
    neighbour: Int


def gaussian_fields(rng: Rng, spectrum: NDArray[np.float32 | np.complex64]) -> tuple[Float, Float]:
    """Two independent stationary fields, each pixel exactly N(0, 1).

    Complex white noise is filtered in the frequency domain; the real and imaginary parts of the
    result are the two fields.

    Args:
        rng: Source of the noise.
        spectrum: (TORUS, TORUS) transfer function with sum of squares 1, of `fractal` or `relief`.
    """
    noise = rng.standard_normal((2, TORUS, TORUS), dtype=np.float32)
    field = fft.ifft2((noise[0] + 1j * noise[1]) * spectrum, norm="forward")[:SIZE, :SIZE]
    return np.ascontiguousarray(field.real), np.ascontiguousarray(field.imag)


@cache
def fractal(slope: float, longest: float, shortest: float = 0.0) -> Float:
    """Transfer function f**-slope between two wavelengths in pixels, sum of squares 1."""
    frequency = np.hypot(*np.meshgrid(fft.fftfreq(TORUS), fft.fftfreq(TORUS), indexing="ij"))
    frequency[0, 0] = 1
    gain = np.maximum(frequency, 1 / longest) ** -slope * np.exp(-((frequency * shortest) ** 2))
    gain[0, 0] = 0
    return np.asarray(gain / np.sqrt(np.sum(gain**2)), np.float32)


@cache
def relief(slope: float, longest: float, shortest: float) -> NDArray[np.complex64]:
    """Transfer function of a fractal surface's slope towards the north-west, sum of squares 1."""
    y, x = np.meshgrid(fft.fftfreq(TORUS), fft.fftfreq(TORUS), indexing="ij")
    gain = 1j * (y + x) * fractal(slope, longest, shortest)
    return np.asarray(gain / np.sqrt(np.sum(np.abs(gain) ** 2)), np.complex64)


def voronoi(rng: Rng, spacing: int, warp: tuple[Float, Float]) -> Cells:
    """Irregular cells around the points of a jittered grid.

    Args:
        rng: Source of the jitter.
        spacing: Mean distance of the points.
        warp: Shift of every pixel in y and x before its nearest point is found; bends the borders.
    """
    points, number, square = _around(rng, spacing, warp)
    first = square.argmin(0)[None]
    cell, near = np.take_along_axis(number, first, 0)[0], np.take_along_axis(square, first, 0)[0]
    np.put_along_axis(square, first, np.inf, 0)
    second = square.argmin(0)[None]
    other, far = np.take_along_axis(number, second, 0)[0], np.take_along_axis(square, second, 0)[0]
    gap = np.hypot(points[0, cell] - points[0, other], points[1, cell] - points[1, other])
    return Cells(cell + 1, (far - near) / (2 * np.maximum(gap, 1)), other + 1)


def voronoi_cells(rng: Rng, spacing: int, warp: tuple[Float, Float]) -> Int:
    """Only the cells of `voronoi`: (SIZE, SIZE) numbers from 1, in half the time."""
    _, number, square = _around(rng, spacing, warp)
    cell = np.take_along_axis(number, square.argmin(0)[None], 0)[0]
    return np.asarray(cell + 1)


def _around(rng: Rng, spacing: int, warp: tuple[Float, Float]) -> tuple[Float, Int, Float]:
    """Points (2, N), and the nine around every pixel: their numbers and squared distances."""
    count = SIZE // spacing + 4
    jitter = rng.uniform(-0.42, 0.42, (2, count, count))
    points = ((np.mgrid[0:count, 0:count] - 1.5 + jitter) * spacing).astype(np.float32)
    points = points.reshape(2, -1)
    y, x = YX[0] + warp[0], YX[1] + warp[1]
    row = np.clip(np.rint(y / spacing + 1.5).astype(np.int32), 1, count - 2)
    column = np.clip(np.rint(x / spacing + 1.5).astype(np.int32), 1, count - 2)
    steps = np.array([dy * count + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)], np.int32)
    number = (row * count + column) + steps[:, None, None]
    square = (y - points[0].take(number)) ** 2 + (x - points[1].take(number)) ** 2
    return points, number, square


def strips(
    rng: Rng, across: Float, along: Float, widths: tuple[float, float], lengths: tuple[float, float]
) -> tuple[Cells, Cells]:
    """Long rectangles: parallel strips, each cut into pieces at different places.

    Args:
        rng: Source of widths and lengths.
        across: Any shape; coordinate across the strips in pixels, |across| < 2 SIZE.
        along: The same shape; coordinate along the strips.
        widths: Minimum and maximum width of a strip.
        lengths: Minimum and maximum length of a rectangle.

    Returns:
        The rectangles twice: with `edge` and `neighbour` for their long sides, towards the next
        strip, and for their short sides. Here `neighbour` numbers the border, not the cell behind
        it.
    """
    cuts = np.cumsum(rng.uniform(*widths, 4 * SIZE // int(widths[0]))) - 2 * SIZE
    strip = np.searchsorted(cuts, across)
    side, border = _nearest_cut(cuts, strip, across)
    period = rng.uniform(*lengths, len(cuts) + 1)[strip]
    offset = (along + rng.uniform(0, 500, len(cuts) + 1)[strip]) / period + 64
    piece = np.floor(offset).astype(np.int32)
    cell = (strip * 128 + piece + 1).astype(np.int32)
    end = np.abs(offset - np.rint(offset)) * period
    ends = (strip * 128 + np.rint(offset)).astype(np.int32) + 1
    return (
        Cells(cell, side.astype(np.float32), border.astype(np.int32) + 1),
        Cells(cell, end.astype(np.float32), ends),
    )


def _nearest_cut(
    cuts: NDArray[np.float64], strip: NDArray[np.intp], across: Float
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    last = len(cuts) - 1
    below, above = np.clip(strip - 1, 0, last), np.clip(strip, 0, last)
    to_below, to_above = np.abs(across - cuts[below]), np.abs(cuts[above] - across)
    return np.minimum(to_below, to_above), np.where(to_below < to_above, below, above)


def meander(rng: Rng) -> Float:
    """Points of a river, (N, 2), every half pixel: a sine-generated curve through the tile.

    The direction swings sinusoidally along the path, with a slow drift, so that bends differ.

    **Source:** Langbein and Leopold, River Meanders: Theory of Minimum Variance, USGS 1966.
    """
    distance = np.arange(-500, 500, 0.5)
    wavelength, swing = rng.uniform(90, 170), rng.uniform(0.5, 1.05)
    phase = rng.uniform(0, 2 * np.pi, 3)
    drift = rng.uniform(0.15, 0.4) * np.sin(distance / rng.uniform(60, 110) + phase[1])
    bends = swing * np.sin(2 * np.pi * distance / wavelength + phase[0])
    heading = phase[2] + bends * (0.7 + 0.3 * np.sin(distance / 87)) + drift
    return _walk(rng.uniform(SIZE * 0.25, SIZE * 0.75, 2), heading, 1000)


def road(rng: Rng, start: NDArray[np.float64], end: NDArray[np.float64], bend: float) -> Float:
    """Points of a road, (N, 2), every half pixel: an arc with a counter-bend between two places.

    Args:
        rng: Source of the bends.
        start: (y, x) of one end.
        end: (y, x) of the other.
        bend: Maximum deviation from the straight line as a share of its length.
    """
    length = float(np.hypot(*(end - start)))
    place = np.linspace(0, 1, max(int(2 * length), 2))[:, None]
    normal = np.array([start[1] - end[1], end[0] - start[0]])
    arc = rng.uniform(-bend, bend) * np.sin(np.pi * place)
    wave = rng.uniform(-bend, bend) / 3 * np.sin(2 * np.pi * place)
    return (start + (end - start) * place + normal * (arc + wave)).astype(np.float32)


def distance_to(points: Sequence[Float]) -> Float:
    """Distance of every pixel to the nearest point of the curves; `4 SIZE` without any curve."""
    away = np.ones((SIZE, SIZE), np.bool_)
    for curve in points:
        y, x = np.rint(curve).astype(np.int32).T
        inside = (y >= 0) & (y < SIZE) & (x >= 0) & (x < SIZE)
        away[y[inside], x[inside]] = False
    if away.all():
        return np.full((SIZE, SIZE), 4 * SIZE, np.float32)
    return ndimage.distance_transform_edt(away).astype(np.float32)


def rectangle(
    centre: NDArray[np.float64], angle: float, half: tuple[float, float]
) -> tuple[tuple[slice, slice], Mask]:
    """The window around a rotated rectangle, and its pixels within the window.

    Args:
        centre: (y, x) of its middle.
        angle: Direction of its length: (sin, cos) is its (y, x).
        half: Half its length and half its width.
    """
    reach = int(np.ceil(np.hypot(*half)))
    low = np.maximum(np.rint(centre).astype(int) - reach, 0)
    high = np.minimum(np.rint(centre).astype(int) + reach + 1, SIZE)
    window = (
        slice(int(low[0]), int(max(low[0], high[0]))),
        slice(int(low[1]), int(max(low[1], high[1]))),
    )
    y, x = YX[0][window] - centre[0], YX[1][window] - centre[1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return window, (np.abs(along) <= half[0]) & (np.abs(across) <= half[1])


def regions(parcel: Int) -> Int:
    """Numbers the 4-connected regions of equal positive values, from 1; 0 stays 0."""
    number = np.arange(parcel.size).reshape(parcel.shape)
    right = (parcel[:, 1:] == parcel[:, :-1]) & (parcel[:, 1:] > 0)
    down = (parcel[1:] == parcel[:-1]) & (parcel[1:] > 0)
    one = np.concatenate([number[:, 1:][right], number[1:][down]])
    other = np.concatenate([number[:, :-1][right], number[:-1][down]])
    edges = sparse.coo_array((np.ones(one.size, np.int8), (one, other)), shape=(parcel.size,) * 2)
    _, part = sparse.csgraph.connected_components(edges, directed=False)
    inside = parcel > 0
    result = np.zeros(parcel.shape, np.int32)
    result[inside] = np.unique(part.reshape(parcel.shape)[inside], return_inverse=True)[1] + 1
    return result


def _walk(middle: NDArray[np.float64], heading: NDArray[np.float64], start: int) -> Float:
    steps = 0.5 * np.stack([np.sin(heading), np.cos(heading)], axis=-1)
    path = np.cumsum(steps, axis=0)
    return np.asarray(path - path[start] + middle, np.float32)
