"""Names of UNet++."""

from jaxseg.weights.tables.family import Family
from jaxseg.weights.tables.unet import SMP_UNET, SMP_UP_BLOCK, unused_attention

# smp numbers diagonals from below and rows from the coarsest; jaxseg follows the paper.
_NODES = {f"x_{4 - i - j}_{3 - i}": f"x{i}{j}" for i in range(4) for j in range(1, 5 - i)}

SMP_UNET_PLUS_PLUS = Family(
    first="encoder.conv1",
    encoder=SMP_UNET.encoder,
    decoder={
        **{
            f"decoder.blocks.{theirs}.{k}": f"{ours}/{v}"
            for theirs, ours in (_NODES | {"x_0_4": "up"}).items()
            for k, v in SMP_UP_BLOCK.items()
        },
        "segmentation_head.0": "head",
    },
    optional={},
    # The last block has no skip, so smp does not use the block's attention for skips.
    ignored=tuple(f"decoder.blocks.x_0_4.{k}" for k in SMP_UP_BLOCK if k.startswith("attention1")),
    transposed=(),
    title="smp's UnetPlusPlus",
    reference="smp",
    only={"deep_supervision": (False,)},
    unused=unused_attention("decoder.blocks.x_0_4"),
    hints=SMP_UNET.hints,
)
"""segmentation_models_pytorch 0.5, UnetPlusPlus on a ResNet."""
