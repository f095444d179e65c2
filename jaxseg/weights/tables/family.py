"""What a table of weights consists of."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Family(NamedTuple):
    """Where the tensors of a reference implementation go.

    Keys are PyTorch module names, values are paths of our modules; `{i}` and `{j}` stand for the
    same numbers on both sides.
    """

    first: str
    """PyTorch's name of the first convolution, which may be adapted to other bands."""
    encoder: dict[str, str]
    decoder: dict[str, str]
    """Empty: files of this family hold an encoder only."""
    optional: dict[str, str]
    """What a file may hold although the network at hand has no such part, as an auxiliary head."""
    ignored: tuple[str, ...]
    """PyTorch's names of modules that no network here has, as a classifier of whole images."""
    transposed: tuple[str, ...]
    """PyTorch's names of transposed convolutions, whose tensors have inputs before outputs."""
    form: Mapping[str, object] = MappingProxyType({})
    """Arguments of the network that make it this reference and not another with its parameters;
    they decide whose names an exported network gets."""
