"""Names of DeepLabs."""

from jaxseg.weights.tables.family import Family
from jaxseg.weights.tables.resnet import TORCHVISION_RESNET

PYRAMID = {
    "convs.0.0": "point",
    "convs.0.1": "point_norm",
    "convs.1.0": "atrous1",
    "convs.1.1": "atrous1_norm",
    "convs.2.0": "atrous2",
    "convs.2.1": "atrous2_norm",
    "convs.3.0": "atrous3",
    "convs.3.1": "atrous3_norm",
    "convs.4.1": "image",
    "convs.4.2": "image_norm",
    "project.0": "project",
    "project.1": "project_norm",
}
"""The pyramid of three rates, the same in torchvision, VainF's code and segmentation_models_pytorch
(smp); there are no files with other numbers of rates."""

SEPARABLE_PYRAMID = {
    **{k: v for k, v in PYRAMID.items() if v not in ("atrous1", "atrous2", "atrous3")},
    "convs.1.0.0": "atrous1/depthwise",
    "convs.1.0.1": "atrous1/point",
    "convs.2.0.0": "atrous2/depthwise",
    "convs.2.0.1": "atrous2/point",
    "convs.3.0.0": "atrous3/depthwise",
    "convs.3.0.1": "atrous3/point",
}
"""The pyramid with separable 3x3 convolutions, as in smp's DeepLabV3Plus."""

TORCHVISION_DEEPLABV3 = Family(
    first="backbone.conv1",
    encoder={f"backbone.{k}": f"backbone/{v}" for k, v in TORCHVISION_RESNET.encoder.items()},
    decoder={
        **{f"classifier.0.{k}": f"pyramid/{v}" for k, v in PYRAMID.items()},
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
    form={"first_rate": "before", "align_corners": False},
    title="torchvision's DeepLabV3",
    reference="torchvision",
    only={
        "backbone": ("resnet50", "resnet101"),
        "output_stride": (8,),
        "atrous_rates": (None, (12, 24, 36)),
        "multi_grid": ((1, 1, 1),),
        "features": (256,),
    },
)
"""torchvision.models.segmentation.deeplabv3_resnet50 and _resnet101."""

VAINF_DEEPLABV3 = TORCHVISION_DEEPLABV3._replace(
    decoder={f"classifier.{k}": v for k, v in TORCHVISION_DEEPLABV3.decoder.items()},
    optional={},
    title="VainF's DeepLabV3",
    reference="vainf",
    only={
        "backbone": ("resnet50", "resnet101"),
        "atrous_rates": (None,),
        "multi_grid": ((1, 1, 1),),
        "features": (256,),
        "aux_head": (False,),
    },
    untold="Its output stride, 8 or 16, is not in the file: give the one it was trained with.",
)
"""VainF/DeepLabV3Plus-Pytorch, deeplabv3_resnet50 and _resnet101: torchvision's network."""

VAINF_DEEPLABV3_PLUS = VAINF_DEEPLABV3._replace(
    decoder={
        **{f"classifier.aspp.{k}": f"pyramid/{v}" for k, v in PYRAMID.items()},
        "classifier.project.0": "low",
        "classifier.project.1": "low_norm",
        "classifier.classifier.0": "decoder1",
        "classifier.classifier.1": "decoder1_norm",
        "classifier.classifier.3": "head",
    },
    form={"first_rate": "before", "align_corners": False, "separable": False, "low_first": True},
    title="VainF's DeepLabV3+",
    only={
        "backbone": ("resnet50", "resnet101"),
        "atrous_rates": (None,),
        "multi_grid": ((1, 1, 1),),
        "features": (256,),
        "pyramid_conv": (False,),
        "decoder_convs": (1,),
    },
    hints={r"convs\.1\.0\.": "separable=True if it has convs.1.0.0, else False"},
)
"""VainF/DeepLabV3Plus-Pytorch, deeplabv3plus_resnet50 and _resnet101."""

SMP_DEEPLABV3 = Family(
    first="encoder.conv1",
    encoder={f"encoder.{k}": f"backbone/{v}" for k, v in TORCHVISION_RESNET.encoder.items()},
    decoder={
        **{f"decoder.aspp.{k}": f"pyramid/{v}" for k, v in PYRAMID.items()},
        "decoder.conv": "head_conv",
        "decoder.bn": "head_norm",
        "segmentation_head.0": "head",
    },
    optional={},
    ignored=(),
    transposed=(),
    form={"first_rate": "own", "align_corners": True},
    title="smp's DeepLabV3",
    reference="smp",
    only={"multi_grid": ((1, 1, 1),), "aux_head": (False,)},
    usual={"output_stride": (8,), "atrous_rates": (None, (12, 24, 36))},
)
"""segmentation_models_pytorch 0.5, DeepLabV3 on a ResNet."""

SMP_DEEPLABV3_PLUS = SMP_DEEPLABV3._replace(
    decoder={
        **{f"decoder.aspp.0.{k}": f"pyramid/{v}" for k, v in SEPARABLE_PYRAMID.items()},
        "decoder.aspp.1.0": "pyramid_conv/depthwise",
        "decoder.aspp.1.1": "pyramid_conv/point",
        "decoder.aspp.2": "pyramid_norm",
        "decoder.block1.0": "low",
        "decoder.block1.1": "low_norm",
        "decoder.block2.0.0": "decoder1/depthwise",
        "decoder.block2.0.1": "decoder1/point",
        "decoder.block2.1": "decoder1_norm",
        "segmentation_head.0": "head",
    },
    form={"first_rate": "own", "align_corners": True, "separable": True, "low_first": False},
    title="smp's DeepLabV3Plus",
    only={"multi_grid": ((1, 1, 1),), "pyramid_conv": (True,), "decoder_convs": (1,)},
    usual={"output_stride": (16,), "atrous_rates": ((12, 24, 36),)},
    hints={
        r"convs\.1\.0\.": "separable=True, as smp's are by default",
        r"aspp\.1\.0": "pyramid_conv=True, as smp's have",
    },
)
"""segmentation_models_pytorch 0.5, DeepLabV3Plus on a ResNet."""
