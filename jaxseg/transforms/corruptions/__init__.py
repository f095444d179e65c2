"""What nature, sensors and processing do to images, in physical units, on raw values."""

from jaxseg.scenes.sensor import Sensor
from jaxseg.transforms.corruptions.augmentation import Corruptions
from jaxseg.transforms.corruptions.corruption import Corruption, corrupted
from jaxseg.transforms.corruptions.place import Jpeg, Misregistration, Resolution
from jaxseg.transforms.corruptions.signal import AddedSpeckle, Haze, MissingBands, Stripes

CORRUPTIONS: tuple[Corruption, ...] = (
    AddedSpeckle(),
    Haze(),
    Stripes(),
    MissingBands(),
    Misregistration(),
    Jpeg(),
    Resolution(),
)
"""One of each kind."""


def corruptions_of(sensor: Sensor) -> tuple[Corruption, ...]:
    """Those that exist for a sensor."""
    return tuple(kind for kind in CORRUPTIONS if not kind.refused(sensor))


__all__ = [
    "CORRUPTIONS",
    "AddedSpeckle",
    "Corruption",
    "Corruptions",
    "Haze",
    "Jpeg",
    "Misregistration",
    "MissingBands",
    "Resolution",
    "Stripes",
    "corrupted",
    "corruptions_of",
]
