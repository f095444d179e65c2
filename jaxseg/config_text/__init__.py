"""A config as text: JSON that a checkpoint keeps, lines for people, what differs in two."""

from jaxseg.config_text.shown import differences, pretty
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
    "check_storable",
    "classes_in",
    "differences",
    "from_json",
    "pretty",
    "to_json",
]
