"""Names of U-Nets."""

from jaxseg.weight_tables.family import Family

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
