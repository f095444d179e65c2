"""Initialisers of ONNX files are read as the package onnx wrote them."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxseg.errors import UserError
from jaxseg.weights.state_dict import read_state_dict

onnx = pytest.importorskip("onnx")


def file(folder: Path, *tensors: Any) -> Path:
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "graph", [], [], list(tensors))
    path = folder / "w.onnx"
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    return path


TYPES = ["float32", "float64", "float16", "int64", "int32", "int8", "uint8", "bool", "uint64"]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("raw", [True, False])
def test_every_type_is_read_from_bytes_and_from_its_field(
    tmp_path: Path, dtype: str, raw: bool
) -> None:
    given = np.array([[0, 1, 100], [2, 3, 7]]).astype(dtype)
    if raw:
        tensor = onnx.numpy_helper.from_array(given, "a.weight")
    else:
        kind = onnx.helper.np_dtype_to_tensor_dtype(given.dtype)
        tensor = onnx.helper.make_tensor("a.weight", kind, given.shape, given.ravel())
    found = read_state_dict(file(tmp_path, tensor))["a.weight"]
    assert found.dtype == given.dtype
    np.testing.assert_array_equal(found, given)


def test_negative_integers_bfloat16_and_scalars_are_read(tmp_path: Path) -> None:
    helper = onnx.helper
    kinds = onnx.TensorProto
    path = file(
        tmp_path,
        helper.make_tensor("a.i", kinds.INT32, [2], [-1, 5]),
        helper.make_tensor("a.l", kinds.INT64, [1], [-(2**40)]),
        helper.make_tensor("a.b", kinds.BFLOAT16, [2], [1.5, -2.0]),
        helper.make_tensor("a.s", kinds.FLOAT, [], [3.0]),
        helper.make_tensor("a.e", kinds.FLOAT, [0, 3], []),
    )
    found = read_state_dict(path)
    assert found["a.i"].tolist() == [-1, 5]
    assert found["a.l"].tolist() == [-(2**40)]
    assert found["a.b"].dtype == jnp.bfloat16
    assert found["a.b"].astype(np.float32).tolist() == [1.5, -2.0]
    assert found["a.s"].shape == ()
    assert found["a.e"].shape == (0, 3)


def test_weights_without_names_or_in_another_file_are_refused(tmp_path: Path) -> None:
    folded = onnx.numpy_helper.from_array(np.ones(2, np.float32), "onnx::Conv_497")
    with pytest.raises(UserError, match="none of its 1 initialisers has the name of a module"):
        read_state_dict(file(tmp_path, folded))
    away = onnx.numpy_helper.from_array(np.ones(2, np.float32), "a.weight")
    onnx.external_data_helper.set_external_data(away, "beside.bin")
    with pytest.raises(UserError, match="external data"):
        read_state_dict(file(tmp_path, away))
    wrong = onnx.TensorProto(name="a.weight", data_type=1, dims=[3], raw_data=bytes(8))
    with pytest.raises(UserError, match=r"damaged: a\.weight of shape \[3\] has 2 numbers"):
        read_state_dict(file(tmp_path, wrong))
