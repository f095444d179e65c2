"""UNet 3+: every decoder stage sees all scales, the finer ones pooled, the coarser ones resized.

    encoder     e1, f ── e2, 2f ── e3, 4f ── e4, 8f ── e5, 16f        f = 64, with 2x2 pools between

    decoder i   e1 .. e(i-1)   max-pooled to stage i ─ 3x3 to f ┐
                ei                                   ─ 3x3 to f ┼ concat 5f ─ 3x3 to 5f = di
                d(i+1) .. d5   bilinear to stage i   ─ 3x3 to f ┘             d5 = e5

    logits      d1 ─ 3x3 ─ (B,H,W,K);   in training also d2 .. d5 ─ 3x3 ─ bilinear

Source: Huang et al., UNet 3+: A Full-Scale Connected UNet for Medical Image Segmentation, ICASSP
2020, arXiv:2004.08790. Checked against the authors' PyTorch code (ZJUGiveLab/UNet-Version), which
has the 26.97 million parameters the paper reports.

Differences from the paper: its classification-guided module is left out. That module decides
whether an image shows the organ in question, multiplies all logits by this 0 or 1, and is trained
with a separate loss on whole images. The paper does not define it for K classes, a decision by
argmax has no gradient, and a logit of 0 means a probability of one half, not of zero. As in the
authors' code, convolutions have biases, although batch normalisation cancels them.
"""

import dataclasses
import functools

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxseg.errors import COUNT
from jaxseg.models.parts.layers import BatchNorm, Conv, Dtype, LayerOf
from jaxseg.models.parts.resampling import max_pool2x2, pad_to_multiple, resize
from jaxseg.models.unet import DoubleConv


class UNet3Plus(nn.Module):
    """(B, H, W, C) standardised image -> (B, H, W, K) float32 logits.

    Attributes:
        num_classes: K.
        features: Channels at full resolution, and of each of the five inputs of a decoder stage;
            each pooling doubles those of the encoder.
        deep_supervision: Whether to add logits of the coarser decoder stages d2 to d4 and of the
            last encoder stage, resized to the image's size and sown as `aux_logits`. The paper
            weights them like those of d1.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
        remat: Whether to recompute blocks in the backward pass: less memory, a quarter more work.
    """

    num_classes: int
    features: int = dataclasses.field(default=64, metadata=COUNT)
    deep_supervision: bool = False
    dtype: Dtype = "float32"
    remat: bool = False

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:
        """Logits of each pixel; any H and W, edge-padded internally to multiples of 16.

        Args:
            image: (B, H, W, C) float32.
            train: Whether batch normalisation uses the batch's statistics and updates the running
                ones.

        Returns:
            (B, H, W, K) float32 logits.
        """
        conv = functools.partial(Conv, use_bias=True, dtype=self.dtype)
        norm = functools.partial(BatchNorm, use_running_average=not train, dtype=self.dtype)
        double_conv = nn.remat(DoubleConv) if self.remat else DoubleConv
        full_scale = nn.remat(FullScaleBlock) if self.remat else FullScaleBlock
        block = functools.partial(double_conv, conv=conv, norm=norm)
        gather = functools.partial(full_scale, self.features, conv=conv, norm=norm)
        f = self.features
        height, width = image.shape[1:3]

        x = pad_to_multiple(image, 16)
        size = x.shape[1], x.shape[2]
        e1 = block(f, name="encoder1")(x)  # (B, H, W, f)
        e2 = block(2 * f, name="encoder2")(max_pool2x2(e1))  # (B, H/2, W/2, 2f)
        e3 = block(4 * f, name="encoder3")(max_pool2x2(e2))  # (B, H/4, W/4, 4f)
        e4 = block(8 * f, name="encoder4")(max_pool2x2(e3))  # (B, H/8, W/8, 8f)
        d5 = block(16 * f, name="encoder5")(max_pool2x2(e4))  # (B, H/16, W/16, 16f)

        d4 = gather(name="decoder4")((e1, e2, e3, e4), (d5,))  # (B, H/8, W/8, 5f)
        d3 = gather(name="decoder3")((e1, e2, e3), (d4, d5))  # (B, H/4, W/4, 5f)
        d2 = gather(name="decoder2")((e1, e2), (d3, d4, d5))  # (B, H/2, W/2, 5f)
        d1 = gather(name="decoder1")((e1,), (d2, d3, d4, d5))  # (B, H, W, 5f)

        logits = conv(self.num_classes, name="head1")(d1)  # (B, H, W, K)

        if self.deep_supervision:
            for stage, x in enumerate((d2, d3, d4, d5), start=2):
                side = conv(self.num_classes, name=f"head{stage}")(x)
                aux = resize(side.astype(jnp.float32), size)
                if not self.is_initializing():  # else `init` would return logits
                    self.sow("aux_logits", f"d{stage}", aux[:, :height, :width])
        return logits[:, :height, :width].astype(jnp.float32)


class FullScaleBlock(nn.Module):
    """One decoder stage: five inputs resized to its size, with equal channels each, and fused.

    Attributes:
        features: Channels of each input; the result has this many times the number of inputs.
        conv: Makes a convolution.
        norm: Makes a normalisation.
    """

    features: int
    conv: LayerOf
    norm: LayerOf

    @nn.compact
    def __call__(self, finer: tuple[Array, ...], coarser: tuple[Array, ...]) -> Array:
        """Fuses encoder features down to this stage's size and decoder features below it.

        Args:
            finer: e1 .. ei, each half the size of the one before; the last, (B, h, w, S), has the
                size of this stage.
            coarser: d(i+1) .. d5, each half the size of the one before.

        Returns:
            (B, h, w, 5 features).
        """
        size = finer[-1].shape[1], finer[-1].shape[2]
        stage = len(finer)
        sources = []
        for i, x in enumerate(finer, start=1):
            for _ in range(stage - i):
                x = max_pool2x2(x)
            sources.append((f"pooled{i}" if i < stage else "same", x))
        for i, x in enumerate(coarser, start=stage + 1):
            sources.append((f"up{i}", resize(x, size)))

        parts = []
        for name, x in sources:
            y = self.conv(self.features, name=name)(x)
            parts.append(nn.relu(self.norm(name=f"{name}_norm")(y)))  # (B, h, w, f)
        y = self.conv(len(parts) * self.features, name="fuse")(jnp.concatenate(parts, axis=-1))
        return nn.relu(self.norm(name="fuse_norm")(y))
