"""What each operation of an optimised program moves and computes, and what travels over links.

HBM bytes of an operation are its operands and results that lie there, with the padding of their
tiles. A transfer between HBM and memory on the chip counts once, where it starts. What a fusion
reads by slices, or updates in place, counts as the part that it touches.
"""

import dataclasses
import re
from collections.abc import Iterator

from jaxseg.planning.flops import factor, flops
from jaxseg.planning.hlo import Computation, Instruction, Program, Shape

COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "collective-permute",
    "all-to-all",
)

_TRANSFERS = {
    f"{name}-start" for name in ("copy", "async", "slice", "dynamic-slice", "dynamic-update-slice")
}
_FREE = {
    "parameter", "get-tuple-element", "tuple", "bitcast", "constant", "after-all", "partition-id",
    "replica-id", "async-update", "opt-barrier", "iota", "get-dimension-size",
    *(f"{name}-done" for name in COLLECTIVES),
    *(name.replace("-start", "-done") for name in _TRANSFERS),
}  # fmt: skip
_JOINED = 'custom_call_target="ConcatBitcast"'
"""Parts that were moved one by one, seen as one array again."""

HOPS = 6
"""Instructions between a transfer and its owner: its end, a part of a tuple, a cast ..."""

_SLICES = ("dynamic-slice", "slice", "gather")


@dataclasses.dataclass(frozen=True)
class Operation:
    """One operation that moves bytes or computes.

    Attributes:
        instruction: The operation, or what its fusion computes: a convolution if there is one.
        numbers: Bytes that it moves through HBM, of numbers alone.
        bytes: The same with the padding of tiles.
        flops: FLOPs of its convolutions and products, by their precision.
        times: How often it runs in a step; the counts above are of all of them.
        transfer: Whether it only moves bytes between HBM and memory on the chip.
        owner: Name of the operation that a transfer feeds or empties; its own name for others.
    """

    instruction: Instruction
    numbers: float
    bytes: float
    flops: dict[str, float]
    times: int = 1
    transfer: bool = False
    owner: str = ""


@dataclasses.dataclass(frozen=True)
class Collective:
    """Something that chips send to each other.

    Attributes:
        kind: `all-reduce`, `all-gather`, `reduce-scatter`, `collective-permute` or `all-to-all`.
        bytes: Of the whole array, of one group of chips.
        group: Chips that take part together; 2 for a permutation.
        times: How often it runs in a step.
    """

    kind: str
    bytes: float
    group: int
    times: int = 1


def operations(program: Program) -> list[Operation]:
    """Every operation of the program that runs and is not free."""
    return [
        _transfer(instruction, computation, times, program)
        if instruction.op in _TRANSFERS
        else _operation(instruction, computation, times, program)
        for instruction, computation, times in _running(program, program.entry, 1)
    ]


def collectives(program: Program) -> list[Collective]:
    """Every collective of the program; one that is spread over several fusions once."""
    found: dict[tuple[str, str, float], Collective] = {}
    for name, times in program.runs().items():
        for instruction in program.computations[name].values():
            kind = instruction.op.removesuffix("-start")
            if kind not in COLLECTIVES:
                continue
            if "all-reduce-scatter" in name or "all-reduce-scatter" in instruction.name:
                kind = "reduce-scatter"
            size = _payload(kind, instruction, program.computations[name])
            channel = re.search(r"channel_id=(\d+)", instruction.attributes)
            key = (kind, channel[1] if channel else instruction.name, size)
            group = 2 if kind == "collective-permute" else _group(instruction.attributes)
            found.setdefault(key, Collective(kind, size, group, times))
    return list(found.values())


def _running(
    program: Program, name: str, times: int
) -> Iterator[tuple[Instruction, Computation, int]]:
    """The instructions that run, those of loops and branches included, with how often they do."""
    computation = program.computations[name]
    for instruction in computation.values():
        if instruction.op in ("while", "call", "conditional"):
            trips = instruction.trips if instruction.op == "while" else 1
            for called in instruction.called:
                if called in program.computations:
                    yield from _running(program, called, times * trips)
        elif instruction.op not in _FREE:
            yield instruction, computation, times


def _transfer(
    instruction: Instruction, computation: Computation, times: int, program: Program
) -> Operation:
    """What moves is the smaller of the two ends, and it moves through HBM if one end lies there."""
    ends = [shape for shape in instruction.shapes if shape.dims or shape.dtype != "u32"][:2]
    moved = min(ends, key=lambda shape: shape.bytes)
    crossings = sum(not end.on_chip for end in ends) * times
    owner = _user(instruction, computation) or _maker(instruction, computation) or instruction
    named = _named(owner, computation, program)
    numbers, size = moved.numbers * crossings, moved.bytes * crossings
    return Operation(named, numbers, size, {}, times, transfer=True, owner=owner.name)


