"""A config as JSON, as a checkpoint stores it, and back.

Opening a run executes nothing that is stored in it: JSON names classes, and these are taken from
jaxseg itself or from code that the user has named (a config file, a package). A class of jaxseg is
stored under the package of its family, as a config imports it, so files inside a family may move.
"""

import dataclasses
import importlib
import json
import math
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import flax.linen as nn

from jaxseg.config_text import renewal
from jaxseg.config_text.types import check_types
from jaxseg.errors import UserError

Json = Any
"""What the `json` module reads and writes."""

Plain = Any
"""A value that a config may hold: plain values, tuples, dicts and frozen dataclasses."""

Code = tuple[type | ModuleType, ...]
"""Code that the user has named: classes, packages, and modules of files loaded by path."""

FILES = "jaxseg_code"
"""Files that are loaded by path become modules `jaxseg_code.STEM`."""


def to_json(config: object) -> Json:
    """Dataclasses -> dicts with a `class` entry, tuples -> lists; plain values unchanged.

    Raises:
        UserError: A value is of another kind, or its class could not be found again.
    """
    return _to_json(config, "config")


def _to_json(value: object, place: str) -> Json:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise UserError(f"{place} is {value}: a number in a config has to be finite.")
        return value
    if isinstance(value, Mapping):
        if "class" in value or not all(isinstance(name, str) for name in value):
            raise UserError(f"{place} is a dict: its keys must be strings other than class.")
        return {name: _to_json(item, f"{place}.{name}") for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_to_json(item, f"{place}.{number}") for number, item in enumerate(value)]
    kind = type(value)
    if not dataclasses.is_dataclass(value):
        raise UserError(
            f"{place} is a {kind.__module__}.{kind.__qualname__}, which a checkpoint could not "
            "rebuild. Use plain values (numbers, strings, tuples) and frozen dataclasses."
        )
    if "<locals>" in kind.__qualname__:
        raise UserError(
            f"{place} is a {kind.__qualname__}: a class inside a function cannot be found again "
            "when the run is opened. Define it at the top level of a file."
        )
    fields: dict[str, Json] = {}
    for field in fields_of(kind):
        item = getattr(value, field.name)
        marks = isinstance(item, float) and math.isnan(item) and field.metadata.get("may_be_nan")
        fields[field.name] = item if marks else _to_json(item, f"{place}.{field.name}")
    return {"class": _name(kind)} | fields


def from_json(value: Json, code: Code = ()) -> Plain:
    """The inverse of `to_json`; builds only classes of jaxseg and of `code`.

    Args:
        value: The result of `to_json`.
        code: Where classes from outside jaxseg may be taken from.

    Raises:
        UserError: A class is unknown, not from jaxseg or `code`, or has no such fields; or a value
            is of a type or outside the range that its field states.
    """
    missing = sorted(_foreign(value, code))
    if missing:
        raise UserError(
            f"The stored config names {', '.join(missing)}, from outside jaxseg. Nothing "
            "stored in a run is executed: name the code that defines it, a file or a package, "
            "with --code FILE.py or --code PACKAGE (in Python: code=)."
        )
    return _from_json(renewal.renewed(value), code, "")


def _from_json(value: Json, code: Code, place: str) -> Plain:
    if isinstance(value, list):
        return tuple(_from_json(item, code, f"{place}.{n}") for n, item in enumerate(value))
    if not isinstance(value, dict):
        return value
    values = {
        name: _from_json(item, code, f"{place}.{name}".lstrip("."))
        for name, item in value.items()
        if name != "class"
    }
    if "class" not in value:
        return values
    kind = _class(str(value["class"]), code)
    if kind is None:
        raise UserError(
            f"The stored config names {value['class']}, which this version of jaxseg does not "
            "have. Use the version that wrote the run."
        )
    unknown = set(values) - {field.name for field in fields_of(kind)}
    if unknown:
        raise UserError(
            f"The stored config gives {kind.__name__} the field(s) {', '.join(sorted(unknown))}, "
            "which this version does not have. Use the version that wrote the run."
        )
    check_types(kind, values, place)
    missing = [f.name for f in fields_of(kind) if _required(f) and f.name not in values]
    if missing:
        raise UserError(
            f"The stored config leaves out {', '.join(missing)} of {kind.__name__}, which it needs."
        )
    return kind(**values)


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is field.default_factory is dataclasses.MISSING


