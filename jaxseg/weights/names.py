"""Names of tensors: which of a file's are those of a network, and what its tables make of them."""

import functools
import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from jaxseg.weights.tables.family import Family

WRAPPERS = {
    *("module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module"),
    *("_checkpoint_wrapped_module", "model", "net", "network", "segmentation_model"),
    *("state_dict", "model_state_dict", "model_state"),
}
"""What DataParallel, torch.compile, FSDP, Lightning and checkpoints put before or into names, where
a part of the names may have them and others not."""

AVERAGES, COPIES = {"ema", "teacher", "averaged", "swa"}, {"k", "key", "momentum", "target"}
"""Words by which one of several networks in a file is the better one, and by which it is a copy
that only served its training."""

BESIDE = re.compile(
    r"(.*_)?(loss\w*|criterion\w*|crit|queue\w*|metric\w*|optim\w*|heads?|fc|classifiers?|project\w*"
    r"|predictor|mean|std|normali\w+|preprocess\w*|augment\w*|prototypes?|memory\w*)\d*"
)
"""Modules that stand beside a network in files: they are named and left."""


class Located(NamedTuple):
    """Where the names that a network expects stand in a file.

    Attributes:
        found: Name of the file of each expected name that was found.
        prefixes: What stands before them in the file, the most frequent first.
        rivals: Prefixes behind which as many of them stand.
    """

    found: dict[str, str]
    prefixes: tuple[str, ...] = ()
    rivals: tuple[str, ...] = ()


def located(expected: Collection[str], names: Collection[str]) -> Located:
    """Finds the expected names, behind the prefix that most of them have.

    Where some have wrappers before or within their names and others do not, they are found too. Of
    equal prefixes, that of a moving average comes first, then the shortest.

    Args:
        expected: Names of a network.
        names: Names in a file.
    """
    found = _located(expected, {name: name for name in names})
    if len(found.found) < len(expected):
        plain = {".".join(p for p in n.split(".") if p not in WRAPPERS): n for n in names}
        again = _located(expected, plain)
        if len(again.found) > len(found.found):
            return again
    return found


def of_the_network(name: str, prefixes: Iterable[str], tops: Collection[str]) -> bool | None:
    """Whether a name that was not expected belongs to a network.

    Args:
        name: The name in the file.
        prefixes: Those of the network's names.
        tops: First words of the network's names, as by `top`.

    Returns:
        True if it does, False if it stands beside the network, None if that cannot be known.
    """
    for prefix in sorted(prefixes, key=len, reverse=True):
        inner = name.removeprefix(prefix)
        if not name.startswith(prefix) or "." not in inner:
            continue
        if top(inner) in tops:
            return True
        return False if BESIDE.fullmatch(inner.partition(".")[0]) else None
    return False


def top(name: str) -> str:
    """The first word of a name or pattern, its numbers left open."""
    return re.sub(r"\d+|\{[ij]\}", "#", name.partition(".")[0])


def tops(family: Family, tables: Iterable[Mapping[str, str]]) -> set[str]:
    """The first words of all names that tables of a family have."""
    return {top(name) for table in tables for name in table} | {top(family.first)}


def placed(name: str, table: Mapping[str, str]) -> str | None:
    """What a table makes of a tensor that belongs to no layer, else of the tensor's layer."""
    alone = translated(name, table)
    return translated(name.rpartition(".")[0], table) if alone is None else alone


def translated(name: str, table: Mapping[str, str]) -> str | None:
    """The value of the pattern that matches `name`, with its numbers filled in, or None."""
    for expression, target in _compiled(tuple(table.items())):
        if found := expression.fullmatch(name):
            return target.format(**found.groupdict())
    return None


# -- private ---------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=128)
def _compiled(table: tuple[tuple[str, str], ...]) -> list[tuple[re.Pattern[str], str]]:
    """Expressions of patterns, where the first {i} is a number and the others are the same one."""
    compiled = []
    for pattern, target in table:
        expression = re.escape(pattern)
        for letter in "ij":
            slot = re.escape(f"{{{letter}}}")
            expression = expression.replace(slot, rf"(?P<{letter}>\d+)", 1)
            expression = expression.replace(slot, f"(?P={letter})")
        compiled.append((re.compile(expression), target))
    return compiled


def _located(expected: Collection[str], names: Mapping[str, str]) -> Located:
    places: dict[str, dict[str, str]] = {}
    for name, original in names.items():
        inner = name
        while inner:
            if inner in expected:
                places.setdefault(name[: len(name) - len(inner)], {})[inner] = original
            inner = inner.partition(".")[2]
    if not places:
        return Located({})
    order = sorted(places, key=lambda p: (-len(places[p]), _rank(p), len(p), p))
    best, *others = order
    found, prefixes = dict(places[best]), [best]
    for prefix in others:
        more = {inner: name for inner, name in places[prefix].items() if inner not in found}
        if more and _core(prefix) == _core(best):
            found |= more
            prefixes.append(prefix)
    rivals = [p for p in others if len(places[p]) == len(places[best]) > 1]
    return Located(found, tuple(prefixes), tuple(rivals))


def _core(prefix: str) -> list[str]:
    return [part for part in prefix.split(".") if part and part not in WRAPPERS]


def _rank(prefix: str) -> int:
    words = set(re.split(r"[._]", prefix))
    return 0 if words & AVERAGES else 2 if words & COPIES else 1
