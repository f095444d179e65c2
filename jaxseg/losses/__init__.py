"""What is minimised: every loss of the library by its name."""

from jaxseg.losses.class_weights import ClassWeights
from jaxseg.losses.distillation import Distillation
from jaxseg.losses.edges import EdgeAware
from jaxseg.losses.incremental import LocalPOD, UnbiasedCrossEntropy, UnbiasedDistillation
from jaxseg.losses.loss import Loss
from jaxseg.losses.noisy_labels import CoTeaching, CrossModalSelection
from jaxseg.losses.pixels import (
    BinaryCrossEntropy,
    CrossEntropy,
    EdgeWeightedCrossEntropy,
    Focal,
    HardPixelCrossEntropy,
    SymmetricCrossEntropy,
)
from jaxseg.losses.presence import Presence
from jaxseg.losses.pseudo_labels import PseudoLabels
from jaxseg.losses.reconstruction import MaskedReconstruction
from jaxseg.losses.regions import Dice, GeneralisedDice, Jaccard, LovaszSoftmax, Tversky

__all__ = [
    "BinaryCrossEntropy",
    "ClassWeights",
    "CoTeaching",
    "CrossEntropy",
    "CrossModalSelection",
    "Dice",
    "Distillation",
    "EdgeAware",
    "EdgeWeightedCrossEntropy",
    "Focal",
    "GeneralisedDice",
    "HardPixelCrossEntropy",
    "Jaccard",
    "LocalPOD",
    "Loss",
    "LovaszSoftmax",
    "MaskedReconstruction",
    "Presence",
    "PseudoLabels",
    "SymmetricCrossEntropy",
    "Tversky",
    "UnbiasedCrossEntropy",
    "UnbiasedDistillation",
]
