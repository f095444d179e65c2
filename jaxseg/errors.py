"""The error a user can provoke: what was given, what is allowed, what to do."""

import dataclasses
from typing import Any


class UserError(ValueError):
    """A mistake that its message explains; the command line prints it without a traceback."""


def check_least(value: Any, flag: str) -> None:  # noqa: ANN401  (any dataclass)
    """Compares the numbers of a dataclass with what its fields say is `least`.

    Args:
        value: A dataclass whose fields may have `least` in their metadata.
        flag: What the command line calls it, such as `--config.data`.

    Raises:
        UserError: A number is smaller.
    """
    for field in dataclasses.fields(value):
        number, least = getattr(value, field.name), field.metadata.get("least")
        if least is not None and number < least:
            name = f"{flag}.{field.name.replace('_', '-')}"
            raise UserError(f"{name} is {number}: it must be {least} or more.")
