"""Names of PSPNets."""

from jaxseg.weights.tables.family import Family
from jaxseg.weights.tables.resnet import TORCHVISION_RESNET

_LAYERS = {k: v for k, v in TORCHVISION_RESNET.encoder.items() if k.startswith("layer")}

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
)
"""hszhao/semseg, `model/pspnet.py`."""

RESNET_FOR_PSPNET = TORCHVISION_RESNET._replace(
    encoder={
        "conv{i}": "backbone/conv{i}",
        "bn{i}": "backbone/norm{i}",
        **{k: f"backbone/{v}" for k, v in _LAYERS.items()},
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
)
"""Lextal/pspnet-pytorch, `pspnet.py`, on a ResNet."""

RESNET_FOR_LECTURE_PSPNET = TORCHVISION_RESNET._replace(
    encoder={k: f"backbone/{v}" for k, v in TORCHVISION_RESNET.encoder.items()}
)
"""A classification ResNet's file for LecturePSPNet's encoder."""
