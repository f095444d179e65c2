"""Arrays from the bytes of a file."""

import numpy as np
from numpy.typing import NDArray

Tensors = dict[str, NDArray[np.generic]]
"""Tensors by dotted names, each of its own type; bfloat16 and float8 are those of ml_dtypes."""


def from_bytes(
    content: bytes | memoryview, dtype: np.dtype[np.generic], count: int, start: int = 0
) -> NDArray[np.generic]:
    """The numbers from byte `start` on, as they lie in the file, without a copy.

    Raises:
        ValueError: There are fewer of them.
    """
    if not count:
        return np.empty(0, dtype)
    return np.frombuffer(content, np.uint8, count * dtype.itemsize, start).view(dtype)
