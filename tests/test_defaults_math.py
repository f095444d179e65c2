"""What a person gets who asks for nothing: values of losses, measures, transforms and physics."""

import inspect
import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from jaxseg.datasets import label_table as labels
from jaxseg.losses import border_weights, class_counts
from jaxseg.losses.edges import EdgeAware
from jaxseg.losses.pixels import (
    BinaryCrossEntropy,
    CrossEntropy,
    EdgeWeightedCrossEntropy,
    Focal,
    HardPixelCrossEntropy,
    SymmetricCrossEntropy,
)
from jaxseg.losses.presence import presence_loss
from jaxseg.losses.regions import Dice, GeneralisedDice, Jaccard, LovaszSoftmax, Tversky
from jaxseg.metrics import boundaries, calibration, intervals, objects
from jaxseg.metrics import scores as metrics
from jaxseg.physics import decompositions, haze, polsar, polsar_filters, sar, sar_filters
from jaxseg.transforms import augmentation as transforms
from jaxseg.transforms import elastic, masking, radiometry
from jaxseg.transforms import hyperspectral as hyperspectral_transforms
from jaxseg.transforms import sar as sar_transforms
from jaxseg.transforms.corruptions import augmentation as corruption_augmentation
from jaxseg.transforms.corruptions import signal as corruption_signals
from jaxseg.transforms.polsar import CoherencyFeatures, ZhouFeatures

LOSSES = (
    *(BinaryCrossEntropy, CrossEntropy, EdgeWeightedCrossEntropy, Focal, HardPixelCrossEntropy),
    *(SymmetricCrossEntropy, EdgeAware, Dice, GeneralisedDice, Jaccard, LovaszSoftmax, Tversky),
)
REGIONS = (Dice, GeneralisedDice, Jaccard, LovaszSoftmax, Tversky)

