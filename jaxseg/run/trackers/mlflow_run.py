"""MLflow; the one door to the package mlflow, of which mlflow-skinny is enough.

To the server or folder of MLFLOW_TRACKING_URI; without it to WORKDIR/mlflow. MLflow's own telemetry
is off unless MLFLOW_DISABLE_TELEMETRY says otherwise.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jaxseg.run.trackers.tracker import PROJECT, Start

LONGEST = 500
"""Characters of a parameter's value that every version of MLflow takes."""

AT_ONCE = 100
"""Parameters that MLflow takes at once."""


class MlflowRun:
    """See `Tracker`."""

    def __init__(self, start: Start) -> None:
        """Opens a run."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            uri = (start.workdir / "mlflow").absolute().as_uri()
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client: Any = MlflowClient(tracking_uri=uri)
        self.id = start.known
        if self.id:
            self._client.update_run(self.id, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        known = self._client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self._client.create_experiment(name)
        made = self._client.create_run(experiment, run_name=start.workdir.name)
        self.id = str(made.info.run_id)
        params = [Param(key, value[:LONGEST]) for key, value in _leaves(start.config) if value]
        for first in range(0, len(params), AT_ONCE):
            self._client.log_batch(self.id, params=params[first : first + AT_ONCE])
        self._client.log_dict(self.id, dict(start.config), "config.json")

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        for name, value in values.items():
            self._client.log_metric(self.id, name, value, step=step)

    def picture(self, step: int, name: str, image: NDArray[np.uint8]) -> None:
        """See `Tracker`."""
        file = f"pictures/{name}/{step:08d}.png"
        self._client.log_image(self.id, Image.fromarray(image), artifact_file=file)

    def table(self, step: int, name: str, rows: Sequence[Sequence[str]]) -> None:
        """See `Tracker`."""
        text = "\n".join(",".join(row) for row in rows) + "\n"
        self._client.log_text(self.id, text, f"tables/{name}/{step:08d}.csv")

    def checkpoint(self, step: int, path: Path) -> None:
        """See `Tracker`."""
        self._client.set_tag(self.id, "checkpoint", str(path))

    def finish(self) -> None:
        """See `Tracker`."""
        self._client.set_terminated(self.id)


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401  (JSON)
    """Dotted names and texts of all that is neither an object nor a list."""
    if isinstance(value, Mapping):
        pairs = [(str(key), part) for key, part in value.items()]
    elif isinstance(value, list | tuple):
        pairs = [(str(key), part) for key, part in enumerate(value)]
    else:
        yield name, str(value)
        return
    for key, part in pairs:
        yield from _leaves(part, f"{name}.{key}" if name else key)
