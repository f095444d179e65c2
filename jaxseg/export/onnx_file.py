"""ONNX: one file for onnxruntime and what builds on it, such as QGIS' plugin Deepness.

    session = onnxruntime.InferenceSession("unet.onnx")
    (chances,) = session.run(None, {"image": image})  # (B, C, S, S) float32 -> (B, K, S, S)

The batch is a symbol, height and width are one number: networks compute with them, and Deepness
reads square tiles of a known size.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.export import symbolic_shape

from jaxseg.export import deepness
from jaxseg.export.contract import contract, write
from jaxseg.export.inference import Inference, refuse_other
from jaxseg.export.onnx_convert import converted
from jaxseg.export.onnx_graph import BATCH, IR_VERSION, OPSET, Graph, package
from jaxseg.models.receptive_field import sight
from jaxseg.run.loaded import Run

IMAGE, CHANCES = "image", "probabilities"


def write_onnx(run: Run, folder: Path, size: int = 0) -> tuple[Path, Path]:
    """Writes NAME.onnx and its contract.

    Where onnxruntime is installed, the file is run in it and compared with the run first;
    elsewhere the contract has no `largest_difference`.

    Args:
        run: The run.
        folder: Where to.
        size: Rows and columns of an image; 0 = as in training.

    Returns:
        The network and the contract.

    Raises:
        UserError: The package onnx is missing, part of the network or of its radiometry has no
            form in ONNX, the file does not agree with the run, or the folder cannot be written to.
    """
    package()
    inference, size = Inference(run), size or run.config.data.crop
    seen = sight(inference.model, inference.stride)
    strings = deepness.metadata(run, size, None if seen is None else 2 * seen.border)
    content, name = onnx_bytes(inference, size, strings), f"{run.name}.onnx"
    facts = contract(
        inference,
        "NCHW",
        {"batch": "any", "height": size, "width": size},
        format="ONNX",
        opset=OPSET,
        ir_version=IR_VERSION,
        deepness=strings,
    )
    session = session_of(content)
    if session is not None:
        image = inference.sample(2, size, size)
        (found,) = session.run(None, {IMAGE: np.moveaxis(image, -1, 1)})
        apart = abs(np.moveaxis(found, 1, -1) - inference.expected(image)).max()
        refuse_other(float(apart), name)
        facts["largest_difference"] = float(apart)
    return write(folder, name, content, facts)


def onnx_bytes(inference: Inference, size: int, metadata: dict[str, str]) -> bytes:
    """The file: raw values (B, C, size, size) in, probabilities (B, K, size, size) out.

    Args:
        inference: What is exported.
        size: Rows and columns.
        metadata: Strings that are stored with it.

    Raises:
        UserError: Part of it has no form in ONNX.
    """

    def program(image: Array) -> Array:
        return jnp.moveaxis(inference(jnp.moveaxis(image, 1, -1)), -1, 1)

    bands = inference.shaped(1, size).shape[-1]
    shape = (*symbolic_shape(BATCH), bands, size, size)
    graph = Graph(IMAGE)
    result, answer = converted(program, graph, IMAGE, jax.ShapeDtypeStruct(shape, jnp.float32))
    return graph.bytes(shape, (result, CHANCES, answer), metadata)


def session_of(content: bytes) -> Any:  # noqa: ANN401  (onnxruntime may be missing)
    """The file in onnxruntime on the CPU; None if that is not installed."""
    try:
        import onnxruntime
    except ModuleNotFoundError:
        return None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
