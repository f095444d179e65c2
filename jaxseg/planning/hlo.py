"""XLA's optimised program as text, read into instructions with shapes in bytes.

    %fusion.3 = bf16[8,64,64,32]{3,0,2,1:T(8,128)(2,1)S(1)} fusion(%a, %b), calls=%c, metadata={...}
                dtype dims       order   tile          space     operands   attributes

`order` lists axes from the fastest to the slowest. A TPU pads the last axes to whole tiles, here
the 32 channels to 128 lanes. Memory space 0, which is not written, is HBM; others are on the chip.
"""

import dataclasses
import math
import re
from collections.abc import Iterator

BYTES = {
    "pred": 1.0,
    **{f"{sign}{bits}": bits / 8 for sign in "su" for bits in (1, 2, 4, 8, 16, 32, 64)},
    **{"bf16": 2.0, "f16": 2.0, "f32": 4.0, "f64": 8.0, "c64": 8.0, "c128": 16.0},
    **dict.fromkeys(("f8e4m3fn", "f8e5m2", "f8e4m3b11fnuz", "f8e4m3", "f8e3m4"), 1.0),
}
"""Bytes of an element; types that are not listed, such as tokens, have none."""

_SHAPE = re.compile(r"(\w+)\[([\d,]*)\](?:\{([\d,]*)(?::([^}]*))?\})?")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\) -> .* \{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
_CALLED = re.compile(r"(?:calls|to_apply|body|condition)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")


@dataclasses.dataclass(frozen=True)
class Shape:
    """An array of the program.

    Attributes:
        dtype: Its type, as XLA writes it.
        dims: Its sizes, of one device.
        order: Its axes from the fastest to the slowest; empty = not stated.
        tile: Sizes that the slowest to the fastest of the last axes are padded to multiples of.
        on_chip: Whether it lies in memory on the chip instead of HBM.
    """

    dtype: str
    dims: tuple[int, ...]
    order: tuple[int, ...] = ()
    tile: tuple[int, ...] = ()
    on_chip: bool = False

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.dims)

    @property
    def numbers(self) -> float:
        """Bytes of the elements."""
        return self.elements * BYTES.get(self.dtype, 0.0)

    @property
    def bytes(self) -> float:
        """Bytes with the padding of tiles."""
        if not self.tile or not self.dims:
            return self.numbers
        padded = list(self.dims)
        for axis, size in zip(self.order, reversed(self.tile), strict=False):
            padded[axis] = -(-padded[axis] // size) * size
        # A vector may have a tile of two axes.
        elements = max(math.prod(padded), math.prod(self.tile))
        return elements * BYTES.get(self.dtype, 0.0)


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One operation of the program.

    Attributes:
        name: Its name, unique in its computation.
        op: What it does, such as `fusion` or `all-reduce-start`.
        shapes: What it makes: one array, or several.
        operands: Names of the instructions whose results it uses.
        attributes: Everything behind the operands, as text.
        root: Whether it is the result of its computation.
        number: For a parameter, which one.
    """

    name: str
    op: str
    shapes: tuple[Shape, ...]
    operands: tuple[str, ...] = ()
    attributes: str = ""
    root: bool = False
    number: int = -1

    @property
    def called(self) -> tuple[str, ...]:
        """Names of the computations that it runs."""
        branches = _BRANCHES.search(self.attributes)
        names = re.findall(r"%?([\w.\-]+)", branches[1]) if branches else []
        return (*_CALLED.findall(self.attributes), *names)

    @property
    def scope(self) -> str:
        """Where in the traced functions it comes from: `jit(train_step)/jvp(UNet)/...`."""
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return found[1] if found else ""

    @property
    def frame(self) -> int:
        """Number of its place in the table of stack frames; 0 = not known."""
        found = re.search(r"stack_frame_id=(\d+)", self.attributes)
        return int(found[1]) if found else 0

    @property
    def trips(self) -> int:
        """How often a loop runs, if XLA knows."""
        found = re.search(r'"known_trip_count":\{"n":"(\d+)"', self.attributes)
        return int(found[1]) if found else 1


Computation = dict[str, Instruction]
"""Instructions by name, in the order in which they run."""


@dataclasses.dataclass(frozen=True)
class Program:
    """An optimised module.

    Attributes:
        computations: All of them by name.
        entry: Name of the one that runs.
    """

    computations: dict[str, Computation]
    entry: str

    def inside(self, instruction: Instruction) -> Iterator[tuple[Computation, Instruction]]:
        """Every instruction of the computations that one calls, directly or not."""
        todo, seen = list(instruction.called), set()
        while todo:
            name = todo.pop()
            if name in seen or name not in self.computations:
                continue
            seen.add(name)
            for inner in self.computations[name].values():
                yield self.computations[name], inner
                todo += inner.called

    def runs(self) -> dict[str, int]:
        """How often each computation runs in one step; those that never run are left out."""
        found: dict[str, int] = {}
        todo = [(self.entry, 1)]
        while todo:
            name, times = todo.pop()
            if name not in self.computations or found.get(name, 0) >= times:
                continue
            found[name] = times
            for inner in self.computations[name].values():
                factor = inner.trips if inner.op == "while" else 1
                todo += [(called, times * factor) for called in inner.called]
        return found


def parsed(text: str) -> Program:
    """The program that a text holds.

    Raises:
        ValueError: The text has no entry computation.
    """
    computations: dict[str, Computation] = {}
    current: Computation | None = None
    entry = ""
    for line in text.splitlines():
        if head := _COMPUTATION.match(line):
            current = computations.setdefault(head[2], {})
            entry = head[2] if head[1] else entry
        elif line.startswith("}"):
            current = None
        elif current is not None and (found := _INSTRUCTION.match(line)):
            made = _instruction(found[1], found[2], root=line.lstrip().startswith("ROOT "))
            if made is not None:
                current[made.name] = made
    if not entry:
        raise ValueError("This is not a module of XLA: it has no ENTRY computation.")
    return Program(computations, entry)


def _instruction(name: str, body: str, *, root: bool) -> Instruction | None:
    """An instruction from the text behind its `=`."""
    end = _closing(body, 0) + 1 if body.startswith("(") else body.find(" ")
    kind, rest = body[:end], body[end:].lstrip()
    op = re.match(r"([\w\-]+)\(", rest)
    if not op:
        return None
    close = _closing(rest, op.end() - 1)
    between = rest[op.end() : close]
    number = int(between) if op[1] == "parameter" and between.isdigit() else -1
    names = tuple(re.findall(r"%([\w.\-]+)", between))
    shapes = tuple(_shape(*found) for found in _SHAPE.findall(kind))
    return Instruction(name, op[1], shapes, names, rest[close + 1 :], root, number)


def _closing(text: str, start: int) -> int:
    """Position of the bracket that closes the one at `start`."""
    depth = 0
    for position in range(start, len(text)):
        depth += (text[position] == "(") - (text[position] == ")")
        if not depth:
            return position
    return len(text)


def _shape(dtype: str, dims: str, order: str, rest: str) -> Shape:
    tile = re.search(r"T\(([\d,*]+)\)", rest)
    sizes = tuple(1 if size == "*" else int(size) for size in tile[1].split(",")) if tile else ()
    return Shape(
        dtype,
        tuple(int(size) for size in dims.split(",") if size),
        tuple(int(axis) for axis in order.split(",") if axis),
        sizes,
        bool(re.search(r"S\([1-9]", rest)),
    )
