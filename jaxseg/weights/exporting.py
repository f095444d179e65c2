"""A network's weights under the names of its reference implementation."""

import flax.linen as nn
import flax.traverse_util
import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.weights.families import Variables, families_of, listed, misfits, names_of, table_of
from jaxseg.weights.layout import turned_back
from jaxseg.weights.tables.family import Family


def exported(
    model: nn.Module, variables: Variables, *, reference: str = "", strict: bool = True
) -> dict[str, NDArray[np.float32]]:
    """The state dict of the network's reference implementation: the exact inverse of `load`.

    PyTorch loads it with `load_state_dict(strict=True)`; the counters `num_batches_tracked`, which
    are missing, are set to zero by PyTorch. Tensors that the reference has and does not use, such
    as attention to skips in a block without one, are zeros; constants that it stores, such as
    positions of patches, are computed. The number of bands, widths and classes are those of the
    network: give them to the reference, or change its numbers.

    Args:
        model: The network.
        variables: Its `params` and `batch_stats`.
        reference: Which implementation, if there are several: torchvision, vainf, smp, ...; empty =
            the first one that computes what this network computes.
        strict: Whether it is an error if no reference computes what this network computes.
            Otherwise the names are those of the closest.

    Raises:
        UserError: The network has no table, no reference computes the same or has the given name,
            a part has no place in it, or there are no running statistics, as with group
            normalisation.
    """
    family = _reference(model, reference, strict=strict)
    table, state, homeless = table_of(family, "all"), {}, []
    leaves = flax.traverse_util.flatten_dict(variables)
    for path in leaves:
        statistics = ("batch_stats", *path[1:-1], "mean")
        if path[0] == "params" and path[-1] == "scale" and statistics not in leaves:
            raise UserError(
                f"{'/'.join(path[1:-1])} has no running statistics, and the reference of "
                f"{type(model).__name__} has batch normalisation: a run with --config.norm.kind "
                "group cannot be exported."
            )
    for path, name in names_of(leaves, table).items():
        if name is None:
            homeless.append("/".join(path))
            continue
        value = np.asarray(leaves[path], dtype=np.float32)
        state[name] = np.ascontiguousarray(turned_back(value, name, family))
    if homeless:
        more = f"\n    and {len(homeless) - 10} more" if len(homeless) > 10 else ""
        raise UserError(
            f"The reference of {type(model).__name__} has no place for:\n    "
            + "\n    ".join(homeless[:10])
            + more
        )
    return state | family.unused(state) | family.buffers(state)


def _reference(model: nn.Module, reference: str, *, strict: bool) -> Family:
    """The family whose names an exported network has."""
    families = [family for family in families_of(model) if family.reference]
    kind = type(model).__name__
    if not families:
        raise UserError(
            f"{kind} has no reference implementation whose names its weights could have. Use "
            "--format onnx or stablehlo to export the network itself."
        )
    if reference:
        known = [family.reference for family in families]
        if reference not in known:
            raise UserError(f"{kind} has no reference {reference!r}: choose {' or '.join(known)}.")
        families = [family for family in families if family.reference == reference]
    closest = min(families, key=lambda family: len(misfits(model, family)))
    if strict and misfits(model, closest):
        lacks = "; ".join(
            f"{family.title} has {listed(there)}"
            for family in families
            if (there := misfits(model, family))
        )
        raise UserError(
            f"No reference of {kind} computes what this network computes: {lacks}. With these "
            "weights it would give other logits. Use --format onnx or stablehlo to export the "
            "network itself."
        )
    return closest
