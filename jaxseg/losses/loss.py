"""What a loss is: a frozen dataclass that a config holds; `loss(logits, batch, valid)` is a scalar.

Shapes: logits (B, H, W, K), computed in float32, batch as in `jaxseg.scenes.scene`, valid (B, H, W)
bool (True where the sensor has data and the label is a class). An invalid pixel contributes neither
to the value nor to the gradient, and a batch without valid pixels has loss 0. The total loss is the
sum of all losses, each multiplied by its `weight`.
"""

import math
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from jaxseg.errors import UserError
from jaxseg.scenes.scene import Batch, PixelInput


class Loss(Protocol):
    """The interface of a loss in a config."""

    @property
    def weight(self) -> float:
        """Factor of this loss in the total."""

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """The scalar loss, without its factor."""


class OfTheWhole:
    """Base of losses that depend on more than the logits of pixels.

    They are not applied to auxiliary heads.
    """


class Unordered:
    """Base of losses to whom it is the same where in its image a pixel lies.

    They read nothing but logits, labels, masks and further maps of pixels. A network may then leave
    the pixels in another order, see `jaxseg.models.parts.blocks`. A class derived from such a loss
    with another `__call__` does not inherit the promise.
    """


def order_matters(loss: object) -> bool:
    """Whether a loss needs the pixels of an image in their order."""
    return not promises(loss, Unordered)


def promises(loss: object, base: type) -> bool:
    """Whether a loss is of a base; one with a `__call__` of its own has to state the base again."""
    called = next((kind for kind in type(loss).__mro__ if "__call__" in vars(kind)), object)
    return base in called.__bases__


@runtime_checkable
class InParts(Protocol):
    """A loss that is a sum of parts, each of which is logged."""

    def parts(self, logits: jax.Array, batch: Batch) -> dict[str, jax.Array]:
        """The parts by name, not multiplied by their factors."""


@runtime_checkable
class Capturing(Protocol):
    """A loss that reads outputs of layers, `features/PATH` in the batch."""

    @property
    def captures(self) -> tuple[str, ...]:
        """Paths of modules of the trained network."""


def captures_of(losses: Iterable[object]) -> tuple[str, ...]:
    """The layers that the losses read."""
    return tuple(layer for loss in losses if isinstance(loss, Capturing) for layer in loss.captures)


@runtime_checkable
class Needing(Protocol):
    """A loss that reads further maps besides image and label."""

    @property
    def needs(self) -> tuple[PixelInput, ...]:
        """The maps that the pipeline puts into the batch for it."""


def needs_of(losses: Iterable[object], zoom: float = 1.0) -> tuple[PixelInput, ...]:
    """The maps that the losses need; of two with the same name, the one with the larger margin.

    Args:
        losses: The losses.
        zoom: The smallest zoom that augmentation may apply.
    """
    found: dict[str, PixelInput] = {}
    for loss in losses:
        for given in loss.needs if isinstance(loss, Needing) else ():
            wanted = given.at_zoom(zoom)
            if wanted.name not in found or found[wanted.name].margin < wanted.margin:
                found[wanted.name] = wanted
    return tuple(found.values())


def over(part: jax.Array, whole: jax.Array) -> jax.Array:
    """Returns part / whole, or part where whole is 0, which keeps value and gradient finite."""
    return part / jnp.where(whole > 0, whole, 1.0)


def check_between(name: str, value: float, low: float, high: float, *, above: bool = False) -> None:
    """Rejects a value outside low..high, or equal to low if `above`.

    Raises:
        UserError: The value is outside, infinite or NaN.
    """
    if not (low < value if above else low <= value) or value > high or math.isinf(value):
        least = f"above {low:g}" if above else f"{low:g} or more"
        most = "" if high == math.inf else f", {high:g} or less"
        allowed = f"{high:g} or less" if low == -math.inf else least + most
        raise UserError(f"{name.replace('_', '-')} of a loss is {value}: it must be {allowed}.")


def in_float32(logits: jax.Array) -> jax.Array:
    """Logits in float32.

    Those of ignored pixels are kept: setting them to zero needs a copy, which takes half the time
    of the whole loss on a CPU.

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

    Comparison instead of indexing, here and below: the gradient of a gather is a scatter, which is
    slow on CPUs and TPUs.
    """
    return (batch["label"][..., None] == jnp.arange(logits.shape[-1])) & valid[..., None]


def negative_log_likelihood(logits: jax.Array, target: jax.Array, valid: jax.Array) -> jax.Array:
    """(B, H, W): -log p of the label, 0 where invalid.

    Args:
        logits: (B, H, W, K) float32.
        target: (B, H, W, K) bool, see `targets`.
        valid: (B, H, W) bool.
    """
    nll = jax.nn.logsumexp(logits, axis=-1) - jnp.where(target, logits, 0.0).sum(-1)
    return jnp.where(valid, nll, 0.0)


def ordered_bits(values: jax.Array) -> jax.Array:
    """The bits of non-negative values, as integers in the same order."""
    return jax.lax.bitcast_convert_type(jnp.abs(values), jnp.int32)


def nth_largest(bits: jax.Array, target: jax.Array, wanted: jax.Array) -> jax.Array:
    """(K,) the `wanted`-th largest of the bits of each class, exact, without a sort.

    Bisection from the highest bit to the lowest, 31 counts over the batch; shapes are fixed, and
    devices exchange 31 counts per class instead of their pixels.

    Args:
        bits: (B, H, W) int32, see `ordered_bits`.
        target: (B, H, W, K) bool, the pixels of each class.
        wanted: (K,) int32; the result is 0, the minimum, for a class with fewer pixels.
    """
    bits = bits[..., None]

    def one(number: jax.Array, last: jax.Array) -> jax.Array:
        higher = last | (1 << (30 - number))
        count = ((bits >= higher) & target).sum((0, 1, 2), dtype=jnp.int32)
        return jnp.where(count >= wanted, higher, last)

    found: jax.Array = jax.lax.fori_loop(0, 31, one, jnp.zeros(wanted.shape, jnp.int32))
    return found
