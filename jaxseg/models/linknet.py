"""LinkNet: an encoder's features are added, not concatenated, so the decoder stays small.

    (B,H,W,C) ─ 7x7/2 ─ max /2 ─┬─ layer1 ─┬─ layer2 /2 ─┬─ layer3 /2 ─┬─ layer4 /2
                               +          +             +             +      │
    (B,H,W,K) ─ x2 ─ x2 ─ dec1 ┘── dec2 ──┘─── dec3 ────┘─── dec4 ────┘──────┘

    decoder m -> n:  1x1 to m/4 ─ transposed 3x3 ─ 1x1 to n

Source: Chaurasia, Culurciello, LinkNet: Exploiting Encoder Representations for Efficient Semantic
Segmentation, VCIP 2017, arXiv:1707.03718, in the form of e-lab/pytorch-linknet's LinkNetBase,
against which outputs were checked.

Differences from the paper: `form="pytorch"` has no biases in the decoders, as in that port.
`form="torch7"` is the authors' first code, with biases, and normalisation with epsilon 1e-3 outside
the encoder; its outputs were not available for comparison. Its ReLU after every sum is left out,
because both summands come from a ReLU and it has no effect.
"""

import functools
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxseg.models.parts.layers import BatchNorm, Conv, ConvTranspose, Dtype, LayerOf
from jaxseg.models.parts.resampling import max_pool3x3, pad_to_multiple
from jaxseg.models.parts.resnet import ResNet


class LinkNet(nn.Module):
    """(B, H, W, C) standardised image -> (B, H, W, K) float32 logits.

    Attributes:
        num_classes: K.
        backbone: The ResNet to use; the paper's is ResNet-18.
        form: Which code to follow: the PyTorch port or the authors' first code in Torch7.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
        remat: Whether to recompute ResNet and decoder blocks in the backward pass: less memory, a
            quarter more work.
    """

    num_classes: int
    backbone: Literal["resnet18", "resnet34"] = "resnet18"
    form: Literal["pytorch", "torch7"] = "pytorch"
    dtype: Dtype = "float32"
    remat: bool = False

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:
        """Logits of each pixel; any H and W, edge-padded internally to multiples of 32.

        Args:
            image: (B, H, W, C) float32.
            train: Whether batch normalisation uses the batch's statistics and updates the running
                ones.

        Returns:
            (B, H, W, K) float32 logits.
        """
        torch7 = self.form == "torch7"
        conv = functools.partial(Conv, use_bias=torch7, dtype=self.dtype)
        up = functools.partial(ConvTranspose, use_bias=torch7, dtype=self.dtype)
        norm = functools.partial(
            BatchNorm,
            use_running_average=not train,
            epsilon=1e-3 if torch7 else 1e-5,
            dtype=self.dtype,
        )
        kind = nn.remat(Decoder) if self.remat else Decoder
        decoder = functools.partial(kind, conv=conv, up=up, norm=norm)
        height, width = image.shape[1:3]

        backbone = ResNet(self.backbone, dtype=self.dtype, remat=self.remat, name="backbone")
        stem, layer1, layer2, layer3, layer4 = backbone(pad_to_multiple(image, 32), train=train)
        x = decoder(256, name="decoder4")(layer4) + layer3  # (B, H/16, W/16, 256)
        x = decoder(128, name="decoder3")(x) + layer2  # (B, H/8, W/8, 128)
        x = decoder(64, name="decoder2")(x) + layer1  # (B, H/4, W/4, 64)
        x = decoder(64, stride=1, name="decoder1")(x) + max_pool3x3(stem)

        wide = functools.partial(up, kernel_size=3, padding=1, output_padding=1, use_bias=True)
        x = nn.relu(norm(name="norm1")(wide(32, name="up1")(x)))  # (B, H/2, W/2, 32)
        x = nn.relu(norm(name="norm2")(conv(32, use_bias=True, name="conv")(x)))
        logits = up(self.num_classes, use_bias=True, name="head")(x)  # (B, H, W, K)
        return logits[:, :height, :width].astype(jnp.float32)


class Decoder(nn.Module):
    """Upsampling by 2 with a quarter of the channels: (B, h, w, m) -> (B, 2h, 2w, features).

    Attributes:
        features: Output channels, n.
        conv: Makes a convolution.
        up: Makes a transposed convolution.
        norm: Makes a normalisation.
        stride: Ratio of the output's size to the input's.
    """

    features: int
    conv: LayerOf
    up: LayerOf
    norm: LayerOf
    stride: int = 2

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, h, w, m) -> (B, stride h, stride w, features)."""
        quarter = x.shape[-1] // 4
        x = nn.relu(self.norm(name="norm1")(self.conv(quarter, kernel_size=1, name="conv1")(x)))
        up = self.up(
            quarter,
            kernel_size=3,
            stride=self.stride,
            padding=1,
            output_padding=self.stride - 1,
            name="up",
        )
        x = nn.relu(self.norm(name="up_norm")(up(x)))
        x = self.conv(self.features, kernel_size=1, name="conv2")(x)
        return nn.relu(self.norm(name="norm2")(x))
