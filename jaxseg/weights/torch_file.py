"""Files of `torch.save`, read without PyTorch: a zip archive, or before 1.6 a stream of pickles.

The tensors of a zip archive have their bytes in members `NAME/data/KEY`, and their names, shapes
and strides in the pickle `NAME/data.pkl`. A stream is a magic number, a version, the machine, the
object, the list of keys, and for each key the number of elements and their bytes.
"""

import io
import math
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.weights import archive
from jaxseg.weights.dense import Tensors, from_bytes
from jaxseg.weights.inert_pickle import Inert, Name, Storage, StoredTensor, unpickled
from jaxseg.weights.notice import say_once

MAGIC = 0x1950A86A20F9469CFC6C
"""Number with which a stream begins."""

TYPES: dict[str, Any] = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": jnp.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
    "ComplexFloatStorage": np.complex64,
    "ComplexDoubleStorage": np.complex128,
    "UntypedStorage": np.uint8,
    "uint16": np.uint16,
    "uint32": np.uint32,
    "uint64": np.uint64,
    "float8_e4m3fn": jnp.float8_e4m3fn,
    "float8_e5m2": jnp.float8_e5m2,
}

MOST = 2**20
"""Entries that a checkpoint may have, and numbers of a tensor that repeats those of its storage."""

BESIDE = ("optim", "sched", "scaler", "callback", "loop", "hyper", "arg", "config", "cfg", "amp")
"""Beginnings of the entries of a checkpoint that hold tensors which are not a network's."""


def read(path: Path) -> Tensors:
    """The tensors of a state dict or of a checkpoint around it, by dotted names.

    If one entry of a checkpoint holds tensors, or one beside optimizer, schedule and arguments, the
    names are those in it. If several do, such as a network and its moving average, each name begins
    with its entry.

    Raises:
        UserError: The file holds no tensors by name, or such that are not arrays of numbers.
        ValueError: It is damaged; other errors may follow from damage too.
    """
    if zipfile.is_zipfile(path):
        return _from_archive(path)
    return _from_stream(path, io.BytesIO(path.read_bytes()))


# -- private ---------------------------------------------------------------------------------------

Bytes = Callable[[Storage], bytes]


def _from_archive(path: Path) -> Tensors:
    with archive.opened(path) as opened:
        members = set(opened.namelist())
        pickles = [name for name in members if name.split("/")[1:] == ["data.pkl"]]
        if not pickles:
            raise ValueError("a zip archive without the member data.pkl of PyTorch")
        ((folder, _),) = (name.split("/") for name in pickles[:1])
        if f"{folder}/constants.pkl" in members:
            raise UserError(
                f"{path} is a program of TorchScript (torch.jit.save), not weights: save "
                "`model.state_dict()` of it with torch.save."
            )
        if (order := f"{folder}/byteorder") in members:
            _refuse_byte_order(path, little=opened.read(order) == b"little")
        content = unpickled(io.BytesIO(opened.read(pickles[0])))
        return _tensors(path, content, lambda storage: opened.read(f"{folder}/data/{storage.key}"))


def _from_stream(path: Path, stream: io.BytesIO) -> Tensors:
    first = unpickled(stream)
    if first != MAGIC:
        raise UserError(
            f"{path} is a pickle that torch.save did not write: save `model.state_dict()` with "
            "torch.save, or as .safetensors."
        )
    _version, machine, content, keys = (unpickled(stream) for _ in range(4))
    _refuse_byte_order(path, little=machine.get("little_endian", True))
    types = {storage.key: TYPES.get(storage.kind, np.uint8) for storage in _storages(content)}
    blocks = {}
    for key in keys:
        (count,) = struct.unpack("<q", stream.read(8))
        size = count * np.dtype(types[key]).itemsize
        block = stream.read(max(0, size))
        if len(block) != size:
            raise ValueError("it ends before its numbers do")
        blocks[key] = block
    return _tensors(path, content, lambda storage: blocks[storage.key])


def _refuse_byte_order(path: Path, *, little: bool) -> None:
    if not little:
        raise UserError(
            f"{path} was written by a machine with the other byte order: save it again on a PC."
        )


def _storages(content: object) -> list[Storage]:
    """Every storage that an object refers to, anywhere in it."""
    found, seen, left = [], set(), [content]
    while left:
        value = left.pop()
        if isinstance(value, Storage):
            found.append(value)
        elif isinstance(value, dict | list | tuple | Inert) and id(value) not in seen:
            seen.add(id(value))
            if isinstance(value, Inert):
                left += [value.arguments, value.items, value.state]
            else:
                left += value.values() if isinstance(value, dict) else value
    return found


