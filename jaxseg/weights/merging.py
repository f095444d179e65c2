"""Trained tensors into a network: `load` a whole one, `merge` tensors into variables.

A family of networks is a table from PyTorch module names to module paths of jaxseg. Tensors that
are missing, unexpected or of another shape are an error, because a partly loaded network would
still run, but badly.

Some things may be missing or ignored: `num_batches_tracked`, which is not used here, parts that a
table marks as optional, and tensors beside the network, which are named.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.models.parts.efficientnet import EfficientNet
from jaxseg.models.parts.resnet import ResNet
from jaxseg.models.parts.vit import PrithviViT
from jaxseg.weights import band_shares
from jaxseg.weights.band_shares import spread_bands
from jaxseg.weights.explanation import ENCODER, complaint, depth_of
from jaxseg.weights.families import (
    Match,
    Part,
    Variables,
    families_of,
    listed,
    matched,
    others,
    unseen_misfits,
)
from jaxseg.weights.layout import turned
from jaxseg.weights.names import located
from jaxseg.weights.notice import say_once
from jaxseg.weights.state_dict import StateDict, read_state_dict

# -- public ----------------------------------------------------------------------------------------


def load(model: nn.Module, source: StateDict | str | Path) -> Variables:
    """All variables of a network from a state dict or its file, for the bands of the weights.

    Returns:
        `{"params": ..., "batch_stats": ...}` of float32 numpy arrays.

    Raises:
        UserError: The file cannot be read, or its tensors are not those of the network.
    """
    families_of(model)
    state = source if isinstance(source, Mapping) else read_state_dict(source)

    def shapes(bands: int) -> Variables:
        image = jax.ShapeDtypeStruct((1, 64, 64, bands), jnp.float32)
        found: Variables = jax.eval_shape(
            lambda x: model.init(jax.random.key(0), x, train=False), image
        )
        return found

    bands = _bands(model, state)
    variables = shapes(bands)
    match = matched(model, flax.traverse_util.flatten_dict(variables), list(state), "all")
    first = state.get(match.at.found.get(f"{match.family.first}.weight", ""))
    if first is not None and first.ndim > 1 and first.shape[1] not in (0, bands):
        variables = shapes(first.shape[1])
    return merge(model, variables, state)


def merge(
    model: nn.Module,
    variables: Variables,
    state: StateDict,
    *,
    part: Part = "all",
    shares: NDArray[np.float64] | None = None,
) -> Variables:
    """Puts the tensors of a state dict in their places; parts not in `part` are not changed.

    Args:
        model: The network, whose class determines the table.
        variables: Its `params` and `batch_stats`: arrays, or only their shapes.
        state: Tensors by PyTorch's names.
        part: The part to replace.
        shares: How the kernels of the trained bands are divided among the data's, (B, C) as in
            `jaxseg.weights.band_shares`; None = evenly.

    Returns:
        New variables; a tensor that replaces a JAX array is placed on that array's devices.

    Raises:
        UserError: A tensor is missing, unexpected, of another shape, or not made of finite real
            numbers; names ten of them and a file with all.
    """
    state = {n: value for n, value in state.items() if not n.endswith("num_batches_tracked")}
    leaves = flax.traverse_util.flatten_dict(variables)
    match = matched(model, leaves, list(state), part)
    family, found = match.family, match.at.found
    encoders = ResNet | EfficientNet | PrithviViT
    if part == "all" and not family.decoder and not isinstance(model, encoders):
        raise UserError(_only_encoder(model, state))
    missing, misshapen, unusable = [], [], []
    for path, name in match.names.items():
        leaf = leaves[path]
        if name is None:
            if part == "all":
                missing.append(f"{'/'.join(path)} (no tensor of this family belongs there)")
            continue
        if name not in found:
            missing.append(name)
            continue
        given = state[found[name]]
        if not _is_real(given):
            unusable.append(f"{name} (of type {given.dtype})")
            continue
        with np.errstate(over="ignore"):
            value = np.asarray(given, dtype=np.float32)
        if wrong := value.size - int(np.isfinite(value).sum()):
            unusable.append(f"{name} (not finite in {wrong} of {value.size} places)")
            continue
        value = turned(value, name, family)
        if name == f"{family.first}.weight" and value.ndim == len(leaf.shape) and value.size:
            value = _adapted(value, leaf.shape[-2], shares)
        if value.shape != leaf.shape:
            misshapen.append(f"{name} {given.shape}, which gives {value.shape}, not {leaf.shape}")
            continue
        leaves[path] = (
            jax.device_put(value, leaf.sharding) if isinstance(leaf, jax.Array) else value
        )
    unexpected, beside = others(match, state, part)
    faults = {
        "Missing from it": missing,
        "Unexpected in it": unexpected,
        "Of another shape": misshapen,
        "Not weights, which are finite real numbers": unusable,
    }
    if any(faults.values()):
        has_encoder = part == "all" and _has_encoder(model, variables, state)
        raise UserError(complaint(model, family, state, faults, part, has_encoder=has_encoder))
    _say(model, match, beside, part)
    merged: Variables = flax.traverse_util.unflatten_dict(leaves)
    return merged


# -- private ---------------------------------------------------------------------------------------


def _only_encoder(model: nn.Module, state: StateDict) -> str:
    """The message about an encoder, where the whole network was requested."""
    name, use = type(model).__name__, f"Use {ENCODER}"
    if not any(family.decoder for family in families_of(model)):
        return f"No reference implementation of {name} is known: only its encoder is read. {use}."
    depth = depth_of(state)
    return (
        f"The file holds only an encoder{f', {depth}' * bool(depth)}, but the whole network was "
        f"requested. {use}, or give a file of the whole {name}."
    )


def _bands(model: nn.Module, state: StateDict) -> int:
    """The bands of what is likely the first convolution in a file, 3 if there is none."""
    for family in families_of(model):
        for name in located({f"{family.first}.weight"}, list(state)).found.values():
            if state[name].ndim > 1 and state[name].shape[1]:
                return int(state[name].shape[1])
    return 3


def _is_real(tensor: NDArray[np.generic]) -> bool:
    """Whether its numbers are what weights are made of: float16, bfloat16, float32 or float64."""
    return np.issubdtype(tensor.dtype, np.floating) or tensor.dtype == jnp.bfloat16


def _has_encoder(model: nn.Module, variables: Variables, state: StateDict) -> bool:
    """Whether a file holds all tensors of the network's encoder, in their shapes."""
    leaves = flax.traverse_util.flatten_dict(variables)
    match = matched(model, leaves, list(state), "encoder")
    for path, name in match.names.items():
        if name is None:
            continue
        if name not in match.at.found:
            return False
        given = turned(state[match.at.found[name]], name, match.family)
        leaf = leaves[path]
        first = name == f"{match.family.first}.weight"
        if given.size != np.prod(leaf.shape) and not (first and given.ndim == len(leaf.shape)):
            return False
    return True


