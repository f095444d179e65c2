"""Logits that a network enlarges in its last step, and that a loss can enlarge image by image.

Enlarged logits are the largest arrays of a DeepLab or a PSPNet, and a loss reads them several
times. Of one image they fit into the fast memory of a TPU, of a batch they do not.
"""

import flax.linen as nn
from jax import Array

from jaxseg.models.parts.platforms import images_pay
from jaxseg.models.parts.resampling import resize


class EnlargedLogits(nn.Module):
    """A network that can leave its logits coarse.

    It states `coarse` beside its `__call__`, of which `enlarge` is then the rest.
    """

    def coarse(self, image: Array, *, train: bool) -> Array:
        """Logits before they are enlarged; those of an auxiliary head are sown coarse, too.

        Args:
            image: (B, H, W, C) float32.
            train: As in the call.

        Returns:
            (B, h, w, K) float32 logits.
        """
        raise NotImplementedError

    def enlarge(self, coarse: Array, height: int, width: int) -> Array:
        """(B, h, w, K) logits as (B, height, width, K), the same numbers as of the call."""
        return resize(coarse, (height, width))


def answers_coarsely(model: nn.Module) -> bool:
    """Whether a network can leave its logits coarse, and that pays.

    A class derived from `EnlargedLogits` with another `__call__` does not inherit the promise.
    """
    called = next(base for base in type(model).__mro__ if "__call__" in vars(base))
    return isinstance(model, EnlargedLogits) and "coarse" in vars(called) and images_pay()
