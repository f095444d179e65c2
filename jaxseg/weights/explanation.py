"""What is said of weights that do not fit: one sentence on what they look like, ten names at most.

The other names are written to a file, because a file of another network differs in hundreds.
"""

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence

import flax.linen as nn

from jaxseg.models.parts import vit
from jaxseg.weights.families import FAMILIES, Part
from jaxseg.weights.names import located, placed
from jaxseg.weights.state_dict import StateDict
from jaxseg.weights.tables.family import Family

SHOWN = 10
"""Names that a message has at most."""

KNOWN = 0.9
"""Share of a file's names that a family must know for the file to be called one of it."""

ENCODER = '`part="encoder"` (--config.pretrained.part encoder)'

DEPTHS: dict[tuple[tuple[int, ...], int], str] = {
    ((2, 2, 2, 2), 2): "resnet18",
    ((3, 4, 6, 3), 2): "resnet34",
    ((3, 4, 6, 3), 3): "resnet50",
    ((3, 4, 23, 3), 3): "resnet101",
    ((3, 8, 36, 3), 3): "resnet152",
}
"""ResNets by the blocks of their layers and the convolutions of a block."""


def complaint(
    model: nn.Module,
    family: Family,
    state: StateDict,
    faults: Mapping[str, Sequence[str]],
    part: Part,
    *,
    has_encoder: bool,
) -> str:
    """The message about a state dict that does not fit.

    Args:
        model: The network.
        family: The family that knows most names of the file.
        state: Tensors of the file.
        faults: Names by what is wrong with them, as the title of a list says it.
        part: What was to be loaded.
        has_encoder: Whether the file holds the encoder of this network.
    """
    kind = type(model)
    lines = [f"The state dict does not fit {kind.__name__}."]
    backbone = getattr(model, "backbone", "")
    looks = _looks_like(state, kind, backbone, part, has_encoder=has_encoder)
    if looks:
        lines.insert(0, looks)
    shown = _shares([len(names) for names in faults.values()], SHOWN)
    for (title, names), count in zip(faults.items(), shown, strict=True):
        lines += [f"{title}:", *(f"    {name}" for name in names[:count])] if names else []
    if left := sum(map(len, faults.values())) - sum(shown):
        lines.append(f"{left} more {_listed(faults)}.")
    named = [name for names in faults.values() for name in names]
    for pattern, hint in family.hints.items():
        if any(re.search(pattern, name) for name in named):
            lines.append(f"Choose {hint}.")
            break
    unexpected = faults["Unexpected in it"]
    if unexpected and all(re.search("running_(mean|var)$", name) for name in unexpected):
        lines.append("With --config.norm.kind group, a network has no running statistics.")
    if not looks:
        choose = "Choose the network's arguments as in the file"
        encoder = f"; for other classes, use {ENCODER}." if has_encoder else "."
        lines.append(choose + (encoder if part == "all" else ", such as another backbone."))
    return "\n".join(lines)


def depth_of(state: StateDict) -> str:
    """The ResNet in a file, "" if there is none that is known."""
    units: dict[int, set[int]] = {}
    convolutions = set()
    for name in state:
        if found := re.search(r"(?:layer|encoder)(\d)\.(\d+)\.conv(\d)\.weight$", name):
            layer, unit, convolution = map(int, found.groups())
            units.setdefault(layer, set()).add(unit)
            convolutions.add(convolution)
    blocks = tuple(len(units[layer]) for layer in sorted(units))
    return DEPTHS.get((blocks, max(convolutions, default=0)), "")


def _looks_like(
    state: StateDict, kind: type[nn.Module], backbone: object, part: Part, *, has_encoder: bool
) -> str:
    """A sentence on the network that a file is from, if it is known and another one."""
    best, network = 0, kind
    family: Family | None = None
    for other, families in FAMILIES.items():
        for candidate in families:
            count = _known(candidate, state)
            # Of equal ones, the network that was asked for.
            if count > best or (count == best > 0 and other is kind and network is not kind):
                best, family, network = count, candidate, other
    depth = depth_of(state)
    if family is None or not (depth or best > KNOWN * len(state)):
        return ""
    if best < KNOWN * len(state):
        sentence, network = f"These weights hold a {depth} and other parts", kind
    elif network is kind and depth in ("", backbone):
        return ""
    elif family.decoder:
        sentence = f"These look like the weights of {family.title}{f' on {depth}' * bool(depth)}"
    else:
        sentence, network = f"These look like the weights of {depth or family.title}", kind
    remedies = []
    if network is not kind and part == "all":
        remedies.append(f"choose {network.__name__}")
    elif backbone and backbone not in vit.SIZES and depth not in ("", backbone):
        remedies.append(f"choose that backbone instead of {backbone}")
    if has_encoder:
        remedies.append(f"use {ENCODER}")
    return f"{sentence}{': ' * bool(remedies)}{', or '.join(remedies)}."


def _known(family: Family, state: StateDict) -> int:
    """The number of names that a family has a place for, behind the prefix of its first layer."""
    table = family.encoder | family.decoder | family.optional
    first = f"{family.first}.weight"
    prefixes = located({first}, list(state)).prefixes
    names = [
        name[len(prefix) :] for prefix in prefixes for name in state if name.startswith(prefix)
    ]
    return sum(placed(name, table) is not None for name in names)


def _shares(counts: Sequence[int], total: int) -> list[int]:
    """How many of each list are shown, so that none is left out for another one."""
    shown = [0] * len(counts)
    while sum(shown) < min(total, sum(counts)):
        for i, count in enumerate(counts):
            if shown[i] < count and sum(shown) < total:
                shown[i] += 1
    return shown


def _listed(faults: Mapping[str, Iterable[str]]) -> str:
    """Writes all names to a file, and states where."""
    lines = [line for title, names in faults.items() for line in (f"{title}:", *names)]
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="jaxseg-weights-", suffix=".txt", delete=False, encoding="utf-8"
        ) as file:
            file.write("\n".join(lines) + "\n")
    except OSError as error:
        return f"are not listed, because no file for them can be written: {error.strerror}"
    return f"are listed in {file.name}"
