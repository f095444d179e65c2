"""Names of LinkNet: e-lab/pytorch-linknet's LinkNetBase, whose blocks count from 1, and LinkNet."""

from jaxseg.weights.tables.family import Family
from jaxseg.weights.tables.resnet import TORCHVISION_RESNET

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
    form={"form": "pytorch"},
    title="e-lab's LinkNetBase",
    reference="linknet-base",
    only={"backbone": ("resnet18",)},
    hints={
        r"decoder\d\.\w+\.0\.bias": 'form="torch7" if its decoders have biases, else "pytorch"',
    },
)
"""LinkNetBase, and the ResNet-18 in it."""

LINKNET_TORCHVISION = LINKNET._replace(
    first="in_block.0",
    encoder={
        "in_block.0": "backbone/conv1",
        "in_block.1": "backbone/norm1",
        **{
            k.replace("layer", "encoder"): f"backbone/{v}"
            for k, v in TORCHVISION_RESNET.encoder.items()
            if k.startswith("layer")
        },
    },
    title="e-lab's LinkNet",
    reference="linknet",
)
"""LinkNet of the same repository: the same network with torchvision's blocks."""

LINKNET_TORCH7 = LINKNET._replace(
    form={"form": "torch7"}, title="LinkNet as in Torch7", reference="", only={}
)
"""The names of LinkNetBase for the authors' first code, whose decoders have biases."""
