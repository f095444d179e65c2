"""What travels from the disk to the loss: scenes, their windows, and what their values mean."""

from jaxseg.scenes.agreement import (
    BandOrderError,
    BaselineError,
    MissingBandError,
    ScaleError,
    SensorError,
    UnitError,
    refuse_other,
)
from jaxseg.scenes.scene import IGNORE, Batch, PixelInput, Sample, Scenes, Source, Window
from jaxseg.scenes.sensor import Sensor

__all__ = [
    "IGNORE",
    "BandOrderError",
    "BaselineError",
    "Batch",
    "MissingBandError",
    "PixelInput",
    "Sample",
    "ScaleError",
    "Scenes",
    "Sensor",
    "SensorError",
    "Source",
    "UnitError",
    "Window",
    "refuse_other",
]
