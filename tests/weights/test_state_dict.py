"""Tensors come out of files as they went in, and what is wrong with a file is said."""

import os
import pickle
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


class Trace:
    """Unpickled, it makes a folder: code of whoever wrote the file."""

    def __init__(self, place: Path) -> None:  # noqa: D107
        self.place = place

    def __reduce__(self) -> tuple[object, ...]:
        """What a pickle of it runs."""
        return (os.mkdir, (str(self.place),))


class Tensor:
    """As much of PyTorch's as is needed, of half precision."""

    def __init__(self, values: object) -> None:  # noqa: D107
        self.values = np.asarray(values, np.float16)

    def float(self) -> "Tensor":
        """In single precision."""
        turned = Tensor(self.values)
        turned.values = self.values.astype(np.float32)
        return turned

    def numpy(self) -> np.ndarray:
        """The numbers."""
        return self.values


class Torch(types.ModuleType):
    """A stand-in that unpickles everything unless it is told to read weights only."""

    def __init__(self) -> None:  # noqa: D107
        super().__init__("torch")
        self.content: object = {}
        self.places: list[object] = []

    def load(
        self, path: Path, map_location: object = None, *, weights_only: bool = False
    ) -> object:
        """As PyTorch's."""
        self.places.append(map_location)
        if not weights_only:
            return pickle.loads(path.read_bytes())
        if b"mkdir" in path.read_bytes():
            raise pickle.UnpicklingError("Weights only load failed")
        return self.content

    @staticmethod
    def is_tensor(value: object) -> bool:
        """Whether it is one."""
        return isinstance(value, Tensor)


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> Torch:
    """The stand-in, wherever PyTorch is imported, installed or not."""
    found = Torch()
    monkeypatch.setitem(sys.modules, "torch", found)
    return found


ENDINGS = pytest.mark.parametrize("ending", ["pth", "pt", "bin", "ckpt"])


@ENDINGS
def test_code_that_is_pickled_in_a_file_never_runs(
    tmp_path: Path, torch: Torch, ending: str
) -> None:
    path = tmp_path / f"weights.{ending}"
    path.write_bytes(pickle.dumps({"a.weight": Trace(tmp_path / "trace")}))
    with pytest.raises(UserError, match=rf"weights\.{ending} is damaged, or holds more"):
        read_state_dict(path)
    assert not (tmp_path / "trace").exists()
    pickle.loads(path.read_bytes())
    assert (tmp_path / "trace").exists()  # as it would


@ENDINGS
@pytest.mark.parametrize("key", ["", "state_dict", "model_state_dict", "model"])
def test_tensors_of_a_checkpoint_are_read_in_single_precision_to_the_host(
    tmp_path: Path, torch: Torch, ending: str, key: str
) -> None:
    path = tmp_path / f"weights.{ending}"
    path.write_bytes(b"none")
    state = {"a.weight": Tensor([1, 2]), "a.bias": Tensor([0.5])}
    torch.content = {key: state, "epoch": 3} if key else state
    found = read_state_dict(path)
    assert found.keys() == state.keys()
    np.testing.assert_array_equal(found["a.weight"], [1, 2])
    assert found["a.bias"].dtype == np.float32
    assert torch.places == ["cpu"]


@pytest.mark.parametrize(
    "content",
    [
        {"a.weight": Tensor([1]), "epoch": 3},
        {"a.weight": [1.0, 2.0]},
        {"state_dict": {"a.weight": 1}},
        {"model": Tensor([1]), "note": "text"},
        [Tensor([1])],
        Tensor([1]),
        None,
    ],
    ids=range(7),
)
def test_what_is_no_mapping_of_tensors_is_refused(
    tmp_path: Path, torch: Torch, content: object
) -> None:
    (tmp_path / "weights.pth").write_bytes(b"none")
    torch.content = content
    with pytest.raises(UserError, match=r"weights\.pth holds no state dict"):
        read_state_dict(tmp_path / "weights.pth")


@pytest.mark.parametrize("fault", [RuntimeError("cut off"), EOFError(), pickle.UnpicklingError()])
def test_what_pytorch_cannot_read_is_named(
    tmp_path: Path, torch: Torch, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise fault

    (tmp_path / "weights.pth").write_bytes(b"none")
    monkeypatch.setattr(torch, "load", broken)
    with pytest.raises(UserError, match=r"weights\.pth is damaged"):
        read_state_dict(tmp_path / "weights.pth")


def test_code_that_is_pickled_does_not_run_in_pytorch_itself(tmp_path: Path) -> None:
    real = pytest.importorskip("torch")
    trace = tmp_path / "trace"
    real.save({"a.weight": real.ones(2), "more": Trace(trace)}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="more than tensors"):
        read_state_dict(tmp_path / "weights.pth")
    assert not trace.exists()
    real.save({"a.weight": real.ones(2), "epoch": 3}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match="holds no state dict"):
        read_state_dict(tmp_path / "weights.pth")


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_every_tensor_is_read_in_its_own_type(tmp_path: Path, ending: str) -> None:
    state = {
        "a.weight": np.arange(6, dtype=np.float16).reshape(2, 3),
        "a.bias": np.arange(2, dtype=np.float64),
        "steps": np.array(7),
    }
    path = tmp_path / f"w.{ending}"
    if ending == "npz":
        np.savez(path, **state)
    else:
        write_state_dict(state, path)
    found = read_state_dict(str(path))
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        np.testing.assert_array_equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype
    path.rename(tmp_path / "w")
    with pytest.raises(UserError, match="ends in nothing; state dicts end in"):
        read_state_dict(tmp_path / "w")


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
    with pytest.raises(UserError, match="cannot be read: 404"):
        read_state_dict("hf://owner/name/absent.npz")
    for name in ("hf://owner/name", "hf://owner", "hf:///name/file", "hf://owner//file"):
        with pytest.raises(UserError, match="hf://owner/name/file"):
            read_state_dict(name)
    with pytest.raises(UserError, match=r"No file owner/name/w\.npz"):
        read_state_dict("owner/name/w.npz")


def test_without_the_hubs_library_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="pip install huggingface_hub"):
        read_state_dict("hf://owner/name/file.safetensors")


def test_no_bit_of_an_exported_file_changes_a_number_unseen(tmp_path: Path) -> None:
    state = {"a.weight": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)}
    path = tmp_path / "w.safetensors"
    write_state_dict(state, path)
    content, said = path.read_bytes(), []
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            found = read_state_dict(path)
        except UserError as error:
            said.append(str(error))
        else:
            assert found.keys() == state.keys()
            np.testing.assert_array_equal(found["a.weight"], state["a.weight"])
    assert len(said) > 0.6 * len(content)
    assert all("is damaged" in text for text in said)
    path.write_bytes(content[:-1] + b"\0")
    with pytest.raises(UserError, match=r"a\.weight is not as it was written"):
        read_state_dict(path)
