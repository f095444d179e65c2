"""The embedded dataset: a countryside drawn from a seed, seen by four sensors."""

from jaxseg.datasets.landscape.source import (
    CLASSES,
    GSD,
    INCONSPICUOUS,
    MEAN,
    PAIRS,
    STD,
    WAVELENGTHS,
    Landscape,
)

__all__ = [
    "CLASSES",
    "GSD",
    "INCONSPICUOUS",
    "MEAN",
    "PAIRS",
    "STD",
    "WAVELENGTHS",
    "Landscape",
]
