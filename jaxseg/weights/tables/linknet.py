"""Names of LinkNet: e-lab/pytorch-linknet's LinkNetBase, whose blocks count from 1."""

from jaxseg.weights.tables.family import Family

LINKNET = Family(
    first="conv1",
    encoder={
        "conv1": "backbone/conv1",
        "bn1": "backbone/norm1",
        "encoder{i}.block1.conv1": "backbone/layer{i}_0/conv1",
        "encoder{i}.block1.bn1": "backbone/layer{i}_0/norm1",
        "encoder{i}.block1.conv2": "backbone/layer{i}_0/conv2",
        "encoder{i}.block1.bn2": "backbone/layer{i}_0/norm2",
        "encoder{i}.block1.downsample.0": "backbone/layer{i}_0/project",
        "encoder{i}.block1.downsample.1": "backbone/layer{i}_0/project_norm",
        "encoder{i}.block2.conv1": "backbone/layer{i}_1/conv1",
        "encoder{i}.block2.bn1": "backbone/layer{i}_1/norm1",
        "encoder{i}.block2.conv2": "backbone/layer{i}_1/conv2",
        "encoder{i}.block2.bn2": "backbone/layer{i}_1/norm2",
    },
    decoder={
        "decoder{i}.conv1.0": "decoder{i}/conv1",
        "decoder{i}.conv1.1": "decoder{i}/norm1",
        "decoder{i}.tp_conv.0": "decoder{i}/up",
        "decoder{i}.tp_conv.1": "decoder{i}/up_norm",
        "decoder{i}.conv2.0": "decoder{i}/conv2",
        "decoder{i}.conv2.1": "decoder{i}/norm2",
        "tp_conv1.0": "up1",
        "tp_conv1.1": "norm1",
        "conv2.0": "conv",
        "conv2.1": "norm2",
        "tp_conv2": "head",
    },
    optional={},
    ignored=(),
    transposed=("decoder{i}.tp_conv.0", "tp_conv1.0", "tp_conv2"),
)
"""LinkNetBase, and the ResNet-18 in it."""
