"""Multi-scale SAR network: clean the speckle first, then look at three scales and keep all depths.

                              ┌ 3x3 ─ 3x3 ─ 3x3 ┐
    (B,H,W,C) ─ sparse code ──┼ 5x5 ─ 5x5 ─ 5x5 ┼ concat all nine ─ 1x1 ─ 1x1 ─ (B,H,W,K)
                 denoised     └ 7x7 ─ 7x7 ─ 7x7 ┘

    sparse code:  y ─ analysis ─ soft ┬ a ─ synthesis ─ minus y ─ analysis ─ minus ─ soft ─ a ...
                                      └ after the last step: synthesis ─ denoised y

Source: Duan, Tao, Han, Qin, Lu, Multi-Scale Convolutional Neural Network for SAR Image Semantic
Segmentation, GLOBECOM 2018, as far as its abstract describes it: a noise-removal stage trained with
a sparse-representation loss, convolutions of several scales, concatenated features of different
scales and depths, classified pixels, all of it end to end. The coder unrolls Gregor and LeCun,
Learning Fast Approximations of Sparse Coding, ICML 2010, with convolutions. No reference
implementation is known.

Differences from the paper: its abstract states no layers, widths or weights. Our choices are: a
logarithmic input, in which speckle is additive; the form of the coder, its three steps and 32 atoms
of 7x7; atoms that span all bands, because an edge in one polarisation is an edge in the others; per
scale three convolutions of 32, 64 and 64 channels, of 3x3, 5x5 or 7x7; 128 hidden channels; the
weights of the losses.
"""

import dataclasses
import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import VariableDict
from jax import Array

from jaxseg.errors import COUNT, NOT_NEGATIVE, ODD
from jaxseg.models.parts.convolution import conv2d
from jaxseg.models.parts.layers import BatchNorm, Conv, Dtype, LayerOf


class MultiscaleSAR(nn.Module):
    """(B, H, W, C) standardised log-intensity -> (B, H, W, K) float32 logits.

    The sparse-representation loss is sown as `regularizers`/`sparse`, already weighted: the
    training step adds everything that a network sows there to the loss.

    Attributes:
        num_classes: K.
        features: Channels of the three convolutions of each scale.
        kernel_sizes: Kernel size of each scale.
        hidden: Channels between the concatenated features and the logits.
        atoms: Size of the denoiser's dictionary.
        sparse_weight: Factor of the sparse-representation loss in the total.
        sparsity: Weight of a code's absolute value in that loss, relative to the squared error; in
            standard deviations of the image. About twice the standard deviation of its speckle,
            which is 0.55 for the 4 looks of landscape's `sar`.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
        remat: Whether to recompute the denoiser and the scales in the backward pass: less memory, a
            quarter more work.
    """

    num_classes: int
    features: tuple[int, int, int] = dataclasses.field(default=(32, 64, 64), metadata=COUNT)
    kernel_sizes: tuple[int, ...] = dataclasses.field(default=(3, 5, 7), metadata=ODD)
    hidden: int = dataclasses.field(default=128, metadata=COUNT)
    atoms: int = dataclasses.field(default=32, metadata=COUNT)
    sparse_weight: float = dataclasses.field(default=0.1, metadata=NOT_NEGATIVE)
    sparsity: float = dataclasses.field(default=1.0, metadata=NOT_NEGATIVE)
    dtype: Dtype = "float32"
    remat: bool = False

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:
        """Logits of each pixel; any H and W.

        Pixels without data, which are 0, are included in the sparse-representation loss but add
        nothing to it.

        Args:
            image: (B, H, W, C) float32.
            train: Whether batch normalisation uses the batch's statistics and updates the running
                ones.

        Returns:
            (B, H, W, K) float32 logits.
        """
        conv = functools.partial(Conv, dtype=self.dtype)
        norm = functools.partial(BatchNorm, use_running_average=not train, dtype=self.dtype)
        kind = nn.remat(Denoiser) if self.remat else Denoiser
        coder = functools.partial(kind, self.atoms, self.sparsity, dtype=self.dtype)
        scale = nn.remat(Scale) if self.remat else Scale

        x, codes = coder(name="denoiser")(image)  # (B, H, W, C), (B, H, W, 32)
        if not self.is_initializing():  # else `init` would return a loss among the variables
            loss = sparse_loss(image, x, codes, self.sparsity)
            self.sow("regularizers", "sparse", self.sparse_weight * loss)

        seen = [
            scale(self.features, size, conv, norm, name=f"scale{size}")(x)
            for size in self.kernel_sizes
        ]
        x = jnp.concatenate(seen, axis=-1)  # (B, H, W, 3 (32 + 64 + 64))
        x = nn.relu(norm(name="fuse_norm")(conv(self.hidden, kernel_size=1, name="fuse")(x)))
        x = conv(self.num_classes, kernel_size=1, use_bias=True, name="head")(x)  # (B, H, W, K)
        return x.astype(jnp.float32)


