"""An ONNX graph while it is built: nodes, constants, names; the one door to the package onnx."""

import hashlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError

OPSET = 17
"""onnxruntime 1.12 to 1.17, which QGIS' Deepness asks for, know it; later ones do, too."""

IR_VERSION = 8
"""Of the file, likewise."""

BATCH = "batch"
"""Name of the one size that is a symbol."""

Known = NDArray[Any]
Value = str | Known | np.float32
"""A tensor of the graph by its name, or an array that is known now."""


class NotInOnnxError(UserError):
    """Part of a network has no form in ONNX."""


class Graph:
    """Collects nodes in the order of their computation."""

    def __init__(self, image: str) -> None:
        """Starts with the image alone.

        Args:
            image: Name of the input.
        """
        self._onnx = package()
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._count = 0
        self._image = image
        self._batch = ""

    def add(self, kind: str, *inputs: Value, **attributes: Any) -> str:  # noqa: ANN401
        """The result of a new node."""
        return self.add_many(kind, 1, *inputs, **attributes)[0]

    def add_many(self, kind: str, count: int, *inputs: Value, **attributes: Any) -> list[str]:  # noqa: ANN401
        """The results of a new node with several."""
        self._count += 1
        names = [f"{kind}_{self._count}" + (f"_{n}" if n else "") for n in range(count)]
        given = [self.named(value) for value in inputs]
        self._nodes.append(self._onnx.helper.make_node(kind, given, names, **attributes))
        return names

    def named(self, value: Value) -> str:
        """The name of a tensor; a known array becomes a constant, equal ones the same."""
        if isinstance(value, str):
            return value
        array = np.asarray(value, order="C")
        digest = hashlib.sha256(array.tobytes() + str((array.dtype, array.shape)).encode())
        name = f"constant_{digest.hexdigest()[:16]}"
        if name not in self._constants:
            self._constants[name] = self._onnx.numpy_helper.from_array(array, name)
        return name

    def sizes(self, shape: tuple[Any, ...]) -> Value:
        """A shape as a tensor, the batch's size read from the image."""
        if all(is_known(size) for size in shape):
            return np.asarray(shape, np.int64)
        if not self._batch:
            whole = self.add("Shape", self._image)
            at = (np.asarray([n], np.int64) for n in (0, 1))
            self._batch = self.add("Slice", whole, *at)
        parts = []
        for size in shape:
            if not is_known(size) and str(size) != BATCH:
                raise NotInOnnxError(f"A size of {size} depends on the batch.")
            parts.append(np.asarray([size], np.int64) if is_known(size) else self._batch)
        return self.add("Concat", *parts, axis=0)

    def bytes(
        self,
        image: tuple[Any, ...],
        answer: tuple[str, str, tuple[Any, ...]],
        metadata: Mapping[str, str],
    ) -> bytes:
        """The file.

        Args:
            image: Shape of the input.
            answer: The name of the last tensor, that of the output, and its shape.
            metadata: Strings that are stored with the model.
        """
        helper, floats = self._onnx.helper, self._onnx.TensorProto.FLOAT
        last, output, shape = answer
        self._nodes.append(helper.make_node("Identity", [last], [output]))
        nodes, needed = [], {output}
        for node in reversed(self._nodes):
            if needed & set(node.output):
                nodes.append(node)
                needed |= set(node.input)
        ends = [
            helper.make_tensor_value_info(name, floats, [n if is_known(n) else BATCH for n in of])
            for name, of in ((self._image, image), (output, shape))
        ]
        constants = [held for name, held in self._constants.items() if name in needed]
        graph = helper.make_graph(nodes[::-1], "jaxseg", ends[:1], ends[1:], constants)
        model = helper.make_model(
            graph,
            producer_name="jaxseg",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        helper.set_model_props(model, dict(metadata))
        self._onnx.checker.check_model(model)
        return cast(bytes, model.SerializeToString())


def is_known(size: Any) -> bool:  # noqa: ANN401  (a size of JAX)
    """Whether a size is a number."""
    return isinstance(size, int | np.integer)


def same(one: Any, other: Any) -> bool:  # noqa: ANN401  (sizes of JAX)
    """Whether two sizes are equal; a symbol is equal to itself alone."""
    return str(one) == str(other)


def package() -> ModuleType:
    """The package onnx.

    Raises:
        UserError: It is not installed.
    """
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ModuleNotFoundError:
        raise UserError(
            "Exporting to ONNX needs the package onnx: pip install 'jaxseg[onnx]'."
        ) from None
    return onnx
