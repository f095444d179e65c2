"""The cases of `accelerator.py`, in order of importance, and the time limit of each."""

from collections.abc import Sequence
from typing import NamedTuple


class Case(NamedTuple):
    """Something to find out.

    Attributes:
        part: Which kind of thing.
        network: Of which network, if of one.
        dtype: In which numbers, if that matters.
    """

    part: str
    network: str = ""
    dtype: str = ""

    def title(self) -> str:
        """For lines of text."""
        return " ".join(filter(None, self))


LIMITS: dict[str, tuple[float, float]] = {
    "ceilings": (60, 5),
    "golden": (75, 10),
    "learn": (75, 10),
    "training": (170, 30),
    "PyTorch": (200, 40),
    "pipeline": (150, 30),
    "resume": (180, 40),
    "inference": (100, 20),
}
"""Seconds that a case of each part may take, and those it is not begun without."""


def planned(names: Sequence[str], *, compared: bool) -> list[Case]:
    """All cases, in the order in which a run that is cut off is worth most.

    Args:
        names: The networks.
        compared: Whether PyTorch is there.
    """
    golden = {_family(name): name for name in reversed(names)}.values()
    cases = [Case("ceilings"), *(Case("golden", n) for n in names if n in golden), Case("learn")]
    for name in names:
        cases.append(Case("training", name, "bfloat16"))
        cases += [Case("PyTorch", name)] * compared
    cases += [Case("pipeline"), Case("resume")]
    cases += [Case("inference", name, "bfloat16") for name in names]
    cases += [Case("training", name, "float32") for name in names]
    return cases + [Case("inference", name, "float32") for name in names]


def _family(name: str) -> str:
    """Networks of one family share a case of known logits."""
    return name.rstrip("0123456789")
