"""Names of the U-Nets of LeeJunHyun/Image_Segmentation, and of CHWS-UNet, built on them."""

from jaxseg.weight_tables.family import Family

# Theirs count the levels of the decoder by where features come from, ours by where they go.
_LEVELS = {2: 1, 3: 2, 4: 3, 5: 4}
_BLOCK = {"conv.0": "conv1", "conv.1": "norm1", "conv.3": "conv2", "conv.4": "norm2"}
_GATE = {
    "W_x.0": "skip",
    "W_x.1": "skip_norm",
    "W_g.0": "signal",
    "W_g.1": "signal_norm",
    "psi.0": "psi",
    "psi.1": "psi_norm",
}
_CHWS = {
    f"{theirs}.{part}": f"{ours}{place}"
    for theirs, ours in {"cs": "channel", "hs": "height", "ws": "width"}.items()
    for part, place in {"ca.con1": "/lcam", "sa.conv1": "/place", "bn": "_norm"}.items()
} | {"bn": "norm"}

ENCODER = {
    f"Conv{i}.{theirs}": f"{'bottleneck' if i == 5 else f'encoder{i}'}/{ours}"
    for i in range(1, 6)
    for theirs, ours in _BLOCK.items()
}

DECODER = {
    **{f"Up{i}.up.1": f"up{j}/conv" for i, j in _LEVELS.items()},
    **{f"Up{i}.up.2": f"up{j}/norm" for i, j in _LEVELS.items()},
    **{
        f"Up_conv{i}.{theirs}": f"decoder{j}/{ours}"
        for i, j in _LEVELS.items()
        for theirs, ours in _BLOCK.items()
    },
    "Conv_1x1": "head",
}

ATTENTION_UNET = Family(
    first="Conv1.conv.0",
    encoder=ENCODER,
    decoder=DECODER
    | {
        f"Att{i}.{theirs}": f"gate{j}/{ours}"
        for i, j in _LEVELS.items()
        for theirs, ours in _GATE.items()
    },
    optional={},
    ignored=(),
    transposed=(),
)
"""AttU_Net, and U_Net for a network without gates."""

CHWS_UNET = Family(
    first="Conv1.conv.0",
    encoder=ENCODER,
    decoder=DECODER
    | {f"tp{i}.{theirs}": f"skip{i}/{ours}" for i in range(1, 5) for theirs, ours in _CHWS.items()},
    optional={},
    ignored=(),
    transposed=(),
)
"""Frankyu666666/CHWS-UNet."""
