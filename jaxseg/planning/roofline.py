"""How long a step takes at best: the roofline of each operation, and the time on the links.

    operation     max(FLOPs / peak, HBM bytes / bandwidth)
    all-reduce    2 (n - 1) / n bytes / ring + hops    of n chips; a gather or a scatter: half

A program cannot be faster than the longer of its computing and its bytes. The sum over operations
is a little stricter, because operations run one after the other; XLA hides a part of the transfers
behind others. What links take is hidden or not, so it is stated apart.

Source: Williams, Waterman, Patterson, CACM 2009; rings, Thakur, Rabenseifner, Gropp, IJHPCA 2005.
"""

import dataclasses
from collections.abc import Iterable

from jaxseg.planning.costs import Collective, Operation
from jaxseg.planning.topology import GPUS_OF_A_HOST, NETWORK, Chip, Topology


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds of one step, predicted.

    Attributes:
        compute: All FLOPs at the chip's peak.
        memory: All HBM bytes at its bandwidth.
        operations: The sum over operations of the longer of the two.
        links: All collectives one after the other.
    """

    compute: float
    memory: float
    operations: float
    links: float

    @property
    def bound(self) -> str:
        """What takes longest: `compute`, `HBM` or `links`."""
        found = {"compute": self.compute, "HBM": self.memory, "links": self.links}
        return max(found, key=lambda name: found[name])

    @property
    def hidden(self) -> float:
        """The step, if everything on the links is hidden behind other work."""
        return max(self.operations, self.links)

    @property
    def exposed(self) -> float:
        """The step, if nothing of it is."""
        return self.operations + self.links


def times(
    operations: Iterable[Operation], collectives: Iterable[Collective], machine: Topology
) -> Times:
    """The times of a program on a machine."""
    pairs = [parts(operation, machine.chip) for operation in operations]
    return Times(
        compute=sum(compute for compute, _ in pairs),
        memory=sum(memory for _, memory in pairs),
        operations=sum(map(max, pairs)),
        links=sum(link_time(collective, machine) for collective in collectives),
    )


def parts(operation: Operation, chip: Chip) -> tuple[float, float]:
    """Seconds of computing, and of HBM, of one operation."""
    slower = {"bfloat16": 1.0, "float32": chip.float32, "highest": chip.highest}
    work = sum(amount * slower[name] for name, amount in operation.flops.items())
    return work / chip.flops, operation.bytes / chip.bandwidth


def link_time(collective: Collective, machine: Topology) -> float:
    """Seconds that a collective takes on the links, all its runs of a step."""
    group = collective.group or machine.devices
    if group == 1:
        return 0.0
    chip = machine.chip
    width, hops = machine.ring, machine.hops
    if group < machine.devices:  # neighbours, in a ring of their own
        hops = min(hops, 2 * (group - 1))
        if chip.platform == "cuda":
            width = chip.link if group <= GPUS_OF_A_HOST else NETWORK
        else:
            width = min(width, chip.link * min(2, group - 1))
    if collective.kind == "collective-permute":
        seconds = collective.bytes / min(chip.link, width) + chip.hop
    else:
        passes = 2 if collective.kind == "all-reduce" else 1
        sent = passes * (group - 1) / group * collective.bytes
        seconds = sent / width + passes * hops / 2 * chip.hop
    return seconds * collective.times
