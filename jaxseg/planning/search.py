"""The best mesh for a config on a machine, and the largest batch that fits it.

Every candidate is compiled, so that nothing is guessed about memory. First all meshes of `data` and
`space`, each without `fsdp` and with `fsdp` in place of `data`, at one batch that all can divide;
the best is the fastest of those that fit, with nothing on the links hidden. Then the batch of the
best mesh: memory is nearly a straight line in the batch, so that two programs tell where the limit
is, and the next ones check.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import NamedTuple

from jaxseg.config import Config
from jaxseg.planning.plan import Plan
from jaxseg.planning.topology import Topology
from jaxseg.sharding import MeshShape

Try = Callable[[Config], Plan]
"""Plans a config."""

TRIES = 10
"""Batches that are compiled at most."""

STRAIGHT = 6
"""Those of them that a straight line proposes; near the limit XLA computes values twice to save
memory, and halving what is left ends sooner."""


class Found(NamedTuple):
    """The result of a search.

    Attributes:
        meshes: The plan of every mesh, all at the same batch.
        best: The fastest of those that fit, else the one with the least memory.
        largest: The plan of the largest batch that fits the best mesh; None = none does.
        too_large: The smallest batch that was found not to fit it; None = not known.
    """

    meshes: tuple[Plan, ...]
    best: Plan
    largest: Plan | None
    too_large: int | None


def shapes(machine: Topology, crop: int) -> list[MeshShape]:
    """The meshes that are tried: rows stay within one host, and divide the crop."""
    found: dict[MeshShape, None] = {}
    for space in range(1, machine.local + 1):
        if machine.local % space or crop % space:
            continue
        rest = machine.devices // space
        found[MeshShape(rest, 1, space)] = None
        found[MeshShape(1, rest, space)] = None
    return list(found)


def shared_batch(config: Config, machine: Topology) -> int:
    """The smallest batch, at least the config's, that every mesh and the slices can divide."""
    unit = machine.devices * config.accumulate
    return -(-config.data.batch_size // unit) * unit


def search(config: Config, machine: Topology, attempt: Try) -> Found:
    """Searches mesh and batch.

    Args:
        config: The run; its mesh is ignored, its batch is the smallest that is tried for meshes.
        machine: The machine.
        attempt: Plans a config on it, and may show progress.

    Raises:
        UserError: A step cannot be compiled.
    """
    config = sized(config, shared_batch(config, machine))
    meshes = tuple(
        attempt(dataclasses.replace(config, mesh=shape))
        for shape in shapes(machine, config.data.crop)
    )
    fitting = [plan for plan in meshes if plan.fits]
    best = (
        max(fitting, key=lambda plan: plan.exposed_rate)
        if fitting
        else min(meshes, key=lambda plan: plan.memory)
    )
    config = dataclasses.replace(config, mesh=MeshShape(**best.mesh))
    unit = best.mesh["data"] * best.mesh["fsdp"] * config.accumulate
    known = {best.batch // unit: best}
    for batch in _batches(known, best.topology.chip.memory):
        known[batch] = attempt(sized(config, batch * unit))
    largest = max((number for number, plan in known.items() if plan.fits), default=0)
    beyond = min((number for number, plan in known.items() if not plan.fits), default=0)
    return Found(meshes, best, known.get(largest), beyond * unit or None)


def sized(config: Config, batch: int) -> Config:
    """The config with another batch."""
    return dataclasses.replace(config, data=dataclasses.replace(config.data, batch_size=batch))


def _batches(known: dict[int, Plan], limit: float) -> Iterator[int]:
    """Batches to try next, in units, until the limit lies between two neighbours."""
    for tried in range(TRIES):
        fits = [number for number, plan in known.items() if plan.fits]
        fails = [number for number, plan in known.items() if not plan.fits]
        low, high = max(fits, default=0), min(fails, default=0)
        if high == low + 1:
            return
        if len(known) == 1:
            yield low * 2 or max(1, high // 2)
            continue
        if not fails:  # beyond the line, to have the limit between two programs soon
            guess = max(_guess(known, limit), low + max(1, low // 16))
            yield min(guess, 8 * low)
        else:
            guess = _guess(known, limit) if tried < STRAIGHT else (low + high) // 2
            yield max(low + 1, min(guess, high - 1))


def _guess(known: dict[int, Plan], limit: float) -> int:
    """Where the line through the two programs nearest to the limit meets it."""
    near = sorted(known, key=lambda number: abs(known[number].memory - limit))[:2]
    (few, little), (many, much) = sorted((n, known[n].memory) for n in near)
    slope = (much - little) / (many - few)
    if slope <= 0:
        return 2 * many
    return int(few + (limit - little) / slope)
