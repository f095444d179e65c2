"""A config as readable lines, and the differences of two configs."""

import dataclasses
import textwrap
from typing import Any

from jaxseg.config_text.stored import Json, fields_of, to_json

MANY = 256
"""Longer tuples are printed as their length: fitted matrices, but not standard deviations."""


def differences(stored: object, given: object) -> list[str]:
    """Lines `field: stored -> given` for every field that differs although it must not on resume.

    A field may differ if its metadata states `free_on_resume`.
    """
    old, new = flat(to_json(stored)), flat(to_json(given))
    allowed = _free(given)
    lines = []
    for name in sorted(old.keys() | new.keys()):
        free = any(name == field or name.startswith(field + ".") for field in allowed)
        if not free and not _equal(old.get(name), new.get(name)):
            before, after = (_brief(fields.get(name, "absent")) for fields in (old, new))
            lines.append(f"{name}: {before} -> {after}")
    return lines


def _equal(one: Json, other: Json) -> bool:
    """Whether two values are equal; NaN is equal to NaN."""
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other or (one != one and other != other))


def _free(value: object, prefix: str = "") -> list[str]:
    """Dotted names of the fields that may change when a run continues."""
    if not dataclasses.is_dataclass(value):
        return []
    names = []
    for field in fields_of(type(value)):
        if field.metadata.get("free_on_resume"):
            names.append(prefix + field.name)
        else:
            names += _free(getattr(value, field.name), f"{prefix}{field.name}.")
    return names


def pretty(config: object, *, short: bool = False) -> list[str]:
    """The config as lines of at most 98 columns, such as `num_steps = 1000`.

    Args:
        config: A dataclass.
        short: Whether fields with the default of their class are left out, at any depth.
    """
    lines = []
    for name, value in _given(config, short=short):
        line = f"{name} = {_shown(value, short=short)}"
        lines += textwrap.wrap(line, 98, subsequent_indent="    ", break_long_words=False)
    return lines


def shown_briefly(value: object) -> str:
    """One value in one line, such as `UNet(num_classes=3)`, without defaults of its class."""
    return _shown(value, short=True)


def _brief(value: Json) -> Json:
    """The value, or only its length if it is a long list."""
    many = isinstance(value, tuple | list) and len(value) > MANY
    return f"{len(value)} numbers" if many else value


def _given(value: Any, *, short: bool) -> list[tuple[str, Any]]:  # noqa: ANN401  (a dataclass)
    """Names and values of the fields; without those that have their default, if `short`."""
    given = [(field, getattr(value, field.name)) for field in fields_of(type(value))]
    return [(field.name, v) for field, v in given if not (short and _is_default(field, v))]


def _is_default(field: dataclasses.Field[Any], value: object) -> bool:
    if field.default_factory is not dataclasses.MISSING:
        return bool(field.default_factory() == value)
    return field.default is not dataclasses.MISSING and bool(field.default == value)


def _shown(value: object, *, short: bool) -> str:
    if isinstance(value, tuple) and (count := _count(value)) > MANY:
        ends = f"{_shown(value[0], short=short)}, {_shown(value[1], short=short)}"
        return f"({ends}, ... {count} numbers)"
    if isinstance(value, tuple):
        items = ", ".join(_shown(item, short=short) for item in value)
        return f"({items}{',' * (len(value) == 1)})"
    if isinstance(value, dict):
        items = ", ".join(f"{name}: {_shown(v, short=short)}" for name, v in value.items())
        return "{" + items + "}"
    if not dataclasses.is_dataclass(value):
        return repr(value)
    given = _given(value, short=short)
    fields = ", ".join(f"{name}={_shown(v, short=short)}" for name, v in given)
    return f"{type(value).__name__}({fields})"


def _count(value: object) -> int:
    return sum(map(_count, value)) if isinstance(value, tuple) else 1


def flat(value: Json, prefix: str = "") -> dict[str, Any]:
    """Nested dicts and lists of dicts -> {dotted name: leaf}; a list of values is one leaf."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        value = {str(index): item for index, item in enumerate(value)}
    if not isinstance(value, dict):
        return {prefix: value}
    found: dict[str, Any] = {}
    for name, item in value.items():
        found |= flat(item, f"{prefix}.{name}" if prefix else name)
    return found
