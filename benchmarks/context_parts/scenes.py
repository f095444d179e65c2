"""Scenes whose classes are decided by what lies a known number of pixels away, drawn by their seed.

A scene is a square of cells of 16 x 16 pixels, each bright or dark by a fair coin of its own. Which
pixels have a label, and which class, is a rule:

    cue     x has the class of the cell that begins r pixels to its right. Every pixel nearer than r
            is independent of it: chance is 1/2, exactly.
    pair    the same cell and the cell in which x lies: class 1 if one of them alone is bright. Each
            of the two alone, and all that lies between them, is independent of the class.
    scene   all pixels have the class of the colour that covers more than half of the scene. What a
            square window around a pixel says about it is `ceiling`.

Only the pixel columns that lie exactly r left of a cell have a label with `cue` and `pair`; the
others are ignored. All classes can be read from the image without error: the best accuracy is 1.
"""

import dataclasses
import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import COUNT, UserError, check_ranges
from jaxseg.scenes.scene import IGNORE, Sample, Scenes, Window
from jaxseg.scenes.sensor import Sensor

Rule = Literal["cue", "pair", "scene"]
"""What decides a class."""

CELL = 16
"""Rows and columns of a cell."""

SIZES = {64: 128, 128: 192, 256: 320}
"""Rows and columns of scenes in the tables, by the largest r that is asked in them."""

SPLITS = {"train": 4096, "validation": 8, "test": 64}
"""Scenes of each split; four times as many for the test with `scene`, which asks one thing each."""


@dataclasses.dataclass(frozen=True)
class Cells:
    """Scenes of bright and dark cells; fulfils the protocol `Source`.

    Attributes:
        rule: What decides a pixel's class, see the head of this file.
        distance: r, pixels from a labelled pixel to the nearest pixel that decides its class; not
            read with `scene`.
        size: Rows and columns of a scene in pixels.
        seed: Seed of the drawing; splits and scenes differ by themselves.
    """

    rule: Rule = "cue"
    distance: int = dataclasses.field(default=32, metadata=COUNT)
    size: int = dataclasses.field(default=128, metadata=COUNT)
    seed: int = dataclasses.field(default=0, metadata={"least": 0})

    classes = ("dark", "bright")
    colors = ((40, 60, 90), (240, 210, 130))
    sensor = Sensor(("brightness",))

    def __post_init__(self) -> None:
        """Rejects scenes of broken cells, and distances without a labelled pixel.

        Raises:
            UserError: The size is not whole cells, or no cell lies that far away from a pixel.
        """
        check_ranges(self, "Cells")
        if self.size % CELL:
            raise UserError(f"Scenes of {self.size} pixels: give a multiple of {CELL}.")
        if self.rule != "scene" and self.distance > self.size - CELL:
            raise UserError(
                f"No pixel of a scene of {self.size} pixels has a cell {self.distance} to its "
                f"right: give a size of at least {self.distance + CELL}."
            )

    def scenes(self, split: str) -> Scenes:
        """The scenes of a split; nothing is stored.

        Raises:
            UserError: There is no such split.
        """
        if split not in SPLITS:
            raise UserError(f"Split {split!r}: choose one of {', '.join(SPLITS)}.")
        return Drawn(self, split)

    def rgb(self, image: NDArray[np.generic]) -> NDArray[np.float32]:
        """The brightness in all channels."""
        return image[..., [0, 0, 0]].astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Drawn:
    """Scenes that are drawn when they are read.

    Attributes:
        source: What they are.
        split: Which of its splits.
    """

    source: Cells
    split: str

    def __len__(self) -> int:
        """Number of scenes."""
        more = self.split == "test" and self.source.rule == "scene"
        return SPLITS[self.split] * (4 if more else 1)

    def name(self, index: int) -> str:
        """Split and number."""
        return f"{self.split} {index}"

    def size(self, index: int) -> tuple[int, int]:
        """Rows and columns."""
        return self.source.size, self.source.size

    def read(self, index: int, window: Window) -> Sample:
        """Draws the scene and cuts the window."""
        source = self.source
        part = (self.source.seed, list(SPLITS).index(self.split), index)
        bits = drawn(source.rule, source.size // CELL, np.random.default_rng(part))
        rows = slice(window.y, window.y + window.height)
        columns = slice(window.x, window.x + window.width)
        image = pixels(bits)[rows, columns, None]
        return {
            "image": image,
            "label": labels(bits, source.rule, source.distance)[rows, columns],
            "valid": np.ones(image.shape[:2], bool),
        }


def size_for(distance: int) -> int:
    """Rows and columns of the smallest scenes of `SIZES` in which r is asked."""
    return next(size for most, size in SIZES.items() if distance <= most)


def drawn(rule: Rule, side: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """(side, side) fair coins; with `scene` those without a majority are thrown again."""
    while True:
        bits = random.integers(0, 2, (side, side), dtype=np.uint8)
        if rule != "scene" or 2 * int(bits.sum()) != bits.size:
            return bits


def pixels(bits: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w) values of cells -> (16 h, 16 w) values of pixels."""
    return bits.repeat(CELL, axis=0).repeat(CELL, axis=1)


def labels(bits: NDArray[np.uint8], rule: Rule, distance: int) -> NDArray[np.uint8]:
    """The class of each pixel of a scene, `IGNORE` where it has none.

    Args:
        bits: (h, w), 1 = a bright cell.
        rule: What decides a class.
        distance: Pixels to the cell that does.
    """
    image = pixels(bits)
    if rule == "scene":
        return np.full(image.shape, 2 * int(bits.sum()) > bits.size, np.uint8)
    label = np.full(image.shape, IGNORE, np.uint8)
    begins = np.arange(0, image.shape[1], CELL)
    begins = begins[begins >= distance]
    asked = begins - distance
    label[:, asked] = image[:, begins]
    if rule == "pair":
        label[:, asked] ^= image[:, asked]
    return label


def ceiling(size: int, reach: int) -> float:
    """Best accuracy with `scene` of any classifier of windows, over all pixels of a scene.

    The window of a pixel is the square of `reach` pixels to each side, cut at the border; of cells
    that it touches it sees the colour. Of n cells without a tie, of which m are seen, k of them
    bright, the majority is bright in A = sum over j > n/2 - k of C(n - m, j) of the rest's
    patterns and dark in B: the best guess is right in max(A, B) of them, and so

        accuracy = sum_k C(m, k) max(A, B) / sum_k C(m, k) (A + B).

    Args:
        size: Rows and columns of the scene in pixels.
        reach: Pixels that the window extends to each side.
    """
    x = np.arange(size)
    first, last = np.maximum(x - reach, 0) // CELL, np.minimum(x + reach, size - 1) // CELL
    spans, counts = np.unique(last - first + 1, return_counts=True)
    total = (size // CELL) ** 2
    return sum(
        int(rows) * int(columns) * _accuracy(total, int(height) * int(width))
        for height, rows in zip(spans, counts, strict=True)
        for width, columns in zip(spans, counts, strict=True)
    ) / (size**2)


def _accuracy(total: int, seen: int) -> float:
    """The formula of `ceiling` for `seen` of `total` cells, in whole numbers up to the ratio."""
    rest = total - seen
    right = patterns = 0
    for k in range(seen + 1):
        bright = sum(math.comb(rest, j) for j in range(rest + 1) if 2 * (k + j) > total)
        dark = sum(math.comb(rest, j) for j in range(rest + 1) if 2 * (k + j) < total)
        right += math.comb(seen, k) * max(bright, dark)
        patterns += math.comb(seen, k) * (bright + dark)
    return right / patterns
