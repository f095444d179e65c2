"""`plan(config, topology)`: what a training step costs on machines that are not there."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.planning import costs, hlo, lines, roofline
from jaxseg.planning.compiling import Compiled, compiled
from jaxseg.planning.costs import Collective
from jaxseg.planning.request import request
from jaxseg.planning.roofline import Times
from jaxseg.planning.topology import Topology, topology

DEAREST = 10
"""Operations that are listed."""


SHORT = {"conv_general_dilated": "convolution", "dot_general": "product"}
"""Names of JAX's operations that have a shorter one."""


class Dear(NamedTuple):
    """An operation that takes long.

    Attributes:
        seconds: Its time, predicted.
        bound: `compute` or `HBM`.
        bytes: What it moves through HBM, in a step, with the transfers from and to it.
        padding: Share of that, 0..1, that is padding.
        flops: FLOPs of its convolutions and products.
        what: The operation of JAX, such as `reduce_sum`.
        module: The module of the network, such as `decoder1/conv2`; may be empty.
        backward: Whether it belongs to the backward pass.
        line: The line of the network that it comes from, `jaxseg/models/unet.py:130`; may be empty.
    """

    seconds: float
    bound: str
    bytes: float
    padding: float
    flops: float
    what: str
    module: str
    backward: bool
    line: str


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the compiler's program says of a step, for each chip. All times are predictions.

    Attributes:
        topology: The machine.
        mesh: Devices along each axis.
        batch: Windows of a step, over all chips.
        crop: Rows and columns of a window.
        data: What is known of the data.
        parameters: Number of trainable parameters.
        arguments: Bytes of HBM for state and batch.
        temporaries: Bytes of HBM for everything else.
        fits: Whether the compiler accepts the step, and the memory suffices.
        flops: FLOPs of convolutions and products.
        numbers: Bytes that move through HBM, of numbers alone.
        bytes: The same with the padding of tiles.
        collectives: What chips send to each other.
        times: The roofline.
        dearest: The operations that take longest, the longest first.
        seconds: How long the compiler took.
    """

    topology: Topology
    mesh: dict[str, int]
    batch: int
    crop: int
    data: str
    parameters: int
    arguments: int
    temporaries: int
    fits: bool
    flops: float
    numbers: float
    bytes: float
    collectives: tuple[Collective, ...]
    times: Times
    dearest: tuple[Dear, ...]
    seconds: float

    @property
    def memory(self) -> int:
        """Bytes of HBM in all."""
        return self.arguments + self.temporaries

    @property
    def padding(self) -> float:
        """Share, 0..1, of the bytes moved that are padding."""
        return 1 - self.numbers / self.bytes if self.bytes else 0.0

    @property
    def rate(self) -> float:
        """Images per second of all chips at most, with links hidden."""
        return self.batch / self.times.hidden

    @property
    def exposed_rate(self) -> float:
        """The same if nothing of the links is hidden."""
        return self.batch / self.times.exposed

    def counts(self) -> dict[str, tuple[int, float]]:
        """Kind of collective -> how many run in a step, and their bytes in all."""
        runs: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for each in self.collectives:
            runs[each.kind] += each.times
            sizes[each.kind] += round(each.bytes * each.times)
        return {kind: (runs[kind], float(sizes[kind])) for kind in runs}


def plan(
    config: Config,
    machine: str,
    *,
    bands: int = 0,
    code: tuple[str, ...] = (),
    waiting: Callable[[float], None] = lambda _: None,
) -> Plan:
    """Compiles the training step of a config for a topology, without one, and reads the program.

    The step is that of `jaxseg.run.training.train`: augmentation, radiometry, network, losses and
    optimizer, with its mesh and the state donated. See `jaxseg.planning.request` for what is read
    of the data.

    Args:
        config: The run.
        machine: Name of the topology, such as `v5e:2x4` or `h100x8`.
        bands: Number of bands of an image; 0 = as the source states.
        code: Files and packages that define classes of the config.
        waiting: Called several times a second with the seconds that have passed.

    Raises:
        UserError: There is no such topology, mesh or batch do not fit it, the config is
            inconsistent, or the compiler is not installed or rejects the step.
    """
    target = topology(machine)
    mesh = check(config, target)
    asked = request(config, machine, bands=bands, code=code)
    return read(compiled(asked, waiting=waiting), config, target, mesh, asked.data)


def check(config: Config, machine: Topology) -> dict[str, int]:
    """The sizes of the config's mesh on a machine.

    Raises:
        UserError: The mesh is not one of so many chips, or does not divide the batch.
    """
    try:
        mesh = sharding.axis_sizes(config.mesh, machine.devices)
        sharding.check_sizes(mesh, config.data.batch_size, config.data.crop, machine.local)
    except UserError as error:
        raise UserError(f"--topology {machine.name}, {machine.devices} chip(s): {error}") from error
    return mesh


def read(
    found: Compiled, config: Config, machine: Topology, mesh: dict[str, int], data: str
) -> Plan:
    """The plan that an optimised program stands for."""
    program, table = hlo.parsed(found.text), lines.lines_of(found.text)
    operations, collectives = costs.operations(program), costs.collectives(program)
    timed = [(roofline.parts(each, machine.chip), each) for each in operations]
    return Plan(
        topology=machine,
        mesh=mesh,
        batch=config.data.batch_size,
        crop=config.data.crop,
        data=data,
        parameters=found.parameters,
        arguments=found.arguments,
        temporaries=found.temporaries,
        fits=found.fits,
        flops=sum(sum(each.flops.values()) for each in operations),
        numbers=sum(each.numbers for each in operations),
        bytes=sum(each.bytes for each in operations),
        collectives=tuple(collectives),
        times=roofline.times(operations, collectives, machine),
        dearest=tuple(_dearest(timed, table)),
        seconds=found.seconds,
    )


def _dearest(
    timed: Iterable[tuple[tuple[float, float], costs.Operation]], table: lines.Lines
) -> Iterator[Dear]:
    """The operations that take longest, each with the transfers from and to it."""
    groups: dict[str, list[tuple[tuple[float, float], costs.Operation]]] = {}
    for pair, operation in timed:
        groups.setdefault(operation.owner, []).append((pair, operation))
    longest = sorted(groups.values(), key=lambda group: -sum(max(pair) for pair, _ in group))
    for group in longest[:DEAREST]:
        yield _dear(group, table)


def _dear(group: list[tuple[tuple[float, float], costs.Operation]], table: lines.Lines) -> Dear:
    operations = [operation for _, operation in group]
    named = min(operations, key=lambda operation: operation.transfer).instruction
    module, backward = lines.module(named.scope)
    # A matrix product of the network is a convolution of XLA:TPU; JAX's name tells them apart.
    what = named.scope.rpartition("/")[2] or named.op
    size = sum(operation.bytes for operation in operations)
    numbers = sum(operation.numbers for operation in operations)
    return Dear(
        seconds=sum(max(pair) for pair, _ in group),
        bound="compute" if sum(c for (c, _), _ in group) > sum(m for (_, m), _ in group) else "HBM",
        bytes=size,
        padding=1 - numbers / size if size else 0.0,
        flops=sum(sum(operation.flops.values()) for operation in operations),
        what=SHORT.get(what, what),
        module=module,
        backward=backward,
        line=table.of(named.frame),
    )
