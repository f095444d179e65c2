"""Whether a state can be used: all its numbers are finite, and small enough to compute with.

A value of 1e20 in one image leaves loss and gradient finite and makes a running variance infinite,
and every prediction after it worthless. So the training step looks at the whole new state, and what
is not sound is never saved.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr
from numpy.typing import NDArray

from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.pipeline import windows as pipeline

LIMIT = 1e19
"""Largest magnitude of a number of the state; float32 cannot hold the square of 1.9e19."""

SOON = 10
"""Steps after a resume in which a state that is not sound makes its checkpoint suspect."""

LARGEST, LEAF = "state/largest", "state/leaf"
"""Metrics of the step that are looked at and not logged."""


class UnsoundError(UserError):
    """A loss, a gradient or a state is not finite or too large; it was not saved.

    Attributes:
        resumed: The checkpoint that the run had just continued from, None if it had not.
    """

    def __init__(self, text: str, resumed: int | None = None) -> None:
        """Takes the message, and what is suspect."""
        super().__init__(text)
        self.resumed = resumed


def largest(state: Any) -> dict[str, jax.Array]:  # noqa: ANN401  (any tree of arrays)
    """The largest magnitude in a state, () float32, and the number of its leaf, () int32.

    NaN counts as larger than all numbers. It is a reduction of each leaf where it lies, and one of
    a vector with a number for each leaf.
    """
    each = jnp.stack(
        [jnp.abs(leaf).max().astype(jnp.float32) for leaf in _floating(state).values()]
    )
    return {LARGEST: each.max(), LEAF: each.argmax().astype(jnp.int32)}


def leaves(state: Any) -> tuple[str, ...]:  # noqa: ANN401  (any tree of arrays)
    """Names of the leaves that `largest` numbers."""
    return tuple(_floating(state))


def fault(metrics: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """What is wrong with a step, such as `loss/ce is nan`; empty if nothing is.

    Args:
        metrics: Of the step.
        names: The result of `leaves`.
    """
    for name in sorted(metrics, key=lambda name: (name == LARGEST, not name.startswith("loss/"))):
        if name != LEAF and not np.isfinite(metrics[name]).all():
            what = names[int(metrics[LEAF])] if name == LARGEST else name
            return f"{what} is {float(metrics[name])}"
    size = float(metrics.get(LARGEST, 0.0))
    if size > LIMIT:
        return f"{names[int(metrics[LEAF])]} reaches {size:.3g}, more than {LIMIT:.0e},"
    return ""


def extreme(config: Config, positions: list[int], number: int) -> str:
    """A sentence about the largest number in the images of a step, of those this process reads.

    Args:
        config: The run.
        positions: The positions of the batch that this process reads.
        number: The step, from 1.
    """
    found = (-1.0, "")
    windows = pipeline.windows_of_step(config.data, config.seed, positions, number - 1)
    for name, sample in windows:
        values: NDArray[Any] = np.abs(sample["image"][sample["valid"].astype(bool)])
        found = max(found, (float(values.max(initial=0.0)), name))
    return f"The largest magnitude in the images of this step is {found[0]:.6g}, in {found[1]}."


def _floating(state: Any) -> dict[str, jax.Array]:  # noqa: ANN401
    return {
        keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree.leaves_with_path(state)
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and leaf.size
    }
