"""Names of UNet++."""

from jaxseg.weights.tables.family import Family
from jaxseg.weights.tables.unet import SMP_UNET, SMP_UP_BLOCK

# smp counts a node's diagonal from below and its row from the coarsest; ours are the paper's.
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
    # The last block has no skip, and then smp does not apply the attention it has for one.
    # An exported network with attention lacks it: load that with `strict=False`.
    ignored=tuple(f"decoder.blocks.x_0_4.{k}" for k in SMP_UP_BLOCK if k.startswith("attention1")),
    transposed=(),
)
"""segmentation_models_pytorch 0.5, UnetPlusPlus on a ResNet."""
