"""Names of Prithvi-EO: the published encoders, and segmentation networks of terratorch on them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from jaxseg.models.parts.vit import TRAINED_GRID, positions
from jaxseg.weights.tables.family import Family
from jaxseg.weights.tables.unet import SMP_UP_BLOCK

BLOCK = {
    "norm1": "norm1",
    "attn.qkv": "qkv",
    "attn.proj": "proj",
    "norm2": "norm2",
    "mlp.fc1": "fc1",
    "mlp.fc2": "fc2",
}
"""A block of timm's vision transformers."""

NOT_USED = ("pos_embed", "temporal_embed_enc", "location_embed_enc")
"""Positions, which are computed, and the weights of time and place, which are not given."""

AUTOENCODER = (
    *(f"decoder_blocks.{{i}}.{layer}" for layer in BLOCK),
    *("decoder_embed", "decoder_norm", "decoder_pred"),
)
"""The decoder beside the encoder in files of Prithvi 1.0; later ones have a prefix before it."""


def _positions(
    state: Mapping[str, NDArray[np.float32]], place: str
) -> dict[str, NDArray[np.float32]]:
    """The buffer of positions, the class token's zeros first."""
    channels = state[f"{place}cls_token"].shape[-1]
    grid = np.asarray(positions(TRAINED_GRID, TRAINED_GRID, channels)).reshape(1, -1, channels)
    return {f"{place}pos_embed": np.pad(grid, ((0, 0), (1, 0), (0, 0)))}


PRITHVI = Family(
    first="patch_embed.proj",
    encoder={
        "patch_embed.proj": "patch_embed",
        "cls_token": "cls_token",
        **{f"blocks.{{i}}.{theirs}": f"block{{i}}/{ours}" for theirs, ours in BLOCK.items()},
        "norm": "norm",
    },
    decoder={},
    optional={},
    ignored=(*NOT_USED, *AUTOENCODER),
    transposed=(),
    title="Prithvi-EO's encoder",
    reference="terratorch",
    buffers=lambda state: _positions(state, ""),
    dated=("patch_embed.proj",),
)
"""The masked autoencoder's files, Prithvi_EO_V2_tiny_TL.pt and others; its decoder is not used."""

PRITHVI_ENCODER = PRITHVI._replace(
    encoder={theirs: f"backbone/{ours}" for theirs, ours in PRITHVI.encoder.items()}, reference=""
)
"""The same for the encoder of a segmentation network."""

UP_BLOCK = {k: v for k, v in SMP_UP_BLOCK.items() if not k.startswith("attention")}
"""A block of UNetDecoder, which is that of segmentation_models_pytorch."""

TERRATORCH_UNET = Family(
    first="encoder.patch_embed.proj",
    encoder={f"encoder.{theirs}": ours for theirs, ours in PRITHVI_ENCODER.encoder.items()},
    decoder={
        "neck.2.fpn1.0": "fpn1_up1",
        "neck.2.fpn1.1": "fpn1_norm",
        "neck.2.fpn1.3": "fpn1_up2",
        "neck.2.fpn2.0": "fpn2_up",
        **{
            f"decoder.decoder.blocks.{number}.{theirs}": f"decoder{number}/{ours}"
            for number in range(3)
            for theirs, ours in UP_BLOCK.items()
        },
        # The last one does not enlarge.
        **{
            f"decoder.decoder.blocks.3.{theirs}": f"decoder3/{ours.removeprefix('double_conv/')}"
            for theirs, ours in UP_BLOCK.items()
        },
        "head.head.2": "head",
    },
    optional={},
    ignored=tuple(f"encoder.{name}" for name in NOT_USED),
    transposed=("neck.2.fpn1.0", "neck.2.fpn1.3", "neck.2.fpn2.0"),
    title="terratorch's Prithvi with UNetDecoder",
    reference="terratorch",
    buffers=lambda state: _positions(state, "encoder."),
    dated=("encoder.patch_embed.proj",),
)
"""terratorch's EncoderDecoderFactory with the necks SelectIndices, ReshapeTokensToImage and
LearnedInterpolateToPyramidal, the decoder UNetDecoder, and a head without hidden layers."""

TERRATORCH_LINEAR = TERRATORCH_UNET._replace(
    decoder={"decoder.conv": "head"},
    transposed=("decoder.conv",),
    title="terratorch's Prithvi with LinearDecoder",
)
"""The same factory with LinearDecoder."""
