"""What an evaluation has measured and is kept with the run, so that its data are not needed again.

    WORKDIR/checkpoints/STEP/calibration.json   temperature and thresholds of this checkpoint
    WORKDIR/checkpoints/STEP/pixels.npz         the classifiers of single pixels, the same for all

Files beside the arrays of a checkpoint go where it goes and are removed with it. Runs of earlier
versions hold WORKDIR/evaluation/calibration.json instead, which names its step.
"""

import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxseg.disk import whole
from jaxseg.errors import UserError
from jaxseg.metrics.thresholds import Thresholds

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
        with whole(folder / CALIBRATION) as aside:
            aside.write_text(json.dumps(content, indent=2) + "\n")


def kept_calibration(workdir: Path, step: int) -> Calibration | None:
    """What an evaluation of this checkpoint has fitted; None if there was none.

    Raises:
        UserError: The file is damaged.
    """
    for file in (_folder(workdir, step) / CALIBRATION, workdir / "evaluation" / CALIBRATION):
        if not file.is_file():
            continue
        try:
            stored = json.loads(file.read_text())
            if int(stored["step"]) != step:
                continue
            ends = (float(stored.get(f"miou_by_{n}", math.nan)) for n in ("argmax", "thresholds"))
            values = tuple(float(value) for value in stored.get("thresholds", ()))
            return Calibration(float(stored["temperature"]), Thresholds(values, *ends))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{file} cannot be read ({error}): evaluate the run again, or remove the file."
            ) from error
    return None


def keep_pixels(workdir: Path, step: int, arrays: Arrays) -> None:
    """Writes the numbers of classifiers beside the checkpoint, unless that has been removed."""
    folder = _folder(workdir, step)
    if folder.is_dir():
        with whole(folder / PIXELS) as aside, aside.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def kept_pixels(workdir: Path) -> dict[str, NDArray[np.float64]] | None:
    """The numbers that an evaluation of any checkpoint has kept; None if there was none.

    Raises:
        UserError: The file is damaged.
    """
    for file in sorted(workdir.glob(f"checkpoints/*/{PIXELS}")):
        try:
            with np.load(file, allow_pickle=False) as content:
                return dict(content)
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise UserError(
                f"{file} cannot be read ({error}): evaluate the run again, or remove the file."
            ) from error
    return None


def _folder(workdir: Path, step: int) -> Path:
    return workdir / "checkpoints" / str(step)
