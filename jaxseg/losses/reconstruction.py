"""Pre-training without labels: a network says what the hidden parts of an image are.

The outputs of the network are bands instead of logits, those of the preprocessed image. Only pixels
count that were hidden and have data: what is visible needs no guess.
"""

import dataclasses
from collections.abc import Iterable

import jax
import jax.numpy as jnp

from jaxseg.errors import UserError
from jaxseg.losses.loss import check_between, over
from jaxseg.losses.pixels import MeanOfPixels
from jaxseg.scenes.scene import Batch


@dataclasses.dataclass(frozen=True)
class MaskedReconstruction(MeanOfPixels):
    """Mean absolute difference of outputs and bands over the hidden pixels with data.

    Reads `target` (B, H, W, C) and `hidden` (B, H, W) bool, which `HidePatches` puts into the
    batch; labels are not read.

    Source: Xie et al., SimMIM, CVPR 2022, arXiv:2111.09886, its l1 loss over masked pixels; not
    checked against the authors' code.

    Attributes:
        weight: Factor in the total loss.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        """Rejects a weight below 0."""
        check_between("weight", self.weight, 0, float("inf"))

    def total_weight(self, batch: Batch, valid: jax.Array) -> jax.Array:
        """The number of hidden pixels with data."""
        return (batch["hidden"] & batch["valid"]).sum().astype(jnp.float32)

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class; pixels without a label count, too.

        Raises:
            UserError: Nothing was hidden, or the network has another number of outputs.
        """
        if "hidden" not in batch:
            raise UserError(
                "MaskedReconstruction without hidden pixels: end the config's augment with "
                "HidePatches() of jaxseg.transforms."
            )
        if logits.shape[-1] != batch["target"].shape[-1]:
            raise UserError(
                f"The network has {logits.shape[-1]} outputs for {batch['target'].shape[-1]} bands."
            )
        error = jnp.abs(logits.astype(jnp.float32) - batch["target"]).mean(-1)
        counted = batch["hidden"] & batch["valid"]
        return over(jnp.where(counted, error, 0.0).sum(), self.total_weight(batch, valid))


def reconstructs(losses: Iterable[object]) -> bool:
    """Whether the outputs of a network with these losses are bands instead of classes."""
    return any(isinstance(loss, MaskedReconstruction) for loss in losses)
