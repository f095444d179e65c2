"""Tensors come out of files as they went in, and what is wrong with a file is said."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.weights.state_dict import read_state_dict, write_state_dict


def test_a_turned_tensor_is_written_as_it_reads(tmp_path: Path) -> None:
    turned = np.arange(12, dtype=np.float32).reshape(3, 4).T
    write_state_dict({"a.weight": turned}, tmp_path / "w.safetensors")
    np.testing.assert_array_equal(read_state_dict(tmp_path / "w.safetensors")["a.weight"], turned)
    with pytest.raises(UserError, match=r"must end in \.safetensors"):
        write_state_dict({}, tmp_path / "w.npz")
    with pytest.raises(UserError, match="No folder"):
        write_state_dict({}, tmp_path / "absent" / "w.safetensors")


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No file"):
        read_state_dict(tmp_path / "absent.npz")
    (tmp_path / "weights.h5").write_bytes(b"")
    with pytest.raises(UserError, match=r"\.safetensors, \.npz"):
        read_state_dict(tmp_path / "weights.h5")


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_a_truncated_file_is_named(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"weights.{ending}"
    path.write_bytes(b"PK\x03\x04 and then nothing more of it")
    with pytest.raises(UserError, match=f"weights.{ending} is damaged"):
        read_state_dict(path)


def test_objects_in_a_numpy_file_are_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", a=np.array([{}], dtype=object))
    with pytest.raises(UserError, match="damaged"):
        read_state_dict(tmp_path / "w.npz")


def test_a_pytorch_file_needs_pytorch_or_is_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    try:
        import torch
    except ImportError:
        path.write_bytes(b"")
        with pytest.raises(UserError, match="PyTorch is not installed"):
            read_state_dict(path)
    else:
        torch.save({"state_dict": {"a.weight": torch.arange(3)}}, path)
        np.testing.assert_array_equal(read_state_dict(path)["a.weight"], [0.0, 1.0, 2.0])
        torch.save(torch.nn.Linear(2, 2), path)
        with pytest.raises(UserError, match="more than tensors"):
            read_state_dict(path)


def test_a_name_on_the_hub_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "w.npz", a=np.ones(2))
    asked = []

    def download(repository: str, file: str) -> str:
        asked.append((repository, file))
        if file == "absent.npz":
            raise OSError("404")
        return str(tmp_path / "w.npz")

    class Hub(types.ModuleType):
        hf_hub_download = staticmethod(download)

    class Errors(types.ModuleType):
        HfHubHTTPError = LocalEntryNotFoundError = OSError

    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub("huggingface_hub"))
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", Errors("errors"))
    assert read_state_dict("hf://owner/name/folder/w.npz").keys() == {"a"}
    assert asked == [("owner/name", "folder/w.npz")]
    with pytest.raises(UserError, match="cannot be had: 404"):
        read_state_dict("hf://owner/name/absent.npz")
    with pytest.raises(UserError, match="hf://owner/name/file"):
        read_state_dict("hf://owner/name")


def test_without_the_hubs_library_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="pip install huggingface_hub"):
        read_state_dict("hf://owner/name/file.safetensors")
