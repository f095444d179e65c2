"""Reads and writes of a checkpoint that fail are named once, by whom they are reported to.

Orbax reads all arrays of a checkpoint at once. When one of them cannot be read, it reports that one
and leaves the others behind; Python then shows a traceback for each of these when it removes them,
and TensorStore one for each read or write that ends when nobody waits for it any more.
"""

import functools
import logging
import sys
import traceback
from pathlib import Path
from typing import Any

TENSORSTORE = ("tensorstore_spec", "OCDBT database")
"""In every error that TensorStore raises in a thread of its own, where it has no trace."""


@functools.cache
def leave_out() -> None:
    """From now on Python does not show what became of reads that were left behind.

    Everything else that is raised where nobody can catch it is shown as before.
    """
    usual = sys.unraisablehook

    def shown(found: Any) -> None:  # noqa: ANN401  (a type that only checkers know)
        if not is_of_a_read(found):
            usual(found)

    sys.unraisablehook = shown
    logging.getLogger("asyncio").addFilter(lambda record: not is_logged_of_a_read(record))


def is_of_a_read(found: Any) -> bool:  # noqa: ANN401
    """Whether what `sys.unraisablehook` is given comes from a read that was left behind."""
    code = getattr(found.object, "cr_code", None)
    if code is not None:
        return isinstance(found.exc_value, Exception) and "orbax" in Path(code.co_filename).parts
    return str(found.exc_value) == "Event loop is closed"


def is_logged_of_a_read(record: logging.LogRecord) -> bool:
    """Whether what asyncio logs is the error of a read that nobody waits for any more."""
    if not record.exc_info:
        return False
    _, error, trace = record.exc_info
    if any(mark in str(error) for mark in TENSORSTORE):
        return True
    return any("orbax" in Path(frame.filename).parts for frame in traceback.extract_tb(trace))
