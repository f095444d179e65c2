"""Names of U-Nets."""

from jaxseg.weights.tables.family import Family
from jaxseg.weights.tables.resnet import TORCHVISION_RESNET

LECTURE_UNET = Family(
    first="encoder1.enc1conv1",
    encoder={
        "encoder{i}.enc{i}conv{j}": "encoder{i}/conv{j}",
        "encoder{i}.enc{i}norm{j}": "encoder{i}/norm{j}",
        "bottleneck.bottleneckconv{j}": "bottleneck/conv{j}",
        "bottleneck.bottlenecknorm{j}": "bottleneck/norm{j}",
    },
    decoder={
        "upconv{i}": "up{i}",
        "decoder{i}.dec{i}conv{j}": "decoder{i}/conv{j}",
        "decoder{i}.dec{i}norm{j}": "decoder{i}/norm{j}",
        "conv": "head",
    },
    optional={},
    ignored=(),
    transposed=("upconv{i}",),
)
"""mateuszbuda/brain-segmentation-pytorch, `unet.py`."""

ORIGINAL_UNET = Family(
    first="down.0.0",
    encoder={
        "down.{i}.0": "down{i}/conv1",
        "down.{i}.2": "down{i}/conv2",
    },
    decoder={
        "up.{i}": "up{i}",
        "dec.{i}.0": "decoder{i}/conv1",
        "dec.{i}.2": "decoder{i}/conv2",
        "head": "head",
    },
    optional={},
    ignored=(),
    transposed=("up.{i}",),
)
"""The network of 2015 in PyTorch, as module lists `down`, `up` and `dec`."""

RESNET_FOR_UNET = TORCHVISION_RESNET._replace(
    encoder={k: f"backbone/{v}" for k, v in TORCHVISION_RESNET.encoder.items()}
)
"""A classification ResNet's file for the encoder of a U-Net or UNet++."""

SMP_UP_BLOCK = {
    "conv1.0": "double_conv/conv1",
    "conv1.1": "double_conv/norm1",
    "conv2.0": "double_conv/conv2",
    "conv2.1": "double_conv/norm2",
    "attention1.attention.cSE.1": "attention1/channel/squeeze",
    "attention1.attention.cSE.3": "attention1/channel/excite",
    "attention1.attention.sSE.0": "attention1/spatial",
    "attention2.attention.cSE.1": "attention2/channel/squeeze",
    "attention2.attention.cSE.3": "attention2/channel/excite",
    "attention2.attention.sSE.0": "attention2/spatial",
}
"""A decoder block of segmentation_models_pytorch, the same in Unet and UnetPlusPlus."""

SMP_UNET = Family(
    first="encoder.conv1",
    encoder={f"encoder.{k}": f"backbone/{v}" for k, v in TORCHVISION_RESNET.encoder.items()},
    decoder={
        **{f"decoder.blocks.{{i}}.{k}": f"decoder{{i}}/{v}" for k, v in SMP_UP_BLOCK.items()},
        "segmentation_head.0": "head",
    },
    optional={},
    # The last block has no skip, so smp does not use the block's attention for skips. An exported
    # network with attention lacks its weights: load it with `strict=False`.
    ignored=tuple(f"decoder.blocks.4.{k}" for k in SMP_UP_BLOCK if k.startswith("attention1")),
    transposed=(),
)
"""segmentation_models_pytorch 0.5, Unet on a ResNet."""
