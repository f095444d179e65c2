"""TensorBoard's file, whose errors reach the training instead of ending a thread.

tensorboardX writes in a thread of its own. An error ends it with a traceback, and the training
waits for ever as soon as the queue to the thread is full. Here the file notes the first error and
takes no more; the logbook asks for it.
"""

import os
from pathlib import Path

from tensorboardX import SummaryWriter
from tensorboardX.record_writer import register_writer_factory

_PREFIX = "jaxseg-events"


class EventFile:
    """A file for the factory of tensorboardX.

    Attributes:
        fault: The first error; None = all was written.
    """

    def __init__(self) -> None:
        """Opens nothing yet."""
        self.fault: OSError | None = None

    def directory_check(self, path: str) -> None:
        """Makes the folder."""
        _plain(path).mkdir(parents=True, exist_ok=True)

    def open(self, path: str) -> "EventFile":
        """Opens the file."""
        self._file = _plain(path).open("wb")
        return self

    def write(self, content: bytes) -> None:
        """Writes, unless that has failed before."""
        if self.fault is None:
            try:
                self._file.write(content)
            except OSError as error:
                self.fault = error

    def flush(self) -> None:
        """Writes to the disk what is held in memory."""
        if self.fault is None:
            try:
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                self.fault = error

    def close(self) -> None:
        """Closes the file."""
        self.flush()
        try:
            self._file.close()
        except OSError as error:
            self.fault = self.fault or error


def event_writer(folder: Path, first: int) -> tuple[SummaryWriter, EventFile]:
    """What writes a new file of events, and the file.

    Args:
        folder: Of the events; made if it is missing.
        first: The first step; what earlier files say of it and of later ones is dropped.
    """
    file = EventFile()
    register_writer_factory(_PREFIX, file)
    writer = SummaryWriter(f"{_PREFIX}:{folder.absolute()}", purge_step=first, flush_secs=10)
    return writer, file


def _plain(path: str) -> Path:
    return Path(path.removeprefix(f"{_PREFIX}:"))
