"""What a table of weights consists of."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


def no_buffers(model: Any) -> dict[str, NDArray[np.float32]]:  # noqa: ANN401  (any network)
    """What a reference has beside parameters and statistics: nothing."""
    return {}


class Family(NamedTuple):
    """Where the tensors of a reference implementation go.

    Keys are PyTorch module names, values are module paths of jaxseg; `{i}` and `{j}` stand for the
    same numbers on both sides. A parameter that belongs to no layer stands with its own name.
    """

    first: str
    """PyTorch's name of the first convolution, which may be adapted to other bands."""
    encoder: dict[str, str]
    decoder: dict[str, str]
    """Empty if files of this family hold only an encoder."""
    optional: dict[str, str]
    """Parts that a file may hold even if the network lacks them, such as an auxiliary head."""
    ignored: tuple[str, ...]
    """PyTorch's names of modules that no network here has, such as a classifier of whole images."""
    transposed: tuple[str, ...]
    """PyTorch's names of transposed convolutions, whose tensors have inputs before outputs."""
    form: Mapping[str, object] = MappingProxyType({})
    """Arguments of the network that distinguish this reference from others with the same
    parameters; they determine the names in an exported network."""
    dated: tuple[str, ...] = ()
    """PyTorch's names of convolutions over dates, rows and columns, of one date: without that axis
    here."""
    buffers: Callable[[Any], Mapping[str, NDArray[np.float32]]] = no_buffers
    """Constants of a network that PyTorch stores with it and this library computes."""
