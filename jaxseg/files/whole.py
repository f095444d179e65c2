"""Files that are there whole or not at all."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Gives the name to write under; the file takes its own when all is written.

    No other process writes under the same name, also not on another machine that shares the folder.
    """
    aside = path.with_name(f"{path.stem}.{uuid.uuid4().hex[:12]}{path.suffix}.tmp")
    try:
        yield aside
        os.replace(aside, path)  # noqa: PTH105
    finally:
        aside.unlink(missing_ok=True)
