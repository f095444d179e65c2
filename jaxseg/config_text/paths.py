"""Paths in a config, so that a run finds its files again from any folder."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any


def absolute(value: Any) -> Any:  # noqa: ANN401  (any part of a config)
    """The value with absolute paths in the fields whose metadata state `path`.

    Patterns stay patterns; URLs and GDAL's virtual paths (/vsi...) are left as they are. What holds
    no relative path is returned itself.
    """
    if isinstance(value, tuple):
        items = tuple(map(absolute, value))
        same = all(one is other for one, other in zip(items, value, strict=True))
        return value if same else items
    if isinstance(value, Mapping):
        found = {name: absolute(item) for name, item in value.items()}
        return value if all(found[name] is value[name] for name in value) else found
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    changes = {}
    for field in dataclasses.fields(value):
        if field.init:
            given = getattr(value, field.name, None)
            changed = _absolutes(given) if field.metadata.get("path") else absolute(given)
            if changed is not given:
                changes[field.name] = changed
    return dataclasses.replace(value, **changes) if changes else value


def _absolutes(given: Any) -> Any:  # noqa: ANN401  (a path, several, or none)
    if isinstance(given, str):
        return _absolute(given)
    if isinstance(given, tuple):
        paths = tuple(map(_absolute, given))
        return given if paths == given else paths
    return given


def _absolute(path: str) -> str:
    if not path or "://" in path or path.startswith("/vsi"):
        return path
    found = os.path.abspath(path)  # noqa: PTH100  (links stay what they are)
    return path if found == path else found


def paths_in(value: object) -> tuple[str, ...]:
    """What stands in the fields whose metadata state `path`, at any depth, each once.

    Fields that only say what something was made from are left out.
    """
    found: dict[str, None] = {}

    def walk(part: object) -> None:
        if isinstance(part, Mapping):
            walk(tuple(part.values()))
        elif isinstance(part, tuple):
            for item in part:
                walk(item)
        elif dataclasses.is_dataclass(part) and not isinstance(part, type):
            for field in dataclasses.fields(part):
                given = getattr(part, field.name, None)
                if field.metadata.get("copied"):
                    continue
                if not field.metadata.get("path"):
                    walk(given)
                    continue
                paths = (given,) if isinstance(given, str) else given or ()
                found.update(dict.fromkeys(path for path in paths if path))

    walk(value)
    return tuple(found)
