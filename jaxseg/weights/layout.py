"""The order of a tensor's axes in PyTorch and in Flax."""

import numpy as np
from numpy.typing import NDArray

from jaxseg.weights.names import translated
from jaxseg.weights.tables.family import Family


def turned(value: NDArray[np.float32], name: str, family: Family) -> NDArray[np.float32]:
    """PyTorch's (outputs, inputs, taps...) to (taps..., inputs, outputs), in any dimension."""
    if value.ndim < 2:
        return value
    return np.moveaxis(value, (0, 1), (-2, -1) if _is_transposed(name, family) else (-1, -2))


def turned_back(value: NDArray[np.float32], name: str, family: Family) -> NDArray[np.float32]:
    """The inverse of `turned`."""
    if value.ndim < 2:
        return value
    return np.moveaxis(value, (-2, -1) if _is_transposed(name, family) else (-1, -2), (0, 1))


def _is_transposed(name: str, family: Family) -> bool:
    module = name.rpartition(".")[0]
    return translated(module, dict.fromkeys(family.transposed, "")) is not None
