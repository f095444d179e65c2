"""Primitives that compute each number by itself: arithmetic, comparisons, choices, conversions."""

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxseg.export.onnx_graph import Graph, NotInOnnxError, Value

Rule = Callable[..., Any]

TYPES = {"float32": 1, "int32": 6, "int64": 7, "bool": 9, "float64": 11, "uint8": 2}
"""ONNX' numbers of types."""


def _same(kind: str) -> Rule:
    """A node of the same meaning."""

    def rule(graph: Graph, equation: Any, *inputs: Value) -> str:  # noqa: ANN401
        return graph.add(kind, *inputs)

    return rule


def _chain(*kinds: str) -> Rule:
    """One node after another."""

    def rule(graph: Graph, equation: Any, x: Value) -> Value:  # noqa: ANN401
        for kind in kinds:
            x = graph.add(kind, x)
        return x

    return rule


def _identity(graph: Graph, equation: Any, *inputs: Value) -> list[Value]:  # noqa: ANN401
    return list(inputs)


def _square(graph: Graph, equation: Any, x: Value) -> str:  # noqa: ANN401
    return graph.add("Mul", x, x)


def _integer_pow(graph: Graph, equation: Any, x: Value) -> str:  # noqa: ANN401
    return graph.add("Pow", x, np.float32(equation.params["y"]))


def _log1p(graph: Graph, equation: Any, x: Value) -> str:  # noqa: ANN401
    return graph.add("Log", graph.add("Add", x, np.float32(1)))


def _expm1(graph: Graph, equation: Any, x: Value) -> str:  # noqa: ANN401
    return graph.add("Sub", graph.add("Exp", x), np.float32(1))


def _erfc(graph: Graph, equation: Any, x: Value) -> str:  # noqa: ANN401
    return graph.add("Sub", np.float32(1), graph.add("Erf", x))


def _not_equal(graph: Graph, equation: Any, x: Value, y: Value) -> str:  # noqa: ANN401
    return graph.add("Not", graph.add("Equal", x, y))


def _is_finite(graph: Graph, equation: Any, x: Value) -> str:  # noqa: ANN401
    return graph.add("Not", graph.add("Or", graph.add("IsNaN", x), graph.add("IsInf", x)))


def _clamp(graph: Graph, equation: Any, low: Value, x: Value, high: Value) -> str:  # noqa: ANN401
    return graph.add("Min", graph.add("Max", x, low), high)


def _select(graph: Graph, equation: Any, which: Value, *cases: Value) -> str:  # noqa: ANN401
    if len(cases) != 2 or equation.invars[0].aval.dtype != bool:
        raise NotInOnnxError("A choice among more than two cases.")
    return graph.add("Where", which, cases[1], cases[0])


def _convert(graph: Graph, equation: Any, x: Value) -> Value:  # noqa: ANN401
    new = equation.params["new_dtype"].name
    if new == equation.invars[0].aval.dtype.name:
        return x
    if new not in TYPES:
        raise NotInOnnxError(f"Numbers of type {new}.")
    return graph.add("Cast", x, to=TYPES[new])


RULES: dict[str, Rule] = {
    "abs": _same("Abs"),
    "add": _same("Add"),
    "add_any": _same("Add"),
    "and": _same("And"),
    "atan": _same("Atan"),
    "ceil": _same("Ceil"),
    "clamp": _clamp,
    "convert_element_type": _convert,
    "copy": _identity,
    "copy_p": _identity,
    "cos": _same("Cos"),
    "div": _same("Div"),
    "eq": _same("Equal"),
    "erf": _same("Erf"),
    "erfc": _erfc,
    "exp": _same("Exp"),
    "expm1": _expm1,
    "floor": _same("Floor"),
    "ge": _same("GreaterOrEqual"),
    "gt": _same("Greater"),
    "integer_pow": _integer_pow,
    "is_finite": _is_finite,
    "le": _same("LessOrEqual"),
    "log": _same("Log"),
    "log1p": _log1p,
    "logistic": _same("Sigmoid"),
    "lt": _same("Less"),
    "max": _same("Max"),
    "min": _same("Min"),
    "mul": _same("Mul"),
    "ne": _not_equal,
    "neg": _same("Neg"),
    "not": _same("Not"),
    "optimization_barrier": _identity,
    "or": _same("Or"),
    "pow": _same("Pow"),
    "rsqrt": _chain("Sqrt", "Reciprocal"),
    "select_n": _select,
    "sign": _same("Sign"),
    "sin": _same("Sin"),
    "sqrt": _same("Sqrt"),
    "square": _square,
    "stop_gradient": _identity,
    "sub": _same("Sub"),
    "tanh": _same("Tanh"),
    "xor": _same("Xor"),
}
