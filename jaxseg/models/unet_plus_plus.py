"""UNet++: the skips of a U-Net become small decoders, so that both sides of a skip are alike.

    stride 2    x00 ── x01 ── x02 ── x03 ── x04 ─ up ─ 3x3 ─ (B,H,W,K)
                   /      /      /      /
    stride 4    x10 ── x11 ── x12 ── x13        xi0  the encoder's features at row i's stride
                   /      /      /              xij  up-sampled x(i+1)(j-1), beside it all of its
    stride 8    x20 ── x21 ── x22                    row so far, xi(j-1) .. xi0; two convolutions
                   /      /
    stride 16   x30 ── x31
                   /
    stride 32   x40

Source: Zhou, Siddiquee, Tajbakhsh, Liang, UNet++: A Nested U-Net Architecture for Medical Image
Segmentation, DLMIA 2018, arXiv:1807.10165, and Redesigning Skip Connections to Exploit Multiscale
Features in Image Segmentation, IEEE TMI 39, 2020, arXiv:1912.05074. Checked against the
UnetPlusPlus of segmentation_models_pytorch 0.5.

Differences from the papers, all as in segmentation_models_pytorch: the encoder is a ResNet or an
EfficientNet, so the first row has half the image's size and one more upsampling follows x04;
upsampling repeats pixels; only the last node of a row has the decoder's channels, the others have
the encoder's. Deep supervision is that of the papers, but its position in this graph is our choice,
because segmentation_models_pytorch has none: see `UNetPlusPlus.deep_supervision`.
"""

import dataclasses
import functools

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxseg.errors import COUNT
from jaxseg.models.parts.blocks import PIXELS, ConvToBlocks, LogitsInBlocks, logits_of_blocks
from jaxseg.models.parts.encoders import Encoder, encoder
from jaxseg.models.parts.layers import BatchNorm, Conv, Dtype
from jaxseg.models.parts.platforms import blocks_pay
from jaxseg.models.parts.resampling import pad_to_multiple, resize
from jaxseg.models.resnet_unet import Attention, UpBlock


class UNetPlusPlus(LogitsInBlocks):
    """(B, H, W, C) standardised image -> (B, H, W, K) float32 logits.

    Attributes:
        num_classes: K.
        backbone: The encoder. An EfficientNet weights channels by means over the whole input, so
            that logits of a tile and of a whole scene differ by design.
        features: Channels of x31, x22, x13, x04 and of the last upsampling, at 1/16, 1/8, 1/4, 1/2
            and full resolution.
        attention: `scse` weights channels and pixels before and after each node's convolutions; its
            means are over the whole input, so logits of a tile and of a whole scene differ by
            design.
        deep_supervision: Whether to add logits of the first row's x01, x02 and x03, each by a 1x1
            convolution, resized to the image's size and sown as `aux_logits`. The papers weight
            them like the final ones; with them, the network can be pruned after any of these nodes.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
        remat: Whether to recompute blocks in the backward pass: less memory, a quarter more work.
    """

    num_classes: int
    backbone: Encoder = "resnet34"
    features: tuple[int, int, int, int, int] = dataclasses.field(
        default=(256, 128, 64, 32, 16), metadata=COUNT
    )
    attention: Attention = "none"
    deep_supervision: bool = False
    dtype: Dtype = "float32"
    remat: bool = False

    sides = 32

    def blocks_pay(self) -> bool:
        """Whether the finest level is computed in blocks on the platform that is compiled for."""
        plain = self.attention == "none" and not self.deep_supervision
        return plain and blocks_pay(self.features[-1])

    def in_blocks(self, image: Array, *, train: bool) -> Array:
        """Logits in blocks: (B, H, W, C) -> (B, H/2, W/2, 4, K); H and W multiples of 32."""
        return self(image, train=train, ordered=False)

    @nn.compact
    def __call__(self, image: Array, *, train: bool, ordered: bool = True) -> Array:
        """Logits of each pixel; any H and W, edge-padded internally to multiples of 32.

        Args:
            image: (B, H, W, C) float32.
            train: Whether batch normalisation uses the batch's statistics and updates the running
                ones.
            ordered: Whether logits lie as the pixels do; otherwise see `in_blocks`.

        Returns:
            (B, H, W, K) float32 logits.
        """
        conv = functools.partial(Conv, dtype=self.dtype)
        norm = functools.partial(BatchNorm, use_running_average=not train, dtype=self.dtype)
        up_block = nn.remat(UpBlock) if self.remat else UpBlock
        block = functools.partial(up_block, conv=conv, norm=norm, attention=self.attention)
        backbone = encoder(self.backbone, train=train, dtype=self.dtype, remat=self.remat)
        *last, full = self.features
        height, width = image.shape[1:3]

        padded = pad_to_multiple(image, 32)
        size = padded.shape[1], padded.shape[2]
        rows = [[x] for x in backbone(padded, train=train)]  # x00 .. x40, strides 2, 4, 8, 16, 32
        for j in range(1, 5):
            for i in range(5 - j):
                channels = last[3 - i] if i + j == 4 else rows[i][0].shape[-1]
                x = block(channels, name=f"x{i}{j}")(rows[i + 1][j - 1], tuple(reversed(rows[i])))
                rows[i].append(x)  # (B, H/2^(i+1), W/2^(i+1), channels)
        if self.blocks_pay() or not ordered:
            to_blocks = functools.partial(ConvToBlocks, dtype=self.dtype)
            pixels = functools.partial(norm, pixels=PIXELS)
            up = up_block(full, to_blocks, pixels, to_blocks=True, name="up")
            x = up(rows[0][4], ())  # (B, H/2, W/2, 4 * 16)
            x = to_blocks(self.num_classes, use_bias=True, name="head")(x)
            return logits_of_blocks(x, height, width, ordered=ordered)
        x = block(full, name="up")(rows[0][4], ())  # (B, H, W, 16)
        logits = conv(self.num_classes, use_bias=True, name="head")(x)  # (B, H, W, K)

        if self.deep_supervision:
            for j, x in enumerate(rows[0][1:4], start=1):
                head = conv(self.num_classes, kernel_size=1, use_bias=True, name=f"head{j}")
                aux = resize(head(x).astype(jnp.float32), size)
                if not self.is_initializing():  # else `init` would return logits
                    self.sow("aux_logits", f"x0{j}_logits", aux[:, :height, :width])
        return logits[:, :height, :width].astype(jnp.float32)
