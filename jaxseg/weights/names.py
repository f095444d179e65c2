"""Names of tensors: which of them are those of a network, and what its tables make of them."""

import re
from collections.abc import Iterable, Mapping, Sequence

import jax

from jaxseg.console import make_console, say
from jaxseg.weights.state_dict import StateDict
from jaxseg.weights.tables.family import Family


def cleaned(families: Sequence[Family], state: StateDict, *, encoder: bool = False) -> StateDict:
    """The tensors of the network by its own names, without batch counters.

    Lightning, DataParallel, torch.compile and others put a prefix before the names of a network,
    and other tensors beside it: buffers, weights of a loss, a second network. The prefix taken off
    is the one behind which most names of the network stand; of equal ones, the shortest.

    Args:
        families: The tables that may fit.
        state: The tensors of the file.
        encoder: Whether only the names of the encoder count, under whatever decoder.
    """
    state = {name: v for name, v in state.items() if not name.endswith("num_batches_tracked")}
    prefix, most = "", 0
    for family in families:
        first = f"{family.first}.weight"
        ends = (name.removesuffix(first) for name in state if name.endswith(first))
        prefixes = {"", *(end for end in ends if end.endswith("."))}
        for candidate in sorted(prefixes, key=lambda prefix: (len(prefix), prefix)):
            inner = [name.removeprefix(candidate) for name in state if name.startswith(candidate)]
            if len(inner) > most and (count := known(family, inner, encoder=encoder)) > most:
                prefix, most = candidate, count
    beside = [
        name
        for name in state
        if not name.startswith(prefix)
        or ("." not in name and not any(known(family, (name,)) for family in families))
    ]
    if beside and most and jax.process_index() == 0:
        more = f" and {len(beside) - 3} more" if len(beside) > 3 else ""
        say(
            make_console(),
            f"Weights: the network is {prefix + '*' if prefix else 'the file'}; not used: "
            f"{', '.join(beside[:3])}{more}.",
        )
    outside = set(beside) if most else set()
    return {n.removeprefix(prefix): value for n, value in state.items() if n not in outside}


def known(family: Family, names: Iterable[str], *, encoder: bool = False) -> int:
    """The number of names that a family, or only its encoder, has a place for."""
    table = family.encoder if encoder else family.encoder | family.decoder | family.optional
    return sum(placed(name, table) is not None for name in names)


def placed(name: str, table: Mapping[str, str]) -> str | None:
    """What a table makes of a tensor that belongs to no layer, else of the tensor's layer."""
    alone = translated(name, table)
    return translated(name.rpartition(".")[0], table) if alone is None else alone


def translated(name: str, table: Mapping[str, str]) -> str | None:
    """The value of the pattern that matches `name`, with its numbers filled in, or None."""
    for pattern, target in table.items():
        expression = re.escape(pattern)
        for letter in "ij":
            slot = re.escape(f"{{{letter}}}")
            expression = expression.replace(slot, rf"(?P<{letter}>\d+)", 1)
            expression = expression.replace(slot, f"(?P={letter})")
        if found := re.fullmatch(expression, name):
            return target.format(**found.groupdict())
    return None
