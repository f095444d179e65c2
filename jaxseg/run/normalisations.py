"""What a run settles about its normalisations before it starts, and what it says about them."""

import dataclasses
from typing import Any

import flax.traverse_util
import jax
from jax.sharding import Mesh

from jaxseg.config import Config
from jaxseg.errors import UserError


def with_group_size(config: Config, mesh: Mesh, stored: Config | None = None) -> Config:
    """The config with the size of a ghost group, by default the windows of a device at a time.

    The number is stored with the run, which computes the same if it continues on other devices.

    Args:
        config: The run.
        mesh: Where its batches are placed.
        stored: The config of the run that is resumed; None for a new run.

    Raises:
        UserError: A group would have windows of several devices or slices.
    """
    norm = config.norm
    if norm.kind != "ghost":
        return config
    devices, slices = mesh.shape["data"] * mesh.shape["fsdp"], config.accumulate
    windows, rest = divmod(config.data.batch_size, devices * slices)
    size = norm.size or (stored.norm.size if stored is not None else 0) or max(1, windows)
    if rest or windows % size:
        raise UserError(
            f"Ghost groups of {size} window(s) (--config.norm.size) in a batch of "
            f"{config.data.batch_size}, of which each of {devices} device(s) (data x fsdp) has "
            f"{config.data.batch_size / devices / slices:g} at a time (--config.accumulate "
            f"{slices}): a device must have whole groups. Give a divisor, another batch or fewer "
            "devices."
        )
    return dataclasses.replace(config, norm=dataclasses.replace(norm, size=size))


def notes(config: Config, params: Any) -> list[str]:  # noqa: ANN401  (a tree)
    """What is odd about the choice for a run that starts with these parameters."""
    kind = config.norm.kind
    found = []
    given = config.pretrained.given or config.incremental.run is not None
    scratch = config.init_from is None and not given
    if scratch and config.optimizer.frozen:
        found.append(
            "--config.optimizer.frozen without trained weights: these parts keep their random "
            "numbers. Give --config.init-from or --config.pretrained.path, or leave it out."
        )
    if scratch and kind == "frozen":
        found.append(
            "--config.norm.kind frozen without trained weights: means of 0 and variances of 1 stay "
            "for ever, so nothing is normalised. Give --config.init-from or "
            "--config.pretrained.path, or another kind."
        )
    layers = flax.traverse_util.flatten_dict(params)
    if kind != "global" and not any(path[-1] == "scale" for path in layers):
        network = type(config.model).__name__
        found.append(
            f"{network} has no batch normalisation: --config.norm.kind {kind} changes nothing."
        )
    return found


def unlike(batch_stats: Any, config: Config) -> str:  # noqa: ANN401  (a tree)
    """What a message adds if given weights have running statistics and the run none, or not."""
    grouped = config.norm.kind == "group"
    if bool(jax.tree.leaves(batch_stats)) != grouped:
        return ""
    theirs, ours = ("some", "none") if grouped else ("none, as of kind group,", "some")
    return (
        f" Of the running statistics of batch normalisation, the other has {theirs} and this "
        f"config, --config.norm.kind {config.norm.kind}, {ours}."
    )
