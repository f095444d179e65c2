"""Whether the values of a stored config are of the types that their fields state.

Python does not compare them, so that a number of the wrong kind would be noticed far from here, or
not at all.
"""

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from jaxseg.errors import UserError

Hint = Any
"""A type, as an annotation states it."""

_NAMES = {int: "a whole number", float: "a finite number", str: "a text", bool: "true or false"}


def check_types(kind: type, values: Mapping[str, object], place: str) -> None:
    """Compares values with the annotations of a class of jaxseg.

    Args:
        kind: A dataclass; those of other packages may say what they like.
        values: Field -> value.
        place: Where in the config it stands, such as `data.source`.

    Raises:
        UserError: A value is of another type, or a number is not finite; the message names it.
    """
    if not kind.__module__.startswith("jaxseg."):
        return
    hints = _hints(kind)
    marks = {f.name for f in dataclasses.fields(kind) if f.metadata.get("may_be_nan")}
    for name, value in values.items():
        if name in marks and isinstance(value, float):
            continue
        if not _fits(value, hints[name]):
            where = f"{place}.{name}" if place else name
            raise UserError(
                f"The stored config has {where} = {_shown(value)}: allowed is {_said(hints[name])}."
            )


@functools.cache
def _hints(kind: type) -> dict[str, Hint]:
    return typing.get_type_hints(kind)


def _fits(value: object, hint: Hint) -> bool:
    origin: Any = typing.get_origin(hint)
    of = typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in of)
    if origin is Literal:
        return any(value == each and type(value) is type(each) for each in of)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        each = of[:1] * len(value) if of[1:] == (...,) else of
        return len(each) == len(value) and all(map(_fits, value, each))
    if origin is not None and issubclass(origin, Mapping):
        return isinstance(value, dict) and all(_fits(item, of[1]) for item in value.values())
    if hint is None or hint is type(None):
        return value is None
    if hint is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and math.isfinite(typing.cast(float, value))
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (str, bool):
        return isinstance(value, hint)
    if isinstance(hint, type) and not getattr(hint, "_is_protocol", False):
        return isinstance(value, hint)
    return hint is Any or (dataclasses.is_dataclass(value) and _fulfils(type(value), hint))


def _fulfils(kind: type, protocol: type) -> bool:
    """Whether a class of jaxseg has what a protocol names; its properties are not asked."""
    if not kind.__module__.startswith("jaxseg."):
        return True
    own = {field.name for field in dataclasses.fields(kind)}
    return all(name in own or hasattr(kind, name) for name in _members(protocol))


@functools.cache
def _members(protocol: type) -> frozenset[str]:
    every = [base for base in protocol.__mro__ if getattr(base, "_is_protocol", False)]
    names = {name for base in every for name in (*vars(base), *base.__annotations__)}
    return frozenset(n for n in names if n == "__call__" or not n.startswith("_"))


def _said(hint: Hint) -> str:
    origin: Any = typing.get_origin(hint)
    of = typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_said, of))
    if origin is Literal:
        return " or ".join(map(repr, of))
    if origin is tuple and of[1:] == (...,):
        return f"a list, each of it {_said(of[0])}"
    if origin is tuple:
        return f"a list of {len(of)}: {', '.join(map(_said, of))}"
    if origin is not None:
        return f"a table, each of it {_said(of[1])}"
    if hint is None or hint is type(None):
        return "nothing (null)"
    return _NAMES.get(hint, f"a {getattr(hint, '__name__', hint)}")


def _shown(value: object) -> str:
    text = type(value).__name__ if dataclasses.is_dataclass(value) else repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