class Denoiser(nn.Module):
    """Sparse coding in a few learned steps: (B, H, W, C) -> the same, denoised, and its codes.

    Each step is one of iterative soft thresholding, a <- soft(a - W (D a - y), t), towards the
    codes that minimise ||y - D a||^2 + sparsity |a|_1. D, W and the thresholds t are learned; atoms
    of D have norm 1, because codes could otherwise shrink at no cost. W is initialised with the
    adjoint of D divided by its largest expected gain, and the thresholds with sparsity / 2 divided
    by it, with which the steps converge.

    Attributes:
        atoms: Size of the dictionary.
        sparsity: Weight of a code's absolute value, relative to the squared error.
        size: Rows and columns of an atom, odd.
        steps: Number of steps, which share their parameters.
        dtype: Compute dtype.
    """

    atoms: int = 32
    sparsity: float = 1.0
    size: int = 7
    steps: int = 3
    dtype: Dtype = "float32"

    @nn.compact
    def __call__(self, y: Array) -> tuple[Array, Array]:
        """(B, H, W, C) -> (B, H, W, C), (B, H, W, atoms)."""
        bands = y.shape[-1]
        # Largest squared gain of random atoms of norm 1 (Marchenko and Pastur 1967).
        gain = (1 + math.sqrt(self.atoms / bands)) ** 2
        shape = (self.size, self.size, self.atoms, bands)
        # Parameters are of order 1 before scaling, because Adam's steps do not adapt to their size.
        synthesis = self.param("synthesis", nn.initializers.normal(1.0), shape)
        analysis = self.param("analysis", lambda _: adjoint(synthesis))
        log_threshold = self.param("log_threshold", nn.initializers.zeros, (self.atoms,))
        d = synthesis / jnp.sqrt(jnp.square(synthesis).sum((0, 1, 3), keepdims=True) + 1e-12)
        w = analysis / (gain * self.size * math.sqrt(bands))  # the expected norm of an atom
        t = jnp.exp(log_threshold) * self.sparsity / 2 / gain
        d, w, t = (p.astype(self.dtype) for p in (d, w, t))
        conv = functools.partial(conv2d, padding=self.size // 2)

        y = y.astype(self.dtype)
        codes = soft(conv(y, w), t)
        for _ in range(self.steps - 1):
            codes = soft(codes - conv(conv(codes, d) - y, w), t)
        return conv(codes, d), codes


class Scale(nn.Module):
    """Three times convolution, normalisation, ReLU; the outputs of all three are concatenated.

    Attributes:
        features: Channels of each convolution.
        kernel_size: Kernel size of all convolutions.
        conv: Makes a convolution.
        norm: Makes a normalisation.
    """

    features: tuple[int, ...]
    kernel_size: int
    conv: LayerOf
    norm: LayerOf

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """(B, H, W, C) -> (B, H, W, sum of features)."""
        depths = []
        for depth, features in enumerate(self.features, start=1):
            x = self.conv(features, kernel_size=self.kernel_size, name=f"conv{depth}")(x)
            x = nn.relu(self.norm(name=f"norm{depth}")(x))
            depths.append(x)
        return jnp.concatenate(depths, axis=-1)


def soft(a: Array, threshold: Array) -> Array:
    """Soft thresholding: sign(a) max(|a| - threshold, 0)."""
    return nn.relu(a - threshold) - nn.relu(-a - threshold)


def adjoint(kernel: Array) -> Array:
    """The kernel whose convolution is the adjoint: (k, k, A, B) -> (k, k, B, A), k odd."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


def sparse_loss(image: Array, denoised: Array, codes: Array, sparsity: float) -> Array:
    """||image - denoised||^2 + sparsity |codes|_1 per value of the image, a float32 scalar.

    Args:
        image: (B, H, W, C).
        denoised: (B, H, W, C).
        codes: (B, H, W, A).
        sparsity: Weight of the codes.
    """
    error = jnp.square(image - denoised.astype(jnp.float32)).mean()
    return error + sparsity * jnp.abs(codes.astype(jnp.float32)).sum(-1).mean() / image.shape[-1]


def denoised(model: MultiscaleSAR, variables: VariableDict, image: Array) -> Array:
    """The image after the network's first stage, for inspection and measurements.

    Args:
        model: The network.
        variables: Its variables; only the denoiser's are used.
        image: (B, H, W, C) standardised log-intensity.

    Returns:
        (B, H, W, C) float32 standardised log-intensity without most of the speckle.
    """
    stage = Denoiser(model.atoms, model.sparsity, dtype=model.dtype)
    result: tuple[Array, Array] = jax.jit(stage.apply)(
        {"params": variables["params"]["denoiser"]}, image
    )
    return result[0].astype(jnp.float32)
