"""The zoo's networks in PyTorch, with the weight names of their reference implementations.

Rewritten from the references' graphs if no package has them: (B, 3, H, W) -> (B, K, H, W) logits.
Initial values are PyTorch's defaults; `jaxseg.weights.pretrained` reads them by name.
"""

import torch
from torch import nn
from torch.nn import functional


class LectureUNet(nn.Module):
    """mateuszbuda/brain-segmentation-pytorch's U-Net without its sigmoid."""

    def __init__(self, num_classes: int, features: int = 32) -> None:
        """Makes the layers in the order of the reference."""
        super().__init__()
        widths = [3, *(features * 2**i for i in range(5))]
        for i in range(1, 5):
            self.add_module(f"encoder{i}", self._block(widths[i - 1], widths[i], f"enc{i}"))
        self.bottleneck = self._block(widths[4], widths[5], "bottleneck")
        for i in range(4, 0, -1):
            self.add_module(f"upconv{i}", nn.ConvTranspose2d(widths[i + 1], widths[i], 2, 2))
            self.add_module(f"decoder{i}", self._block(widths[i + 1], widths[i], f"dec{i}"))
        self.pool = nn.MaxPool2d(2, 2)
        self.conv = nn.Conv2d(features, num_classes, 1)

    @staticmethod
    def _block(inputs: int, outputs: int, name: str) -> nn.Sequential:
        block = nn.Sequential()
        for i, channels in ((1, inputs), (2, outputs)):
            block.add_module(f"{name}conv{i}", nn.Conv2d(channels, outputs, 3, 1, 1, bias=False))
            block.add_module(f"{name}norm{i}", nn.BatchNorm2d(outputs))
            block.add_module(f"{name}relu{i}", nn.ReLU(inplace=True))
        return block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, K, H, W)."""
        skips = []
        for i in range(1, 5):
            x = self.get_submodule(f"encoder{i}")(x)
            skips.append(x)
            x = self.pool(x)
        x = self.bottleneck(x)
        for i in range(4, 0, -1):
            x = self.get_submodule(f"upconv{i}")(x)
            x = self.get_submodule(f"decoder{i}")(torch.cat((x, skips[i - 1]), 1))
        return self.conv(x)


class OriginalUNet(nn.Module):
    """The U-Net of 2015: unpadded convolutions with biases, dropout after the last two blocks."""

    def __init__(self, num_classes: int, features: int = 64) -> None:
        """Five blocks down, four up."""
        super().__init__()
        widths = [3, *(features * 2**i for i in range(5))]
        self.down = nn.ModuleList(self._block(widths[i], widths[i + 1]) for i in range(5))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(widths[i + 1], widths[i], 2, 2) for i in range(4, 0, -1)
        )
        self.dec = nn.ModuleList(self._block(widths[i + 1], widths[i]) for i in range(4, 0, -1))
        self.head = nn.Conv2d(features, num_classes, 1)
        self.drop = nn.Dropout(0.5)

    @staticmethod
    def _block(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, K, H - 184, W - 184)."""
        skips = []
        for i, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if i else x)
            x = self.drop(x) if i >= 3 else x
            skips.append(x)
        skips.pop()
        for up, block in zip(self.up, self.dec, strict=True):
            x, skip = up(x), skips.pop()
            top, left = ((skip.shape[i] - x.shape[i]) // 2 for i in (2, 3))
            skip = skip[:, :, top : top + x.shape[2], left : left + x.shape[3]]
            x = block(torch.cat((skip, x), 1))
        return self.head(x)


class LinkNetBase(nn.Module):
    """e-lab/pytorch-linknet's LinkNetBase: ResNet-18 encoder, sums instead of concatenations."""

    def __init__(self, num_classes: int) -> None:
        """Encoders and decoders count from 1, the finest."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        widths = (64, 64, 128, 256, 512)
        for i in range(1, 5):
            stride = 1 if i == 1 else 2
            encoder = nn.Sequential()
            encoder.add_module("block1", BasicBlock(widths[i - 1], widths[i], stride))
            encoder.add_module("block2", BasicBlock(widths[i], widths[i], 1))
            self.add_module(f"encoder{i}", encoder)
            self.add_module(f"decoder{i}", LinkNetDecoder(widths[i], widths[i - 1], stride))
        self.tp_conv1 = _unit(nn.ConvTranspose2d(64, 32, 3, 2, 1, 1), 32)
        self.conv2 = _unit(nn.Conv2d(32, 32, 3, 1, 1), 32)
        self.tp_conv2 = nn.ConvTranspose2d(32, num_classes, 2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, K, H, W); H and W are multiples of 32."""
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        features = [functional.max_pool2d(x, 3, 2, 1)]
        for i in range(1, 5):
            features.append(self.get_submodule(f"encoder{i}")(features[-1]))
        x = features[4]
        for i in range(4, 0, -1):
            x = features[i - 1] + self.get_submodule(f"decoder{i}")(x)
        return self.tp_conv2(self.conv2(self.tp_conv1(x)))


def _unit(conv: nn.Module, width: int) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


class BasicBlock(nn.Module):
    """ResNet-18's: two 3x3 convolutions, plus the input."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        """A projection where the shape changes."""
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = nn.Sequential()
        if stride != 1 or inputs != width:
            self.downsample.append(nn.Conv2d(inputs, width, 1, stride, bias=False))
            self.downsample.append(nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, width, H / stride, W / stride)."""
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        return functional.relu(self.bn2(self.conv2(y)) + self.downsample(x), inplace=True)


class LinkNetDecoder(nn.Sequential):
    """1x1 to a quarter, transposed 3x3, 1x1."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        """`stride` is how much larger the output is."""
        super().__init__()
        quarter = inputs // 4
        up = nn.ConvTranspose2d(quarter, quarter, 3, stride, 1, stride - 1, bias=False)
        self.add_module("conv1", _unit(nn.Conv2d(inputs, quarter, 1, bias=False), quarter))
        self.add_module("tp_conv", _unit(up, quarter))
        self.add_module("conv2", _unit(nn.Conv2d(quarter, outputs, 1, bias=False), outputs))


class ResNetUNet(nn.Module):
    """segmentation_models_pytorch's Unet on a ResNet-34."""

    def __init__(self, num_classes: int) -> None:
        """The encoder has torchvision's names; decoder blocks count from 0, the coarsest."""
        super().__init__()
        widths, depths = (64, 64, 128, 256, 512), (3, 4, 6, 3)
        self.encoder = nn.Module()
        self.encoder.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.encoder.bn1 = nn.BatchNorm2d(64)
        for i, depth in enumerate(depths, 1):
            blocks = [BasicBlock(widths[i - 1], widths[i], 1 if i == 1 else 2)]
            blocks += [BasicBlock(widths[i], widths[i], 1) for _ in range(depth - 1)]
            self.encoder.add_module(f"layer{i}", nn.Sequential(*blocks))
        self.decoder = nn.Module()
        self.decoder.blocks = nn.ModuleList()
        inputs = 512
        for skip, outputs in ((256, 256), (128, 128), (64, 64), (64, 32), (0, 16)):
            block = nn.Module()
            block.conv1 = _unit(nn.Conv2d(inputs + skip, outputs, 3, 1, 1, bias=False), outputs)
            block.conv2 = _unit(nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), outputs)
            self.decoder.blocks.append(block)
            inputs = outputs
        self.segmentation_head = nn.Sequential(nn.Conv2d(16, num_classes, 3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, K, H, W); H and W are multiples of 32."""
        x = functional.relu(self.encoder.bn1(self.encoder.conv1(x)), inplace=True)
        skips = [x]
        x = functional.max_pool2d(x, 3, 2, 1)
        for i in range(1, 5):
            x = self.encoder.get_submodule(f"layer{i}")(x)
            skips.append(x)
        x = skips.pop()
        for block in self.decoder.blocks:
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = torch.cat((x, skips.pop()), 1) if skips else x
            x = block.conv2(block.conv1(x))
        return self.segmentation_head(x)


class UNet3Plus(nn.Module):
    """ZJUGiveLab/UNet-Version's UNet_3Plus: every decoder stage sees every scale."""

    def __init__(self, num_classes: int, features: int = 64) -> None:
        """Encoder stages 1 to 5, decoder stages 4 to 1, each of five sources."""
        super().__init__()
        widths = [3, *(features * 2**i for i in range(5))]
        for i in range(1, 6):
            block = nn.Sequential()
            block.add_module(
                "conv1", _unit(nn.Conv2d(widths[i - 1], widths[i], 3, 1, 1), widths[i])
            )
            block.add_module("conv2", _unit(nn.Conv2d(widths[i], widths[i], 3, 1, 1), widths[i]))
            self.add_module(f"conv{i}", block)
        for stage in range(4, 0, -1):
            for i in range(1, 6):
                inputs = widths[i] if i <= stage or i == 5 else 5 * features
                conv, norm = self._names(i, stage)
                self.add_module(conv, nn.Conv2d(inputs, features, 3, 1, 1))
                self.add_module(norm, nn.BatchNorm2d(features))
            self.add_module(f"conv{stage}d_1", nn.Conv2d(5 * features, 5 * features, 3, 1, 1))
            self.add_module(f"bn{stage}d_1", nn.BatchNorm2d(5 * features))
        self.outconv1 = nn.Conv2d(5 * features, num_classes, 3, 1, 1)

    @staticmethod
    def _names(source: int, stage: int) -> tuple[str, str]:
        kind = "PT" if source < stage else "Cat" if source == stage else "UT"
        letters = "h" if source <= stage else "hd"
        stem = f"{letters}{source}_{kind}_hd{stage}"
        return f"{stem}_conv", f"{stem}_bn"

    def _layer(self, conv: str, norm: str, x: torch.Tensor) -> torch.Tensor:
        return functional.relu(self.get_submodule(norm)(self.get_submodule(conv)(x)), inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, K, H, W); H and W are multiples of 16."""
        features = {}
        for i in range(1, 6):
            x = self.get_submodule(f"conv{i}")(functional.max_pool2d(x, 2) if i > 1 else x)
            features[i] = x
        for stage in range(4, 0, -1):
            parts = []
            for i in range(1, 6):
                y = features[i]
                if i < stage:
                    y = functional.max_pool2d(y, 2 ** (stage - i), ceil_mode=True)
                elif i > stage:
                    y = functional.interpolate(y, scale_factor=2 ** (i - stage), mode="bilinear")
                parts.append(self._layer(*self._names(i, stage), y))
            fused = torch.cat(parts, 1)
            features[stage] = self._layer(f"conv{stage}d_1", f"bn{stage}d_1", fused)
        return self.outconv1(features[1])
