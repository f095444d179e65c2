"""Times on paper, against divisions by hand."""

import pytest

from jaxseg.planning.costs import Collective, Operation
from jaxseg.planning.hlo import Instruction
from jaxseg.planning.roofline import Times, link_time, parts, times
from jaxseg.planning.topology import topology

V5E, GRID, H100 = topology("v5e:1x1"), topology("v5e:2x4"), topology("h100x8")


def operation(*, size: float = 0.0, flops: float = 0.0, precision: str = "bfloat16") -> Operation:
    return Operation(Instruction("a", "fusion", ()), size, size, {precision: flops})


def test_each_operation_takes_the_longer_of_computing_and_bytes() -> None:
    found = times(
        [operation(size=819e9, flops=197e11), operation(size=81.9e9, flops=197e12)], [], V5E
    )
    assert found.compute == pytest.approx(1.1)
    assert found.memory == pytest.approx(1.1)
    assert found.operations == pytest.approx(2.0)  # one is bound by bytes, the other by computing
    assert found.hidden == found.exposed == found.operations


def test_float32_is_slower_where_it_is() -> None:
    one = 197e12
    assert parts(operation(flops=one, precision="float32"), V5E.chip)[0] == pytest.approx(1)
    assert parts(operation(flops=one, precision="highest"), V5E.chip)[0] == pytest.approx(6)
    assert parts(operation(flops=989e12, precision="float32"), H100.chip)[0] == pytest.approx(2)


def test_the_bound_is_what_takes_longest() -> None:
    assert Times(3, 2, 4, 1).bound == "compute"
    assert Times(2, 3, 4, 1).bound == "HBM"
    links = Times(1, 2, 2, 5)
    assert (links.bound, links.hidden, links.exposed) == ("links", 5, 7)


@pytest.mark.parametrize(
    ("collective", "seconds"),
    [
        # 7/8 of the bytes twice around a ring of 90 GB/s, and 8 hops of a microsecond.
        (Collective("all-reduce", 90e9, 8), 2 * 7 / 8 + 8e-6),
        (Collective("all-gather", 90e9, 8), 7 / 8 + 4e-6),
        (Collective("reduce-scatter", 90e9, 8, times=3), 3 * (7 / 8 + 4e-6)),
        # Pairs of neighbours have one link.
        (Collective("all-reduce", 45e9, 2), 1 + 2e-6),
        (Collective("collective-permute", 45e9, 2), 1 + 1e-6),
        (Collective("all-reduce", 45e9, 1), 0),
        # A group that is not stated is all chips.
        (Collective("all-reduce", 90e9, 0), 2 * 7 / 8 + 8e-6),
    ],
)
def test_a_collective_takes_bytes_over_the_ring_and_hops(
    collective: Collective, seconds: float
) -> None:
    assert link_time(collective, GRID) == pytest.approx(seconds)


def test_gpus_of_a_host_are_linked_and_hosts_by_the_network() -> None:
    within = link_time(Collective("all-reduce", 450e9, 8), H100)
    assert within == pytest.approx(2 * 7 / 8 + 2e-5)
    across = link_time(Collective("all-reduce", 50e9, 16), topology("h100x16"))
    assert across == pytest.approx(2 * 15 / 16 + 4e-5)
