"""What a table of weights consists of."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


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
    parameters; an exported network has them, and loading into others is warned about."""
    title: str = ""
    """What the reference is called in messages."""
    reference: str = ""
    """What `exported` calls it; empty if files of this family are read only."""
    only: Mapping[str, tuple[object, ...]] = MappingProxyType({})
    """Arguments of which the reference has only these values."""
    usual: Mapping[str, tuple[object, ...]] = MappingProxyType({})
    """Arguments that the reference has too, and the values that most of its networks have."""
    untold: str = ""
    """What a file of this family does not tell, although outputs depend on it."""
    unused: Callable[[Mapping[str, NDArray[np.float32]]], dict[str, NDArray[np.float32]]] = (
        lambda _: {}
    )
    """Tensors that the reference has and does not use, from those of an exported network."""
    buffers: Callable[[Mapping[str, NDArray[np.float32]]], dict[str, NDArray[np.float32]]] = (
        lambda _: {}
    )
    """Constants that the reference stores and this library computes, from the same."""
    dated: tuple[str, ...] = ()
    """PyTorch's names of convolutions over dates, rows and columns, of one date: without that axis
    here."""
    hints: Mapping[str, str] = MappingProxyType({})
    """What to choose if a name that the expression is found in is missing or not the network's."""
