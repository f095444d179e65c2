"""Names of EfficientNets, and of the networks on them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from jaxseg.weights.tables.deeplab import SMP_DEEPLABV3_PLUS
from jaxseg.weights.tables.family import Family
from jaxseg.weights.tables.unet import SMP_UNET
from jaxseg.weights.tables.unet_plus_plus import SMP_UNET_PLUS_PLUS

EFFICIENTNET = Family(
    first="_conv_stem",
    encoder={
        "_conv_stem": "stem",
        "_bn0": "stem_norm",
        "_blocks.{i}._expand_conv": "block{i}/expand",
        "_blocks.{i}._bn0": "block{i}/expand_norm",
        "_blocks.{i}._depthwise_conv": "block{i}/depthwise",
        "_blocks.{i}._bn1": "block{i}/depthwise_norm",
        "_blocks.{i}._se_reduce": "block{i}/squeeze",
        "_blocks.{i}._se_expand": "block{i}/excite",
        "_blocks.{i}._project_conv": "block{i}/project",
        "_blocks.{i}._bn2": "block{i}/project_norm",
    },
    decoder={},
    optional={},
    ignored=("_conv_head", "_bn1", "_fc"),
    transposed=(),
    title="an EfficientNet with the names of EfficientNet-PyTorch and smp",
    reference="smp",
    unused=lambda state: _unused_head(state, ""),
)
"""lukemelas/EfficientNet-PyTorch and the encoders of segmentation_models_pytorch (smp), trained on
ImageNet; their last 1x1 convolution belongs to the classifier."""

EFFICIENTNET_AS_ENCODER = EFFICIENTNET._replace(
    encoder={k: f"backbone/{v}" for k, v in EFFICIENTNET.encoder.items()}, reference=""
)
"""A classifier's file for the encoder of a network."""


Tensors = Mapping[str, NDArray[np.float32]]


def _unused_head(state: Tensors, place: str) -> dict[str, NDArray[np.float32]]:
    """Zeros for the last convolution to four times the channels, which smp keeps unused."""
    numbers = (name.split("_blocks.")[1].split(".")[0] for name in state if "_blocks." in name)
    last = max(map(int, numbers))
    channels = state[f"{place}_blocks.{last}._project_conv.weight"].shape[0]
    shapes: dict[str, tuple[int, ...]] = {"_conv_head.weight": (4 * channels, channels, 1, 1)}
    parts = ("weight", "bias", "running_mean", "running_var")
    shapes |= {f"_bn1.{part}": (4 * channels,) for part in parts}
    return {f"{place}{name}": np.zeros(shape, np.float32) for name, shape in shapes.items()}


def _on_efficientnet(family: Family) -> Family:
    """The network with this encoder instead of a ResNet; smp keeps its unused last convolution."""
    return family._replace(
        first="encoder._conv_stem",
        encoder={f"encoder.{k}": f"backbone/{v}" for k, v in EFFICIENTNET.encoder.items()},
        ignored=(*family.ignored, "encoder._conv_head", "encoder._bn1"),
        unused=lambda state: family.unused(state) | _unused_head(state, "encoder."),
    )


SMP_UNET_ON_EFFICIENTNET = _on_efficientnet(SMP_UNET)
"""segmentation_models_pytorch, Unet on an EfficientNet."""

SMP_UNET_PLUS_PLUS_ON_EFFICIENTNET = _on_efficientnet(SMP_UNET_PLUS_PLUS)
"""segmentation_models_pytorch, UnetPlusPlus on an EfficientNet."""

SMP_DEEPLABV3_PLUS_ON_EFFICIENTNET = _on_efficientnet(SMP_DEEPLABV3_PLUS)
"""segmentation_models_pytorch, DeepLabV3Plus on an EfficientNet."""
