"""An evaluation for the tracker of its run: scores, and the tables that are written beside them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxseg.evaluation.evaluate import Assessment
from jaxseg.evaluation.report import tables
from jaxseg.run.trackers.watched import Watched


def send(
    found: Assessment,
    kind: str,
    workdir: Path,
    config: Mapping[str, Any],
    *,
    split: str,
    warn: Callable[[str], None],
) -> None:
    """Sends it; a tracker that fails is warned of.

    Args:
        found: The evaluation.
        kind: Of the tracker.
        workdir: The run's folder, by which the tracker's run is found again.
        config: What a run that the tracker does not know yet begins with, as JSON's types.
        split: What the results are called.
        warn: Shows a line.
    """
    step, name = found.step, f"evaluation/{split}"
    summary = found.network.scores.summary()
    numbers = {f"{name}/{key}": float(v) for key, v in summary.items() if np.isfinite(v)}
    tracker = Watched(kind, workdir, config, warn)
    tracker.send(lambda open_run: open_run.numbers(step, numbers))
    for table, rows in tables(found).items():
        cells = [[str(cell) for cell in row] for row in rows]
        where = f"{name}/{table}"
        tracker.send(lambda open_run, where=where, cells=cells: open_run.table(step, where, cells))  # type: ignore[misc]
    tracker.close()
