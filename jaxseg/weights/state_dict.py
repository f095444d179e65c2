"""State dicts, PyTorch's named tensors: read from files and from the hub, and written to files."""

import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.system.disk import whole
from jaxseg.weights import numpy_file, onnx_initialisers, safetensors_file, torch_file
from jaxseg.weights.fetching import from_hub

StateDict = Mapping[str, NDArray[np.generic]]
"""Tensors by dotted names."""

CHECKED = "crc32"
"""Entry of the head of a .safetensors file that has a checksum of each tensor, as JSON."""

HUB = "hf://"
"""Prefix of a name on the Hugging Face hub: hf://owner/name/file."""


ENDINGS = {
    ".safetensors": "safetensors",
    ".npz": "NumPy",
    ".onnx": "ONNX",
    **dict.fromkeys((".pth", ".pt", ".ckpt", ".bin", ".tar"), "PyTorch"),
}
"""The format that the ending of a file stands for; .tar is that of .pth.tar."""

BROKEN = (
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError, EOFError, RuntimeError),
    *(NotImplementedError, zipfile.BadZipFile, zlib.error, struct.error, RecursionError),
)
"""What reading a damaged file raises."""


def read_state_dict(path: str | Path) -> dict[str, NDArray[np.generic]]:
    """Tensors of a file by their names.

    Files of PyTorch are read without PyTorch and without executing anything that is pickled in
    them (`jaxseg.weights.inert_pickle`). Of a checkpoint, the part that holds the network is used;
    what else holds tensors is named on the screen.

    Args:
        path: A file that ends in .safetensors, .npz, .onnx, .pth, .pt, .ckpt, .bin or .pth.tar, or
            `hf://owner/name/file` on the Hugging Face hub, which is downloaded once and stored in
            that library's cache.

    Returns:
        Arrays of the types that they have in the file; bfloat16 and float8 are those of ml_dtypes.
        Arrays may be read-only.

    Raises:
        UserError: There is no such file, it is damaged, its format is unknown or not that of its
            ending, it holds no tensors, or a needed library is missing.
    """
    file = _downloaded(str(path)) if str(path).startswith(HUB) else Path(path)
    if not file.is_file():
        raise UserError(f"No file {file}. Give the path of a state dict on this machine.")
    stated = ENDINGS.get(file.suffix.lower())
    if stated is None:
        raise UserError(
            f"{file} ends in {file.suffix or 'nothing'}; state dicts end in .safetensors, .npz, "
            ".onnx, .pth, .pt, .bin, .ckpt or .pth.tar."
        )
    try:
        _refuse_other_format(file, stated)
        state = _read(file, stated)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}.") from None
    except MemoryError:
        raise UserError(f"{file} is larger than the memory of this machine.") from None
    except BROKEN as error:
        said = " ".join(str(error).split())[:300]
        raise UserError(
            f"{file} is damaged: {said or type(error).__name__}. Fetch it again."
        ) from None
    if not state:
        raise UserError(f"{file} holds no tensors: give the file that holds the weights.")
    return state


def write_state_dict(state: StateDict, path: str | Path) -> None:
    """Writes tensors as .safetensors, which PyTorch users open with `safetensors.torch.load_file`.

    The head of the file has a checksum of each tensor, which `read_state_dict` compares.

    Raises:
        UserError: The name has another extension, there is no such folder, or it cannot be written.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise UserError(f"{path} must end in .safetensors.")
    if not path.parent.is_dir():
        raise UserError(f"No folder {path.parent}. Create it first.")
    import safetensors.numpy

    # The format stores the bytes in memory order: a transposed view would be written untransposed.
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in state.items()}
    head = {CHECKED: json.dumps({name: _checksum(tensor) for name, tensor in tensors.items()})}
    with whole(path, sum(tensor.nbytes for tensor in tensors.values())) as aside:
        safetensors.numpy.save_file(tensors, aside, metadata=head)


def _read(file: Path, form: str) -> dict[str, NDArray[np.generic]]:
    match form:
        case "safetensors":
            state, head = safetensors_file.read(file)
            _check(file, state, head.get(CHECKED))
            return state
        case "NumPy":
            return numpy_file.read(file)
        case "ONNX":
            return onnx_initialisers.read(file)
    return torch_file.read(file)


def _refuse_other_format(file: Path, stated: str) -> None:
    """An error about a whole file of another format than its ending's, or an empty one."""
    with file.open("rb") as opened:
        start = opened.read(512)
    if not start:
        raise UserError(f"{file} is empty: fetch it again.")
    found = stated
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
        if any(name.endswith("/data.pkl") for name in names):
            found = "PyTorch"
        elif any(name.endswith(".npy") for name in names):
            found = "NumPy"
        elif names:
            found = "zip, around other files"
    elif start[8:10] == b'{"':
        found = "safetensors"
    elif start.startswith(b"\x80\x02\x8a\nl\xfc\x9cF\xf9"):
        found = "PyTorch"
    elif start.startswith(b"\x89HDF"):
        found = "HDF5"
    elif start.lstrip()[:1] == b"<":
        found = "HTML, perhaps the page of an error"
    elif start.startswith(b"version https://git-lfs"):
        found = "Git LFS, which only states where the weights are"
    elif start[257:262] == b"ustar":
        found = "tar, as of PyTorch before 0.2 or around other files"
    if found != stated:
        endings = " or ".join(end for end, form in ENDINGS.items() if form == found)
        remedy = f"rename it to {endings}" if endings else "fetch the weights themselves"
        raise UserError(f"{file} ends as a file of {stated} but is one of {found}: {remedy}.")


def _check(file: Path, state: StateDict, saved: str | None) -> None:
    """Compares tensors with the checksums in the head of their file.

    Args:
        file: For the message.
        state: The tensors.
        saved: The checksums; None if another program wrote the file, which is not checked.

    Raises:
        UserError: A tensor is not what was written.
    """
    if saved is None:
        return
    try:
        expected = dict(json.loads(saved))
    except (ValueError, TypeError):
        raise UserError(
            f"{file} is damaged: its checksums cannot be read. Fetch it again."
        ) from None
    found = {name: _checksum(tensor) for name, tensor in state.items()}
    for name in (*found, *expected):
        if found.get(name) != expected.get(name):
            raise UserError(
                f"{file} is damaged: {name} is not as it was written. Fetch or export it again."
            )


def _checksum(tensor: NDArray[np.generic]) -> str:
    """Of type, shape and bytes: against damage, for which CRC-32 is enough, not against people."""
    start = zlib.crc32(f"{tensor.dtype} {tensor.shape}".encode())
    return f"{zlib.crc32(np.ascontiguousarray(tensor).tobytes(), start):08x}"


def _downloaded(name: str) -> Path:
    owner, _, rest = name.removeprefix(HUB).partition("/")
    repository, _, file = rest.partition("/")
    if not (owner and repository and file):
        raise UserError(f"{name}: names on the hub are hf://owner/name/file.")
    advice = "Check the name and the network, or download the file and give its path."
    return from_hub(f"{owner}/{repository}", file, None, advice)
