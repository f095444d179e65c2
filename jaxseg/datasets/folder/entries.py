"""An entry of a folder's index: the files of one scene, and how each is read."""

from typing import NamedTuple

from jaxseg.files.virtual import Frame
from jaxseg.scenes.scene import Ground, Window


class Facts(NamedTuple):
    """What is needed to read a file; equal facts of many files are stored once.

    Attributes:
        nodata: Nodata value of each band read, or None. NaN is never data and is not listed.
        masked: Whether the file's own validity mask is used.
        palette: 256 RGB colours of a palette picture as bytes, or empty.
        numbers: Bands to read, counted from 1.
        added: Offset of each band, to be subtracted; empty = 0.
    """

    nodata: tuple[float | None, ...]
    masked: bool
    palette: bytes
    numbers: tuple[int, ...]
    added: tuple[int, ...] = ()


class Scene(NamedTuple):
    """One entry of the index.

    Attributes:
        image: File of the image.
        mask: File of the mask, or empty.
        objects: File of the object ids, or empty.
        validity: File whose first band is 0 where the image has no data, or empty.
        image_facts: How to read the image.
        mask_facts: How to read the mask.
        object_facts: How to read the object ids.
        area: The part of the files that belongs to the split.
        ground: Where that part lies, if the image states it.
        gsd: Ground sample distance in metres; None = not known.
        grid: Of the image, if the mask is a vector file or is resampled; None = the mask is on it.
    """

    image: str
    mask: str
    objects: str
    validity: str
    image_facts: Facts
    mask_facts: Facts | None
    object_facts: Facts | None
    area: Window
    ground: Ground | None = None
    gsd: float | None = None
    grid: Frame | None = None
