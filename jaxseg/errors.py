"""The error a user can provoke: what was given, what is allowed, what to do."""

import dataclasses
import math
import operator
from collections.abc import Callable
from typing import Any


class UserError(ValueError):
    """A mistake that its message explains; the command line prints it without a traceback."""


class DiskError(UserError):
    """A disk that has no room, is read-only or gone: what comes next would fail as well."""


class MissingSplit(UserError):  # noqa: N818  (a kind of mistake, as its base class)
    """The data have no such split at all: no folder, no list."""


COUNT = {"least": 1}
"""Metadata of a field that counts something there has to be, such as channels."""

ODD = {"least": 1, "odd": True}
"""Metadata of the size of a window with a pixel in its middle."""

SHARE = {"least": 0, "most": 1}
"""Metadata of a field that is a share, all and nothing included."""

FINITE = {"finite": True}
"""Metadata of a field that is any finite number."""

POSITIVE = {"above": 0}
"""Metadata of a field that is above 0."""

NOT_NEGATIVE = {"least": 0}
"""Metadata of a field that is 0 or more."""

DROPOUT = {"least": 0, "below": 1}
"""Metadata of a share that is dropped in training: without a rest nothing is learned."""


def check_ranges(value: Any, flag: str) -> None:  # noqa: ANN401  (any dataclass)
    """Compares the numbers of a dataclass with the ranges that its fields state.

    Args:
        value: A dataclass whose fields may state in their metadata: `least` and `most`, which are
            allowed, `above` and `below`, which are not, `finite` and `odd`. Each number of a tuple
            is compared; None is compared with nothing.
        flag: What the command line calls it, such as `--config.data`, or its class.

    Raises:
        UserError: A number is outside its range, or not finite.
    """
    for field in dataclasses.fields(value):
        given = getattr(value, field.name)
        stated = {name: field.metadata[name] for name in _RANGE if name in field.metadata}
        if not stated or given is None:
            continue
        for number in given if isinstance(given, tuple) else (given,):
            finite = math.isfinite(number)
            if not (finite and all(_RANGE[name](number, stated[name]) for name in stated)):
                name = f"{flag}.{field.name.replace('_', '-')}"
                allowed = " and ".join(_SAID[name].format(limit) for name, limit in stated.items())
                among = f" in {given}" if isinstance(given, tuple) else ""
                raise UserError(f"{name} is {number}{among}: it must be {allowed}.")


def check_all_ranges(value: object, flag: str) -> None:
    """The same for a value and everything that its fields, tuples and dictionaries hold.

    Raises:
        UserError: A number is outside its range, or not finite.
    """
    if isinstance(value, tuple):
        parts = [(str(number), part) for number, part in enumerate(value)]
    elif isinstance(value, dict):
        parts = list(value.items())
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        check_ranges(value, flag)
        parts = [
            (field.name.replace("_", "-"), getattr(value, field.name))
            for field in dataclasses.fields(value)
        ]
    else:
        return
    for name, part in parts:
        check_all_ranges(part, f"{flag}.{name}")


_RANGE: dict[str, Callable[[Any, Any], bool]] = {
    "least": operator.ge,
    "above": operator.gt,
    "most": operator.le,
    "below": operator.lt,
    "finite": lambda number, _: math.isfinite(number),
    "odd": lambda number, _: number % 2 == 1,
}
_SAID = {
    "least": "{} or more",
    "above": "above {}",
    "most": "{} or less",
    "below": "below {}",
    "finite": "finite",
    "odd": "odd",
}