def _operation(
    instruction: Instruction, computation: Computation, times: int, program: Program
) -> Operation:
    touched = [shape for shape in _touched(instruction, computation, program) if not shape.on_chip]
    work: dict[str, float] = {}
    for where, inner in [(computation, instruction), *program.inside(instruction)]:
        if amount := flops(inner, where):
            precision = factor(inner, where)
            work[precision] = work.get(precision, 0.0) + amount * times
    return Operation(
        _named(instruction, computation, program),
        sum(shape.numbers for shape in touched) * times,
        sum(shape.bytes for shape in touched) * times,
        work,
        times,
        owner=instruction.name,
    )


def _touched(
    instruction: Instruction, computation: Computation, program: Program
) -> Iterator[Shape]:
    """The arrays that an operation reads and writes, or the parts of them that it touches."""
    if instruction.op.removesuffix("-start") in COLLECTIVES:
        # Sent from and received into HBM; what starts is written once.
        yield from instruction.shapes
        return
    body = program.computations.get(instruction.called[0]) if instruction.called else None
    fused = body if instruction.op == "fusion" else None
    yield from instruction.shapes if fused is None else _written(instruction, fused)
    for number, name in enumerate(instruction.operands):
        if name not in computation:
            continue
        given = computation[name].shapes
        yield from given if fused is None else _read(fused, number, given)


def _written(instruction: Instruction, fused: Computation) -> Iterator[Shape]:
    """The results of a fusion; of one that is updated in place, the update."""
    roots = [inner for inner in fused.values() if inner.root]
    update = fused.get(roots[0].operands[1]) if roots and _updates(roots[0]) else None
    yield from instruction.shapes if update is None else update.shapes


def _read(fused: Computation, number: int, given: tuple[Shape, ...]) -> Iterator[Shape]:
    """What a fusion reads of one operand."""
    names = {inner.name for inner in fused.values() if inner.number == number}
    users = [inner for inner in fused.values() if names & set(inner.operands)]
    first = bool(users) and all(user.operands[0] in names for user in users)
    if first and all(_updates(user) for user in users):
        return  # updated in place: nothing of it is read
    if first and all(user.op in _SLICES for user in users):
        for user in users:
            yield dataclasses.replace(user.shapes[0], on_chip=given[0].on_chip)
        return
    yield from given


def _updates(instruction: Instruction) -> bool:
    return instruction.op == "dynamic-update-slice"


def _user(instruction: Instruction, computation: Computation) -> Instruction | None:
    """What uses the result of a transfer, if it computes something."""
    name = instruction.name
    for _ in range(HOPS):
        users = [inner for inner in computation.values() if name in inner.operands]
        if not users:
            return None
        if _computes(users[0]):
            return users[0]
        name = users[0].name
    return None


def _maker(instruction: Instruction, computation: Computation) -> Instruction | None:
    """What makes the value that a transfer moves, if it computes something."""
    for _ in range(HOPS):
        given = [computation[name] for name in instruction.operands if name in computation]
        if not given:
            return None
        if _computes(given[0]):
            return given[0]
        instruction = given[0]
    return None


def _computes(instruction: Instruction) -> bool:
    moves = instruction.op.endswith("-start") or _JOINED in instruction.attributes
    return instruction.op not in _FREE and not moves


def _named(instruction: Instruction, computation: Computation, program: Program) -> Instruction:
    """Of a fusion, the convolution or product in it, else its last operation with a place."""
    found = instruction
    for where, inner in program.inside(instruction):
        if flops(inner, where):
            return inner
        if not found.frame and inner.frame:
            found = inner
    return found


def _payload(kind: str, instruction: Instruction, computation: Computation) -> float:
    """Bytes of the whole array, without the padding of tiles."""
    sizes = [shape.numbers for shape in instruction.shapes]
    if kind == "all-reduce" and not instruction.op.endswith("-start"):
        return sum(sizes)
    operands = [computation[name] for name in instruction.operands if name in computation]
    given = sum(shape.numbers for operand in operands for shape in operand.shapes)
    if kind == "all-reduce":
        return given
    return max([*sizes, given])


def _group(attributes: str) -> int:
    """Number of chips that take part in a collective together.

    `replica_groups={{0,1},{2,3}}`, `[2,4]<=[8]` (groups, chips) or `mesh['x'=4,'y'=2] {'y'}`.
    """
    if found := re.search(r"replica_groups=\[(\d+),(\d+)\]", attributes):
        return int(found[2])
    if found := re.search(r"replica_groups=\{\{([\d,]+)\}", attributes):
        return len(found[1].split(","))
    if found := re.search(
        r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\S+)? \{([^}]*)\}", attributes
    ):
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", found[1]))
        parts = re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", found[2])
        group = 1
        for axis, part in parts:
            group *= int(part or sizes[axis])
        return group
    return 0
