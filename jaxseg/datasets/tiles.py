"""Tiles of a TFDS random-access source as `Scenes`: every record is one small scene.

    builder.as_data_source(split=...)  ->  TileScenes  ->  windows of image, label, valid, instance

A record is decoded as a whole before it is cut, so tiles should be small (a few hundred pixels).
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from jaxseg.errors import UserError
from jaxseg.scenes.scene import Sample, Window


class Records(Protocol):
    """What a TFDS data source offers: a length and records by position."""

    def __len__(self) -> int:
        """Number of records."""

    def __getitem__(self, index: int, /) -> Any:  # noqa: ANN401  (TFDS types its records so)
        """The record: a dict of feature name -> array."""


@dataclass(frozen=True)
class TileScenes:
    """Fulfils `jaxseg.scenes.scene.Scenes` over records, each of which holds one whole scene.

    Attributes:
        records: Random access to the stored records, safe to read from several threads.
        decode: One record -> `image` (H, W, C), `label` (H, W) uint8, `valid` (H, W) bool and, if
            known, `instance` (H, W) int32, all of the tile's size. Raises `UserError` if broken.
        sizes: Height and width of every tile in pixels, in the order of the records.
        names: Name of every tile in messages, in the same order.
    """

    records: Records
    decode: Callable[[Mapping[str, Any]], Sample]
    sizes: Sequence[tuple[int, int]]
    names: Sequence[str]

    def __post_init__(self) -> None:
        """Checks that sizes and names describe the records.

        Raises:
            ValueError: They differ in length.
        """
        counts = {len(self.records), len(self.sizes), len(self.names)}
        if len(counts) > 1:
            raise ValueError(
                f"{len(self.records)} records, {len(self.sizes)} sizes, {len(self.names)} names: "
                "TileScenes needs one size and one name per record."
            )

    def __len__(self) -> int:
        """Number of tiles."""
        return len(self.records)

    def name(self, index: int) -> str:
        """The tile's name."""
        return self.names[index]

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of the tile in pixels."""
        return self.sizes[index]

    def read(self, index: int, window: Window) -> Sample:
        """The window of every field of the tile, copied, so that the tile can be freed."""
        sample = self.decode(self.records[index])
        rows = slice(window.y, window.y + window.height)
        columns = slice(window.x, window.x + window.width)
        return {field: pixels[rows, columns].copy() for field, pixels in sample.items()}


def picture(data: bytes, name: str, *, mode: Literal["RGB", "L"] = "RGB") -> NDArray[np.uint8]:
    """The pixels of an encoded picture, (H, W, 3) for RGB and (H, W) for L; without TensorFlow.

    Args:
        data: Bytes of a JPEG, PNG or similar file.
        name: Name of the picture in error messages.
        mode: `RGB` for colours, `L` for the values of a one-band picture.

    Raises:
        UserError: The data are not a picture or are truncated.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            # L means the indices of a palette picture; converting would return gray levels.
            numbers = image if image.mode == "P" and mode == "L" else image.convert(mode)
            return np.array(numbers, np.uint8)
    except (OSError, UnidentifiedImageError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"Cannot decode the picture of {name}: {error}. Fetch it again.") from error
