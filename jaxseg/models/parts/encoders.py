"""The encoders that U-Nets and DeepLabV3+ are built on, behind one call.

Each is `(image, *, train) -> features` at strides 2, 4, 8, 16 and 32, finest first.
"""

from typing import Literal, TypeGuard, cast

from jaxseg.errors import UserError
from jaxseg.models.parts.efficientnet import SIZES, EfficientNet, EfficientNetSize
from jaxseg.models.parts.layers import Dtype
from jaxseg.models.parts.resnet import Backbone, FirstRate, ResNet

Encoder = Literal[Backbone, EfficientNetSize]
"""The ResNets and the EfficientNets."""


def is_efficientnet(name: object) -> TypeGuard[EfficientNetSize]:
    """Whether an encoder's name is that of an EfficientNet."""
    return name in SIZES


def encoder(
    name: Encoder,
    *,
    train: bool,
    output_stride: Literal[8, 16, 32] = 32,
    multi_grid: tuple[int, int, int] = (1, 1, 1),
    first_rate: FirstRate = "before",
    dtype: Dtype = "float32",
    remat: bool = False,
) -> ResNet | EfficientNet:
    """The encoder of a network, its submodule `backbone`.

    Args:
        name: Kind and size.
        train: Whether an EfficientNet leaves out results of blocks; batch normalisation is switched
            where the encoder is called.
        output_stride: Ratio of the image's size to that of the last features.
        multi_grid: Factors of the rates of a ResNet's last blocks.
        first_rate: Rate of the first block of a layer whose stride became a rate.
        dtype: Compute dtype.
        remat: Whether to recompute blocks in the backward pass.

    Raises:
        UserError: An EfficientNet is to have a multi-grid.
    """
    if not is_efficientnet(name):
        return ResNet(
            cast("Backbone", name),
            output_stride,
            multi_grid,
            first_rate,
            dtype=dtype,
            remat=remat,
            name="backbone",
        )
    if multi_grid != (1, 1, 1):
        raise UserError(
            f"multi_grid {multi_grid}: only ResNets have one. Leave it at 1 1 1 with {name}, or "
            "choose a ResNet with --config.model.backbone."
        )
    return EfficientNet(
        name,
        output_stride,
        first_rate,
        deterministic=not train,
        dtype=dtype,
        remat=remat,
        name="backbone",
    )
