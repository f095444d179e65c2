"""Names of EfficientNets, and of the networks on them."""

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
)
"""lukemelas/EfficientNet-PyTorch and the encoders of segmentation_models_pytorch (smp), trained on
ImageNet; their last 1x1 convolution belongs to the classifier."""

EFFICIENTNET_AS_ENCODER = EFFICIENTNET._replace(
    encoder={k: f"backbone/{v}" for k, v in EFFICIENTNET.encoder.items()}
)
"""A classifier's file for the encoder of a network."""


def _on_efficientnet(family: Family) -> Family:
    """The network with this encoder instead of a ResNet; smp keeps its unused last convolution."""
    return family._replace(
        first="encoder._conv_stem",
        encoder={f"encoder.{k}": f"backbone/{v}" for k, v in EFFICIENTNET.encoder.items()},
        ignored=(*family.ignored, "encoder._conv_head", "encoder._bn1"),
    )


SMP_UNET_ON_EFFICIENTNET = _on_efficientnet(SMP_UNET)
"""segmentation_models_pytorch, Unet on an EfficientNet."""

SMP_UNET_PLUS_PLUS_ON_EFFICIENTNET = _on_efficientnet(SMP_UNET_PLUS_PLUS)
"""segmentation_models_pytorch, UnetPlusPlus on an EfficientNet."""

SMP_DEEPLABV3_PLUS_ON_EFFICIENTNET = _on_efficientnet(SMP_DEEPLABV3_PLUS)
"""segmentation_models_pytorch, DeepLabV3Plus on an EfficientNet."""
