"""FLOPs of convolutions and matrix products of an optimised program; a multiply-add is two.

Products with padding, and with the zeros that a transposed convolution puts between its inputs, are
left out: nothing depends on them. Everything else of a network is bound by bytes.
"""

import functools
import json
import math
import re

import numpy as np

from jaxseg.planning.hlo import Computation, Instruction, Shape

_LABELS = re.compile(r"dim_labels=(\w+)_(\w+)->(\w+)")
_WINDOW = re.compile(r"window=\{([^}]*)\}")
_CONTRACTED = re.compile(r"lhs_contracting_dims=\{([\d,]*)\}")
_TARGET = re.compile(r'custom_call_target="([^"]*)"')
_CONFIG = re.compile(r"backend_config=(\{.*\})")

_ROLES = {
    "__cudnn$convForward": ("image", "kernel"),
    "__cudnn$convBiasActivationForward": ("image", "kernel"),
    "__cudnn$convBackwardInput": ("result", "kernel"),
    "__cudnn$convBackwardFilter": ("image", "result"),
}
"""What the operands of cuDNN's convolutions are; what is left over is what the call makes."""


def flops(instruction: Instruction, computation: Computation) -> float:
    """FLOPs of one instruction, 0 if it is neither a convolution nor a product.

    Args:
        instruction: Any instruction; those that a fusion runs are counted one by one.
        computation: The one that it stands in, with its operands.
    """
    operands = [computation[name] for name in instruction.operands if name in computation]
    if len(operands) < 2:
        return 0.0
    left, right = operands[0].shapes[0], operands[1].shapes[0]
    made = instruction.shapes[0]
    if instruction.op == "convolution":
        return _convolution(instruction.attributes, left, right, made)
    if instruction.op == "dot":
        contracted = _CONTRACTED.search(instruction.attributes)
        axes = [int(axis) for axis in contracted[1].split(",") if axis] if contracted else []
        return 2.0 * made.elements * math.prod(left.dims[axis] for axis in axes)
    if instruction.op == "custom-call":
        return _of_a_library(instruction, left, right, made)
    return 0.0


def factor(instruction: Instruction, computation: Computation) -> str:
    """The precision that the products ask for: `bfloat16`, `float32` or `highest`."""
    inputs = [computation[name].shapes[0] for name in instruction.operands if name in computation]
    if not inputs or any(shape.dtype in ("bf16", "f16") for shape in inputs[:2]):
        return "bfloat16"
    return "highest" if "highest" in instruction.attributes else "float32"


def _of_a_library(instruction: Instruction, left: Shape, right: Shape, made: Shape) -> float:
    """Of a call of cuDNN or cuBLAS."""
    target = _TARGET.search(instruction.attributes)
    name = target[1] if target else ""
    if name in _ROLES:
        given = dict(zip(_ROLES[name], (left, right), strict=True))
        rest = ({"image", "kernel", "result"} - given.keys()).pop()
        parts = given | {rest: made}
        return _convolution(
            instruction.attributes, parts["image"], parts["kernel"], parts["result"]
        )
    config = _CONFIG.search(instruction.attributes)
    if name.startswith("__cublas$") and config:
        numbers = json.loads(config[1])["gemm_backend_config"]["dot_dimension_numbers"]
        axes = [int(axis) for axis in numbers.get("lhs_contracting_dimensions", [])]
        return 2.0 * made.elements * math.prod(left.dims[axis] for axis in axes)
    return 0.0


def _convolution(attributes: str, image: Shape, kernel: Shape, result: Shape) -> float:
    labels, window = _LABELS.search(attributes), _WINDOW.search(attributes)
    if not labels or len(kernel.dims) != len(labels[2]):
        return 0.0
    fields = dict(re.findall(r"(\w+)=([\dx_\-]+)", window[1])) if window else {}
    inputs = kernel.dims[labels[2].index("i")]
    total = 2.0 * result.dims[labels[3].index("b")] * result.dims[labels[3].index("f")] * inputs
    for axis in range(len(labels[3]) - 2):
        total *= _products(
            image.dims[labels[1].index(str(axis))],
            kernel.dims[labels[2].index(str(axis))],
            result.dims[labels[3].index(str(axis))],
            stride=int(_field(fields, "stride", axis, "1")),
            low=int(_field(fields, "pad", axis, "0_0").split("_")[0]),
            spread=int(_field(fields, "lhs_dilate", axis, "1")),
            dilation=int(_field(fields, "rhs_dilate", axis, "1")),
        )
    return total


def _field(fields: dict[str, str], name: str, axis: int, default: str) -> str:
    return fields[name].split("x")[axis] if name in fields else default


@functools.cache
def _products(
    size: int, taps: int, out: int, *, stride: int, low: int, spread: int, dilation: int
) -> int:
    """Number of products of an output and a tap that meet an input, along one axis."""
    place = np.arange(out)[:, None] * stride - low + np.arange(taps)[None] * dilation
    meets = (place >= 0) & (place % spread == 0) & (place // spread < size)
    return int(meets.sum())
