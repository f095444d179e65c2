"""What happens to a batch on the device before the network sees it: radiometry and augmentation."""

from jaxseg.transforms.augmentation import (
    Brightness,
    CenterGain,
    Dihedral,
    Mirror,
    Noise,
    ScaleCrop,
)
from jaxseg.transforms.corruptions import Corruptions
from jaxseg.transforms.domain_band import DomainBand
from jaxseg.transforms.elastic import Elastic
from jaxseg.transforms.histograms import HistogramMatching
from jaxseg.transforms.hyperspectral import MNF, PCA, ContinuumRemoval, RemoveBands
from jaxseg.transforms.masking import HidePatches, OfClasses, OfGradients, Proposals
from jaxseg.transforms.polsar import CoherencyFeatures, ZhouFeatures
from jaxseg.transforms.radiometry import LogIntensity, OnBands, Standardize
from jaxseg.transforms.sar import (
    FromAmplitude,
    FromDecibel,
    Lee,
    RatioBand,
    RefinedLee,
    Speckle,
)
from jaxseg.transforms.transform import Augment, Fittable, Preprocess, augment, preprocess

__all__ = [
    "MNF",
    "PCA",
    "Augment",
    "Brightness",
    "CenterGain",
    "CoherencyFeatures",
    "ContinuumRemoval",
    "Corruptions",
    "Dihedral",
    "DomainBand",
    "Elastic",
    "Fittable",
    "FromAmplitude",
    "FromDecibel",
    "HidePatches",
    "HistogramMatching",
    "Lee",
    "LogIntensity",
    "Mirror",
    "Noise",
    "OfClasses",
    "OfGradients",
    "OnBands",
    "Preprocess",
    "Proposals",
    "RatioBand",
    "RefinedLee",
    "RemoveBands",
    "ScaleCrop",
    "Speckle",
    "Standardize",
    "ZhouFeatures",
    "augment",
    "preprocess",
]
