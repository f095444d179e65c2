"""What a tracker does, in the words of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

PROJECT = "jaxseg"
"""Where a tracker keeps runs, unless its own settings name another project or experiment."""


class Start(NamedTuple):
    """What a tracker is opened with.

    Attributes:
        workdir: The run's folder, in which a tracker without a server keeps its files.
        config: Everything that decides the run, as JSON's types.
        known: The id that the tracker gave to this run before; "" for a new run.
    """

    workdir: Path
    config: Mapping[str, Any]
    known: str


class Tracker(Protocol):
    """An open run of a tracker. Every method may raise what it likes.

    Attributes:
        id: By which the run is found again.
    """

    id: str

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Finite numbers by their names, such as train/loss."""

    def picture(self, step: int, name: str, image: NDArray[np.uint8]) -> None:
        """(H, W, 3)."""

    def table(self, step: int, name: str, rows: Sequence[Sequence[str]]) -> None:
        """Rows of cells, the first one its headings."""

    def checkpoint(self, step: int, path: Path) -> None:
        """Where the newest checkpoint is; the file itself is not sent."""

    def finish(self) -> None:
        """Writes and sends what is left."""
