"""A config as text: JSON that a checkpoint keeps, lines that a person reads, what differs in two.

Only dataclasses of jaxseg are built from JSON, whatever it says: a checkpoint runs no code.
"""

import dataclasses
import importlib
import textwrap
from typing import Any

import flax.linen as nn

from jaxseg.errors import UserError

Json = Any
"""What the `json` module reads and writes."""

Plain = Any
"""A value that a config may hold: plain values, tuples, dicts and dataclasses of jaxseg."""

FREE_ON_RESUME = (
    "num_steps",
    "log_every",
    "eval_every",
    "save_every",
    "keep",
    "mesh",
    "data.threads",
)
"""Fields that may differ when a run continues; any other difference would make it another run."""

MANY = 256
"""Tuples of more numbers are printed by their length: fitted matrices, not standard deviations."""


def to_json(config: object) -> Json:
    """Dataclasses -> dicts with a `class` entry, tuples -> lists; plain values as they are.

    Raises:
        UserError: A value is of another kind, or its class is not jaxseg's and could not be rebuilt
            safely.
    """
    if config is None or isinstance(config, str | bool | int | float):
        return config
    if isinstance(config, dict):
        return {name: to_json(value) for name, value in config.items()}
    if isinstance(config, tuple | list):
        return [to_json(value) for value in config]
    kind = type(config)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if not dataclasses.is_dataclass(config) or not kind.__module__.startswith("jaxseg."):
        raise UserError(
            f"A config holds {name}, which a checkpoint could not rebuild. Use plain values and "
            "dataclasses of jaxseg."
        )
    fields = {field.name: to_json(getattr(config, field.name)) for field in _fields(kind)}
    return {"class": name} | fields


def from_json(value: Json) -> Plain:
    """The inverse of `to_json`; builds dataclasses of jaxseg only, whatever the JSON says.

    Raises:
        UserError: A class is unknown, not jaxseg's, or has no such fields.
    """
    if isinstance(value, list):
        return tuple(from_json(item) for item in value)
    if not isinstance(value, dict):
        return value
    values = {name: from_json(item) for name, item in value.items() if name != "class"}
    if "class" not in value:
        return values
    module_name, _, class_name = str(value["class"]).rpartition(".")
    if not module_name.startswith("jaxseg."):
        raise UserError(f"Stored config names {value['class']}: only classes of jaxseg are built.")
    try:
        kind = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise UserError(
            f"Stored config names {value['class']}, which this version of jaxseg does not have: "
            f"{error}. Use the "
            "version that wrote the run."
        ) from error
    unknown = set(values) - {field.name for field in _fields(kind)}
    if unknown:
        raise UserError(
            f"Stored config gives {class_name} the field(s) {', '.join(sorted(unknown))}, which "
            "this version of jaxseg "
            "does not have. Use the version that wrote the run."
        )
    return kind(**values)


def differences(stored: object, given: object) -> list[str]:
    """Lines `field: stored -> given` for every field that differs and must not differ on resume."""
    old, new = _flat(to_json(stored)), _flat(to_json(given))
    lines = []
    for name in sorted(old.keys() | new.keys()):
        free = any(name == field or name.startswith(field + ".") for field in FREE_ON_RESUME)
        if not free and old.get(name) != new.get(name):
            before, after = (_brief(flat.get(name, "absent")) for flat in (old, new))
            lines.append(f"{name}: {before} -> {after}")
    return lines


def pretty(config: object) -> list[str]:
    """The config as lines of at most 98 columns, such as `num_steps = 1000`."""
    lines = []
    for field in _fields(type(config)):
        line = f"{field.name} = {_shown(getattr(config, field.name))}"
        lines += textwrap.wrap(line, 98, subsequent_indent="    ", break_long_words=False)
    return lines


def _brief(value: Json) -> Json:
    """Lists that nobody would read to their end by their length alone."""
    many = isinstance(value, tuple | list) and len(value) > MANY
    return f"{len(value)} numbers" if many else value


def _shown(value: object) -> str:
    if isinstance(value, tuple) and (count := _count(value)) > MANY:
        return f"({_shown(value[0])}, {_shown(value[1])}, ... {count} numbers)"
    if isinstance(value, tuple):
        return "(" + ", ".join(_shown(item) for item in value) + ")"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_shown(item)}" for name, item in value.items()) + "}"
    if not dataclasses.is_dataclass(value):
        return repr(value)
    given = [(field.name, getattr(value, field.name)) for field in _fields(type(value))]
    return f"{type(value).__name__}(" + ", ".join(f"{n}={_shown(v)}" for n, v in given) + ")"


def _count(value: object) -> int:
    return sum(map(_count, value)) if isinstance(value, tuple) else 1


def _fields(kind: type) -> list[dataclasses.Field[Any]]:
    # Linen adds `parent` and `name` to every module; they say where it stands in another one, not
    # what it is.
    linen = {"parent", "name"} if issubclass(kind, nn.Module) else set()
    return [field for field in dataclasses.fields(kind) if field.name not in linen]


def _flat(value: Json, prefix: str = "") -> dict[str, Any]:
    """Nested dicts and lists of dicts -> {dotted name: leaf}; a list of values is one leaf."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        value = {str(index): item for index, item in enumerate(value)}
    if not isinstance(value, dict):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for name, item in value.items():
        flat |= _flat(item, f"{prefix}.{name}" if prefix else name)
    return flat
