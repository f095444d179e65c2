"""The loss of a network that also predicts which classes an image contains, at any position."""

import dataclasses

import jax
import jax.numpy as jnp

from jaxseg.errors import UserError
from jaxseg.losses.class_weights import ClassWeights, check_weights, weights_of
from jaxseg.losses.loss import OfTheWhole
from jaxseg.scenes.scene import Batch


@dataclasses.dataclass(frozen=True)
class Presence(OfTheWhole):
    """Binary cross-entropy of each class's presence in an image; see `presence_loss`.

    Attributes:
        weight: Factor in the total loss.
        class_weights: One weight per class, or a rule; empty = all ones.
    """

    weight: float = 1.0
    class_weights: ClassWeights = ()

    def __post_init__(self) -> None:
        """Rejects invalid weights."""
        check_weights(self.weight, self.class_weights)

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class.

        Raises:
            UserError: The network has no image-level logits.
        """
        if "class_logits" not in batch:
            raise UserError(
                "Presence needs a network that also has logits of the classes in an image, as "
                "LecturePSPNet has. Use such a network, or leave the loss out."
            )
        return presence_loss(batch["class_logits"], batch["label"], valid, self.class_weights)


def presence_loss(
    class_logits: jax.Array,
    label: jax.Array,
    valid: jax.Array,
    class_weights: ClassWeights = (),
) -> jax.Array:
    """Binary cross-entropy of each class's presence, mean over classes and images, a scalar.

    A class is present if a valid pixel has it. An image without valid pixels is left out; a batch
    without valid pixels has loss 0.

    Source: Lextal/pspnet-pytorch, 2017, whose loss adds this term with factor 1 and multiplies each
    class's term by its weight, as PyTorch's `BCEWithLogitsLoss(weight)` does.

    Args:
        class_logits: (B, K); computed in float32.
        label: (B, H, W) uint8.
        valid: (B, H, W) bool, as in `jaxseg.losses.pixels`.
        class_weights: One weight per class; empty = all ones.
    """
    classes = jnp.arange(class_logits.shape[-1])
    present = ((label[..., None] == classes) & valid[..., None]).any((1, 2))  # (B, K)
    counts = valid.any((1, 2))  # (B,)
    # -log sigmoid(x) if present, -log sigmoid(-x) if absent.
    logits = class_logits.astype(jnp.float32)
    each = jax.nn.softplus(jnp.where(present, -logits, logits))
    image = (weights_of(class_weights, logits.shape[-1]) * each).mean(-1)
    # Dividing by at least 1 keeps a batch without valid pixels finite.
    return jnp.where(counts, image, 0.0).sum() / jnp.maximum(counts.sum(), 1)
