"""The networks of `accelerator.py` and their sizes, shared by all of its processes."""

from typing import NamedTuple

BATCHES = (8, 16, 32, 64)
TINY_BATCHES = (2,)


class Sizes(NamedTuple):
    """Of one network.

    Attributes:
        title: For tables.
        features: Channels at full resolution, of the U-Nets alone.
        classes: Number of classes.
        size: Rows and columns of the raw images that are trained on.
        compared: Those of the form that is compared with PyTorch's.
    """

    title: str
    features: int
    classes: int
    size: int
    compared: int


SIZES = {
    "unet32": Sizes("U-Net, 32 features", 32, 6, 512, 512),
    "unet64": Sizes("U-Net, 64 features", 64, 6, 512, 512),
    "original_unet": Sizes("U-Net of 2015", 64, 6, 388, 572),
    "resnet_unet": Sizes("U-Net, ResNet-34", 0, 21, 512, 512),
    "deeplab16": Sizes("DeepLabV3-50, stride 16", 0, 21, 513, 513),
    "deeplab8": Sizes("DeepLabV3-50, stride 8", 0, 21, 513, 513),
    "pspnet": Sizes("PSPNet-50", 0, 21, 473, 473),
    "linknet": Sizes("LinkNet", 0, 21, 512, 512),
}
"""The 2015 network trains in the form that the training step takes, logits of the image's size: 388
pixels with mirrored context, which its convolutions see as 572. Compared is the published form, 572
pixels with logits of the middle 388."""

TINY = {512: 64, 513: 65, 473: 57, 388: 20, 572: 204}
"""Sizes that measure nothing."""


def sizes(name: str, tiny: bool) -> Sizes:
    """Those of a network, with `tiny` few features and pixels."""
    found = SIZES[name]
    if not tiny:
        return found
    features = {0: 0, 32: 2, 64: 4}[found.features]
    small = found._replace(features=features, size=TINY[found.size])
    return small._replace(compared=TINY[found.compared])
