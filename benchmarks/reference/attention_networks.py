"""Attention U-Nets and CHWS-UNet in PyTorch, with the weight names of their references.

Rewritten from the references' graphs: (B, 3, H, W) -> (B, K, H, W) logits, H and W multiples of 16.
Initial values are PyTorch's defaults; `jaxseg.weights.pretrained` reads them by name.
"""

import math

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Twice 3x3, normalisation, ReLU; LeeJunHyun's conv_block."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Convolutions have biases."""
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            layers += [nn.Conv2d(channels, outputs, 3, 1, 1), nn.BatchNorm2d(outputs)]
            layers += [nn.ReLU(inplace=True)]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        return self.conv(x)


class Up(nn.Module):
    """Pixels repeated, 3x3, normalisation, ReLU; LeeJunHyun's up_conv."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """One convolution with a bias."""
        super().__init__()
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2),
            nn.Conv2d(inputs, outputs, 3, 1, 1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, h, w) -> (B, outputs, 2h, 2w)."""
        return self.up(x)


class Gate(nn.Module):
    """LeeJunHyun's Attention_block."""

    def __init__(self, channels: int) -> None:
        """Half the channels inside."""
        super().__init__()
        half = channels // 2
        self.W_g = nn.Sequential(nn.Conv2d(channels, half, 1), nn.BatchNorm2d(half))
        self.W_x = nn.Sequential(nn.Conv2d(channels, half, 1), nn.BatchNorm2d(half))
        self.psi = nn.Sequential(nn.Conv2d(half, 1, 1), nn.BatchNorm2d(1), nn.Sigmoid())

    def forward(self, signal: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """The skip times one number per pixel."""
        return skip * self.psi(functional.relu(self.W_g(signal) + self.W_x(skip), inplace=True))


class AttentionUNet(nn.Module):
    """LeeJunHyun/Image_Segmentation's AttU_Net."""

    def __init__(self, num_classes: int, features: int = 64) -> None:
        """Levels count from 1, the finest; decoder and gates from 2."""
        super().__init__()
        widths = [3, *(features * 2**i for i in range(5))]
        for i in range(1, 6):
            self.add_module(f"Conv{i}", Block(widths[i - 1], widths[i]))
        for i in range(2, 6):
            self.add_module(f"Up{i}", Up(widths[i], widths[i - 1]))
            self.add_module(f"Up_conv{i}", Block(widths[i], widths[i - 1]))
            self._add_skip(i, widths[i - 1])
        self.Conv_1x1 = nn.Conv2d(features, num_classes, 1)

    def _add_skip(self, level: int, channels: int) -> None:
        self.add_module(f"Att{level}", Gate(channels))

    def _skip(self, level: int, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        return self.get_submodule(f"Att{level}")(x, skip)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, K, H, W)."""
        skips = []
        for i in range(1, 6):
            x = self.get_submodule(f"Conv{i}")(functional.max_pool2d(x, 2) if i > 1 else x)
            skips.append(x)
        for i in range(5, 1, -1):
            x = self.get_submodule(f"Up{i}")(x)
            x = torch.cat((self._skip(i, x, skips[i - 2]), x), 1)
            x = self.get_submodule(f"Up_conv{i}")(x)
        return self.Conv_1x1(x)


class CHWSUNet(AttentionUNet):
    """Frankyu666666/CHWS-UNet, for images of 256 x 256."""

    def _add_skip(self, level: int, channels: int) -> None:
        self.add_module(f"tp{level - 1}", CHWS(channels, 256 // 2 ** (level - 2)))

    def _skip(self, level: int, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        return self.get_submodule(f"tp{level - 1}")(skip)


class CHWS(nn.Module):
    """The mean of three units over memory read in three orders."""

    def __init__(self, channels: int, side: int) -> None:
        """`side` is the height and width."""
        super().__init__()
        self.cs = CHWSUnit(channels)
        self.hs = CHWSUnit(side)
        self.ws = CHWSUnit(side)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same."""
        batch, channels, height, width = x.shape
        rows = self.hs(x.reshape(batch, height, width, channels)).reshape(x.shape)
        columns = self.ws(x.reshape(batch, width, channels, height)).reshape(x.shape)
        return self.bn(functional.relu((self.cs(x) + rows + columns) / 3))


class CHWSUnit(nn.Module):
    """Channels weighed, then places; normalisation, ReLU."""

    def __init__(self, channels: int) -> None:
        """The reach of the channels' convolution follows their number."""
        super().__init__()
        self.ca = ChannelAttention(channels)
        self.sa = PlaceAttention()
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same."""
        return functional.relu(self.bn(self.sa(self.ca(x))))


class ChannelAttention(nn.Module):
    """LCAM."""

    def __init__(self, channels: int) -> None:
        """Taps: half the binary logarithm of the channels, odd, 3 at least."""
        super().__init__()
        taps = max(3, int(abs((math.log2(channels) + 1) / 2)))
        taps += taps % 2 == 0
        self.con1 = nn.Conv1d(1, 1, taps, padding=taps // 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same."""
        mean, most = x.mean((2, 3)), x.amax((2, 3))
        gate = torch.sigmoid(self.con1(mean[:, None]) + self.con1(most[:, None]))
        return x * gate[:, 0, :, None, None]


class PlaceAttention(nn.Module):
    """CBAM's spatial attention."""

    def __init__(self) -> None:
        """One 7x7 convolution."""
        super().__init__()
        self.conv1 = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same."""
        seen = torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), 1)
        return x * torch.sigmoid(self.conv1(seen))


class GridAttentionUNet(nn.Module):
    """ozan-oktay/Attention-Gated-Networks' unet_CT_multi_att_dsv_3D in two dimensions."""

    def __init__(self, num_classes: int, features: int = 16) -> None:
        """Two gates side by side on three of the four skips."""
        super().__init__()
        widths = [3, *(features * 2**i for i in range(5))]
        for i in range(1, 5):
            self.add_module(f"conv{i}", GridBlock(widths[i - 1], widths[i]))
            inputs = widths[i] + widths[i + 1]
            self.add_module(f"up_concat{i}", nn.Module())
            self.get_submodule(f"up_concat{i}").conv = GridBlock(inputs, widths[i])
            if i > 1:
                self.add_module(f"attentionblock{i}", GridGates(widths[i], widths[i + 1]))
                self.add_module(f"dsv{i}", nn.Module())
                self.get_submodule(f"dsv{i}").dsv = nn.Sequential(
                    nn.Conv2d(widths[i], num_classes, 1),
                    nn.Upsample(scale_factor=2 ** (i - 1), mode="bilinear"),
                )
        self.center = GridBlock(widths[4], widths[5])
        self.gating = nn.Module()
        self.gating.conv1 = nn.Sequential(
            nn.Conv2d(widths[5], widths[5], 1), nn.BatchNorm2d(widths[5]), nn.ReLU(inplace=True)
        )
        self.dsv1 = nn.Conv2d(features, num_classes, 1)
        self.final = nn.Conv2d(4 * num_classes, num_classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, K, H, W)."""
        skips = {}
        for i in range(1, 5):
            x = skips[i] = self.get_submodule(f"conv{i}")(x)
            x = functional.max_pool2d(x, 2)
        x = self.center(x)
        signal, answers = self.gating.conv1(x), []
        for i in range(4, 0, -1):
            skip = self.get_submodule(f"attentionblock{i}")(skips[i], signal) if i > 1 else skips[i]
            x = functional.interpolate(x, scale_factor=2, mode="bilinear")
            x = signal = self.get_submodule(f"up_concat{i}").conv(torch.cat((skip, x), 1))
            answers.append(self.get_submodule(f"dsv{i}").dsv(x) if i > 1 else self.dsv1(x))
        return self.final(torch.cat(answers[::-1], 1))


class GridBlock(nn.Module):
    """Twice 3x3, normalisation, ReLU, under the authors' names."""

    def __init__(self, inputs: int, outputs: int) -> None:
        """Convolutions have biases."""
        super().__init__()
        for i, channels in ((1, inputs), (2, outputs)):
            layers = nn.Conv2d(channels, outputs, 3, 1, 1), nn.BatchNorm2d(outputs)
            self.add_module(f"conv{i}", nn.Sequential(*layers, nn.ReLU(inplace=True)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H, W)."""
        return self.get_submodule("conv2")(self.get_submodule("conv1")(x))


class GridGates(nn.Module):
    """Two gates side by side, fused."""

    def __init__(self, channels: int, signal: int) -> None:
        """`signal` channels drive them."""
        super().__init__()
        self.gate_block_1 = GridGate(channels, signal)
        self.gate_block_2 = GridGate(channels, signal)
        self.combine_gates = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True)
        )

    def forward(self, skip: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same."""
        gated = self.gate_block_1(skip, signal), self.gate_block_2(skip, signal)
        return self.combine_gates(torch.cat(gated, 1))


class GridGate(nn.Module):
    """Additive attention on half the skip's grid."""

    def __init__(self, channels: int, signal: int) -> None:
        """As many channels inside as the skip has."""
        super().__init__()
        self.theta = nn.Conv2d(channels, channels, 2, 2, bias=False)
        self.phi = nn.Conv2d(signal, channels, 1)
        self.psi = nn.Conv2d(channels, 1, 1)
        self.W = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels))

    def forward(self, skip: torch.Tensor, signal: torch.Tensor) -> torch.Tensor:
        """(B, C, h, w) -> the same."""
        theta = self.theta(skip)
        phi = functional.interpolate(self.phi(signal), theta.shape[2:], mode="bilinear")
        alpha = torch.sigmoid(self.psi(functional.relu(theta + phi, inplace=True)))
        return self.W(functional.interpolate(alpha, skip.shape[2:], mode="bilinear") * skip)
