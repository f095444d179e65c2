"""Weights & Biases; the one door to the package wandb.

Online only for a person who has logged in and has not set WANDB_MODE; else in WORKDIR/wandb, which
`wandb sync` sends. Neither code, git's state, console nor the machine's load and name are recorded.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxseg.run.trackers.tracker import PROJECT, Start


class WandbRun:
    """See `Tracker`."""

    def __init__(self, start: Start) -> None:
        """Opens a run."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._wandb: Any = wandb
        mode = os.environ.get("WANDB_MODE")
        if mode is None and not wandb.login(prompt=False):
            mode = "offline"
        settings = wandb.Settings(
            console="off",
            disable_git=True,
            save_code=False,
            silent=True,
            x_disable_meta=True,
            x_disable_stats=True,
        )
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=os.environ.get("WANDB_NAME", start.workdir.name),
            id=start.known or None,
            resume="allow",
            mode=mode,
            dir=str(start.workdir),
            config=dict(start.config),
            settings=settings,
        )
        # Steps of a run that continues from an older checkpoint would be refused as wandb's own.
        self._run.define_metric("*", step_metric="step")
        self.id = str(self._run.id)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._run.log({"step": step, **values})

    def picture(self, step: int, name: str, image: NDArray[np.uint8]) -> None:
        """See `Tracker`."""
        self._run.log({"step": step, name: self._wandb.Image(image)})

    def table(self, step: int, name: str, rows: Sequence[Sequence[str]]) -> None:
        """See `Tracker`."""
        table = self._wandb.Table(columns=list(rows[0]), data=[list(row) for row in rows[1:]])
        self._run.log({"step": step, name: table})

    def checkpoint(self, step: int, path: Path) -> None:
        """See `Tracker`."""
        self._run.summary["checkpoint"] = str(path)

    def finish(self) -> None:
        """See `Tracker`."""
        self._run.finish()
