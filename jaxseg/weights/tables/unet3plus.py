"""Names of UNet 3+."""

from jaxseg.weights.tables.family import Family

AUTHORS_UNET3PLUS = Family(
    first="conv1.conv1.0",
    encoder={
        "conv{i}.conv{j}.0": "encoder{i}/conv{j}",
        "conv{i}.conv{j}.1": "encoder{i}/norm{j}",
    },
    decoder={
        "h{i}_PT_hd{j}_conv": "decoder{j}/pooled{i}",
        "h{i}_PT_hd{j}_bn": "decoder{j}/pooled{i}_norm",
        "h{i}_Cat_hd{i}_conv": "decoder{i}/same",
        "h{i}_Cat_hd{i}_bn": "decoder{i}/same_norm",
        "hd{i}_UT_hd{j}_conv": "decoder{j}/up{i}",
        "hd{i}_UT_hd{j}_bn": "decoder{j}/up{i}_norm",
        "conv{i}d_1": "decoder{i}/fuse",
        "bn{i}d_1": "decoder{i}/fuse_norm",
        "outconv1": "head1",
    },
    optional={"outconv{i}": "head{i}"},
    ignored=("cls.1",),
    transposed=(),
    title="the authors' UNet 3+",
    reference="authors",
    hints={"outconv": "deep_supervision=True if it has outconv2 to outconv5, else False"},
)
"""ZJUGiveLab/UNet-Version: UNet_3Plus, UNet_3Plus_DeepSup, and UNet_3Plus_DeepSup_CGM without its
classification-guided module."""
