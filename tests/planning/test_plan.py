"""A program becomes a plan; meshes and batches that a machine has no room for are refused."""

import dataclasses

import pytest
from fixtures.places import PROGRAMS

from jaxseg.config import Config
from jaxseg.datasets import Landscape
from jaxseg.errors import UserError
from jaxseg.models import UNet
from jaxseg.pipeline import Data
from jaxseg.planning.compiling import Compiled
from jaxseg.planning.plan import check, plan, read
from jaxseg.planning.topology import topology
from jaxseg.sharding import MeshShape

CONFIG = Config(model=UNet(num_classes=10), data=Data(Landscape(), crop=96, batch_size=16))


def test_a_program_is_read_into_numbers_of_a_step() -> None:
    machine = topology("v5e:1x1")
    text = (PROGRAMS / "transfers.txt").read_text()
    mesh = {"data": 1, "fsdp": 1, "space": 1}
    found = read(Compiled(text, 1000, 500, True, 7, 1.5), CONFIG, machine, mesh, "data")
    kib = 1024
    assert found.bytes == (64 + 8) * kib + 2 * (8 * kib + 4)
    assert found.padding == pytest.approx(3 * kib / found.bytes)  # 8 x 32 numbers in 8 x 128
    assert found.flops == 2 * 8 * 128 * 128
    assert (found.memory, found.parameters, found.counts()) == (1500, 7, {})
    assert found.rate == found.exposed_rate == pytest.approx(16 / (found.bytes / 819e9))
    first = found.dearest[0]  # with the transfer of its kernel
    assert (first.what, first.module, first.bytes) == ("product", "head", (64 + 8) * kib)
    assert (first.bound, first.seconds) == ("HBM", pytest.approx(72 * kib / 819e9))
    assert first.padding == pytest.approx(3 / 72)
    assert len(found.dearest) == 3


def test_collectives_are_summed_by_kind() -> None:
    text = (PROGRAMS / "collectives.txt").read_text()
    mesh = {"data": 8, "fsdp": 1, "space": 1}
    compiled = Compiled(text, 1000, 500, True, 7, 1.5)
    found = read(compiled, CONFIG, topology("v5e:2x4"), mesh, "data")
    assert found.counts() == {
        "all-reduce": (4, 3 * 1024 + 1040),
        "reduce-scatter": (1, 4096),
        "all-gather": (1, 2048),
        "collective-permute": (1, 20),
    }
    assert found.exposed_rate < found.rate


@pytest.mark.parametrize(
    ("mesh", "batch", "crop", "both"),
    [
        (MeshShape(data=3), 16, 96, ("data=3", "8")),
        (MeshShape(fsdp=5), 16, 96, ("fsdp=5", "8")),
        (MeshShape(data=4, fsdp=4), 16, 96, ("fsdp=4", "8")),
        (MeshShape(), 12, 96, ("12", "8")),
        (MeshShape(space=4), 16, 97, ("97", "4")),
    ],
)
def test_a_mesh_or_a_batch_that_does_not_fit_names_both_numbers(
    mesh: MeshShape, batch: int, crop: int, both: tuple[str, str]
) -> None:
    data = dataclasses.replace(CONFIG.data, batch_size=batch, crop=crop)
    config = dataclasses.replace(CONFIG, mesh=mesh, data=data)
    with pytest.raises(UserError, match="--topology v5e:2x4, 8 chip") as refused:
        plan(config, "v5e:2x4")
    for number in both:
        assert number in str(refused.value)


def test_rows_of_an_image_stay_within_a_host() -> None:
    data = dataclasses.replace(CONFIG.data, batch_size=32)
    config = dataclasses.replace(CONFIG, data=data, mesh=MeshShape(space=8))
    assert check(config, topology("v5e:2x4"))["space"] == 8  # one host has eight chips
    with pytest.raises(UserError, match=r"space=8 with 4 device\(s\) per process"):
        check(config, topology("v5e:4x4"))
