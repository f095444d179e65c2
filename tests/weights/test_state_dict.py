"""Tensors come out of files as they went in, and what is wrong with a file is said."""

import json
import random
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fixtures import fake_hub
from fixtures.torch_files import View, save

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


def whole(folder: Path) -> dict[str, Path]:
    """A whole file of each format."""
    state = {"a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4), "a.bias": np.ones(3)}
    files = {name: folder / f"w.{name}" for name in ("safetensors", "npz", "pth", "pt", "onnx")}
    write_state_dict(state, files["safetensors"])
    np.savez(files["npz"], **state)
    save({"state_dict": state}, files["pth"])
    save(state, files["pt"], stream=True)
    files["onnx"].write_bytes(onnx_bytes(state))
    return files


def onnx_bytes(state: dict[str, np.ndarray]) -> bytes:
    """A model of initialisers alone, by the definition of the format."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2]) + size(len(content)) + content

    def size(value: int) -> bytes:
        low, high = value & 127, value >> 7
        return bytes([low | 128]) + size(high) if high else bytes([low])

    tensors = b"".join(
        field(
            5,
            b"".join(b"\x08" + size(side) for side in tensor.shape)
            + b"\x10"
            + bytes([{"float32": 1, "float64": 11}[tensor.dtype.name]])
            + field(8, name.encode())
            + field(9, tensor.tobytes()),
        )
        for name, tensor in state.items()
    )
    return field(7, tensors)


def test_damage_at_random_is_one_line_or_is_not_noticed(tmp_path: Path) -> None:
    rng = random.Random(20)
    files, said = whole(tmp_path), []
    contents = {path: path.read_bytes() for path in files.values()}
    for number in range(500):
        path, content = rng.choice(list(contents.items()))
        damaged = bytearray(content)
        place = rng.randrange(len(damaged))
        match number % 4:
            case 0:
                damaged[place] ^= 1 << rng.randrange(8)
            case 1:
                del damaged[place:]
            case 2:
                del damaged[place : place + 9]
            case _:
                damaged[place : place + 8] = rng.choice((2**63 - 1, 2**40, 0)).to_bytes(8, "little")
        path.write_bytes(damaged)
        try:
            read_state_dict(path)
        except UserError as error:
            said.append((path.name, str(error)))
    assert len(said) > 300
    assert all(name in text and "\n" not in text for name, text in said)


MEMORY = 2**22
"""Bytes that reading a small file may take at most."""


def npz_of(head: bytes, folder: Path) -> Path:
    with zipfile.ZipFile(folder / "bomb.npz", "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head)
    return folder / "bomb.npz"


def bombs(folder: Path) -> dict[str, Path]:
    """Small files that state or unpack to terabytes."""
    files = {name: folder / f"bomb.{name}" for name in ("safetensors", "pth", "pt", "onnx")}
    files["safetensors"].write_bytes((40 * 10**12).to_bytes(8, "little") + b'{"a":{}}')
    files["shape"] = folder / "shape.safetensors"
    entry = {"dtype": "F32", "shape": [2**20, 2**25], "data_offsets": [0, 2**47]}
    head = json.dumps({"a": entry}).encode()
    files["shape"].write_bytes(len(head).to_bytes(8, "little") + head + bytes(64))
    files["npz"] = npz_of(b"{'descr':'<f4','fortran_order':False,'shape':(10**13,)}", folder)
    with zipfile.ZipFile(folder / "zeros.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"{number}.npy", bytes(2**25))
    files["zeros"] = folder / "zeros.npz"
    weights = View(np.ones(3, np.float32), 0, (2**40, 2), (0, 1))
    save({"a.weight": weights}, files["pth"])
    files["pt"].write_bytes(
        b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x8e" + b"\xff" * 5 + b"\0" * 3
    )
    files["onnx"].write_bytes(b"\x3a\x0a\x2a\xff\xff\xff\xff\xff\xff\x3f\x08\x01")
    return files


@pytest.mark.parametrize("kind", ["safetensors", "shape", "npz", "zeros", "pth", "pt", "onnx"])
def test_a_file_that_states_terabytes_takes_no_memory(kind: str, tmp_path: Path) -> None:
    path = bombs(tmp_path)[kind]
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=rf"{path.name} is damaged"):
            read_state_dict(path)
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def test_empty_and_misnamed_files_are_named(tmp_path: Path) -> None:
    files = whole(tmp_path)
    for name, path in files.items():
        content = path.read_bytes()
        for ending, form in (("pth", "PyTorch"), ("npz", "NumPy"), ("safetensors", "safetensors")):
            other = tmp_path / f"other.{ending}"
            other.write_bytes(content)
            same = form == {"pth": "PyTorch", "pt": "PyTorch", "npz": "NumPy"}.get(name, name)
            if not same and name != "onnx":  # which has no sign at its beginning
                with pytest.raises(
                    UserError, match=rf"other\.{ending} ends as a file of {form} but"
                ):
                    read_state_dict(other)
        path.write_bytes(b"")
        with pytest.raises(UserError, match=rf"{path.name} is empty"):
            read_state_dict(path)
    page = tmp_path / "page.pth"
    page.write_bytes(b"<!DOCTYPE html><html>Not found</html>")
    with pytest.raises(UserError, match="one of HTML, perhaps the page of an error: fetch"):
        read_state_dict(page)
    page.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(UserError, match="one of Git LFS"):
        read_state_dict(page)
    with zipfile.ZipFile(page, "w") as archive:
        archive.writestr("notes.txt", "none")
    with pytest.raises(UserError, match="one of zip, around other files: fetch"):
        read_state_dict(page)
    np.savez(tmp_path / "none.npz")
    with pytest.raises(UserError, match=r"none\.npz is damaged: it holds no arrays"):
        read_state_dict(tmp_path / "none.npz")


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
    hub = fake_hub.installed(monkeypatch, tmp_path / "hub")
    np.savez(tmp_path / "w.npz", a=np.ones(2))
    hub.add("https://huggingface.co/owner/name/resolve/main/folder/w.npz", tmp_path / "w.npz")
    assert read_state_dict("hf://owner/name/folder/w.npz").keys() == {"a"}
    with pytest.raises(UserError, match="cannot be had from the Hugging Face hub: 404"):
        read_state_dict("hf://owner/name/absent.npz")
    for name in ("hf://owner/name", "hf://owner", "hf:///name/file", "hf://owner//file"):
        with pytest.raises(UserError, match="hf://owner/name/file"):
            read_state_dict(name)
    with pytest.raises(UserError, match=r"No file owner/name/w\.npz"):
        read_state_dict("owner/name/w.npz")


def test_without_the_hubs_library_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'jaxseg\[hub\]'"):
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
