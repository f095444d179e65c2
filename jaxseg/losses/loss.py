"""What a loss is: a frozen dataclass that a config holds; `loss(logits, batch, valid)` is a scalar.

Shapes: logits (B, H, W, K), computed in float32, batch as in `jaxseg.scenes.scene`, valid (B, H, W)
bool (True where the sensor has data and the label is a class). A pixel that is not valid has no
value and no gradient, and a batch without any valid pixel has loss 0. Every loss is multiplied by
its own `weight` in the sum that is trained.
"""

import math
from typing import Protocol

import jax
import jax.numpy as jnp

from jaxseg.errors import UserError

Batch = dict[str, jax.Array]


class Loss(Protocol):
    """What a config may hold as a loss."""

    @property
    def weight(self) -> float:
        """Factor of this loss in the total."""

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """The scalar loss, without its factor."""


def over(part: jax.Array, whole: jax.Array) -> jax.Array:
    """Their ratio; dividing by one keeps what is empty, and its gradient, finite."""
    return part / jnp.where(whole > 0, whole, 1.0)


def check_between(name: str, value: float, low: float, high: float, *, above: bool = False) -> None:
    """Refuses a number outside of low..high, or equal to low if it has to be above.

    Raises:
        UserError: It is outside, infinite or NaN.
    """
    if not (low < value if above else low <= value) or value > high or math.isinf(value):
        least = f"above {low:g}" if above else f"{low:g} or more"
        most = "" if high == math.inf else f", {high:g} or less"
        allowed = f"{high:g} or less" if low == -math.inf else least + most
        raise UserError(f"{name} of a loss is {value}: it has to be {allowed}.")


def in_float32(logits: jax.Array) -> jax.Array:
    """Logits in float32.

    Those of ignored pixels stay: zeros in their place cost a copy, half of the whole loss on a CPU.

    Raises:
        UserError: There is one logit per pixel, whose softmax is always 1.
    """
    if logits.shape[-1] < 2:
        raise UserError(
            "This loss needs a logit for each of two or more classes. For one logit per pixel use "
            "BinaryCrossEntropy."
        )
    return logits.astype(jnp.float32)


def targets(logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
    """(B, H, W, K) bool: True at the class of each valid pixel.

    Comparison instead of indexing, here and below: a gather's gradient is a scatter, which is slow
    on CPUs and TPUs alike.
    """
    return (batch["label"][..., None] == jnp.arange(logits.shape[-1])) & valid[..., None]
