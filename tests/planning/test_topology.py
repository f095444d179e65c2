"""Machines: those that exist, their chips, and how fast they talk."""

import pytest

from jaxseg.errors import UserError
from jaxseg.planning.topology import CHIPS, topology, written


def test_every_topology_is_found_by_its_name() -> None:
    for chip, shapes in CHIPS.values():
        for shape in shapes:
            found = topology(written(chip, shape))
            assert found.chip is chip
            assert found.devices % found.local == 0


@pytest.mark.parametrize(
    ("name", "devices", "local"),
    [
        ("v5e:1x1", 1, 1),
        ("v5e:2x4", 8, 8),
        ("v5e:16x16", 256, 4),
        ("v5p:4x4x4", 64, 4),
        ("h100x2", 2, 2),
        ("h100x16", 16, 8),
    ],
)
def test_a_topology_has_chips_in_hosts(name: str, devices: int, local: int) -> None:
    found = topology(name)
    assert (found.devices, found.local) == (devices, local)


@pytest.mark.parametrize(
    "name", ["v5e:3x5", "v5e", "v5e:2x2x2", "h100:8", "h100x3", "v9:2x4", "", "v5e:02x4"]
)
def test_a_topology_that_does_not_exist_is_refused_with_all_that_do(name: str) -> None:
    with pytest.raises(UserError) as refused:
        topology(name)
    said = str(refused.value)
    assert f"--topology {name} does not exist" in said
    for known in ("v5e:2x4", "v6e:16x16", "v5p:2x2x1", "h100x8"):
        assert known in said.split()
    assert max(map(len, said.splitlines()[1:])) <= 80


def test_rings_and_hops_are_those_of_grids_and_tori() -> None:
    grid, torus = topology("v5e:2x4"), topology("v5e:16x16")
    assert grid.ring == 2 * 45e9  # one ring through all chips
    assert torus.ring == 4 * 45e9  # one along each of two closed axes
    assert grid.hops == 2 * (1 + 3)
    assert torus.hops == 2 * (8 + 8)
    assert topology("v5p:4x4x4").hops == 2 * (2 + 2 + 2)
    assert topology("v5e:1x1").hops == 0
    assert topology("h100x8").ring == 450e9
    assert topology("h100x16").ring == 50e9  # the network between two hosts