def _tensors(path: Path, content: object, bytes_of: Bytes) -> Tensors:
    network, left = _network(content)
    stored = _named(network)
    if not stored:
        raise UserError(
            f"{path} holds no state dict, that is, tensors by their names{_instead(content)}. "
            "Objects of Python are not made, because that would run their code: save "
            "`model.state_dict()`."
        )
    if left:
        say_once(f"Weights: {path.name}: not read: {', '.join(left)}.")
    blocks: dict[str, bytes] = {}
    tensors = {}
    for name, tensor in stored.items():
        if isinstance(tensor, Inert):
            raise UserError(
                f"{path}: {name} is sparse, quantised or without numbers "
                f"({getattr(tensor.of, 'name', tensor.of)}): save a dense tensor in its place, by "
                "`to_dense()` or `dequantize()`."
            )
        key = tensor.storage.key
        if key not in blocks:
            blocks[key] = bytes_of(tensor.storage)
        tensors[name] = _dense(name, tensor, blocks[key])
    return tensors


def _network(content: object) -> tuple[object, list[str]]:
    """The part of a checkpoint that holds networks, and the names of what is beside it."""
    left: list[str] = []
    while True:
        items = _items(content)
        held = {name: value for name, value in items.items() if _named(value, direct=True)}
        if any(_tensor(value) for value in items.values()) or not held:
            return content, left
        beside = [name for name in held if name.lower().startswith(BESIDE)]
        left += beside
        if len(held) - len(beside) != 1:
            return {name: value for name, value in held.items() if name not in beside}, left
        (content,) = (value for name, value in held.items() if name not in beside)


def _named(value: object, *, direct: bool = False) -> dict[str, StoredTensor | Inert]:
    """Tensors in nested dictionaries by dotted names; of a tensor itself, by no name."""
    found: dict[str, StoredTensor | Inert] = {}
    left: list[tuple[str, object]] = [("", value)]
    for _ in range(MOST):
        if not left or (direct and found):
            return found
        name, inner = left.pop()
        tensor = _tensor(inner)
        if tensor is not None:
            if name or direct:
                found[name] = tensor
        else:
            items = [(f"{name}.{k}" if name else k, v) for k, v in _items(inner).items()]
            left += reversed(items)
    raise ValueError(f"it holds more than {MOST:,} entries")


def _items(value: object) -> dict[str, Any]:
    if isinstance(value, Inert):
        return value.items
    return value if isinstance(value, dict) else {}


def _tensor(value: object) -> StoredTensor | Inert | None:
    """A tensor, also one that is no array of numbers."""
    if isinstance(value, Inert) and isinstance(value.of, Name):
        if value.of.name in ("Parameter", "Variable") and isinstance(value.state, tuple):
            return _tensor(value.state[0])  # as before PyTorch 0.4
        if value.of.module == "torch._utils" and value.of.name.startswith("_rebuild_"):
            return value
    return value if isinstance(value, StoredTensor) else None


def _instead(content: object) -> str:
    """What a message says about an object that is not a state dict."""
    if not isinstance(content, Inert) or not isinstance(content.of, Name):
        return ""
    if isinstance(content.state, dict) and "_modules" in content.state:
        return f", but a whole network, {'.'.join(content.of)}"
    return f", but {'.'.join(content.of)}"


def _dense(name: str, tensor: StoredTensor, content: bytes) -> NDArray[np.generic]:
    """The numbers of a view of a storage."""
    kind = tensor.dtype or tensor.storage.kind
    if kind not in TYPES:
        raise ValueError(f"{name} is of the unknown type {kind}")
    dtype, shape = np.dtype(TYPES[kind]), tensor.shape
    count = len(content) // dtype.itemsize
    if not tensor.dtype and count < tensor.storage.length:
        raise ValueError(f"{name} has {count:,} numbers, not {tensor.storage.length:,}")
    reach = [(size - 1) * step for size, step in zip(shape, tensor.stride, strict=True)]
    if not math.prod(shape):
        return np.empty(shape, dtype)
    if tensor.offset + sum(reach) >= count or math.prod(shape) > max(count, MOST):
        raise ValueError(f"{name} of shape {shape} is larger than its {count:,} numbers")
    numbers = from_bytes(content, dtype, count)[tensor.offset :]
    steps = [step * dtype.itemsize for step in tensor.stride]
    view: NDArray[np.generic] = np.lib.stride_tricks.as_strided(
        numbers, shape, steps, writeable=False
    )
    return view
