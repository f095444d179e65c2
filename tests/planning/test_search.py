"""The search, on machines whose memory and speed are formulas."""

import dataclasses
from collections.abc import Callable

import pytest
from fixtures.planned import made

from jaxseg.config import Config
from jaxseg.datasets import Landscape
from jaxseg.models import UNet
from jaxseg.pipeline import Data
from jaxseg.planning.plan import Plan, check
from jaxseg.planning.search import TRIES, search, shapes, shared_batch
from jaxseg.planning.topology import topology
from jaxseg.sharding import MeshShape

GRID = topology("v5e:2x4")
CONFIG = Config(model=UNet(num_classes=10), data=Data(Landscape(), crop=96, batch_size=12))
"""96 rows are a multiple of 8 chips; a batch of 12 is none."""


def formula(
    memory: Callable[[int, dict[str, int]], float],
) -> tuple[Callable[[Config], Plan], list[Config]]:
    """Plans by a formula of the windows of a chip and the mesh; and what was planned."""
    asked: list[Config] = []

    def attempt(config: Config) -> Plan:
        asked.append(config)
        mesh = check(config, GRID)
        windows = config.data.batch_size // (mesh["data"] * mesh["fsdp"])
        needed = int(memory(windows, mesh))
        seconds = config.data.batch_size * (1 + 0.1 * mesh["space"] + 0.01 * (mesh["fsdp"] > 1))
        return made(
            mesh=mesh,
            batch=config.data.batch_size,
            temporaries=needed,
            fits=needed <= GRID.chip.memory,
            seconds=seconds,
        )

    return attempt, asked


def test_all_meshes_whose_rows_stay_in_a_host_are_tried() -> None:
    assert shapes(GRID, 96) == [
        MeshShape(data, fsdp, 8 // (data * fsdp))
        for data, fsdp in (
            *((8, 1), (4, 2), (2, 4), (1, 8)),  # whole images, then in 2, 4 and 8 parts
            *((4, 1), (2, 2), (1, 4), (2, 1), (1, 2), (1, 1)),
        )
    ]
    pod = topology("v5e:16x16")
    assert {shape.fsdp for shape in shapes(pod, 513)} == {1, 2, 4, 256}  # in a host, or over all
    assert {shape.space for shape in shapes(GRID, 513)} == {1}  # an odd number of rows
    assert {shape.space for shape in shapes(topology("v5e:16x16"), 512)} == {1, 2, 4}


def test_all_meshes_are_compared_at_a_batch_that_all_divide() -> None:
    assert shared_batch(CONFIG, GRID) == 16
    assert shared_batch(dataclasses.replace(CONFIG, accumulate=3), GRID) == 24
    attempt, _ = formula(lambda windows, mesh: 1e9)
    found = search(CONFIG, GRID, attempt)
    assert {plan.batch for plan in found.meshes} == {16}
    assert len(found.meshes) == 10
    assert found.best.mesh == {"data": 8, "fsdp": 1, "space": 1}  # the fastest one


@pytest.mark.parametrize("each", [0.07e9, 1.1e9, 5e9])
def test_the_largest_batch_lies_right_below_the_smallest_that_does_not_fit(each: float) -> None:
    attempt, asked = formula(lambda windows, mesh: 0.5e9 + each * windows)
    found = search(CONFIG, GRID, attempt)
    limit = int((GRID.chip.memory - 0.5e9) // each)
    assert found.largest is not None
    assert found.largest.batch == 8 * limit
    assert found.too_large == 8 * (limit + 1)
    assert len(asked) <= 10 + TRIES


def test_a_mesh_that_fits_is_preferred_to_a_faster_one_that_does_not() -> None:
    attempt, _ = formula(lambda windows, mesh: 100e9 / mesh["fsdp"] + 1e9 * windows)
    found = search(CONFIG, GRID, attempt)
    assert found.best.mesh == {"data": 1, "fsdp": 8, "space": 1}
    assert found.largest is not None
    assert found.largest.fits


def test_nothing_fits_if_one_window_is_too_large() -> None:
    attempt, _ = formula(lambda windows, mesh: 100e9 / mesh["space"] + 1e9 * windows)
    found = search(CONFIG, GRID, attempt)
    assert not any(plan.fits for plan in found.meshes if plan.mesh["space"] < 8)
    nothing, _ = formula(lambda windows, mesh: 400e9 * windows)
    assert search(CONFIG, GRID, nothing).largest is None


def test_a_limit_that_memory_creeps_up_to_ends_the_search() -> None:
    """XLA computes values twice near the limit, so that memory is no straight line there."""
    attempt, asked = formula(lambda windows, mesh: min(2e9 * windows, 16e9 + 0.02e9 * windows))
    found = search(CONFIG, GRID, attempt)
    assert len(asked) <= 10 + TRIES
    assert found.largest is not None
    assert found.too_large is not None
    assert found.largest.batch < found.too_large


def test_memory_that_grows_late_needs_few_programs() -> None:
    """Small batches of a small network lie on the chip; the line through them is far too flat."""
    attempt, asked = formula(lambda windows, mesh: 5e9 + 1e6 * windows + 60e9 * (windows > 500))
    found = search(CONFIG, GRID, attempt)
    assert found.largest is not None
    assert found.too_large is not None
    assert found.too_large / found.largest.batch < 1.25
    assert len(asked) <= 10 + TRIES
