"""Files of PyTorch are read without it: every number arrives, and nothing in them is executed."""

import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from fixtures.torch_files import ORDERED, REBUILD, Call, Global, View, save

from jaxseg.errors import UserError
from jaxseg.weights.inert_pickle import Inert, unpickled
from jaxseg.weights.state_dict import read_state_dict

BASE = np.arange(24, dtype=np.float32)

both_formats = pytest.mark.parametrize("stream", [False, True], ids=["archive", "stream"])


def read(content: Any, folder: Path, *, stream: bool = False, **members: bytes) -> dict[str, Any]:
    return read_state_dict(save(content, folder / "w.pth", stream=stream, **members))


@both_formats
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "bool", "complex64"])
def test_numbers_arrive_in_their_own_type(tmp_path: Path, dtype: str, stream: bool) -> None:
    given = np.linspace(-2, 2, 6).reshape(2, 3).astype(dtype)
    found = read({"a.weight": given, "a.scalar": np.array(3, dtype)}, tmp_path, stream=stream)
    assert found["a.weight"].dtype == given.dtype
    np.testing.assert_array_equal(found["a.weight"], given)
    assert found["a.scalar"].shape == ()
    assert found["a.scalar"] == np.array(3, dtype)


@both_formats
def test_bfloat16_is_exact(tmp_path: Path, stream: bool) -> None:
    given = np.array([1.0, -0.3, 3e38, 1e-40], jnp.bfloat16)
    found = read({"a.weight": given}, tmp_path, stream=stream)["a.weight"]
    assert found.dtype == jnp.bfloat16
    np.testing.assert_array_equal(found.astype(np.float32), given.astype(np.float32))


@both_formats
def test_views_of_a_shared_storage_are_followed_by_their_strides(
    tmp_path: Path, stream: bool
) -> None:
    grid = BASE.reshape(4, 6)
    found = read(
        {
            "whole": View(BASE, 0, (4, 6), (6, 1)),
            "turned": View(BASE, 0, (6, 4), (1, 6)),
            "part": View(BASE, 7, (2, 2), (6, 2)),
            "repeated": View(BASE, 5, (3, 2), (0, 1)),
            "empty": View(BASE, 24, (0, 6), (6, 1)),
        },
        tmp_path,
        stream=stream,
    )
    np.testing.assert_array_equal(found["whole"], grid)
    np.testing.assert_array_equal(found["turned"], grid.T)
    np.testing.assert_array_equal(found["part"], grid[1:3, 1:5:2])
    np.testing.assert_array_equal(found["repeated"], [[5, 6]] * 3)
    assert found["empty"].shape == (0, 6)


WEIGHTS = {"a.weight": BASE, "b.weight": BASE + 1}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda s: s,
        lambda s: {"state_dict": s, "epoch": 3, "args": Call(Global("argparse", "Namespace"))},
        lambda s: {"model": s, "best": 0.5, "optimizer": {"state": {0: {"m": BASE}}}},
        lambda s: {"model_state_dict": s, "optimizer_state_dict": {"state": {0: {"m": BASE}}}},
        lambda s: {"checkpoint": {"net": {"params": s}}, "hyper_parameters": {"lr": 0.1}},
        lambda s: Call(ORDERED, ([[k, v] for k, v in s.items()],)),
        lambda s: {
            k: Call(Global("torch._utils", "_rebuild_parameter"), (v, True, Call(ORDERED)))
            for k, v in s.items()
        },
    ],
    ids=["bare", "lightning", "model", "tutorial", "nested", "ordered", "parameters"],
)
@both_formats
def test_the_state_dict_is_found_in_a_checkpoint(tmp_path: Path, wrap: Any, stream: bool) -> None:
    found = read(wrap(WEIGHTS), tmp_path, stream=stream)
    assert found.keys() == WEIGHTS.keys()
    for name, tensor in WEIGHTS.items():
        np.testing.assert_array_equal(found[name], tensor)


def test_several_networks_have_their_entries_before_their_names_and_the_rest_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = {"model": WEIGHTS, "model_ema": WEIGHTS, "optimizer": {"state": {"m": BASE}}}
    found = read(content, tmp_path)
    assert sorted(found) == [
        *("model.a.weight", "model.b.weight", "model_ema.a.weight", "model_ema.b.weight"),
    ]
    assert capsys.readouterr().out == "Weights: w.pth: not read: optimizer.\n"


class Trace:
    """Unpickled, it makes a folder: code of whoever wrote the file."""

    def __init__(self, place: Path) -> None:  # noqa: D107
        self.place = place

    def __reduce__(self) -> tuple[object, ...]:
        """What a pickle of it runs."""
        return (os.mkdir, (str(self.place),))


