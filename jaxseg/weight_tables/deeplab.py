"""Names of DeepLabs."""

from jaxseg.weight_tables.family import Family
from jaxseg.weight_tables.resnet import TORCHVISION_RESNET

TORCHVISION_DEEPLABV3 = Family(
    first="backbone.conv1",
    encoder={f"backbone.{k}": f"backbone/{v}" for k, v in TORCHVISION_RESNET.encoder.items()},
    decoder={
        "classifier.0.convs.0.0": "pyramid/point",
        "classifier.0.convs.0.1": "pyramid/point_norm",
        "classifier.0.convs.1.0": "pyramid/atrous1",
        "classifier.0.convs.1.1": "pyramid/atrous1_norm",
        "classifier.0.convs.2.0": "pyramid/atrous2",
        "classifier.0.convs.2.1": "pyramid/atrous2_norm",
        "classifier.0.convs.3.0": "pyramid/atrous3",
        "classifier.0.convs.3.1": "pyramid/atrous3_norm",
        "classifier.0.convs.4.1": "pyramid/image",
        "classifier.0.convs.4.2": "pyramid/image_norm",
        "classifier.0.project.0": "pyramid/project",
        "classifier.0.project.1": "pyramid/project_norm",
        "classifier.1": "head_conv",
        "classifier.2": "head_norm",
        "classifier.4": "head",
    },
    optional={
        "aux_classifier.0": "aux_head/conv",
        "aux_classifier.1": "aux_head/norm",
        "aux_classifier.4": "aux_head/head",
    },
    ignored=(),
    transposed=(),
)
"""torchvision.models.segmentation.deeplabv3_resnet50 and _resnet101."""

RESNET_FOR_DEEPLABV3 = TORCHVISION_RESNET._replace(
    encoder={k: f"backbone/{v}" for k, v in TORCHVISION_RESNET.encoder.items()}
)
"""A classification ResNet's file for DeepLabV3's encoder."""
