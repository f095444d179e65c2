"""A config as text: JSON in a checkpoint, readable lines, and the differences of two configs."""

from jaxseg.config_text.paths import absolute, paths_in
from jaxseg.config_text.shown import differences, flat, pretty, shown_briefly
from jaxseg.config_text.stored import (
    FILES,
    Code,
    check_storable,
    classes_in,
    from_json,
    to_json,
)

__all__ = [
    "FILES",
    "Code",
    "absolute",
    "check_storable",
    "classes_in",
    "differences",
    "flat",
    "from_json",
    "paths_in",
    "pretty",
    "shown_briefly",
    "to_json",
]
