"""Bytes, padding and collectives of small programs, counted by hand."""

import pytest
from fixtures.places import PROGRAMS

from jaxseg.planning import costs, hlo
from jaxseg.planning.costs import Collective

KIB = 1024


def stored(name: str) -> str:
    """A small program, written by hand."""
    return (PROGRAMS / f"{name}.txt").read_text()


def test_the_bytes_of_each_operation_are_those_that_cross_hbm() -> None:
    moved, product, *others = costs.operations(hlo.parsed(stored("transfers")))
    # A kernel goes into memory on the chip once: 64 KiB. It belongs to the product that uses it.
    assert moved.bytes == 64 * KIB
    assert moved.transfer
    assert (moved.instruction.name, moved.owner) == ("d", "conv")
    # The product reads 8 x 32 numbers (1 KiB) in a tile of 8 x 128 (4 KiB), and writes 4 KiB; its
    # other operand is on the chip already.
    assert product.bytes == 8 * KIB
    assert product.numbers == (1 + 4) * KIB
    assert product.flops == {"float32": 2 * 8 * 128 * 128}
    assert (product.instruction.frame, product.owner) == (3, "conv")
    assert len(others) == 2


def test_a_fusion_that_slices_or_updates_touches_the_part_alone() -> None:
    sliced, updated = costs.operations(hlo.parsed(stored("transfers")))[-2:]
    assert sliced.bytes == 4 * KIB + 4 * KIB + 4  # the part is read, written; and the index
    assert updated.bytes == 4 * KIB + 4 * KIB + 4  # the part is read and written in place


def test_collectives_are_counted_once_with_the_bytes_of_the_whole_array() -> None:
    assert set(costs.collectives(hlo.parsed(stored("collectives")))) == {
        Collective("all-reduce", 1024, group=2, times=3),
        Collective("reduce-scatter", 4096, group=8),
        Collective("all-gather", 2048, group=4),
        Collective("collective-permute", 20, group=2),
        Collective("all-reduce", 1040, group=4),
    }


@pytest.mark.parametrize(
    ("groups", "size"),
    [
        ("{{0,1,2,3}}", 4),
        ("{{0,4},{1,5},{2,6},{3,7}}", 2),
        ("[4,2]<=[8]", 2),
        ("[2,4]<=[4,2]T(1,0)", 4),
        ("mesh['a'=4,'b'=2] {'a'}", 4),
        ("mesh['a'=4,'b'=2] {'a','b'}", 8),
        ("mesh['a'=8] {'a':(1)2}", 2),
    ],
)
def test_every_way_to_write_groups_is_read(groups: str, size: int) -> None:
    text = (
        "ENTRY %main (a: f32[2]) -> f32[2] {\n  %a = f32[2]{0} parameter(0)\n"
        f"  ROOT %r = f32[2]{{0}} all-reduce(%a), replica_groups={groups}, to_apply=%s\n}}\n"
    )
    [found] = costs.collectives(hlo.parsed(text))
    assert found.group == size
