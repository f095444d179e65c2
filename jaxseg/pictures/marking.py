"""The colour of wrong pixels: red, or magenta, unless a class looks like it.

Distances between colours are those of CIELAB (CIE 1976), where 2 is just seen and black is 100 from
white.
"""

import functools
import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]
Colors = Sequence[Color]

RIGHT: Color = (214, 214, 214)
RED: Color = (214, 30, 40)
MAGENTA: Color = (255, 0, 255)

CLEAR = 40.0
"""From this distance on nobody takes one colour for the other, not even in a legend."""

_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _TO_XYZ.sum(axis=1)


def wrong_color(colors: Colors) -> Color:
    """Red or magenta if it is `CLEAR` of every class, else the mark that is farthest from them.

    Args:
        colors: One RGB colour per class.
    """
    return _wrong_color(tuple((r, g, b) for r, g, b in colors))


@functools.cache
def _wrong_color(colors: tuple[Color, ...]) -> Color:
    marks = (RED, MAGENTA, *_marks())
    distance = np.linalg.norm(lab(marks)[:, None] - lab(colors), axis=-1).min(axis=1)
    for mark, far in zip(marks[:2], distance, strict=False):
        if far >= CLEAR:
            return mark
    return marks[int(distance.argmax())]


def _marks() -> list[Color]:
    """Vivid colours that are well seen on RIGHT, without greens, which nobody reads as wrong."""
    levels = (0, 51, 102, 153, 204, 255)
    vivid = [
        (r, g, b)
        for r, g, b in itertools.product(levels, levels, levels)
        if max(r, g, b) - min(r, g, b) >= 153 and g <= max(r, b) - 51
    ]
    lightness = lab([RIGHT, *vivid])[:, 0]
    darker = lightness[0] - lightness[1:] >= 25
    return [color for color, seen in zip(vivid, darker, strict=True) if seen]


def lab(colors: Colors) -> NDArray[np.float64]:
    """(N, 3) CIELAB coordinates of sRGB colours, 0..255, under D65."""
    share = np.asarray(colors, np.float64) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _TO_XYZ.T / _WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    a, b = 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])
    return np.stack([116 * f[:, 1] - 16, a, b], axis=1)