# (callable, class or module, name, value, reason)
DEFAULTS: list[tuple[Any, str, Any, str]] = [
    *((loss, "weight", 1.0, "a loss counts as it is") for loss in LOSSES),
    *((loss, "class_weights", (), "all classes count alike") for loss in LOSSES),
    *((loss, "regions", "batch", "sums of few pixels are rough") for loss in REGIONS),
    *((loss, "smooth", (1.0, 1.0), "one pixel") for loss in (Dice, Jaccard, Tversky)),
    *((loss, "absent", False, "what is not there is no error") for loss in (Dice, Jaccard)),
    (Tversky, "absent", False, "what is not there is no error"),
    (CrossEntropy, "label_smoothing", 0.0, "plain cross-entropy"),
    (Focal, "gamma", 2.0, "Lin et al. 2017"),
    (HardPixelCrossEntropy, "fraction", 0.25, "a quarter of the pixels"),
    (SymmetricCrossEntropy, "alpha", 0.1, "Wang et al. 2019, CIFAR-10"),
    (SymmetricCrossEntropy, "beta", 1.0, "Wang et al. 2019, CIFAR-10"),
    (SymmetricCrossEntropy, "log_zero", -4.0, "Wang et al. 2019, CIFAR-10"),
    (EdgeWeightedCrossEntropy, "w0", 10.0, "Ronneberger et al. 2015"),
    (EdgeWeightedCrossEntropy, "sigma", 5.0, "Ronneberger et al. 2015"),
    (Tversky, "alpha", 0.3, "Salehi et al. 2017"),
    (Tversky, "beta", 0.7, "Salehi et al. 2017"),
    (Tversky, "gamma", 1.0, "not focal"),
    (EdgeAware, "tolerance", 2, "Bokhovkin, Burnaev 2019: windows of 5"),
    (presence_loss, "class_weights", (), "all classes count alike"),
    (border_weights, "LIMIT", 32.0, "more than w0 = 10 and sigma = 5 ask for"),
    (border_weights, "NOTHING", 1e-6, "a millionth of a pixel's weight"),
    (border_weights.border_weight_map, "w0", 10.0, "Ronneberger et al. 2015"),
    (border_weights.border_weight_map, "sigma", 5.0, "Ronneberger et al. 2015"),
    (border_weights.border_weight_map, "class_weights", (), "frequencies of the image"),
    (border_weights.border_weight_map, "background_only", False, "the paper's equation"),
    (border_weights.border_weight_map, "spacing", (1.0, 1.0), "square pixels"),
    (border_weights.separation, "limit", 32.0, "as LIMIT"),
    (border_weights.separation, "spacing", (1.0, 1.0), "square pixels"),
    (border_weights.separation_on_device, "limit", 32.0, "as LIMIT"),
    (border_weights.separation_on_device, "spacing", (1.0, 1.0), "square pixels"),
    (border_weights.components, "background", 0, "class 0 is no object"),
    (class_counts, "WINDOW", 1024, "4 MB of a band at a time"),
    (class_counts.class_counts, "recount", False, "what was counted is kept"),
    (metrics.print_scores, "title", "scores", "a heading"),
    (boundaries.Tolerance, "unit", "pixels", "needs no ground sample distance"),
    (boundaries.BoundaryTotal.of, "tolerance", 2.0, "pixels"),
    (boundaries.BoundaryTotal.of, "rim", 2.0, "pixels"),
    (objects, "THRESHOLDS", np.linspace(0.5, 0.95, 10), "Caicedo et al. 2019"),
    (calibration, "BINS", 15, "Guo et al. 2017"),
    (calibration, "TEMPERATURES", 2.0 ** np.arange(-3, 3.5, 0.5), "1/8 to 8 by half octaves"),
    (intervals, "DRAWS", 1000, "ends of an interval to a tenth of its width"),
    (intervals, "LEVEL", 0.95, "the usual level"),
    (intervals, "FEWEST", 5, "fewer blocks give too narrow intervals"),
    (intervals.bootstrap, "draws", 1000, "as DRAWS"),
    (intervals.bootstrap, "seed", 0, "the same interval every time"),
    (labels, "MAX_CLASSES", 254, "255 is IGNORE, 254 what is not known"),
    (radiometry.Standardize, "mean", (), "measured"),
    (radiometry.Standardize, "std", (), "measured"),
    (radiometry.LogIntensity, "floor", 1e-6, "-60 dB"),
    (transforms.ScaleCrop, "size", 0, "as many pixels as enter"),
    (transforms.ScaleCrop, "low", 1.0, "no zoom"),
    (transforms.ScaleCrop, "high", 1.0, "no zoom"),
    (elastic.Elastic, "std", 10.0, "Ronneberger et al. 2015"),
    (elastic.Elastic, "nodes", 3, "Ronneberger et al. 2015"),
    (transforms.Brightness, "gain", 0.1, "a tenth"),
    (transforms.Brightness, "offset", 0.1, "a tenth of a standard deviation"),
    (transforms.Noise, "std", 0.05, "a twentieth of a standard deviation"),
    (transforms.CenterGain, "strength", 0.1, "a tenth"),
    (transforms.CenterGain, "share", 0.1, "most neighbours stay"),
    (masking.HidePatches, "patch", 16, "MAE's"),
    (masking.HidePatches, "share", 0.6, "SimMIM's"),
    (masking.HidePatches, "proposals", None, "all patches alike"),
    (masking.HidePatches, "odds", math.e**2, "FocusMAE's 2 in the logits"),
    (masking.OfGradients, "share", 0.25, "our choice"),
    (masking.OfClasses, "classes", (1,), "the second of two"),
    (sar_transforms.Lee, "size", 7, "the usual window"),
    (sar_transforms.RatioBand, "numerator", 1, "VV of VV, VH"),
    (sar_transforms.RatioBand, "denominator", 2, "VH of VV, VH"),
    (sar_transforms.RatioBand, "decibel", False, "filters want linear power"),
    (sar_transforms.RatioBand, "floor", 1e-6, "-60 dB"),
    (sar_transforms.Speckle, "unit", "intensity", "linear power"),
    (corruption_augmentation.Corruptions, "share", 0.5, "half of the images stay as they are"),
    (corruption_signals.Haze, "airlight", 0.2, "thin layers add 0.1 to 0.2 for each unit of depth"),
    (haze, "ANGSTROM", 1.3, "a usual continental aerosol"),
    (CoherencyFeatures, "floor", 1e-6, "-60 dB"),
    (ZhouFeatures, "floor", 1e-6, "-60 dB"),
    (hyperspectral_transforms.RemoveBands, "bands", None, "found on training pixels"),
    (hyperspectral_transforms.RemoveBands, "noise", 0.5, "more noise than signal"),
    (hyperspectral_transforms.PCA, "mean", (), "found on training pixels"),
    (hyperspectral_transforms.PCA, "matrix", (), "found on training pixels"),
    (hyperspectral_transforms.MNF, "mean", (), "found on training pixels"),
    (hyperspectral_transforms.MNF, "matrix", (), "found on training pixels"),
    (sar, "FLOOR", 1e-6, "-60 dB: below the noise of any spaceborne radar"),
    (sar.intensity_to_decibel, "floor", 1e-6, "as FLOOR"),
    (sar.ratio, "floor", 1e-6, "as FLOOR"),
    (polsar, "FLOOR", 1e-6, "-60 dB: about the noise of a calibrated sensor"),
    (polsar.pauli_decibel, "floor", 1e-6, "as FLOOR"),
    (polsar.coherency_features, "floor", 1e-6, "as FLOOR"),
    (polsar.zhou_features, "floor", 1e-6, "as FLOOR"),
    (sar_filters.lee, "size", 7, "the usual window"),
    (sar_filters.local_looks, "size", 7, "the usual window"),
    (sar_filters.equivalent_looks, "size", 7, "the usual window"),
    (polsar_filters.refined_lee, "size", 7, "Lee 1981"),
    (polsar_filters.equivalent_looks, "size", 9, "81 pixels"),
    (decompositions, "TOLERANCE", 1e-4, "rounding of float32 files"),
]


