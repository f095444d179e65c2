"""StableHLO: one file for CPUs, NVIDIA's GPUs and TPUs, which `jax.export.deserialize` reads.

    exported = jax.export.deserialize(bytearray(Path("unet.stablehlo").read_bytes()))
    chances = exported.call(image)  # (B, H, W, C) float32 raw values -> (B, H, W, K)

The batch is a symbol. Height and width are symbols, too, where the network computes nothing from
them: matrices that enlarge features or average areas of a pyramid are made for one size.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.export import Exported, SymbolicScope, symbolic_shape

from jaxseg.errors import UserError
from jaxseg.export.contract import contract, write
from jaxseg.export.inference import Inference, refuse_other
from jaxseg.run.loaded import Run

PLATFORMS = ("cpu", "cuda", "tpu")

_OF_ONE_SIZE = (
    jax.errors.InconclusiveDimensionOperation,
    jax.errors.ConcretizationTypeError,
    TypeError,
)
"""What JAX raises where a network computes numbers or chooses by a symbolic height; whatever else
is wrong is raised again by the export for one size."""

LEAST = 4
"""Heights and widths of symbolic size are at least so many times the network's stride."""


def write_stablehlo(run: Run, folder: Path, size: int = 0) -> tuple[Path, Path]:
    """Writes NAME.stablehlo and its contract.

    Args:
        run: The run.
        folder: Where to.
        size: Rows and columns, if the network allows one size only; 0 = as in training.

    Returns:
        The network and the contract.

    Raises:
        UserError: The network or its radiometry cannot be exported, the file does not agree with
            the run, or the folder cannot be written to.
    """
    inference = Inference(run)
    exported, sizes = exported_of(inference, size or run.config.data.crop)
    content = bytes(exported.serialize())
    name = f"{run.name}.stablehlo"
    side = sizes["height"] if isinstance(sizes["height"], int) else LEAST * inference.stride
    image = inference.sample(2, side, side)
    again = jax.export.deserialize(bytearray(content))
    found = np.abs(np.asarray(again.call(image)) - inference.expected(image)).max()
    refuse_other(float(found), name)
    facts = contract(
        inference,
        "NHWC",
        sizes,
        format="StableHLO of jax.export",
        platforms=list(exported.platforms),
        calling_convention=exported.calling_convention_version,
        jax=jax.__version__,
        largest_difference=float(found),
    )
    return write(folder, name, content, facts)


def exported_of(inference: Inference, size: int) -> tuple[Exported, dict[str, object]]:
    """The program, and which sizes it takes.

    Raises:
        UserError: Part of it has no form for one of the platforms.
    """
    stride, program = inference.stride, jax.jit(inference)
    scope = SymbolicScope((f"h >= {LEAST}", f"w >= {LEAST}"))
    sides = symbolic_shape(
        f"b, {stride}*h, {stride}*w, {inference.shaped(1, 1).shape[3]}", scope=scope
    )
    try:
        exported = jax.export.export(program, platforms=PLATFORMS)(
            jax.ShapeDtypeStruct(sides, jnp.float32)
        )
        least = LEAST * stride
        said = f"a multiple of {stride}, at least {least}"
        return exported, {"batch": "any", "height": said, "width": said}
    except _OF_ONE_SIZE as error:
        reason = str(error).partition("\n")[0]
    one = jax.ShapeDtypeStruct(
        (*symbolic_shape("b"), *inference.shaped(1, size).shape[1:]), jnp.float32
    )
    try:
        exported = jax.export.export(program, platforms=PLATFORMS)(one)
    except (NotImplementedError, ValueError) as error:
        raise UserError(
            f"The run cannot be exported for {', '.join(PLATFORMS)}: {error}"
        ) from error
    return exported, {"batch": "any", "height": size, "width": size, "one_size_because": reason}
