"""The .npz format: a zip archive with one array in each member."""

from pathlib import Path

from jaxseg.system import limits
from jaxseg.weights import archive
from jaxseg.weights.dense import Tensors


def read(path: Path) -> Tensors:
    """Arrays by name.

    Raises:
        UserError: The arrays are larger than half of this machine's memory.
        ValueError: It is damaged, or states sizes that it does not have; other errors may follow
            from damage too.
    """
    with archive.opened(path):  # compares the sizes
        return limits.load_arrays(path)
