"""Names of PSPNets."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from jaxseg.weights.tables.family import Family
from jaxseg.weights.tables.resnet import TORCHVISION_RESNET

Tensors = Mapping[str, NDArray[np.float32]]

_LAYERS = {k: v for k, v in TORCHVISION_RESNET.encoder.items() if k.startswith("layer")}


def _unused_aux(state: Tensors) -> dict[str, NDArray[np.float32]]:
    """The auxiliary head, which semseg's network has even where only the other one is used."""
    if "aux.0.weight" in state:
        return {}
    wide = state["layer3.0.bn2.weight"].shape[0] * (4 if "layer3.0.bn3.weight" in state else 1)
    narrow, classes = 256, state["cls.4.weight"].shape[0]
    ones, zeros = np.ones(narrow, np.float32), np.zeros(narrow, np.float32)
    return {
        "aux.0.weight": np.zeros((narrow, wide, 3, 3), np.float32),
        **{"aux.1.weight": ones, "aux.1.bias": zeros},
        **{"aux.1.running_mean": zeros, "aux.1.running_var": ones},
        "aux.4.weight": np.zeros((classes, narrow, 1, 1), np.float32),
        "aux.4.bias": np.zeros(classes, np.float32),
    }


SEMSEG_PSPNET = Family(
    first="layer0.0",
    encoder={
        "layer0.0": "backbone/conv1",
        "layer0.1": "backbone/norm1",
        "layer0.3": "backbone/conv2",
        "layer0.4": "backbone/norm2",
        "layer0.6": "backbone/conv3",
        "layer0.7": "backbone/norm3",
        **{k: f"backbone/{v}" for k, v in _LAYERS.items()},
    },
    decoder={
        "ppm.features.{i}.1": "pyramid/level{i}",
        "ppm.features.{i}.2": "pyramid/level{i}_norm",
        "cls.0": "head_conv",
        "cls.1": "head_norm",
        "cls.4": "head",
    },
    optional={
        "aux.0": "aux_head/conv",
        "aux.1": "aux_head/norm",
        "aux.4": "aux_head/head",
    },
    ignored=(),
    transposed=(),
    title="semseg's PSPNet",
    reference="semseg",
    only={"backbone": ("resnet50", "resnet101")},
    usual={"bins": ((1, 2, 3, 6),)},
    untold="Its logits were trained with aligned corners if it is of semseg itself, as here; code "
    "with the same names that does not align them gives other logits.",
    unused=_unused_aux,
)
"""hszhao/semseg, `model/pspnet.py`."""

RESNET_FOR_PSPNET = TORCHVISION_RESNET._replace(
    encoder={
        "conv{i}": "backbone/conv{i}",
        "bn{i}": "backbone/norm{i}",
        **{k: f"backbone/{v}" for k, v in _LAYERS.items()},
    },
    title="a ResNet with semseg's deep stem",
    reference="",
    hints={
        r"^conv2\.weight": "a ResNet with PSPNet's deep stem (three 3x3 convolutions, as "
        "in semseg's files), or another network: others have the 7x7 one"
    },
)
"""hszhao/semseg, `model/resnet.py`: a classification ResNet with the deep stem."""

LEXTAL_PSPNET = Family(
    first="feats.conv1",
    encoder={f"feats.{k}": f"backbone/{v}" for k, v in TORCHVISION_RESNET.encoder.items()},
    decoder={
        "psp.stages.{i}.1": "pyramid/level{i}",
        "psp.bottleneck": "pyramid/project",
        "up_{i}.conv.0": "up{i}/conv",
        "up_{i}.conv.1": "up{i}/norm",
        "up_{i}.conv.2": "up{i}/prelu",
        "final.0": "head",
        "classifier.0": "class_hidden",
        "classifier.2": "class_head",
    },
    optional={},
    ignored=(),
    transposed=(),
    title="Lextal's PSPNet",
    reference="lextal",
    usual={"bins": ((1, 2, 3, 6),)},
    untold="If it was trained before PyTorch 0.4, its code aligned corners when it enlarged "
    "features; this network does not, and its logits differ.",
)
"""Lextal/pspnet-pytorch, `pspnet.py`, on a ResNet."""
