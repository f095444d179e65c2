"""Checkpoints with damaged metrics, which are put aside as STEP.damaged.

Orbax reads the metrics of all checkpoints before any state.
"""

import json
import shutil
import time
from pathlib import Path

import jax
from jax.experimental import multihost_utils

from jaxseg.errors import UserError
from jaxseg.run import digests

PATIENCE = 1.0
"""Seconds that a training has to finish removing a checkpoint that looks damaged."""

ASIDE = "damaged"
"""End of the name of a checkpoint that is put aside."""

METRIC = "miou"
"""The validation metric that determines the best checkpoint."""


def put_aside(folder: Path, *, repair: bool) -> list[str]:
    """Renames checkpoints with damaged metrics; returns what was done, on the first process.

    Raises:
        UserError: A checkpoint has damaged metrics, and `repair` is False.
    """
    lines = []
    if jax.process_index() == 0 and folder.is_dir():
        for step_folder in sorted(folder.iterdir()):
            metrics = step_folder / "metrics" / "metrics"
            if not step_folder.name.isdigit():
                continue
            try:
                if metrics.exists():
                    score(json.loads(metrics.read_bytes()))
                digests.check_metrics(step_folder)
            except (ValueError, KeyError, TypeError, OSError, digests.DamagedError) as error:
                if not repair:
                    time.sleep(PATIENCE)
                    if not step_folder.exists():
                        continue  # a training that goes on has removed it meanwhile
                    raise UserError(
                        f"{metrics} cannot be read ({first_line(error)}). Start the training "
                        f"again: it puts checkpoint {step_folder.name} aside and continues from "
                        "the one before."
                    ) from error
                aside = step_folder.with_name(f"{step_folder.name}.{ASIDE}")
                if aside.exists():
                    shutil.rmtree(aside)
                step_folder.rename(aside)
                lines.append(
                    f"checkpoint {step_folder.name} is put aside as {aside}, because its metrics "
                    f"cannot be read ({first_line(error)})"
                )
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("damaged checkpoints are put aside")
    return lines


def score(metrics: dict[str, float]) -> float:
    """The score of a checkpoint with these metrics."""
    return float(metrics[METRIC])


def first_line(error: BaseException) -> str:
    """An error in one line."""
    if isinstance(error, digests.DamagedError):
        return str(error)
    text = str(error).partition(". See full TensorStore details")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:160] if lines else ''}"
