"""Names of ResNets."""

from jaxseg.weights.tables.family import Family

TORCHVISION_RESNET = Family(
    first="conv1",
    encoder={
        "conv1": "conv1",
        "bn1": "norm1",
        "layer{i}.{j}.conv1": "layer{i}_{j}/conv1",
        "layer{i}.{j}.bn1": "layer{i}_{j}/norm1",
        "layer{i}.{j}.conv2": "layer{i}_{j}/conv2",
        "layer{i}.{j}.bn2": "layer{i}_{j}/norm2",
        "layer{i}.{j}.conv3": "layer{i}_{j}/conv3",
        "layer{i}.{j}.bn3": "layer{i}_{j}/norm3",
        "layer{i}.{j}.downsample.0": "layer{i}_{j}/project",
        "layer{i}.{j}.downsample.1": "layer{i}_{j}/project_norm",
    },
    decoder={},
    optional={},
    ignored=("fc",),
    transposed=(),
    title="a ResNet with torchvision's names",
    reference="torchvision",
)
"""torchvision.models.resnet18 .. resnet101, trained on ImageNet."""

RESNET_AS_ENCODER = TORCHVISION_RESNET._replace(
    encoder={k: f"backbone/{v}" for k, v in TORCHVISION_RESNET.encoder.items()}, reference=""
)
"""A ResNet in any file, such as that of a classification network, as the encoder of a network."""
