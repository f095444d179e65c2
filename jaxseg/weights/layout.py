"""The order of a tensor's axes in PyTorch and in Flax."""

from collections.abc import Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from jaxseg.weights.names import translated
from jaxseg.weights.tables.family import Family

Number = TypeVar("Number", bound=np.generic)


def turned(value: NDArray[Number], name: str, family: Family) -> NDArray[Number]:
    """PyTorch's (outputs, inputs, taps...) to (taps..., inputs, outputs), in any dimension."""
    if value.ndim < 2 or not name.endswith(".weight"):
        return value
    if value.ndim == 5 and value.shape[2] == 1 and _is_among(family.dated, name):
        value = value[:, :, 0]
    return np.moveaxis(value, (0, 1), (-2, -1) if _is_among(family.transposed, name) else (-1, -2))


def turned_back(value: NDArray[Number], name: str, family: Family) -> NDArray[Number]:
    """The inverse of `turned`."""
    if value.ndim < 2 or not name.endswith(".weight"):
        return value
    of_inputs = (-2, -1) if _is_among(family.transposed, name) else (-1, -2)
    value = np.moveaxis(value, of_inputs, (0, 1))
    return value[:, :, None] if _is_among(family.dated, name) else value


def _is_among(modules: Iterable[str], name: str) -> bool:
    return translated(name.rpartition(".")[0], dict.fromkeys(modules, "")) is not None
