"""The .safetensors format: a head of JSON that names tensors, then their bytes."""

import json
import math
import struct
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxseg.weights.dense import Tensors, from_bytes

TYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": jnp.bfloat16,
    "F8_E4M3": jnp.float8_e4m3fn,
    "F8_E5M2": jnp.float8_e5m2,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
    "C64": np.complex64,
}


def read(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Tensors by name, and the texts of the head.

    Raises:
        ValueError: The file is not in this format, or its head states what it does not hold.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > size - 8:
            raise ValueError(f"its {size:,} bytes state a head of {length:,}")
        head = json.loads(file.read(length))
        content = file.read()
    if not isinstance(head, dict):
        raise ValueError("its head is not a list of names")
    texts = head.pop("__metadata__", {})
    return {name: _tensor(name, entry, content) for name, entry in head.items()}, texts


def _tensor(name: str, entry: Any, content: bytes) -> NDArray[np.generic]:  # noqa: ANN401
    kind, shape, (start, stop) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if kind not in TYPES:
        raise ValueError(f"{name} is of the unknown type {kind}")
    dtype = np.dtype(TYPES[kind])
    if any(type(n) is not int or n < 0 for n in (*shape, start, stop)):
        raise ValueError(f"{name} has shape {shape} and lies at {start} to {stop}")
    if stop > len(content) or stop - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name}, {kind} of shape {shape}, has {stop - start:,} bytes")
    return from_bytes(content, dtype, math.prod(shape), start).reshape(shape)
