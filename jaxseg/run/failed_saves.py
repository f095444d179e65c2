"""Saves that fail in the threads of Orbax, noticed while the training goes on.

Orbax raises the error of such a save when it is waited for. Of several processes, the others wait
before that for the one whose save has failed, for ten minutes. Its log says it at once.
"""

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

from jaxseg.errors import DiskError
from jaxseg.run import failed_reads

FILES = ("async_checkpointer.py", "future.py")
"""Of Orbax, whose errors end a save."""


class FailedSaveError(DiskError):
    """A save has failed on one process: raised by all of them together."""


class FailedSaves(logging.Filter):
    """Notes the first error of a save, and leaves out what Orbax logs of it.

    Attributes:
        first: The error; None = all saves so far have succeeded, or are being written.
    """

    def __init__(self) -> None:
        """Notes nothing before `noted`."""
        super().__init__()
        self.first: BaseException | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is shown."""
        path = Path(record.pathname)
        of_a_save = bool(record.exc_info) and "orbax" in path.parts
        if of_a_save and record.exc_info and path.name in FILES and self.first is None:
            self.first = record.exc_info[1]
        return not of_a_save


@contextlib.contextmanager
def noted() -> Iterator[FailedSaves]:
    """Notes saves that fail, and shows no log of them: the training raises the same error."""
    found, log = FailedSaves(), logging.getLogger("absl")
    failed_reads.leave_out()
    log.addFilter(found)
    try:
        yield found
    finally:
        log.removeFilter(found)
