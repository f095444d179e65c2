"""State dicts, PyTorch's named tensors: read from files and from the hub, and written to files."""

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jaxseg import limits
from jaxseg.disk import whole
from jaxseg.errors import UserError

StateDict = Mapping[str, NDArray[np.generic]]
"""Tensors by dotted names."""

CHECKED = "crc32"
"""Entry of the head of a .safetensors file that has a checksum of each tensor, as JSON."""

HUB = "hf://"
"""Prefix of a name on the Hugging Face hub: hf://owner/name/file."""


def read_state_dict(path: str | Path) -> dict[str, NDArray[np.generic]]:
    """Tensors of a file by their names.

    A .pth file is read without executing pickled code; for a training checkpoint, the state dict
    under `state_dict`, `model_state_dict` or `model` is used.

    Args:
        path: A file, or `hf://owner/name/file` on the Hugging Face hub, which is downloaded once
            and stored in that library's cache.

    Raises:
        UserError: There is no such file, it is damaged, its format is unknown, or a needed library
            is missing.
    """
    file = _downloaded(str(path)) if str(path).startswith(HUB) else Path(path)
    if not file.is_file():
        raise UserError(f"No file {file}. Give the path of a state dict on this machine.")
    match file.suffix:
        case ".safetensors":
            import safetensors.numpy

            try:
                state = dict(safetensors.numpy.load_file(file))
                with safetensors.safe_open(file, "numpy") as opened:
                    head = opened.metadata() or {}
            except safetensors.SafetensorError as error:
                raise UserError(f"{file} is damaged: {error}. Fetch it again.") from None
            _check(file, state, head.get(CHECKED))
            return state
        case ".npz":
            try:
                return limits.load_arrays(file)
            except UserError:
                raise
            except (ValueError, OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
                raise UserError(f"{file} is damaged: {error}. Fetch it again.") from None
        case ".pth" | ".pt" | ".bin" | ".ckpt":
            return _read_torch(file)
    raise UserError(
        f"{file} ends in {file.suffix or 'nothing'}; state dicts end in .safetensors, .npz, .pth, "
        ".pt, .bin or .ckpt."
    )


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
    try:
        import huggingface_hub  # type: ignore[import-not-found, unused-ignore]
        from huggingface_hub.errors import (  # type: ignore[import-not-found, unused-ignore]
            HfHubHTTPError,
            LocalEntryNotFoundError,
        )
    except ImportError:
        raise UserError(
            f"{name} is on the Hugging Face hub: `pip install huggingface_hub` first, or "
            "download the file and give its path."
        ) from None
    try:
        return Path(huggingface_hub.hf_hub_download(f"{owner}/{repository}", file))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"{name} cannot be read: {error}\nCheck the name and the network, or download the file "
            "and give its path."
        ) from None


def _read_torch(path: Path) -> dict[str, NDArray[np.generic]]:
    try:
        import torch  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise UserError(
            f"{path} is a PyTorch file, and PyTorch is not installed. Install it (`pip install "
            "torch`), or save the state dict as .safetensors on a machine that has it."
        ) from None
    import pickle

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError):
        raise UserError(
            f"{path} is damaged, or holds more than tensors. Python objects are not unpickled, "
            "because that would run their code: save `model.state_dict()`."
        ) from None
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(map(torch.is_tensor, content.values())):
        raise UserError(
            f"{path} holds no state dict, that is, names and tensors. Save `model.state_dict()`."
        )
    return {name: tensor.float().numpy() for name, tensor in content.items()}
