"""What the compiler's process is told: a config, bands, and the arrays of a batch."""

import dataclasses
import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest
from fixtures.folder_files import tiff

from jaxseg import config as configs
from jaxseg.config import Config
from jaxseg.datasets import Domains, Folder, Landscape
from jaxseg.datasets.paired import Paired
from jaxseg.datasets.pets import OxfordPets
from jaxseg.errors import UserError
from jaxseg.losses import CrossEntropy
from jaxseg.losses.pixels import EdgeWeightedCrossEntropy
from jaxseg.models import UNet
from jaxseg.pipeline import Data
from jaxseg.planning import child, compiling
from jaxseg.planning.request import Request, request
from jaxseg.transforms.hyperspectral import PCA
from jaxseg.transforms.radiometry import Standardize

SMALL = Config(model=UNet(num_classes=10, features=4), data=Data(Landscape(), crop=32))


def test_no_data_are_built_or_downloaded_to_be_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    for source in (Landscape, OxfordPets):
        monkeypatch.setattr(source, "scenes", lambda *_: pytest.fail("the data are read"))
    pets = Config(model=UNet(num_classes=3, features=4), data=Data(OxfordPets(), crop=32))
    assert request(pets, "v5e:1x1").arrays["image"] == ([3], "float32")
    asked = request(SMALL, "v5e:1x1")
    assert asked.arrays == {
        "image": ([4], "uint16"),
        "label": ([], "uint8"),
        "valid": ([], "bool"),
    }
    radar = dataclasses.replace(SMALL, data=Data(Landscape(modality="sar"), crop=32))
    assert request(radar, "v5e:1x1").arrays["image"] == ([2], "float32")


def test_maps_that_losses_need_and_side_images_are_in_the_batch() -> None:
    pair = Paired(Landscape(modality="sar"), side=Landscape(modality="optical"))
    config = dataclasses.replace(
        SMALL, data=Data(pair, crop=32), loss={"edge": EdgeWeightedCrossEntropy()}
    )
    found = request(config, "v5e:1x1").arrays
    assert found["image"] == ([2], "float32")
    assert found["side"] == ([4], "uint16")
    assert found["side_valid"] == ([], "bool")
    assert found["separation"] == ([], "float32")
    assert "instance" not in found


def test_the_number_of_the_domain_is_in_the_batch() -> None:
    both = Domains((Landscape(), Landscape(seed=1)))
    config = dataclasses.replace(SMALL, data=Data(both, crop=32))
    assert request(config, "v5e:1x1").arrays["domain"] == ([], "uint8")


def test_the_bands_of_a_folder_are_read_from_a_header(tmp_path: Path) -> None:
    images, masks = tmp_path / "images", tmp_path / "masks"
    for name in "abcde":
        tiff(images / f"{name}.tif", np.ones((40, 40, 3), np.uint8))
        tiff(masks / f"{name}.tif", np.zeros((40, 40), np.uint8))
    source = Folder(images=str(images), masks=str(masks), classes=("land", "water"))
    config = Config(model=UNet(num_classes=0, features=4), data=Data(source, crop=32))
    asked = request(config, "v5e:1x1")
    assert asked.bands == 3
    assert asked.arrays["image"] == ([3], "float32")
    assert asked.config.model.num_classes == 2
    assert asked.data == "3 bands, 2 classes; images of float32 (assumed)"


def test_bands_replace_files_that_are_elsewhere() -> None:
    source = Folder(images="elsewhere", masks="elsewhere", classes=("land", "water"))
    config = Config(model=UNet(num_classes=2, features=4), data=Data(source, crop=32))
    with pytest.raises(UserError, match=r"elsewhere[\s\S]*--bands 3"):
        request(config, "v5e:1x1")
    asked = request(config, "v5e:1x1", bands=7)
    assert asked.arrays["image"] == ([7], "float32")


def test_an_inconsistent_config_is_refused_before_anything_is_compiled() -> None:
    wrong = dataclasses.replace(SMALL, model=UNet(num_classes=3))
    with pytest.raises(UserError, match="3 classes and the source 10"):
        request(wrong, "v5e:1x1")


def test_a_request_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "import dataclasses\nfrom jaxseg.losses import CrossEntropy\n\n\n"
        "@dataclasses.dataclass(frozen=True)\nclass Mine(CrossEntropy):\n    extra: int = 3\n"
    )
    loss = configs.load_code(str(path)).Mine(extra=4)
    config = dataclasses.replace(SMALL, loss={"ce": CrossEntropy(), "mine": loss})
    asked = request(config, "v5e:2x4", code=(str(path),))
    asked.write(tmp_path / "request.json")
    found = Request.read(tmp_path / "request.json")
    assert dataclasses.asdict(found)["arrays"].keys() == asked.arrays.keys()
    assert found.config.loss["mine"].extra == 4
    assert (found.topology, found.bands, found.code) == ("v5e:2x4", 4, (str(path),))


def test_open_radiometry_is_fitted_to_random_numbers() -> None:
    hyper = Data(Landscape(modality="hyperspectral"), crop=32)
    config = dataclasses.replace(SMALL, data=hyper, preprocess=(PCA(5), Standardize()))
    asked = request(config, "v5e:1x1")
    first, second = child.fitted(asked)
    assert first.fitted
    assert len(second.mean) == 5


def test_a_missing_compiler_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for machine, package in (("v5e:2x4", "libtpu"), ("h100x8", "jax-cuda12-plugin")):
        asked = dataclasses.replace(request(SMALL, "v5e:1x1"), topology=machine)
        with pytest.raises(UserError, match=f"--topology {machine} .*{package}.*pip install"):
            compiling.compiled(asked)


def test_memory_is_arguments_and_the_rest_of_the_default_space() -> None:
    report = (
        "Memory Space: default (color=0)\nTotal bytes: 1500 (1.5KiB)\n\n"
        "Memory Space: vmem (color=1)\nTotal bytes: 99 (99B)\n"
    )
    buffers = (
        "BufferAssignment:\n"
        "allocation 0: size 7, color 6, page 0, thread-local:\n"
        "allocation 1: size 300, page 0, parameter 2, shape |f32[75]| at ShapeIndex {}, live-out:\n"
        " value: <5 p.2 @0> (size=300,offset=0): f32[75]{0}\n"
        "allocation 2: size 40, parameter 0, shape |f32[10]| at ShapeIndex {}:\n"
        "allocation 3: size 50, color 1, page 0, parameter 1, shape |f32[10]| at ShapeIndex {}:\n"
        "allocation 4: size 1160, page 0, preallocated-temp:\n"
    )
    assert compiling.memory(report, buffers) == (340, 1160)
    with pytest.raises(ValueError, match="no total"):
        compiling.memory("", buffers)


def test_the_settings_of_the_compiler_stay_in_its_process(tmp_path: Path) -> None:
    before = dict(os.environ)
    found = compiling.environment(tmp_path, "tpu")
    assert found["TPU_SKIP_MDS_QUERY"] == "1"
    assert f"--xla_dump_to={tmp_path}" in found["XLA_FLAGS"]
    assert dict(os.environ) == before
