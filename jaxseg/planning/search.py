"""The best mesh for a config on a machine, and the largest batch that fits it.

Every candidate is compiled, so that nothing is guessed about memory. First the meshes of `data`,
`fsdp` and `space`, at one batch that all can divide: on one host all there are, on more those whose
rows stay in a host and whose parameters are gathered in a host or over all of them. The best is the
fastest of those that fit, with nothing on the links hidden. Then the batch of the best mesh: memory
is nearly a straight line in the batch, so that two programs tell where the limit is, and the next
ones check.
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

STRAIGHT = 5
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
    for space in _divisors(machine.local):
        if crop % space:
            continue
        rest = machine.devices // space
        for fsdp in (*_divisors(machine.local // space), rest):
            found[MeshShape(rest // fsdp, fsdp, space)] = None
    return list(found)


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


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
        fits = sorted(number for number, plan in known.items() if plan.fits)
        fails = sorted(number for number, plan in known.items() if not plan.fits)
        low, high = max(fits, default=0), min(fails, default=0)
        if high == low + 1:
            return
        if fails and (not fits or tried >= STRAIGHT):
            yield (low + high) // 2
        elif fails:  # between the two programs around the limit
            yield max(low + 1, min(_guess(known, low, high, limit), high - 1))
        elif len(fits) == 1:
            yield 2 * low
        else:  # a little beyond the line through the two largest, to have the limit in between
            guess = max(_guess(known, fits[-2], low, limit), low + max(1, low // 16))
            yield min(guess, 8 * low)


def _guess(known: dict[int, Plan], few: int, many: int, limit: float) -> int:
    """Where the line through two programs meets the limit."""
    slope = (known[many].memory - known[few].memory) / (many - few)
    return int(few + (limit - known[few].memory) / slope) if slope > 0 else 2 * many
