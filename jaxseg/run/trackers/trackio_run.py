"""Trackio; the one door to the package trackio.

To the Space of TRACKIO_SPACE_ID or the server of TRACKIO_SERVER_URL; without them on this machine,
in TRACKIO_DIR or Trackio's own folder. `trackio show` opens it.
"""

import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxseg.run.trackers.tracker import PROJECT, Start


class TrackioRun:
    """See `Tracker`; the run's name is its id."""

    def __init__(self, start: Start) -> None:
        """Opens a run."""
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        import trackio

        self._trackio: Any = trackio
        self.id = start.known or f"{start.workdir.name}-{uuid.uuid4().hex[:8]}"
        self._run: Any = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=self.id,
            resume="allow",
            config=dict(start.config),
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._run.log(dict(values), step=step)

    def picture(self, step: int, name: str, image: NDArray[np.uint8]) -> None:
        """See `Tracker`."""
        self._run.log({name: self._trackio.Image(image)}, step=step)

    def table(self, step: int, name: str, rows: Sequence[Sequence[str]]) -> None:
        """See `Tracker`; Trackio's own tables need pandas."""
        lines = [f"| {' | '.join(row)} |" for row in rows]
        lines.insert(1, "|" + "---|" * len(rows[0]))
        self._run.log({name: self._trackio.Markdown("\n".join(lines))}, step=step)

    def checkpoint(self, step: int, path: Path) -> None:
        """See `Tracker`."""
        self._run.log({"checkpoint": self._trackio.Markdown(f"`{path}`")}, step=step)

    def finish(self) -> None:
        """See `Tracker`."""
        self._run.finish()
