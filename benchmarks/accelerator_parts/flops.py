"""Floating-point operations of a network's convolutions and matrix products, from its jaxpr.

`Lowered.cost_analysis` does not work for GPUs and TPUs, and counts the form that a network has on
one platform. Here a multiply-add counts as two, products with padding are left out, and where a
formulation depends on the platform, the native one counts.
"""

import math
from typing import Any

import numpy as np

BACKWARD = 2
"""A gradient costs twice the forward pass: one product for the input, one for the kernel."""


def flops(jaxpr: Any) -> int:
    """Of a jaxpr, closed or open, all that it calls included."""
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> int:
    name = equation.primitive.name
    if name == "conv_general_dilated":
        return _convolution(equation)
    if name == "dot_general":
        contracted = equation.params["dimension_numbers"][0][0]
        shape = equation.invars[0].aval.shape
        products = math.prod(equation.outvars[0].aval.shape)
        return 2 * products * math.prod(shape[axis] for axis in contracted)
    inner = [flops(value) for value in _jaxprs(equation.params)]
    if name == "cond":  # the native form multiplies with padding's zeros too, and has more
        return max(inner)
    return sum(inner) * (equation.params["length"] if name == "scan" else 1)


def _jaxprs(params: dict[str, Any]) -> list[Any]:
    values = [v for value in params.values() for v in (value if _many(value) else (value,))]
    return [value for value in values if hasattr(value, "eqns")]


def _many(value: Any) -> bool:
    return isinstance(value, (tuple, list))


def _convolution(equation: Any) -> int:
    params = equation.params
    image, kernel = (variable.aval.shape for variable in equation.invars)
    output = equation.outvars[0].aval.shape
    lhs, rhs, out = params["dimension_numbers"]
    total = 2 * output[out[0]] * output[out[1]] * kernel[rhs[1]]
    for axis, (low, _) in enumerate(params["padding"]):
        pixels, taps, outputs = image[lhs[2 + axis]], kernel[rhs[2 + axis]], output[out[2 + axis]]
        spread = params["lhs_dilation"][axis]
        first = np.arange(outputs)[:, None] * params["window_strides"][axis] - low
        place = first + np.arange(taps)[None] * params["rhs_dilation"][axis]
        met = (place >= 0) & (place % spread == 0) & (place // spread < pixels)
        total *= int(met.sum())
    return total