@both_formats
@pytest.mark.parametrize("ending", ["pth", "pt", "bin", "ckpt", "pth.tar", "PTH"])
def test_code_that_is_pickled_in_a_file_never_runs(
    tmp_path: Path, ending: str, stream: bool
) -> None:
    trace = tmp_path / "trace"
    make = Call(Global("posix", "mkdir"), (str(trace),))
    path = save({"a.weight": BASE, "more": make}, tmp_path / f"w.{ending}", stream=stream)
    assert read_state_dict(path).keys() == {"a.weight"}
    save({"a.weight": make}, path, stream=stream)
    with pytest.raises(UserError, match=r"holds no state dict.*would run their code"):
        read_state_dict(path)
    assert not trace.exists()


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol_are_read_and_not_executed(tmp_path: Path, protocol: int) -> None:
    values = {"a": [1, 2.5, None, True, (3,), ()], "b": b"x", "c": 2**70, "d": {"e"}, 5: "six"}
    content = values | {"trace": Trace(tmp_path / "trace"), "path": tmp_path}
    data = pickle.dumps(content, protocol)
    path = tmp_path / "p"
    path.write_bytes(data)
    with path.open("rb") as file:
        found = unpickled(file)
        assert file.read() == b""
    assert found["a"] == values["a"]
    assert found["c"] == 2**70
    assert found["5"] == "six"
    assert isinstance(found["trace"], Inert)
    assert isinstance(found["path"], Inert)
    assert not (tmp_path / "trace").exists()
    pickle.loads(data)
    assert (tmp_path / "trace").exists()  # as it would


KINDS = {
    "_rebuild_sparse_tensor": "sparse",
    "_rebuild_qtensor": "quantised",
    "_rebuild_meta_tensor_no_storage": "without numbers",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_tensor_that_is_no_array_of_numbers_is_named(tmp_path: Path, kind: str) -> None:
    odd = Call(Global("torch._utils", kind), (BASE, 0.1))
    with pytest.raises(UserError, match=rf"a\.weight is .*{KINDS[kind]}.*{kind}.*to_dense"):
        read({"a.weight": odd}, tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"a.weight": [1.0, 2.0]}, "holds no state dict"),
        ({"state_dict": {"a.weight": 1}}, "holds no state dict"),
        ([BASE], "holds no state dict"),
        (BASE, "holds no state dict"),
        (None, "holds no state dict"),
        (Call(Global("lib", "Net")), r"holds no state dict.*, but lib\.Net"),
        ({"w": View(BASE, 0, (5, 5), (5, 1))}, "is damaged: w of shape .* larger than its 24"),
        ({"w": View(BASE, 20, (5,), (1,))}, "is damaged: w of shape"),
        ({"w": View(BASE[:1], 0, (2**40,), (0,))}, "is damaged: w of shape"),
        ({"w": View(BASE, 0, (2,), (1, 1))}, "is damaged"),
        ({"w": View(BASE, -1, (2,), (1,))}, "is damaged"),
        ({"w": Call(REBUILD, (1, 0, (), ()))}, "holds no state dict"),
    ],
    ids=range(12),
)
@both_formats
def test_what_holds_no_tensors_by_name_is_refused(
    tmp_path: Path, content: Any, said: str, stream: bool
) -> None:
    with pytest.raises(UserError, match=said) as error:
        read(content, tmp_path, stream=stream)
    assert "\n" not in str(error.value)


def test_archives_that_are_something_else_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"program of TorchScript"):
        read(WEIGHTS, tmp_path, **{"constants.pkl": b"."})
    with pytest.raises(UserError, match="with the other byte order"):
        read(WEIGHTS, tmp_path, byteorder=b"big")
    with pytest.raises(UserError, match=r"damaged: a\.weight has 23 numbers, not 24"):
        read(WEIGHTS, tmp_path, **{"data/0": bytes(4 * 23)})
    path = tmp_path / "plain.pt"
    path.write_bytes(pickle.dumps({"a": 1}, 2))
    with pytest.raises(UserError, match=r"a pickle that torch\.save did not write"):
        read_state_dict(path)
    with tarfile.open(tmp_path / "w.pth.tar", "w") as tar:
        tar.add(path, "plain.pt")
    with pytest.raises(UserError, match="one of tar"):
        read_state_dict(tmp_path / "w.pth.tar")


def test_pytorchs_own_files_are_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    state = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).state_dict()
    state["turned"] = torch.arange(6.0).reshape(2, 3).t()
    for stream in (False, True):
        torch.save(state, tmp_path / "w.pt", _use_new_zipfile_serialization=not stream)
        found = read_state_dict(tmp_path / "w.pt")
        assert found.keys() == state.keys()
        for name, tensor in state.items():
            np.testing.assert_array_equal(found[name], tensor.numpy())
