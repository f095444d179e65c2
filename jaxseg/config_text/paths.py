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
            is_path = isinstance(given, str) and field.metadata.get("path")
            changed = _absolute(str(given)) if is_path else absolute(given)
            if changed is not given:
                changes[field.name] = changed
    return dataclasses.replace(value, **changes) if changes else value


def _absolute(path: str) -> str:
    if not path or "://" in path or path.startswith("/vsi"):
        return path
    found = os.path.abspath(path)  # noqa: PTH100  (links stay what they are)
    return path if found == path else found
