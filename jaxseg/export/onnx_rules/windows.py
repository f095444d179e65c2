"""Primitives that slide a window over an image: convolutions, transposed ones, pooling."""

import math
from typing import Any

import numpy as np

from jaxseg.export.onnx_graph import Graph, NotInOnnxError, Value
from jaxseg.export.onnx_rules.elementwise import Rule
from jaxseg.export.onnx_rules.shapes import padded, shape_of, transposed
from jaxseg.export.onnx_rules.sums import spatial


def _convolution(graph: Graph, equation: Any, x: Value, kernel: Value) -> Value:  # noqa: ANN401
    p = equation.params
    numbers = p["dimension_numbers"]
    if p["batch_group_count"] != 1:
        raise NotInOnnxError("A convolution with groups of the batch.")
    x = transposed(graph, x, numbers.lhs_spec)
    if any(step != 1 for step in p["lhs_dilation"]):
        y = _transposed_convolution(graph, equation, x, kernel)
    else:
        x, pads = _without_negative(graph, x, p["padding"])
        y = graph.add(
            "Conv",
            x,
            transposed(graph, kernel, numbers.rhs_spec),
            strides=[int(n) for n in p["window_strides"]],
            dilations=[int(n) for n in p["rhs_dilation"]],
            pads=pads,
            group=int(p["feature_group_count"]),
        )
    return transposed(graph, y, np.argsort(numbers.out_spec).tolist())


def _transposed_convolution(graph: Graph, equation: Any, x: Value, kernel: Value) -> str:  # noqa: ANN401
    """A convolution of an image with zeros between its pixels."""
    p = equation.params
    if isinstance(kernel, str) or p["feature_group_count"] != 1 or set(p["window_strides"]) != {1}:
        raise NotInOnnxError("A transposed convolution with groups, strides or a computed kernel.")
    outputs, inputs, *sides = p["dimension_numbers"].rhs_spec
    turned = np.flip(np.transpose(kernel, (inputs, outputs, *sides)), (2, 3))
    reach = [d * (n - 1) for d, n in zip(p["rhs_dilation"], turned.shape[2:], strict=True)]
    # ONNX counts how much is cut off what the kernels reach, JAX how much is added before.
    before = [r - low for r, (low, _) in zip(reach, p["padding"], strict=True)]
    after = [r - high for r, (_, high) in zip(reach, p["padding"], strict=True)]
    more = [max(0, -n) for n in after]
    steps = [int(n) for n in p["lhs_dilation"]]
    if min(before) < 0 or any(n >= step for n, step in zip(more, steps, strict=True)):
        raise NotInOnnxError(f"A transposed convolution with the padding {p['padding']}.")
    return graph.add(
        "ConvTranspose",
        x,
        np.ascontiguousarray(turned),
        strides=steps,
        dilations=[int(n) for n in p["rhs_dilation"]],
        pads=[int(n) for n in (*before, *(max(0, n) for n in after))],
        output_padding=[int(n) for n in more],
    )


def _without_negative(graph: Graph, x: Value, padding: Any) -> tuple[Value, list[int]]:  # noqa: ANN401
    """The image (B, C, H, W) cut where padding is negative, and the padding that is left."""
    cuts = [(min(0, low), min(0, high)) for low, high in padding]
    x = padded(graph, x, [(0, 0), (0, 0), *cuts])
    return x, [max(0, int(pad[end])) for end in (0, 1) for pad in padding]


def _pool(graph: Graph, equation: Any, x: Value, kind: str, **attributes: Any) -> Value:  # noqa: ANN401
    p = equation.params
    windows, strides, pads = p["window_dimensions"], p["window_strides"], p["padding"]
    if any(n != 1 for n in p["base_dilation"]):
        raise NotInOnnxError("Pooling of an image with gaps.")
    axes = spatial(shape_of(equation.invars[0]), windows, strides, tuple(map(tuple, pads)))
    order = [axis for axis in range(4) if axis not in axes] + axes
    y = graph.add(
        kind,
        transposed(graph, x, order),
        kernel_shape=[int(windows[axis]) for axis in axes],
        strides=[int(strides[axis]) for axis in axes],
        pads=[int(pads[axis][end]) for end in (0, 1) for axis in axes],
        **attributes,
    )
    return transposed(graph, y, np.argsort(order).tolist())


def _max_pool(graph: Graph, equation: Any, x: Value) -> Value:  # noqa: ANN401
    dilations = equation.params["window_dilation"]
    if any(n != 1 for n in dilations):
        raise NotInOnnxError("Pooling with gaps in the window.")
    return _pool(graph, equation, x, "MaxPool")


def _sum_pool(graph: Graph, equation: Any, x: Value) -> Value:  # noqa: ANN401
    """Sums are means times the number of pixels, those of the padding counted."""
    if any(n != 1 for n in equation.params["window_dilation"]):
        raise NotInOnnxError("Pooling with gaps in the window.")
    mean = _pool(graph, equation, x, "AveragePool", count_include_pad=1)
    count = np.float32(math.prod(equation.params["window_dimensions"]))
    return graph.add("Mul", mean, count)


RULES: dict[str, Rule] = {
    "conv_general_dilated": _convolution,
    "reduce_window_max": _max_pool,
    "reduce_window_sum": _sum_pool,
}
