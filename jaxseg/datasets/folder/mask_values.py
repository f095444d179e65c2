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
        by_color: Whether they are RGB pictures; alone, palette pictures are of ids.
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
        UserError: A mask cannot be read or is not a mask.
    """
    chosen = [files[int(n)] for n in np.unique(np.linspace(0, len(files) - 1, FILES).astype(int))]
    headers = [raster.header(path) for path in chosen]
    by_color = any(len(_numbers(header)) == 3 for header in headers)
    counts: Counter[int] = Counter()
    for path in tracked(chosen):
        found, pixels = np.unique(_values(path, by_color=by_color), return_counts=True)
        counts.update(dict(zip(found.tolist(), pixels.tolist(), strict=True)))
    return MaskValues(by_color, dict(sorted(counts.items())), len(chosen), len(files))


def _numbers(header: raster.Header) -> list[int]:
    return [number for number in range(1, header.bands + 1) if number != header.alpha]


def _values(path: str, *, by_color: bool) -> NDArray[np.int64]:
    """The known values of a mask."""
    header = raster.header(path)
    numbers = _numbers(header)
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
        return packed(pixels[known]).astype(np.int64)
    if len(numbers) != 1:
        raise UserError(f"{path} has {len(numbers)} bands; a mask has one, or three of colours.")
    values = pixels[..., 0][known]
    if (values != np.rint(values)).any():
        raise UserError(f"{path} holds {values[values != np.rint(values)][0]:g}: not a class.")
    if by_color and header.palette is not None:
        return packed(header.palette)[values.astype(np.intp)].astype(np.int64)
    if by_color:
        return packed(values[:, None].repeat(3, axis=1)).astype(np.int64)
    return values.astype(np.int64)
