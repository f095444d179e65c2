"""The two PSPNets in PyTorch, on torchvision's ResNets, with the references' weight names.

Rewritten from the references' graphs: (B, 3, H, W) -> (B, K, H, W) logits. Initial values are
PyTorch's defaults; `jaxseg.weights.pretrained` reads them by name.
"""

import torch
from torch import nn
from torch.nn import functional
from torchvision.models import resnet


class PSPNet(nn.Module):
    """hszhao/semseg's PSPNet, a ResNet with the deep stem, without its auxiliary head."""

    def __init__(self, num_classes: int, backbone: str = "resnet50") -> None:
        """H and W are multiples of 8 plus one; the backbone is `resnet18` or `resnet50`."""
        super().__init__()
        block, depths, strided = {
            "resnet18": (resnet.BasicBlock, [2, 2, 2, 2], ("conv1", "conv2")),
            "resnet50": (resnet.Bottleneck, [3, 4, 6, 3], ("conv2",)),
        }[backbone]
        network = resnet.ResNet(block, depths)
        network.inplanes = 128
        network.layer1 = network._make_layer(block, 64, depths[0])
        features = 512 * block.expansion
        stem = []
        for inputs, outputs, stride in ((3, 64, 2), (64, 64, 1), (64, 128, 1)):
            stem += [nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)]
            stem += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        self.layer0 = nn.Sequential(*stem, nn.MaxPool2d(3, 2, 1))
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3 = dilated(network.layer3, strided, 2)
        self.layer4 = dilated(network.layer4, strided, 4)
        self.ppm = nn.Module()
        self.ppm.features = nn.ModuleList(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(bins),
                nn.Conv2d(features, features // 4, 1, bias=False),
                nn.BatchNorm2d(features // 4),
                nn.ReLU(inplace=True),
            )
            for bins in (1, 2, 3, 6)
        )
        self.cls = nn.Sequential(
            nn.Conv2d(2 * features, 512, 3, 1, 1, bias=False),
            nn.BatchNorm2d(512),
            nn.ReLU(inplace=True),
            nn.Dropout2d(0.1),
            nn.Conv2d(512, num_classes, 1),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, K, H, W)."""
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.layer0(image)))))
        means = [
            functional.interpolate(level(x), x.shape[2:], mode="bilinear", align_corners=True)
            for level in self.ppm.features
        ]
        x = self.cls(torch.cat((x, *means), 1))
        return functional.interpolate(x, image.shape[2:], mode="bilinear", align_corners=True)


class LecturePSPNet(nn.Module):
    """Lextal/pspnet-pytorch's PSPNet on ResNet-18, without its softmax; maps only.

    Its classifier of the whole image has weights here and is not run: the benchmark trains maps.
    """

    def __init__(self, num_classes: int) -> None:
        """H and W are multiples of 8."""
        super().__init__()
        network = resnet.ResNet(resnet.BasicBlock, [2, 2, 2, 2])
        dilated(network.layer3, ("conv1", "conv2"), 2, first=1)
        dilated(network.layer4, ("conv1", "conv2"), 4, first=1)
        del network.fc, network.avgpool
        self.feats = network
        self.psp = nn.Module()
        self.psp.stages = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(bins), nn.Conv2d(512, 512, 1, bias=False))
            for bins in (1, 2, 3, 6)
        )
        self.psp.bottleneck = nn.Conv2d(5 * 512, 1024, 1)
        for i, (inputs, outputs) in enumerate(((1024, 256), (256, 64), (64, 64)), 1):
            step = nn.Module()
            step.conv = nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, 1, 1), nn.BatchNorm2d(outputs), nn.PReLU()
            )
            self.add_module(f"up_{i}", step)
        self.drop_1, self.drop_2 = nn.Dropout2d(0.3), nn.Dropout2d(0.15)
        self.final = nn.Sequential(nn.Conv2d(64, num_classes, 1))
        self.classifier = nn.Sequential(
            nn.Linear(256, 256), nn.ReLU(inplace=True), nn.Linear(256, num_classes)
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, K, H, W)."""
        x = self.feats.maxpool(self.feats.relu(self.feats.bn1(self.feats.conv1(image))))
        for i in range(1, 5):
            x = self.feats.get_submodule(f"layer{i}")(x)
        means = [
            functional.interpolate(stage(x), x.shape[2:], mode="bilinear")
            for stage in self.psp.stages
        ]
        x = functional.relu(self.psp.bottleneck(torch.cat((*means, x), 1)), inplace=True)
        x = self.drop_1(x)
        for i in range(1, 4):
            x = functional.interpolate(x, scale_factor=2, mode="bilinear")
            x = self.drop_2(self.get_submodule(f"up_{i}").conv(x))
        return self.final(x)


def dilated(
    layer: nn.Module, convolutions: tuple[str, ...], rate: int, first: int | None = None
) -> nn.Module:
    """The layer with an atrous rate in place of its stride; the first block may have its own."""
    for number, block in enumerate(layer.children()):
        own = first if first is not None and number == 0 else rate
        for name in convolutions:
            conv = block.get_submodule(name)
            conv.stride, conv.dilation, conv.padding = (1, 1), (own, own), (own, own)
        if block.downsample is not None:
            block.downsample[0].stride = (1, 1)
    return layer
