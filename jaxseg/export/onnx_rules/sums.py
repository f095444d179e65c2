"""Primitives that add up: products of matrices, sums, means and extremes along axes."""

import string
from typing import Any

import numpy as np

from jaxseg.export.onnx_graph import Graph, NotInOnnxError, Value
from jaxseg.export.onnx_rules.elementwise import TYPES, Rule
from jaxseg.export.onnx_rules.shapes import shape_of


def _dot_general(graph: Graph, equation: Any, x: Value, y: Value) -> Value:  # noqa: ANN401
    (along_x, along_y), (batch_x, batch_y) = equation.params["dimension_numbers"]
    first, second = (len(shape_of(variable)) for variable in equation.invars)
    if not batch_x and (*along_x, *along_y) == (first - 1, 0) and second == 2:
        return graph.add("MatMul", x, y)
    letters = iter(string.ascii_letters)
    ours, theirs = [""] * first, [""] * second
    for pairs in (zip(batch_x, batch_y, strict=True), zip(along_x, along_y, strict=True)):
        for a, b in pairs:
            ours[a] = theirs[b] = next(letters)
    kept = [ours[axis] for axis in batch_x]
    for names in (ours, theirs):
        for axis, name in enumerate(names):
            if not name:
                names[axis] = next(letters)
                kept.append(names[axis])
    sides = f"{''.join(ours)},{''.join(theirs)}->{''.join(kept)}"
    return graph.add("Einsum", x, y, equation=sides)


def _axes(equation: Any) -> list[int]:  # noqa: ANN401
    return [int(axis) for axis in equation.params["axes"]]


def _sum(graph: Graph, equation: Any, x: Value) -> Value:  # noqa: ANN401
    return graph.add("ReduceSum", x, np.asarray(_axes(equation), np.int64), keepdims=0)


def _extreme(kind: str) -> Rule:
    def rule(graph: Graph, equation: Any, x: Value) -> Value:  # noqa: ANN401
        return graph.add(kind, x, axes=_axes(equation), keepdims=0)

    return rule


def _logical(kind: str) -> Rule:
    """Whether all or any of them hold: the smallest or largest of 0 and 1."""

    def rule(graph: Graph, equation: Any, x: Value) -> Value:  # noqa: ANN401
        numbers = graph.add("Cast", x, to=TYPES["int32"])
        found = graph.add(kind, numbers, axes=_axes(equation), keepdims=0)
        return graph.add("Cast", found, to=TYPES["bool"])

    return rule


def _arg(kind: str) -> Rule:
    def rule(graph: Graph, equation: Any, x: Value) -> Value:  # noqa: ANN401
        (axis,) = _axes(equation)
        found = graph.add(kind, x, axis=axis, keepdims=0)
        return graph.add("Cast", found, to=TYPES[np.dtype(equation.params["index_dtype"]).name])

    return rule


def _cumsum(graph: Graph, equation: Any, x: Value) -> Value:  # noqa: ANN401
    axis, back = equation.params["axis"], equation.params["reverse"]
    return graph.add("CumSum", x, np.asarray(axis, np.int64), reverse=int(back))


def spatial(shape: tuple[Any, ...], *per_axis: tuple[Any, ...]) -> list[int]:
    """The axes of (B, H, W, C) along which windows move, two of them.

    Raises:
        NotInOnnxError: Windows move along other axes, too.
    """
    if len(shape) != 4:
        raise NotInOnnxError(f"Windows in {len(shape)} dimensions.")
    moved = {axis for values in per_axis for axis, n in enumerate(values) if n not in (1, (0, 0))}
    chosen = sorted(moved | ({1, 2} if moved <= {1, 2} else set()))
    if len(chosen) != 2:
        raise NotInOnnxError(f"Windows along the axes {sorted(moved)}.")
    return chosen


RULES: dict[str, Rule] = {
    "argmax": _arg("ArgMax"),
    "argmin": _arg("ArgMin"),
    "cumsum": _cumsum,
    "dot_general": _dot_general,
    "reduce_and": _logical("ReduceMin"),
    "reduce_max": _extreme("ReduceMax"),
    "reduce_min": _extreme("ReduceMin"),
    "reduce_or": _logical("ReduceMax"),
    "reduce_prod": _extreme("ReduceProd"),
    "reduce_sum": _sum,
}
