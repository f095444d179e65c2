"""What a training step measures of a network's answers: its losses, and what it confuses.

Of a batch at once, or image by image. A loss that is a mean over pixels comes from its slices, each
of which counts as much as its weights.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jaxseg.config import Config
from jaxseg.losses.loss import OfTheWhole, over, promises
from jaxseg.losses.pixels import MeanOfPixels
from jaxseg.metrics.scores import confusion_matrix
from jaxseg.scenes.scene import IGNORE, Batch

Terms = dict[str, jax.Array]

T = TypeVar("T")


def measured(
    config: Config, answers: Sequence[jax.Array], batch: Batch, shares: Terms
) -> tuple[Terms, jax.Array]:
    """The losses of each answer, without their factors, and the confusion matrix.

    Args:
        config: The run.
        answers: (B, H, W, K) logits, first those of the network, then of auxiliary heads.
        batch: What the losses read.
        shares: Of a slice of a batch: how much it counts, by the name of a loss.

    Returns:
        Scalars by the name of the loss, and `aux0` and so on, the weighted sum of the losses of an
        auxiliary head; (K, K) int32, which is empty if the run reconstructs images.
    """
    logits, *others = answers
    valid = counted_pixels(batch)

    def value(name: str, logits: jax.Array) -> jax.Array:
        found = config.loss[name](logits, batch, valid)
        return found * shares[name] if name in shares else found

    terms = {name: value(name, logits) for name in config.loss}
    of_pixels = [name for name in terms if not isinstance(config.loss[name], OfTheWhole)]
    for number, aux in enumerate(others):
        values = [config.loss[name].weight * value(name, aux) for name in of_pixels]
        terms[f"aux{number}"] = sum(values, jnp.float32(0))
    if config.reconstructs:  # outputs are not classes
        return terms, jnp.zeros((0, 0), jnp.int32)
    confusion = confusion_matrix(
        jnp.argmax(logits, -1), batch["label"], valid, num_classes=logits.shape[-1]
    )
    return terms, confusion


def measured_by_image(
    config: Config,
    answers: Sequence[jax.Array],
    batch: Batch,
    shares: Terms,
    enlarge: Callable[[jax.Array, int, int], jax.Array],
    devices: int,
) -> tuple[Terms, jax.Array]:
    """`measured` of logits that are enlarged here, one image of each device at a time.

    All losses must be `MeanOfPixels`. The enlarged logits are computed again in the backward pass:
    of one image they never leave a TPU's fast memory.

    Args:
        config: The run.
        answers: (B, h, w, K) coarse logits.
        batch: What the losses read.
        shares: As in `measured`.
        enlarge: Coarse logits, rows and columns -> (B, rows, columns, K) logits.
        devices: Over how many the images are distributed.
    """
    size = batch["label"].shape
    images = size[0] // devices
    pieces = in_slices({name: array for name, array in batch.items() if array.ndim}, images)
    rest = {name: array for name, array in batch.items() if not array.ndim}

    @jax.checkpoint
    def one(answers: list[jax.Array], piece: Batch, counts: Terms) -> tuple[Terms, jax.Array]:
        large = [enlarge(answer, *size[1:]) for answer in answers]
        counts = {name: count * shares.get(name, 1.0) for name, count in counts.items()}
        return measured(config, large, piece | rest, counts)

    slices = in_slices(list(answers), images), pieces, shares_of(config, pieces)
    _, (terms, confusion) = jax.lax.scan(lambda carry, each: (carry, one(*each)), None, slices)
    return {name: values.mean() for name, values in terms.items()}, confusion.sum(0)


def counted_pixels(batch: Batch) -> jax.Array:
    """(B, H, W): True where the sensor has data and the label is a class."""
    return batch["valid"] & (batch["label"] != IGNORE)


def in_slices(batch: T, parts: int) -> T:
    """Each (B, ...) of a tree as (parts, B / parts, ...)."""

    def split(array: jax.Array) -> jax.Array:
        # The slice index is the inner part of the batch axis: devices keep their own samples.
        return jnp.moveaxis(array.reshape(array.shape[0] // parts, parts, *array.shape[1:]), 1, 0)

    found: T = jax.tree.map(split, batch)
    return found


def shares_of(config: Config, pieces: Batch) -> Terms:
    """How much each slice counts, (parts,), for losses that are means over pixels."""
    return {
        name: _shares(loss, pieces)
        for name, loss in config.loss.items()
        if promises(loss, MeanOfPixels)
    }


def _shares(loss: Any, pieces: Batch) -> jax.Array:  # noqa: ANN401  a loss of this base
    """(parts,) the weight of each slice relative to the mean: a slice without pixels has none."""
    weights = jax.vmap(lambda piece: loss.total_weight(piece, counted_pixels(piece)))(pieces)
    return over(weights, weights.mean())
