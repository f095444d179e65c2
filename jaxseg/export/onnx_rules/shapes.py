"""Primitives that only move numbers: reshape, transpose, slice, pad, concatenate, repeat."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxseg.export.onnx_graph import Graph, Known, NotInOnnxError, Value, is_known, same
from jaxseg.export.onnx_rules.elementwise import Rule

TO_THE_END = np.iinfo(np.int64).max


def shape_of(variable: Any) -> tuple[Any, ...]:  # noqa: ANN401  (a variable of a jaxpr)
    """Its shape."""
    return tuple(variable.aval.shape)


def reshaped(graph: Graph, x: Value, shape: Sequence[Any]) -> Value:
    """Another shape, of which one size may be a symbol.

    Raises:
        NotInOnnxError: Several are.
    """
    sizes = [int(size) if is_known(size) else -1 for size in shape]
    if sizes.count(-1) > 1:
        raise NotInOnnxError(f"The shape {tuple(shape)} has several sizes that are not known.")
    return graph.add("Reshape", x, np.asarray(sizes, np.int64))


def sliced(
    graph: Graph, x: Value, starts: Sequence[Any], stops: Sequence[Any], steps: Sequence[int]
) -> Value:
    """What lies between starts and stops, which are None or symbols where an axis is not cut."""
    axes = [
        axis
        for axis, (start, stop, step) in enumerate(zip(starts, stops, steps, strict=True))
        if step != 1 or start != 0 or (stop is not None and is_known(stop))
    ]
    if not axes:
        return x
    ends = [
        int(stops[axis]) if stops[axis] is not None and is_known(stops[axis]) else TO_THE_END
        for axis in axes
    ]
    numbers = (
        [int(starts[axis]) for axis in axes],
        ends,
        axes,
        [int(steps[axis]) for axis in axes],
    )
    return graph.add("Slice", x, *(np.asarray(part, np.int64) for part in numbers))


def padded(
    graph: Graph,
    x: Value,
    pads: Sequence[tuple[int, int]],
    value: Value = np.float32(0),  # noqa: B008
) -> Value:
    """More rows at the ends of its axes, or fewer where the number is negative."""
    low, high = ([int(pad[end]) for pad in pads] for end in (0, 1))
    if min(*low, *high) < 0:
        starts, stops = [max(0, -n) for n in low], [n if n < 0 else None for n in high]
        x = sliced(graph, x, starts, stops, [1] * len(low))
        low, high = [max(0, n) for n in low], [max(0, n) for n in high]
    if not any((*low, *high)):
        return x
    return graph.add("Pad", x, np.asarray([*low, *high], np.int64), value, mode="constant")


def transposed(graph: Graph, x: Value, order: Sequence[int]) -> Value:
    """The axes in another order."""
    if list(order) == list(range(len(order))):
        return x
    if not isinstance(x, str):
        return np.transpose(x, order)
    return graph.add("Transpose", x, perm=[int(axis) for axis in order])


def _reshape(graph: Graph, equation: Any, x: Value) -> Value:  # noqa: ANN401
    return reshaped(graph, x, equation.params["new_sizes"])


def _squeeze(graph: Graph, equation: Any, x: Value) -> Value:  # noqa: ANN401
    return reshaped(graph, x, shape_of(equation.outvars[0]))


def _transpose(graph: Graph, equation: Any, x: Value) -> Value:  # noqa: ANN401
    return transposed(graph, x, equation.params["permutation"])


def _broadcast(graph: Graph, equation: Any, x: Value) -> Value:  # noqa: ANN401
    shape, places = equation.params["shape"], equation.params["broadcast_dimensions"]
    given = shape_of(equation.invars[0])
    between = [1] * len(shape)
    for place, size in zip(places, given, strict=True):
        between[place] = size
    if len(given) != len(shape):
        x = reshaped(graph, x, between)
    if all(same(a, b) for a, b in zip(between, shape, strict=True)):
        return x
    # A size of 1 in the shape that is given to Expand leaves the tensor's own.
    wanted = [1 if same(a, b) else b for a, b in zip(between, shape, strict=True)]
    return graph.add("Expand", x, graph.sizes(tuple(wanted)))


def _slice(graph: Graph, equation: Any, x: Value) -> Value:  # noqa: ANN401
    p = equation.params
    steps = p["strides"] or (1,) * len(p["start_indices"])
    return sliced(graph, x, p["start_indices"], p["limit_indices"], steps)


def _rev(graph: Graph, equation: Any, x: Value) -> Value:  # noqa: ANN401
    axes = [int(axis) for axis in equation.params["dimensions"]]
    numbers = ([-1] * len(axes), [-TO_THE_END] * len(axes), axes, [-1] * len(axes))
    return graph.add("Slice", x, *(np.asarray(part, np.int64) for part in numbers))


def _pad(graph: Graph, equation: Any, x: Value, value: Value) -> Value:  # noqa: ANN401
    config = equation.params["padding_config"]
    if any(inner for _, _, inner in config):
        raise NotInOnnxError("Padding between the pixels of an image.")
    return padded(graph, x, [(low, high) for low, high, _ in config], value)


def _concatenate(graph: Graph, equation: Any, *parts: Value) -> Value:  # noqa: ANN401
    filled = [
        part
        for part, variable in zip(parts, equation.invars, strict=True)
        if not any(same(size, 0) for size in shape_of(variable))
    ]
    return graph.add("Concat", *filled, axis=int(equation.params["dimension"]))


def _split(graph: Graph, equation: Any, x: Value) -> list[str]:  # noqa: ANN401
    sizes = np.asarray([int(size) for size in equation.params["sizes"]], np.int64)
    return graph.add_many("Split", len(sizes), x, sizes, axis=int(equation.params["axis"]))


def _tile(graph: Graph, equation: Any, x: Value) -> Value:  # noqa: ANN401
    return graph.add("Tile", x, np.asarray(equation.params["reps"], np.int64))


def _gather(graph: Graph, equation: Any, x: Value, places: Value) -> Value:  # noqa: ANN401
    """What an index becomes where the batch is a symbol: a window, or rows and columns, known."""
    dims, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    if isinstance(places, str) or dims.operand_batching_dims:
        raise NotInOnnxError("Pixels looked up at places that are computed.")
    if np.ndim(places) != 1:
        return _rows_and_columns(graph, equation, x, np.asarray(places))
    starts = [0] * len(sizes)
    for axis, start in zip(dims.start_index_map, np.asarray(places), strict=True):
        starts[axis] = int(start)
    stops = [
        start + size if is_known(size) else None for start, size in zip(starts, sizes, strict=True)
    ]
    x = sliced(graph, x, starts, stops, [1] * len(sizes))
    if not dims.collapsed_slice_dims:
        return x
    return reshaped(graph, x, shape_of(equation.outvars[0]))


def _rows_and_columns(graph: Graph, equation: Any, x: Value, places: Known) -> Value:  # noqa: ANN401
    """`x[:, rows]`, `x[:, 1:4, columns]` or `x[:, rows][:, :, columns]`."""
    dims, sizes = equation.params["dimension_numbers"], equation.params["slice_sizes"]
    rank, along = len(shape_of(equation.outvars[0])), places.ndim - 1
    listed = list(dims.collapsed_slice_dims)
    others = [axis for axis in range(rank) if axis not in listed]
    if len(sizes) != rank or len(listed) != along or list(dims.offset_dims) != others:
        raise NotInOnnxError("Pixels looked up one by one.")
    starts, stops = [0] * rank, [None] * rank
    for number, axis in enumerate(dims.start_index_map):
        own = places[..., number]
        if axis in listed:  # the axes of the places are those that are listed, in their order
            own = np.moveaxis(own, listed.index(axis), 0)
            own = own.reshape(len(own), -1)
            if (own != own[:, :1]).any():
                raise NotInOnnxError("Pixels looked up one by one.")
            x = graph.add("Gather", x, own[:, 0].astype(np.int64), axis=int(axis))
        elif (own != own.flat[0]).any():
            raise NotInOnnxError("Pixels looked up one by one.")
        else:
            starts[axis] = int(own.flat[0])
            stops[axis] = starts[axis] + sizes[axis]
    return sliced(graph, x, starts, stops, [1] * rank)


RULES: dict[str, Rule] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "expand_dims": _squeeze,
    "gather": _gather,
    "pad": _pad,
    "reshape": _reshape,
    "rev": _rev,
    "slice": _slice,
    "split": _split,
    "squeeze": _squeeze,
    "tile": _tile,
    "transpose": _transpose,
}
