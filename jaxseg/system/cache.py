"""The user's cache: a folder for what can be found again."""

import os
from pathlib import Path


def cache_folder() -> Path | None:
    """`$XDG_CACHE_HOME/jaxseg`, else `~/.cache/jaxseg`; None for a user without a home folder."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "jaxseg"
    try:
        return Path.home() / ".cache" / "jaxseg"
    except RuntimeError:
        return None
