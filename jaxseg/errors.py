"""The error a user can provoke: what was given, what is allowed, what to do."""

import dataclasses
import math
import operator
from typing import Any


class UserError(ValueError):
    """A mistake that its message explains; the command line prints it without a traceback."""


class MissingSplit(UserError):  # noqa: N818  (a kind of mistake, as its base class)
    """The data have no such split at all: no folder, no list."""


def check_ranges(value: Any, flag: str) -> None:  # noqa: ANN401  (any dataclass)
    """Compares the numbers of a dataclass with the ranges that its fields state.

    Args:
        value: A dataclass whose fields may state in their metadata: `least` and `most`, which are
            allowed, `above` and `below`, which are not. None is compared with nothing.
        flag: What the command line calls it, such as `--config.data`.

    Raises:
        UserError: A number is outside its range, or not finite.
    """
    for field in dataclasses.fields(value):
        number = getattr(value, field.name)
        stated = {name: field.metadata[name] for name in _RANGE if name in field.metadata}
        if not stated or number is None:
            continue
        if not (
            math.isfinite(number) and all(_RANGE[name](number, stated[name]) for name in stated)
        ):
            name = f"{flag}.{field.name.replace('_', '-')}"
            allowed = " and ".join(_SAID[name].format(limit) for name, limit in stated.items())
            raise UserError(f"{name} is {number}: it must be {allowed}.")


_RANGE = {"least": operator.ge, "above": operator.gt, "most": operator.le, "below": operator.lt}
_SAID = {"least": "{} or more", "above": "above {}", "most": "{} or less", "below": "below {}"}
