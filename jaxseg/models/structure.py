"""How a network is built: its modules with their shapes and parameters, and its output stride."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

Call = Callable[..., object]
Context = nn.module.InterceptorContext
Row = tuple[str, str, tuple[int, ...], int]
"""Path, class, output shape and number of own parameters of one module."""


def output_stride(model: nn.Module) -> int:
    """Ratio of the image's size to that of the coarsest features with more than 8 rows."""
    return stride_of(layers(model, bands=3, size=512))


def stride_of(rows: list[Row]) -> int:
    """The output stride by the shapes of a network's layers; see `output_stride`."""
    heights = [shape[1] for _, _, shape, _ in rows if len(shape) == 4 and shape[1] > 8]
    if not heights:
        return 1
    # Unpadded convolutions lose some rows, so the ratio is rounded to a power of two.
    return int(2 ** round(math.log2(max(heights) / min(heights))))


def layers(model: nn.Module, *, bands: int, size: int) -> list[Row]:
    """Path, class, output shape and number of parameters of every module, in order of execution.

    A module comes before its submodules, and its parameters do not include theirs. The shape is ()
    if the output is more than one array.
    """
    return traced(model, bands, size)[1]


def traced(model: nn.Module, bands: int, size: int) -> tuple[dict[str, Any], list[Row]]:
    """Shapes of the variables, and the layers."""
    modules: dict[tuple[str, ...], tuple[str, tuple[int, ...]]] = {}

    def note(
        call: Call, args: tuple[object, ...], kwargs: dict[str, object], context: Context
    ) -> object:
        module = context.module
        if context.method_name != "__call__":
            return call(*args, **kwargs)
        modules[module.path] = (type(module).__name__, ())  # before its submodules
        result = call(*args, **kwargs)
        shape = result.shape if isinstance(result, Array) else ()
        modules[module.path] = (type(module).__name__, shape)
        return result

    image = jax.ShapeDtypeStruct((1, size, size, bands), jnp.float32)
    with nn.intercept_methods(note):
        variables: dict[str, Any] = jax.eval_shape(
            functools.partial(model.init, jax.random.key(0), train=False), image
        )
    rows = []
    for path, (kind, shape) in modules.items():
        # A network may have no parameters at all.
        tree = variables.get("params", {})
        own: Any = functools.reduce(lambda tree, key: tree.get(key, {}), path, tree)
        count = sum(math.prod(p.shape) for p in own.values() if not isinstance(p, Mapping))
        rows.append(("/".join(path), kind, shape, count))
    return variables, rows
