"""The error a user can provoke: what was given, what is allowed, what to do."""

import dataclasses
from typing import Any


class UserError(ValueError):
    """A mistake that its message explains; the command line prints it without a traceback."""


def check_least(value: Any, flag: str) -> None:  # noqa: ANN401  (any dataclass)
    """Compares the values of a dataclass with the minimum that its fields state.

    Args:
        value: A dataclass whose fields may have a minimum, `least`, in their metadata.
        flag: What the command line calls it, such as `--config.data`.

    Raises:
        UserError: A value is smaller than its minimum.
    """
    for field in dataclasses.fields(value):
        number, least = getattr(value, field.name), field.metadata.get("least")
        if least is not None and number < least:
            name = f"{flag}.{field.name.replace('_', '-')}"
            raise UserError(f"{name} is {number}: it must be {least} or more.")
