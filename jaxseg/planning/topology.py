"""Which machines a step can be planned for: their chips, what these can do, how they are linked.

Only facts and names; nothing here needs a compiler. Sources of the numbers: TPU system architecture
and GPU data sheets of the makers (peaks, memory); Austin et al., How to Scale Your Model, 2025
(bandwidth of a link in one direction); what XLA:TPU (libtpu 0.0.52) says it may use (memory). The
time of a hop is our assumption.
"""

import dataclasses
import math
import textwrap
from typing import Literal

from jaxseg.errors import UserError

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """What one chip can do at best.

    Attributes:
        name: Its name in a topology.
        platform: Whose compiler is asked.
        flops: bfloat16 FLOP/s; a multiply-add is two.
        bandwidth: Bytes/s between the chip and its main memory (HBM).
        memory: Bytes of HBM that a program may use.
        link: Bytes/s of one link in one direction.
        hop: Seconds that a collective needs for each hop, however small it is (assumed).
        float32: Factor by which products of float32 at default precision are slower.
        highest: The same at the highest precision, which `resize` uses.
    """

    name: str
    platform: Literal["tpu", "cuda"]
    flops: float
    bandwidth: float
    memory: float
    link: float
    hop: float
    float32: float = 1.0
    highest: float = 6.0


_PLANE = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBE = (
    "2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16",
    "16x16x16",
)  # fmt: skip
_COUNTS = ("1", "2", "4", "8", "16", "32", "64", "128")

# TPUs multiply float32 at default precision in one pass of bfloat16, at the highest in six. Of a
# GPU's memory JAX takes three quarters; its float32 products run as TF32, or on the CUDA cores.
CHIPS: dict[str, tuple[Chip, tuple[str, ...]]] = {
    "v5e": (Chip("v5e", "tpu", 197e12, 819e9, 15.75 * GIB, 45e9, 1e-6), _PLANE),
    "v6e": (Chip("v6e", "tpu", 918e12, 1640e9, 31.24 * GIB, 90e9, 1e-6), _PLANE),
    "v5p": (Chip("v5p", "tpu", 459e12, 2765e9, 95.73 * GIB, 90e9, 1e-6), _CUBE),
    "h100": (
        Chip("h100", "cuda", 989e12, 3352e9, 0.75 * 84942979072, 450e9, 1e-5, 2.0, 15.0),
        _COUNTS,
    ),
}
"""Every chip, and the topologies that exist of it."""

GPUS_OF_A_HOST = 8

NETWORK = 50e9
"""Bytes/s of a GPU to other hosts (400 Gbit/s), in one direction."""


@dataclasses.dataclass(frozen=True)
class Topology:
    """A machine, or a part of one.

    Attributes:
        name: As given, such as `v5e:2x4` or `h100x8`.
        chip: Each of its chips.
        grid: Chips along each axis.
    """

    name: str
    chip: Chip
    grid: tuple[int, ...]

    @property
    def devices(self) -> int:
        """Number of chips."""
        return math.prod(self.grid)

    @property
    def host(self) -> tuple[int, ...]:
        """Chips of one host along each axis; each host runs one process."""
        if self.chip.platform == "cuda":
            return (min(self.devices, GPUS_OF_A_HOST),)
        if self.grid in ((1, 1), (2, 4)):  # machines with one chip and with eight
            return self.grid
        return (2, 2, 1)[: len(self.grid)]

    @property
    def local(self) -> int:
        """Number of chips of one host."""
        return math.prod(self.host)

    @property
    def ring(self) -> float:
        """Bytes/s in one direction that a chip can send to its neighbours in rings over all chips.

        TPUs: a ring has two links at each chip, and there is one along each axis that is closed
        (16 chips of v5e and v6e, multiples of 4 of v5p); otherwise one ring visits all chips.
        """
        if self.chip.platform == "cuda":
            return self.chip.link if self.devices <= GPUS_OF_A_HOST else NETWORK
        if self.devices == 2:
            return self.chip.link
        return 2 * self.chip.link * max(1, sum(self._closed(size) for size in self.grid))

    @property
    def hops(self) -> int:
        """Hops of a reduction over all chips, there and back."""
        if self.chip.platform == "cuda":
            return 2 if self.devices <= GPUS_OF_A_HOST else 4
        return 2 * sum(size // 2 if self._closed(size) else size - 1 for size in self.grid)

    def _closed(self, size: int) -> bool:
        """Whether the last chip of an axis of this length is linked to the first."""
        return size % 4 == 0 if len(self.grid) == 3 else size == 16


def topology(name: str) -> Topology:
    """The topology of that name.

    Raises:
        UserError: There is none; the message lists those that there are.
    """
    for chip, shapes in CHIPS.values():
        for shape in shapes:
            if name == written(chip, shape):
                return Topology(name, chip, tuple(map(int, shape.split("x"))))
    names = [written(chip, shape) for chip, shapes in CHIPS.values() for shape in shapes]
    lines = textwrap.wrap(" ".join(names), 78, break_on_hyphens=False)
    raise UserError(
        f"--topology {name} does not exist, or is not known. Those that are:\n  "
        + "\n  ".join(lines)
    )


def written(chip: Chip, shape: str) -> str:
    """The name of a topology."""
    return f"{chip.name}{':' if chip.platform == 'tpu' else 'x'}{shape}"