@pytest.mark.parametrize(
    ("owner", "name", "value", "reason"),
    DEFAULTS,
    ids=[f"{owner.__name__}.{name}" for owner, name, _, _ in DEFAULTS],
)
def test_what_nobody_asks_for_is_as_written(
    owner: Any, name: str, value: object, reason: str
) -> None:
    if isinstance(owner, ModuleType):
        found = getattr(owner, name)
    else:
        found = inspect.signature(owner).parameters[name].default
    if isinstance(value, np.ndarray):
        np.testing.assert_allclose(found, value, err_msg=reason)
    else:
        assert found == value, reason


@pytest.mark.parametrize(
    "module",
    [
        *(transforms, masking, radiometry, sar_transforms, hyperspectral_transforms),
        *(corruption_augmentation, corruption_signals),
    ],
    ids=lambda m: m.__name__,
)
def test_every_default_of_a_step_is_in_the_table(module: ModuleType) -> None:
    written = {(owner, name) for owner, name, _, _ in DEFAULTS if not isinstance(owner, ModuleType)}
    for step in vars(module).values():
        public = inspect.isclass(step) and not step.__name__.startswith("_")
        if public and step.__module__ == module.__name__:
            for name, parameter in inspect.signature(step).parameters.items():
                if name not in ("args", "kwargs") and parameter.default is not parameter.empty:
                    assert (step, name) in written


@pytest.mark.parametrize("loss", LOSSES)
def test_every_default_of_a_loss_is_in_the_table(loss: Any) -> None:
    written = {name for owner, name, _, _ in DEFAULTS if owner is loss}
    assert written == set(inspect.signature(loss).parameters)
