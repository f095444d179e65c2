"""A function of JAX as an ONNX graph: its equations one after the other, each by its rule.

What does not depend on the image is computed now. Where a layer has a program for CPUs and another
one for other platforms, the other one is taken, which states convolutions and pooling as such.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Literal

from jaxseg.export.onnx_graph import Graph, NotInOnnxError, Value, is_known, same
from jaxseg.export.onnx_rules import elementwise, shapes, sums, windows

RULES = elementwise.RULES | shapes.RULES | sums.RULES | windows.RULES

CALLS = {
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "remat": "jaxpr",
    "checkpoint": "jaxpr",
}
"""Primitives that call another program, and where they hold it."""


def converted(
    program: Callable[..., Any], graph: Graph, name: str, shape: jax.ShapeDtypeStruct
) -> tuple[str, tuple[Any, ...]]:
    """Adds the equations of a function of one image to a graph.

    Args:
        program: The function.
        graph: Has the image.
        name: Of the image in the graph.
        shape: Of the image; its batch may be a symbol.

    Returns:
        The name of the result and its shape.

    Raises:
        NotInOnnxError: A primitive has no rule, or not in this form.
    """
    traced: ClosedJaxpr = jax.jit(program).trace(shape).jaxpr
    (result,) = _walk(graph, traced, [name])
    return graph.named(result), tuple(traced.out_avals[0].shape)


def _walk(graph: Graph, closed: Any, inputs: list[Value]) -> list[Value]:  # noqa: ANN401
    jaxpr, consts = (closed.jaxpr, closed.consts) if hasattr(closed, "jaxpr") else (closed, [])
    known: dict[Any, Value] = dict(zip(jaxpr.constvars, map(np.asarray, consts), strict=True))
    known |= dict(zip(jaxpr.invars, inputs, strict=True))

    def read(variable: Any) -> Value:  # noqa: ANN401
        if isinstance(variable, Literal):
            return np.asarray(variable.val, variable.aval.dtype)  # type: ignore[attr-defined]
        return known[variable]

    for equation in _needed(jaxpr):
        if _is_empty(equation):  # rows added to an axis that needs none
            results: list[Value] = [np.zeros(0, np.float32) for _ in equation.outvars]
        else:
            results = _results(graph, equation, [read(variable) for variable in equation.invars])
        known |= dict(zip(equation.outvars, results, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _needed(jaxpr: Any) -> list[Any]:  # noqa: ANN401
    """The equations that the results depend on: heads for training alone are left out."""
    wanted = {variable for variable in jaxpr.outvars if not isinstance(variable, Literal)}
    found = []
    for equation in reversed(jaxpr.eqns):
        if wanted & set(equation.outvars):
            found.append(equation)
            if not _is_empty(equation):
                wanted |= {v for v in equation.invars if not isinstance(v, Literal)}
    return found[::-1]


def _results(graph: Graph, equation: Any, given: list[Value]) -> list[Value]:  # noqa: ANN401
    name, params = equation.primitive.name, equation.params
    if name in CALLS:
        return _walk(graph, params[CALLS[name]], given)
    if name == "platform_index":
        return [np.asarray(params["platforms"].index(None), np.int32)]
    if name == "cond" and not isinstance(given[0], str):
        return _walk(graph, params["branches"][int(given[0])], given[1:])
    if name == "dim_as_value":
        raise NotInOnnxError(f"The size of the batch is computed with, in {_where(equation)}.")
    if all(not isinstance(value, str) for value in given) and _is_fixed(equation):
        return _computed(equation, given)
    if name not in RULES:
        raise NotInOnnxError(
            f"The primitive {name} of JAX, in {_where(equation)}, has no rule for ONNX."
        )
    try:
        results = RULES[name](graph, equation, *given)
    except NotInOnnxError as error:
        raise NotInOnnxError(f"{error} It is in {_where(equation)} ({name}).") from None
    return list(results) if isinstance(results, list) else [results]


def _is_empty(equation: Any) -> bool:  # noqa: ANN401
    """Whether no result has any number; what is concatenated with them stays as it is."""
    return all(any(same(size, 0) for size in variable.aval.shape) for variable in equation.outvars)


def _is_fixed(equation: Any) -> bool:  # noqa: ANN401
    """Whether no size of it is a symbol."""
    return all(is_known(size) for variable in equation.outvars for size in variable.aval.shape)


def _computed(equation: Any, given: list[Value]) -> list[Value]:  # noqa: ANN401
    found = equation.primitive.bind(*given, **equation.params)
    several = found if equation.primitive.multiple_results else [found]
    return [np.asarray(value) for value in several]


def _where(equation: Any) -> str:  # noqa: ANN401
    """The module of the network that an equation comes from."""
    return str(equation.source_info.name_stack) or "the network itself"
