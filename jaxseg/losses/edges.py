"""A loss of boundaries: how well those of the prediction and those of the label match.

Shapes and conventions are those of `jaxseg.losses.pixels`.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from jaxseg.losses.class_weights import ClassWeights, check_weights, weights_of
from jaxseg.losses.loss import check_between, in_float32, over, targets
from jaxseg.scenes.scene import Batch


@dataclasses.dataclass(frozen=True)
class EdgeAware:
    """One minus the F1 score of boundaries: sharp edges, learned from the prediction itself.

    The boundary of a class is max3(1 - p) - (1 - p), for the softmax p and likewise for the label
    as 0 or 1: how much likelier the class is at the pixel than at one of its eight neighbours. The
    max5 of a boundary covers all pixels within two pixels of it. Precision is the share of the
    predicted boundary that is near a true one, recall the share of the true boundary that is near a
    predicted one. The loss is the mean of 1 - 2 P R / (P + R) over images and classes that have a
    true boundary. Invalid neighbours form no boundary.

    Source: Bokhovkin, Burnaev, Boundary Loss for Remote Sensing Imagery Semantic Segmentation, ISNN
    2019, arXiv:1905.07852, with its window sizes 3 and 5. Differences from the paper: an image in
    which a class has no boundary is left out for that class.

    Attributes:
        weight: Factor in the total loss.
        tolerance: Pixels by which a predicted boundary may be displaced.
        class_weights: One weight per class in the mean, or a rule; empty = all ones.
    """

    weight: float = 1.0
    tolerance: int = 2
    class_weights: ClassWeights = ()

    def __post_init__(self) -> None:
        """Rejects invalid weights and a negative tolerance."""
        check_weights(self.weight, self.class_weights)
        check_between("tolerance", self.tolerance, 0, math.inf)

    def __call__(self, logits: jax.Array, batch: Batch, valid: jax.Array) -> jax.Array:
        """See the class."""
        mask = valid[..., None]
        likely = jax.nn.softmax(in_float32(logits))
        target = targets(logits, batch, valid).astype(jnp.float32)

        def boundary(share: jax.Array) -> jax.Array:
            other = jnp.where(mask, 1 - share, 0.0)
            return jnp.where(mask, _largest_near(other, 1) - other, 0.0)

        predicted, true = boundary(likely), boundary(target)  # (B, H, W, K)
        precision = _share(predicted, _largest_near(true, self.tolerance))  # (B, K)
        recall = _share(true, _largest_near(predicted, self.tolerance))
        score = over(2 * precision * recall, precision + recall)
        present = jnp.where(true.sum((1, 2)) > 0, weights_of(self.class_weights, score.shape[1]), 0)
        return over((present * (1 - score)).sum(), present.sum())


def _largest_near(x: jax.Array, reach: int) -> jax.Array:
    """Maximum of the window of 2 reach + 1 rows and columns; x (B, H, W, K) must not be negative.

    Computed by comparing shifted copies, because the gradient of a sliding window is slow on CPUs.
    The gradient is written by hand: with automatic differentiation the whole loss costs five times
    as much there.
    """
    return _largest_along(_largest_along(x, reach, 1), reach, 2)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _largest_along(x: jax.Array, reach: int, axis: int) -> jax.Array:
    """Maximum of the 2 reach + 1 pixels around each pixel along a row or column."""
    return _largest_and_shift(x, reach, axis)[0]


def _largest_and_shift(x: jax.Array, reach: int, axis: int) -> tuple[jax.Array, jax.Array]:
    """The maximum and the shift of its pixel; in a tie with the pixel itself, its own shift."""
    largest, found = x, jnp.full(x.shape, reach, jnp.int16)
    for shift, other in enumerate(_shifted(x, reach, axis)):
        found = jnp.where(other > largest, jnp.int16(shift), found)
        largest = jnp.where(other > largest, other, largest)
    return largest, found


def _to_the_largest(
    reach: int, axis: int, found: jax.Array, gradient: jax.Array
) -> tuple[jax.Array]:
    """Passes each pixel's gradient to the pixel of its maximum."""
    gradients, shifts = (_shifted(array, reach, axis) for array in (gradient, found))
    back = [
        jnp.where(shifts[-1 - shift] == shift, gradients[-1 - shift], 0.0)
        for shift in range(2 * reach + 1)
    ]
    return (functools.reduce(jnp.add, back),)


def _shifted(x: jax.Array, reach: int, axis: int) -> list[jax.Array]:
    """Copies of x, shifted by -`reach` to `reach` pixels; 0 beyond the edge."""
    pads = [(0, 0)] * x.ndim
    pads[axis] = (reach, reach)
    # Without the barrier, XLA repeats the padding for every copy.
    padded, length = jax.lax.optimization_barrier(jnp.pad(x, pads)), x.shape[axis]
    return [
        jax.lax.slice_in_dim(padded, shift, shift + length, axis=axis)
        for shift in range(2 * reach + 1)
    ]


_largest_along.defvjp(_largest_and_shift, _to_the_largest)


def _share(boundary: jax.Array, near: jax.Array) -> jax.Array:
    """The share of a boundary that lies near another one, (B, H, W, K) -> (B, K)."""
    return over((boundary * near).sum((1, 2)), boundary.sum((1, 2)))
