"""The compilers themselves: steps of real configs, and the collectives of each mesh.

JAXSEG_PLAN=all compiles every shipped config (four CPU minutes); otherwise a few stand for them.
"""

import dataclasses
import importlib.util
import os

import pytest
from fixtures.places import CONFIGS

from jaxseg import config as configs
from jaxseg.config import Config
from jaxseg.datasets import Landscape
from jaxseg.errors import UserError
from jaxseg.models import DeepLabV3, UNet
from jaxseg.pipeline import Data
from jaxseg.planning.compiling import compiled
from jaxseg.planning.plan import plan
from jaxseg.planning.request import request
from jaxseg.sharding import MeshShape

pytestmark = pytest.mark.slow

TPU = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="needs XLA's compiler for TPUs: pip install libtpu",
)
GPU = pytest.mark.skipif(
    importlib.util.find_spec("jax_cuda12_plugin") is None,
    reason="needs XLA's compiler for GPUs: pip install jax-cuda12-plugin jax-cuda12-pjrt",
)

SHIPPED = sorted(file.stem for file in CONFIGS.glob("*.py"))
STAND_FOR_ALL = ["deeplab", "folder", "multiscale_sar"]
CHOSEN = SHIPPED if os.environ.get("JAXSEG_PLAN") == "all" else STAND_FOR_ALL

BANDS = {"clouds": 6, "folder": 3, "nuclei": 3, "sen1floods11": 2}
"""Of configs whose bands are stated by files."""

SMALL = Config(
    model=UNet(num_classes=10, features=16),
    data=Data(Landscape(), crop=64, batch_size=8),
)
"""18 convolutions of 3 x 3, 18 normalisations, four transposed convolutions and the head."""


@pytest.fixture(autouse=True)
def _flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without those of the tests, which pretend eight CPU devices."""
    monkeypatch.delenv("XLA_FLAGS")


@TPU
@pytest.mark.parametrize("name", CHOSEN)
def test_a_shipped_config_fits_one_chip_as_it_is(name: str) -> None:
    config = configs.load_config(name)
    found = plan(config, "v5e:1x1", bands=BANDS.get(name, 0))
    assert found.fits
    assert found.flops > 1e9
    assert found.bytes > found.numbers > 0
    assert found.counts() == {}
    assert sum(bool(dear.line) for dear in found.dearest) >= 7
    assert any(dear.line.startswith("jaxseg/models/") for dear in found.dearest)


@TPU
@pytest.mark.parametrize(
    ("mesh", "expected"),
    [
        # One forward and one backward for each of 18 normalisations, and one of all running
        # statistics; one of all gradients, one of the loss, and one of the confusion matrix.
        (MeshShape(data=8), {"all-reduce": 40}),
        # Gradients are reduced over `space`, then over `data`; another one tells which windows
        # count. Halos travel between neighbours, one more for the cells of the first layer; nothing
        # is gathered.
        (MeshShape(data=4, space=2), {"all-reduce": 42, "collective-permute": 71}),
        # 13 kernels have 2**14 elements or more. Each is gathered once, for both passes; their
        # gradients are scattered together. The largest number of the state is one reduction more.
        (MeshShape(data=1, fsdp=8), {"all-reduce": 41, "all-gather": 13, "reduce-scatter": 1}),
    ],
    ids=["data", "data and space", "fsdp"],
)
def test_the_collectives_of_a_mesh_are_these(mesh: MeshShape, expected: dict[str, int]) -> None:
    found = plan(dataclasses.replace(SMALL, mesh=mesh), "v5e:2x4")
    assert {kind: number for kind, (number, _) in found.counts().items()} == expected


@TPU
def test_what_is_too_large_does_not_fit_and_says_by_how_much() -> None:
    data = dataclasses.replace(SMALL.data, crop=512, batch_size=2048)
    found = plan(dataclasses.replace(SMALL, data=data), "v5e:1x1")
    assert not found.fits
    assert found.memory > 100 * 2**30
    assert found.arguments > 2048 * 512 * 512 * 4 * 2  # uint16 images alone


@TPU
def test_a_compilation_is_given_up_after_its_limit() -> None:
    with pytest.raises(UserError, match=r"v5e:1x1 has not optimised the step in 0 s"):
        compiled(request(SMALL, "v5e:1x1"), limit=0.2)


@TPU
def test_a_mistake_that_the_step_finds_is_told_in_its_own_words() -> None:
    asked = request(SMALL, "v5e:1x1")
    measured = configs.load_config("unet").preprocess
    wrong = dataclasses.replace(asked.config, preprocess=measured)
    asked = dataclasses.replace(asked, config=wrong, bands=3, arrays=_of_bands(3))
    with pytest.raises(UserError, match="Standardize has 4 means"):
        compiled(asked)


@GPU
@pytest.mark.parametrize("flags", ["", "--xla_gpu_enable_triton_gemm=true"])
def test_deeplab_compiles_for_eight_gpus(flags: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_FLAGS", flags)
    model = DeepLabV3(num_classes=10, backbone="resnet18")
    config = Config(model=model, data=Data(Landscape(), crop=129, batch_size=16))
    found = plan(config, "h100x8")
    assert found.fits
    assert found.padding == 0
    assert set(found.counts()) == {"all-reduce"}
    assert found.flops > 1e9


def _of_bands(bands: int) -> dict[str, tuple[list[int], str]]:
    return {"image": ([bands], "float32"), "label": ([], "uint8"), "valid": ([], "bool")}
