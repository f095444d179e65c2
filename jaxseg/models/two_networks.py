"""Two networks of one architecture in one: they predict together, or check each other's labels.

    answer = "mean"    image ┬ first ──┐
                             └ second ─┴ mean ─ (B,H,W,K)             both are sown as `aux_logits`
    answer = "first"   image ┬ first ─────────── (B,H,W,K)
                             └ second ────────── sown as `second_logits`, training only

The mean is the late fusion of a hallucination network: `second` sees radar and learns to reproduce
the features of a network that sees optical images (`jaxseg.losses.distillation`). Co-teaching and
cross-modal selection of labels (`jaxseg.losses.noisy_labels`) need both networks in training; only
`first` predicts, so `second` costs nothing in prediction.

Source: Hoffman, Gupta, Darrell, Learning with Side Information through Modality Hallucination, CVPR
2016; Han et al., Co-teaching, NeurIPS 2018, arXiv:1804.06872. Differences from the first paper: the
optical network is trained beforehand and stays fixed; logits are averaged, not summed.
"""

import dataclasses
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxseg.errors import NOT_NEGATIVE, UserError
from jaxseg.models.parts.layers import Dtype
from jaxseg.models.unet import UNet


class TwoNetworks(nn.Module):
    """(B, H, W, C) standardised image -> (B, H, W, K) float32 logits.

    Attributes:
        num_classes: K, of both.
        network: The architecture; its classes, dtype and remat are replaced by the fields here.
        answer: Which logits are returned: the mean of both networks or those of `first`.
        split: Number of bands that `first` sees, with the rest for `second`; 0 = both see all. For
            an image with exactly that many bands, `first` predicts alone.
        dtype: Compute dtype; parameters, batch statistics and logits are float32.
        remat: Whether to recompute blocks in the backward pass: less memory, a quarter more work.
    """

    num_classes: int
    network: nn.Module = UNet(num_classes=0)
    answer: Literal["mean", "first"] = "mean"
    split: int = dataclasses.field(default=0, metadata=NOT_NEGATIVE)
    dtype: Dtype = "float32"
    remat: bool = False

    @nn.compact
    def __call__(self, image: Array, *, train: bool) -> Array:
        """Logits of each pixel; any H and W that the network accepts.

        Args:
            image: (B, H, W, C) float32.
            train: Whether batch normalisation uses the batch's statistics and dropout is active.

        Returns:
            (B, H, W, K) float32 logits.

        Raises:
            UserError: The split leaves a network without bands.
        """
        first, second = (
            self.network.clone(
                parent=self,
                name=name,
                num_classes=self.num_classes,
                dtype=self.dtype,
                remat=self.remat,
            )
            for name in ("first", "second")
        )
        whole = image.shape[-1]
        if self.split and whole == self.split and not self.is_initializing():
            return jnp.asarray(first(image, train=train))
        own = other = image
        if self.split:
            if not 0 < self.split < whole:
                raise UserError(
                    f"TwoNetworks splits {whole} band(s) after the first {self.split}: give split "
                    "0 (both see all) or fewer than the image has."
                )
            own, other = image[..., : self.split], image[..., self.split :]
        one: Array = first(own, train=train)
        if self.answer == "first":
            if train or self.is_initializing():
                two = second(other, train=train)
                if not self.is_initializing():  # else `init` would return logits among variables
                    self.sow("second_logits", "logits", two)
            return one
        two = second(other, train=train)
        if not self.is_initializing():
            self.sow("aux_logits", "first_logits", one)
            self.sow("aux_logits", "second_logits", two)
        return jnp.asarray((one + two) / 2)