def _say(model: nn.Module, match: Match, beside: Sequence[str], part: Part) -> None:
    """States what of a file was not used, and in which respects its network is another one."""
    at, family = match.at, match.family
    if beside or at.rivals:
        network = " and ".join(f"{prefix}*" if prefix else "the file" for prefix in at.prefixes)
        more = f" and {len(beside) - 3} more" if len(beside) > 3 else ""
        left = f"; not used: {', '.join(beside[:3])}{more}" if beside else ""
        fits = f"; {', '.join(f'{rival}*' for rival in at.rivals)} would fit, too" * bool(at.rivals)
        say_once(f"Weights: the network is {network}{left}{fits}.")
    if part == "encoder":
        return
    if there := unseen_misfits(model, family):
        here = listed({name: (getattr(model, name),) for name in there})
        say_once(
            f"Warning: the weights have the names of {family.title}, which has {listed(there)}; "
            f"this network has {here}. No tensor shows which it was trained with: if it differs, "
            "so do the logits."
        )
    if family.untold:
        say_once(f"Note: the weights have the names of {family.title}. {family.untold}")


def _adapted(
    kernel: NDArray[np.float32], bands: int, shares: NDArray[np.float64] | None
) -> NDArray[np.float32]:
    """The first kernel for the bands of the data."""
    if shares is None:
        shares = band_shares.even_shares(bands, kernel.shape[-2])
    if shares.shape != (bands, kernel.shape[-2]):
        raise UserError(
            f"The network takes {bands} band(s) and the weights were trained on "
            f"{kernel.shape[-2]}; given were {shares.shape[0]} and {shares.shape[1]} names or "
            "wavelengths. Give one per band."
        )
    return spread_bands(kernel, shares)
