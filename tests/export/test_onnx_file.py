"""Every network through onnxruntime, and a file that QGIS' Deepness reads as it reads others."""

import dataclasses
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import onnx
import pytest
from fixtures.exported import NODATA, SMALL, run_of
from fixtures.small_network import Small

from jaxseg import models
from jaxseg.errors import UserError
from jaxseg.export import onnx_file
from jaxseg.export.inference import AGREE, Inference
from jaxseg.export.onnx_file import onnx_bytes, session_of, write_onnx
from jaxseg.models.parts.normalisation import Normalisation
from jaxseg.run.loaded import Run
from jaxseg.transforms.radiometry import LogIntensity, Standardize

QUICK = ("ReSCNet",)


def compared(run: Run, size: int, batch: int = 2) -> float:
    """The largest difference of a probability between onnxruntime and the run."""
    inference = Inference(run)
    image = inference.sample(batch, size, size)
    valid = np.isfinite(image).all(-1)
    logits = run.logits(image, valid)
    # Probabilities of random logits of hundreds are 0 and 1, whatever the logits are.
    temperature = float(np.abs(logits).max()) / 10
    inference.run = dataclasses.replace(run, temperature=temperature)
    session = session_of(onnx_bytes(inference, size, {}))
    assert session is not None
    (found,) = session.run(None, {"image": np.moveaxis(image, -1, 1)})
    assert found.shape == (batch, 3, size, size)
    assert found.std() > 0.01
    wanted = np.where(valid[..., None], jax.nn.softmax(logits / temperature), 0)
    return float(np.abs(np.moveaxis(found, 1, -1) - wanted).max())


def test_every_network_of_the_zoo_is_tried() -> None:
    assert set(SMALL) == set(models.__all__)


@pytest.mark.parametrize("name", QUICK)
def test_some_networks_are_equal_in_onnxruntime(name: str) -> None:
    assert compared(run_of(getattr(models, name)(num_classes=3, **SMALL[name]), 3), 32) <= AGREE


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(SMALL) - set(QUICK)))
def test_every_network_is_equal_in_onnxruntime(name: str) -> None:
    size = 64 if "PSPNet" in name else 32
    assert compared(run_of(getattr(models, name)(num_classes=3, **SMALL[name]), 3), size) <= AGREE


def test_groups_measured_in_evaluation_are_exported() -> None:
    norm = Normalisation(kind="group", groups=2)
    run = run_of(Small(num_classes=3, features=4))
    run = dataclasses.replace(run, config=dataclasses.replace(run.config, norm=norm))
    run.variables.pop("batch_stats")
    assert compared(run, 16) <= AGREE


def test_other_radiometry_is_part_of_the_file() -> None:
    steps = (LogIntensity(), Standardize((17.0,) * 2, (2.0,) * 2))
    assert compared(run_of(Small(num_classes=3), steps=steps), 16, batch=3) <= AGREE


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, dict[str, Any], Any]:
    run = run_of(Small(num_classes=3))
    file, beside = write_onnx(run, tmp_path / "out", 16)
    assert sorted(path.name for path in file.parent.iterdir()) == [file.name, beside.name]
    return file, json.loads(beside.read_text()), run


def test_the_file_is_of_an_opset_and_version_that_the_plugin_runs(
    written: tuple[Path, dict[str, Any], Any],
) -> None:
    file, facts, _ = written
    model = onnx.load(file)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    assert facts["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert facts["largest_difference"] <= AGREE
    assert (facts["input"]["height"], facts["input"]["layout"]) == (16, "NCHW")
    assert facts["output"]["layout"] == "NKHW"


def test_normalisations_are_gone_from_the_file(written: tuple[Path, dict[str, Any], Any]) -> None:
    kinds = [node.op_type for node in onnx.load(written[0]).graph.node]
    assert kinds.count("Conv") == 1  # the other one is a product of 1 x 1
    assert not {"BatchNormalization", "Sqrt", "Reciprocal"} & set(kinds)


def test_a_map_is_made_as_the_plugin_makes_it(written: tuple[Path, dict[str, Any], Any]) -> None:
    """`ModelBase` and `preprocessing_utils` of Deepness 0.6.5, in their order."""
    file, _, run = written
    session = session_of(file.read_bytes())
    strings = session.get_modelmeta().custom_metadata_map
    (given,), (answer,) = session.get_inputs(), session.get_outputs()
    assert isinstance(given.shape[0], str)  # else the plugin computes one tile at a time
    bands, height, width = given.shape[-3:]
    assert (bands, height, width) == (2, 16, 16)
    assert answer.shape[-3] == 3  # as many layers; 1 would be a sigmoid
    names = json.loads(strings["class_names"])
    ordered = sorted(names.items(), key=lambda pair: int(pair[0]))
    assert [int(key) for key, _ in ordered] == [0, 1, 2]
    assert [name for _, name in ordered] == list(run.classes)
    assert str(json.loads(strings["model_type"])).capitalize() == "Segmentor"
    assert float(json.loads(strings["resolution"])) == 200.0  # centimetres
    assert int(json.loads(strings["tile_size"])) == 16
    assert int(json.loads(strings["tiles_overlap"])) == 13  # per cent: 2 of 16 pixels
    assert float(json.loads(strings["seg_thresh"])) == 0.0

    tile = np.random.default_rng(0).integers(10, 90, (3, 16, 16, 4)).astype(np.uint16)
    tile[0, 3, 4, 1] = NODATA
    mean, std = (
        np.array([float(x) for x in json.loads(strings[f"standardization_{name}"])], np.float32)
        for name in ("mean", "std")
    )
    values = np.float32(tile[..., :bands] * 1.0 / 255.0)
    values = np.transpose((values - mean) / std, (0, 3, 1, 2))
    assert values.dtype == np.float32
    (result,) = session.run(None, {given.name: values})
    known = (tile[..., :bands] != NODATA).all(-1)
    classes = run.predict(tile[..., :bands], known)
    assert (result.argmax(1)[known] == classes[known]).all()
    assert not result.transpose(0, 2, 3, 1)[~known].any()
    assert len(np.unique(classes[known])) > 1


def test_without_onnx_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnx", "onnx.helper"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"pip install 'jaxseg\[onnx\]'"):
        write_onnx(run_of(Small(num_classes=3)), tmp_path)


def test_without_onnxruntime_the_file_is_written_unchecked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    _, beside = write_onnx(run_of(Small(num_classes=3)), tmp_path, 16)
    assert "largest_difference" not in json.loads(beside.read_text())


def test_a_file_that_differs_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong:
        def run(self, *_: Any) -> list[Any]:
            return [np.zeros((2, 3, 16, 16), np.float32)]

    monkeypatch.setattr(onnx_file, "session_of", lambda content: Wrong())
    with pytest.raises(UserError, match="differ from the run's"):
        write_onnx(run_of(Small(num_classes=3)), tmp_path / "out", 16)
    assert not (tmp_path / "out").exists()
