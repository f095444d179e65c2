"""The four published networks for clouds answer as onnxruntime on a real scene: `clouds` extra."""

import dataclasses
import importlib.util
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from fixtures.networks import shapes
from fixtures.places import ROOT, SHARED
from numpy.typing import NDArray

from jaxseg.config import load_config
from jaxseg.models import ResNetUNet
from jaxseg.run import completion
from jaxseg.weights import fetching, load

pytestmark = [pytest.mark.slow, pytest.mark.real_data]

SCENE = SHARED / "data" / "clouds_ukis_csmask" / "sentinel2.npz"
SIDE = 256
"""Rows and columns of the images that the published files take."""

CLASS_OF = np.array([2, 0, 0, 0, 1])
"""Shadow, water, snow, land and cloud of the scene among clear, cloud and shadow."""

ACCURACY = {"model_6b_l1c": 0.898, "model_4b_l1c": 0.927}
"""Overall accuracy on the scene, measured with onnxruntime."""


@pytest.fixture(scope="module")
def folder() -> Path:
    package = importlib.util.find_spec("ukis_csmask")
    if package is None or package.origin is None:
        pytest.skip("pip install 'jaxseg[clouds]'")
    if not SCENE.is_file():
        pytest.skip(f"{SCENE} is absent: the real sets lie beside the checkout")
    return Path(package.origin).parent


def in_float32(path: Path) -> bytes:
    """The published file, whose tensors and casts are of 16 bits, with those of 32."""
    onnx = pytest.importorskip("onnx")
    half, single = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    network = onnx.load(path)
    constants = [a.t for node in network.graph.node for a in node.attribute if a.name == "value"]
    for tensor in (*network.graph.initializer, *constants):
        if tensor.data_type == half:
            wide = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(wide, tensor.name))
    for node in network.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == half:
                attribute.i = single
    del network.graph.value_info[:]
    content: bytes = network.SerializeToString()
    return content


def tiles(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """(2 S, 2 S, C) -> (4, S, S, C)."""
    rows = values.reshape(2, SIDE, 2, SIDE, -1)
    return rows.swapaxes(1, 2).reshape(4, SIDE, SIDE, -1)


@pytest.mark.parametrize("name", ["model_4b_l1c", "model_4b_l2a", "model_6b_l1c", "model_6b_l2a"])
def test_a_published_network_answers_as_in_onnxruntime(folder: Path, name: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    facts = json.loads((folder / f"{name}.json").read_text())["data"]
    mean, std = np.float32(facts["dataset_statistics"]["img"])
    with np.load(SCENE) as scene:
        image, label = scene["img"][..., : len(mean)], CLASS_OF[scene["msk"]]
    image = tiles((image - mean) / std)
    session = runtime.InferenceSession(in_float32(folder / f"{name}.onnx"))
    place = session.get_inputs()[0].name
    expected = np.concatenate(
        [session.run(None, {place: tile[None].transpose(0, 3, 1, 2)})[0] for tile in image]
    ).transpose(0, 2, 3, 1)

    model = ResNetUNet(3, "efficientnet-b4")
    variables = load(model, folder / f"{name}.onnx")
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, image)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)
    found = np.argmax(logits, -1)
    np.testing.assert_array_equal(found, expected.argmax(-1))
    if name in ACCURACY:
        assert (found == tiles(label)[..., 0]).mean() == pytest.approx(ACCURACY[name], abs=1e-3)


def test_a_config_with_its_card_finds_file_kernels_and_values(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(fetching.VARIABLE, raising=False)
    plain = load_config(str(ROOT / "configs/clouds.py"))
    source = dataclasses.replace(plain.data.source, image=str(SCENE))  # type: ignore[type-var]
    config = dataclasses.replace(plain, data=dataclasses.replace(plain.data, source=source))
    facts = json.loads((folder / "model_6b_l1c.json").read_text())["data"]
    (step,) = completion.completed(config).preprocess
    mean, std = facts["dataset_statistics"]["img"]
    np.testing.assert_allclose((step.mean, step.std), (mean, std), rtol=1e-6)  # type: ignore[attr-defined]
    sensor = config.data.source.sensor
    found = config.pretrained.into(config.model, shapes(config.model, 6), sensor.bands)
    jax.tree.map(
        np.testing.assert_array_equal, found, load(config.model, folder / "model_6b_l1c.onnx")
    )
    turned = config.pretrained.into(config.model, shapes(config.model, 6), sensor.bands[::-1])
    first = found["params"]["backbone"]["stem"]["kernel"]
    again = turned["params"]["backbone"]["stem"]["kernel"]
    np.testing.assert_array_equal(again, first[:, :, ::-1])
