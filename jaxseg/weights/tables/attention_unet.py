"""Names of Attention U-Nets (LeeJunHyun's and the authors') and of CHWS-UNet."""

from jaxseg.weights.tables.family import Family

# LeeJunHyun numbers the decoder's levels by where features come from, jaxseg by where they go.
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
    title="LeeJunHyun's AttU_Net",
    reference="leejunhyun",
    hints={r"Att\d": "gates=True if it has gates (Att2 to Att5), else False"},
)
"""AttU_Net, or U_Net for a network without gates."""

CHWS_UNET = Family(
    first="Conv1.conv.0",
    encoder=ENCODER,
    decoder=DECODER
    | {f"tp{i}.{theirs}": f"skip{i}/{ours}" for i in range(1, 5) for theirs, ours in _CHWS.items()}
    | {f"tp{i}.con1": f"skip{i}" for i in range(1, 5)},
    optional={},
    ignored=(),
    transposed=(),
    title="the authors' CHWS-UNet",
    reference="authors",
    hints={r"tp\d": 'the attention of the file: "chws", "lcam" or "none"'},
)
"""Frankyu666666/CHWS-UNet, and its LCAM-UNet."""

GRID_ATTENTION_UNET = Family(
    first="conv1.conv1.0",
    encoder={
        "conv{i}.conv{j}.0": "encoder{i}/conv{j}",
        "conv{i}.conv{j}.1": "encoder{i}/norm{j}",
        "center.conv{j}.0": "bottleneck/conv{j}",
        "center.conv{j}.1": "bottleneck/norm{j}",
    },
    decoder={
        "gating.conv1.0": "signal",
        "gating.conv1.1": "signal_norm",
        "attentionblock{i}.gate_block_{j}.theta": "gate{i}/gate{j}/theta",
        "attentionblock{i}.gate_block_{j}.phi": "gate{i}/gate{j}/phi",
        "attentionblock{i}.gate_block_{j}.psi": "gate{i}/gate{j}/psi",
        "attentionblock{i}.gate_block_{j}.W.0": "gate{i}/gate{j}/out",
        "attentionblock{i}.gate_block_{j}.W.1": "gate{i}/gate{j}/norm",
        "attentionblock{i}.combine_gates.0": "gate{i}/fuse",
        "attentionblock{i}.combine_gates.1": "gate{i}/fuse_norm",
        "up_concat{i}.conv.conv{j}.0": "decoder{i}/conv{j}",
        "up_concat{i}.conv.conv{j}.1": "decoder{i}/norm{j}",
        "dsv1": "answer1",
        "dsv{i}.dsv.0": "answer{i}",
        "final": "head",
    },
    optional={},
    ignored=(),
    transposed=(),
    title="the authors' grid Attention U-Net",
    reference="authors",
    hints={"gate_block_2": "gates=2 if it has gate_block_2, else 1"},
)
"""ozan-oktay/Attention-Gated-Networks, unet_CT_multi_att_dsv_3D and unet_CT_single_att_dsv_3D with
2D layers instead of 3D ones."""
