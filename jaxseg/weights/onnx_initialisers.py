"""The weights of an ONNX file: its initialisers, read without the package onnx.

An ONNX file is a message of Protocol Buffers: fields of a number and a value, which is an integer
of variable length, 4 or 8 bytes, or bytes that may be a message again. Numbers of the fields are
those of onnx.proto: ModelProto.graph 7, GraphProto.initializer 5, and of TensorProto dims 1,
data_type 2, float_data 4, int32_data 5, int64_data 7, name 8, raw_data 9, double_data 10,
uint64_data 11, external_data 13.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.weights.dense import Tensors, from_bytes

TYPES: dict[int, Any] = {
    1: np.float32,
    2: np.uint8,
    3: np.int8,
    4: np.uint16,
    5: np.int16,
    6: np.int32,
    7: np.int64,
    9: np.bool_,
    10: np.float16,
    11: np.float64,
    12: np.uint32,
    13: np.uint64,
    14: np.complex64,
    15: np.complex128,
    16: jnp.bfloat16,
    17: jnp.float8_e4m3fn,
    19: jnp.float8_e5m2,
}

LISTS = {4: "<f4", 10: "<f8"}
"""Fields of numbers that are stored one after the other, and their type."""

INTEGERS = (5, 7, 11)
"""Fields of integers of variable length."""


def read(path: Path) -> Tensors:
    """The initialisers by name, those with PyTorch's names being the weights of the network.

    Raises:
        UserError: The weights lie in another file, or none has the name of a module.
        ValueError: It is damaged; other errors may follow from damage too.
    """
    found = {}
    for number, graph in _fields(memoryview(path.read_bytes())):
        if number == 7 and isinstance(graph, memoryview):
            for inner, tensor in _fields(graph):
                if inner == 5 and isinstance(tensor, memoryview):
                    name, array = _tensor(path, tensor)
                    found[name] = array
    if not any("." in name and "::" not in name for name in found):
        raise UserError(
            f"{path}: none of its {len(found)} initialisers has the name of a module, because its "
            "exporter folded or renamed them. Give the file of PyTorch, or export it again with "
            "`do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE`."
        )
    return found


# -- private ---------------------------------------------------------------------------------------

Field = tuple[int, int | memoryview]


def _fields(message: memoryview) -> Iterator[Field]:
    """Number and value of each field; values of 4 and 8 bytes stay bytes."""
    at = 0
    while at < len(message):
        key, at = _integer(message, at)
        kind = key & 7
        if kind == 0:
            value, at = _integer(message, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _integer(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if at + size > len(message):
            raise ValueError("a field that is longer than the file")
        yield key >> 3, message[at : at + size]
        at += size


def _integer(message: memoryview, at: int) -> tuple[int, int]:
    """An integer of variable length, and where the next value begins."""
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("an integer of more than ten bytes")


def _tensor(path: Path, message: memoryview) -> tuple[str, NDArray[np.generic]]:
    name, kind, shape = "", 0, list[int]()
    raw: memoryview | None = None
    listed: list[NDArray[np.generic]] = []
    for number, value in _fields(message):
        if number == 1:
            shape += _integers(value)
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number == 8 and isinstance(value, memoryview):
            name = str(bytes(value), "utf-8")
        elif number == 9 and isinstance(value, memoryview):
            raw = value
        elif number == 13:
            raise UserError(
                f"{path}: its weights lie in another file (external data). Save it in one file: "
                "`onnx.save(onnx.load(path), path)`."
            )
        elif number in LISTS and isinstance(value, memoryview):
            listed.append(np.frombuffer(value, LISTS[number]))
        elif number in INTEGERS:
            listed.append(np.array(_integers(value), np.uint64))
    if kind not in TYPES:
        raise ValueError(f"{name} is of the unknown type {kind}")
    dtype, count = np.dtype(TYPES[kind]), math.prod(shape)
    values = from_bytes(raw, dtype, len(raw) // dtype.itemsize) if raw else _listed(listed, dtype)
    if len(values) != count:
        raise ValueError(f"{name} of shape {shape} has {len(values):,} numbers")
    return name, values.reshape(shape)


def _listed(parts: list[NDArray[np.generic]], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    """Numbers of a typed field; those of types without a field are integers or their bits."""
    if not parts:
        return np.empty(0, dtype)
    numbers = np.concatenate(parts)
    if numbers.dtype != np.uint64:
        return numbers.view(dtype)
    if dtype.kind in "iub":
        return numbers.astype(dtype)
    return numbers.astype(f"<u{dtype.itemsize}").view(dtype)


def _integers(value: int | memoryview) -> list[int]:
    """Integers of a repeated field: one, or several in a row."""
    if isinstance(value, int):
        return [value]
    found, at = [], 0
    while at < len(value):
        number, at = _integer(value, at)
        found.append(number)
    return found
