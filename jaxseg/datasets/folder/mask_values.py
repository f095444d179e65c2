"""What masks hold: ids or colours, each with its pixels, by a sample of the files."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from jaxseg.datasets.folder.pairing import FLAG
from jaxseg.datasets.label_table import packed, unpacked
from jaxseg.errors import UserError
from jaxseg.files import raster
from jaxseg.scenes.scene import Window

FILES = 64
"""Masks that are looked at, evenly spaced."""

SIDE = 1024
"""Maximum rows and columns of the part of a mask that is looked at, in its middle."""


@dataclasses.dataclass(frozen=True)
class MaskValues:
    """What masks hold.

    Attributes:
        by_color: Whether they are RGB pictures; values of palette pictures are ids.
        values: Ids, or packed colours, in their order -> pixels.
        files: Files looked at.
        of: All files.
    """

    by_color: bool
    values: dict[int, int]
    files: int
    of: int

    def color(self, value: int) -> tuple[int, int, int]:
        """The RGB colour of a value of colour masks."""
        return unpacked(value)

    def flags(self) -> str:
        """The flags that state these values as classes."""
        if self.by_color:
            shown = (part for value in self.values for part in map(str, self.color(value)))
            return f"{FLAG}.mask-colors {' '.join(shown)}"
        return f"{FLAG}.ids {' '.join(map(str, self.values))}"


def mask_values(
    files: Sequence[str], tracked: Callable[[Iterable[str]], Iterable[str]] = lambda items: items
) -> MaskValues:
    """Counts the values of masks.

    Args:
        files: The masks.
        tracked: Shows progress over files.

    Raises:
        UserError: A mask cannot be read or is not a mask, or some hold colours and others ids.
    """
    chosen = [files[int(n)] for n in np.unique(np.linspace(0, len(files) - 1, FILES).astype(int))]
    counts: Counter[int] = Counter()
    kinds: dict[bool, str] = {}
    for path in tracked(chosen):
        by_color, values = _values(path)
        kinds.setdefault(by_color, path)
        found, pixels = np.unique(values, return_counts=True)
        counts.update(dict(zip(found.tolist(), pixels.tolist(), strict=True)))
    if len(kinds) > 1:
        raise UserError(f"{kinds[True]} holds colours and {kinds[False]} ids: bring them to one.")
    return MaskValues(True in kinds, dict(sorted(counts.items())), len(chosen), len(files))


def _values(path: str) -> tuple[bool, NDArray[np.int64]]:
    """Whether a mask holds colours, and its known values."""
    header = raster.header(path)
    numbers = [number for number in range(1, header.bands + 1) if number != header.alpha]
    height, width = min(SIDE, header.height), min(SIDE, header.width)
    window = Window((header.height - height) // 2, (header.width - width) // 2, height, width)
    pixels = raster.read(path, window, bands=numbers)
    known = raster.read_mask(path, window) if header.masked else np.ones(pixels.shape[:2], bool)
    tag = header.nodata[numbers[0] - 1]
    if pixels.dtype.kind == "f":
        known &= np.isfinite(pixels).all(-1)
    if tag is not None:
        known &= ~(pixels == tag).all(-1)
    if len(numbers) == 3:
        return True, packed(pixels[known]).astype(np.int64)
    if len(numbers) != 1:
        raise UserError(f"{path} has {len(numbers)} bands; a mask has one, or three of colours.")
    values = pixels[..., 0][known]
    if (values != np.rint(values)).any():
        raise UserError(f"{path} holds {values[values != np.rint(values)][0]:g}: not a class.")
    return False, values.astype(np.int64)
