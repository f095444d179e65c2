"""What an evaluation has measured and is kept with the run, so that its data are not needed again.

    WORKDIR/checkpoints/STEP/calibration.json   temperature and thresholds of this checkpoint
    WORKDIR/checkpoints/STEP/pixels.npz         the classifiers of single pixels, the same for all

Files beside the arrays of a checkpoint go where it goes and are removed with it. Runs of earlier
versions hold WORKDIR/evaluation/calibration.json instead, which names its step.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.metrics.thresholds import Thresholds
from jaxseg.system import side_files
from jaxseg.system.disk import whole

Arrays = Mapping[str, NDArray[np.float64]]

CALIBRATION = "calibration.json"
PIXELS = "pixels.npz"


class Calibration(NamedTuple):
    """What was fitted to the validation split of the run.

    Attributes:
        temperature: Divisor of the logits with the best likelihood.
        thresholds: Thresholds of the classes with the best mean IoU; empty `values` = not fitted.
    """

    temperature: float
    thresholds: Thresholds


def keep_calibration(workdir: Path, step: int, found: Calibration) -> None:
    """Writes it beside the checkpoint, unless that has been removed meanwhile."""
    folder = _folder(workdir, step)
    if folder.is_dir():
        content = {
            "step": step,
            "temperature": found.temperature,
            "thresholds": found.thresholds.values,
            "miou_by_argmax": found.thresholds.before,
            "miou_by_thresholds": found.thresholds.after,
            "fitted_on": "validation",
        }
        side_files.write(folder / CALIBRATION, content)


def kept_calibration(workdir: Path, step: int) -> Calibration | None:
    """What an evaluation of this checkpoint has fitted; None if there was none.

    Raises:
        UserError: The file is damaged.
    """
    beside, before = _folder(workdir, step) / CALIBRATION, workdir / "evaluation" / CALIBRATION
    for file in (beside, before):
        if not file.exists():
            continue
        try:
            stored = side_files.read(file)
            if stored["step"] == step:
                return _calibration(stored)
            if file == beside:
                raise ValueError(f"it is of step {stored['step']}")
        except (side_files.DamagedError, ValueError, KeyError, TypeError) as error:
            raise _damaged(file, error) from error
    return None


def _calibration(stored: Mapping[str, Any]) -> Calibration:
    ends = (float(stored.get(f"miou_by_{n}", math.nan)) for n in ("argmax", "thresholds"))
    values = tuple(side_files.number(value) for value in stored.get("thresholds", ()))
    temperature = side_files.number(stored["temperature"])
    if min((temperature, *values)) <= 0:
        raise ValueError("a temperature and thresholds are above 0")
    return Calibration(temperature, Thresholds(values, *ends))


def keep_pixels(workdir: Path, step: int, arrays: Arrays) -> None:
    """Writes the numbers of classifiers beside the checkpoint, unless that has been removed."""
    folder = _folder(workdir, step)
    if folder.is_dir():
        if (folder / PIXELS).is_dir():
            side_files.put_aside(folder / PIXELS)
        with whole(folder / PIXELS) as aside, aside.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def kept_pixels(workdir: Path) -> dict[str, NDArray[np.float64]] | None:
    """The numbers that an evaluation of any checkpoint has kept; None if there was none.

    Raises:
        UserError: The file is damaged.
    """
    for file in sorted(workdir.glob(f"checkpoints/*/{PIXELS}")):
        try:
            return side_files.arrays(file)
        except side_files.DamagedError as error:
            raise _damaged(file, error) from error
    return None


def _damaged(file: Path, error: Exception) -> UserError:
    why = side_files.reason(error)
    return UserError(f"{file} cannot be read ({why}): evaluate the run again, or remove the file.")


def _folder(workdir: Path, step: int) -> Path:
    return workdir / "checkpoints" / str(step)
