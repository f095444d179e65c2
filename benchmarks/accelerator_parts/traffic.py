"""Bytes that an optimised program moves, for compilers that do not report them, such as XLA:GPU.

Every kernel reads its operands once and writes its results once; data that stay in caches are
counted too, and a kernel that reads a part of an operand counts the whole operand. Scratch space of
library calls is left out.
"""

import math
import re
from typing import NamedTuple

BITS = {"pred": 8, "bf16": 16, "f16": 16, "f32": 32, "f64": 64, "c64": 64}
BITS |= {f"{sign}{bits}": bits for sign in "su" for bits in (4, 8, 16, 32, 64)}
FREE = {"parameter", "tuple", "get-tuple-element", "bitcast", "constant", "after-all", "iota"}

ARRAY = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")
HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
NAMED = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*)$")
CALLED = re.compile(r"(?:to_apply|body|true_computation|false_computation)=%?([\w.\-]+)")
TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')


class Kernel(NamedTuple):
    """One instruction.

    Attributes:
        operation: Its name in HLO.
        result: Bytes of its result.
        operands: Names of what it reads.
        text: The rest of the line.
    """

    operation: str
    result: int
    operands: list[str]
    text: str


def bytes_moved(program: str) -> int:
    """Of one run of a compiled program's text, as `Compiled.as_text` gives it."""
    computations: dict[str, dict[str, Kernel]] = {}
    entry = ""
    current: dict[str, Kernel] = {}
    for line in program.splitlines():
        if head := HEAD.match(line):
            current = computations.setdefault(head[2], {})
            entry = head[2] if head[1] else entry
        elif named := NAMED.match(line):
            current[named[1]] = _kernel(named[2])
    return _moved(computations, entry)


def _moved(computations: dict[str, dict[str, Kernel]], name: str) -> int:
    kernels, total = computations.get(name, {}), 0
    for kernel in kernels.values():
        if kernel.operation in ("call", "while", "conditional"):
            trips = TRIPS.search(kernel.text)
            inner = [_moved(computations, called) for called in CALLED.findall(kernel.text)]
            total += sum(inner) * (int(trips[1]) if trips else 1)
        elif kernel.operation not in FREE and not kernel.operation.endswith("-done"):
            reads = [kernels[read].result for read in kernel.operands if read in kernels]
            total += kernel.result + sum(reads)
    return total


def _kernel(text: str) -> Kernel:
    end = _closing(text) if text.startswith("(") else text.index(" ")
    kind, rest = text[:end], text[end:].lstrip()
    opens = rest.find("(")
    closes = opens + _closing(rest[opens:])
    operation = rest[:opens]
    arrays = ARRAY.findall(kind)
    if operation == "custom-call" and kind.startswith("("):
        arrays = [array for array in arrays if array[0] not in ("u8", "s8")]  # its scratch
    names = re.findall(r"%([\w.\-]+)", rest[opens:closes])
    return Kernel(operation, sum(_size(*array) for array in arrays), names, rest[closes:])


def _closing(text: str) -> int:
    """One past the bracket that closes the first one."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0 and character == ")":
            return place + 1
    return len(text)


def _size(kind: str, sides: str) -> int:
    return math.prod(int(side) for side in sides.split(",") if side) * BITS.get(kind, 0) // 8
