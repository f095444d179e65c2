"""Names of U-Nets."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from jaxseg.weights.tables.family import Family
from jaxseg.weights.tables.resnet import TORCHVISION_RESNET

Tensors = Mapping[str, NDArray[np.float32]]

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
    title="brain-segmentation-pytorch's UNet",
    reference="brain-segmentation",
    only={"skips": (True,)},
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
    title="the U-Net of 2015",
    reference="original",
)
"""The network of 2015 in PyTorch, as module lists `down`, `up` and `dec`."""

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


def unused_attention(block: str) -> Callable[[Tensors], dict[str, NDArray[np.float32]]]:
    """Zeros for the attention to a skip in a block that has none, if others have attention."""

    def unused(state: Tensors) -> dict[str, NDArray[np.float32]]:
        if f"{block}.attention2.attention.sSE.0.weight" not in state:
            return {}
        channels = state[f"{block}.conv1.0.weight"].shape[1]
        inside, place = channels // 16, f"{block}.attention1.attention"
        shapes: dict[str, tuple[int, ...]] = {
            "cSE.1.weight": (inside, channels, 1, 1),
            "cSE.1.bias": (inside,),
            "cSE.3.weight": (channels, inside, 1, 1),
            "cSE.3.bias": (channels,),
            "sSE.0.weight": (1, channels, 1, 1),
            "sSE.0.bias": (1,),
        }
        return {f"{place}.{name}": np.zeros(shape, np.float32) for name, shape in shapes.items()}

    return unused


SMP_UNET = Family(
    first="encoder.conv1",
    encoder={f"encoder.{k}": f"backbone/{v}" for k, v in TORCHVISION_RESNET.encoder.items()},
    decoder={
        **{f"decoder.blocks.{{i}}.{k}": f"decoder{{i}}/{v}" for k, v in SMP_UP_BLOCK.items()},
        "segmentation_head.0": "head",
    },
    optional={},
    # The last block has no skip, so smp does not use the block's attention for skips.
    ignored=tuple(f"decoder.blocks.4.{k}" for k in SMP_UP_BLOCK if k.startswith("attention1")),
    transposed=(),
    title="smp's Unet",
    reference="smp",
    unused=unused_attention("decoder.blocks.4"),
    hints={"attention": 'attention="scse" if its decoder has attention, else "none"'},
)
"""segmentation_models_pytorch (smp) 0.5, Unet on a ResNet."""