def check_storable(config: object, code: Code = ()) -> None:
    """Rejects, before any work, a config that a checkpoint could not restore unchanged.

    Raises:
        UserError: A part cannot be restored; the message names it.
    """
    stored = json.loads(json.dumps(to_json(config)))
    if stored != to_json(from_json(stored, (*code, *classes_in(config)))):
        raise UserError(
            "A checkpoint would not restore the config unchanged: a class in it changes its own "
            "fields. Use frozen dataclasses that keep the values they are given."
        )


def classes_in(config: object) -> tuple[type, ...]:
    """The classes of all dataclasses in a config, each once."""
    found: dict[type, None] = {}

    def walk(value: object) -> None:
        if isinstance(value, Mapping):
            walk(tuple(value.values()))
        elif isinstance(value, tuple | list):
            for item in value:
                walk(item)
        elif dataclasses.is_dataclass(value):
            found[type(value)] = None
            walk([getattr(value, field.name) for field in fields_of(type(value))])

    walk(config)
    return tuple(found)


def _name(kind: type) -> str:
    """Name of a class in JSON: in its family's package, if exported there; else in its file."""
    family = ".".join(kind.__module__.split(".")[:2])
    if family.startswith("jaxseg."):
        face = importlib.import_module(family)
        if getattr(face, kind.__qualname__, None) is kind:
            return f"{family}.{kind.__qualname__}"
    return f"{kind.__module__}.{kind.__qualname__}"


def _foreign(value: Json, code: Code) -> set[str]:
    """Names of classes in the JSON that are neither in jaxseg nor in the named code."""
    if isinstance(value, list):
        return set().union(*(_foreign(item, code) for item in value))
    if not isinstance(value, dict):
        return set()
    found = set().union(*(_foreign(item, code) for item in value.values()))
    name = str(value.get("class", "jaxseg."))
    if not name.startswith("jaxseg.") and _class(name, code) is None:
        found.add(name)
    return found


def _class(name: str, code: Code) -> Any:  # noqa: ANN401  (a dataclass, or None)
    """The dataclass of that name, None if it is neither in jaxseg nor in the named code."""
    module_name, _, class_name = name.rpartition(".")
    kind = None
    if module_name.startswith("jaxseg."):
        kind = _member(renewal.MOVED.get(module_name, module_name), class_name)
    for named in code:
        if kind is not None:
            break
        if isinstance(named, type):
            kind = named if _name(named) == name else None
        elif module_name.startswith(named.__name__ + "."):
            kind = _member(module_name, class_name)
        else:  # the module itself, a file that was renamed, or an import of a named file
            found = getattr(named, class_name, None)
            files = module_name.startswith(FILES + ".") and named.__name__.startswith(FILES + ".")
            kind = found if files or getattr(found, "__module__", "") == module_name else None
    return kind if isinstance(kind, type) and dataclasses.is_dataclass(kind) else None


def _member(module_name: str, class_name: str) -> object:
    try:
        return getattr(importlib.import_module(module_name), class_name, None)
    except ModuleNotFoundError:
        return None


def fields_of(kind: type) -> list[dataclasses.Field[Any]]:
    """The fields that define a value of this class."""
    # Linen adds `parent` and `name` to every module; they describe its position in another module.
    linen = {"parent", "name"} if issubclass(kind, nn.Module) else set()
    return [f for f in dataclasses.fields(kind) if f.init and f.name not in linen]
