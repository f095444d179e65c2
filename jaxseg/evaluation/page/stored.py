"""What a run has stored that a page shows; what is missing or damaged is said, not left out.

RUN/metrics.jsonl, environment.jsonl      the training
RUN/evaluation/.../scores.json, *.csv     the last evaluation of the checkpoint
/tiles.npz              its best and worst windows
"""

import csv
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.evaluation.kept_tiles import kept_tiles
from jaxseg.metrics.scores import Scores, scores_of
from jaxseg.pictures.tiles import Tile
from jaxseg.run import environment, logbook

Record = dict[str, Any]
Table = list[list[str]]

OWN_TABLES = ("classes", "confusion", "reliability")
"""Tables that the page shows in a form of its own."""


class Training(NamedTuple):
    """How a run was trained.

    Attributes:
        lines: Of metrics.jsonl, in order of their steps.
        starts: Of environment.jsonl.
    """

    lines: list[Record]
    starts: list[Record]


class Evaluated(NamedTuple):
    """What an evaluation has written.

    Attributes:
        folder: Where.
        split: What was evaluated.
        step: Of the checkpoint.
        confusion: (K, K) pixels, rows = reference.
        scores: Of this matrix.
        report: All of scores.json.
        tables: Name of a CSV file -> rows, the headings first.
        tiles: `best`, `worst` -> windows.
    """

    folder: Path
    split: str
    step: int
    confusion: NDArray[np.int64]
    scores: Scores
    report: Record
    tables: dict[str, Table]
    tiles: dict[str, list[Tile]]

    def interval(self, name: str, number: int | None = None) -> tuple[float, float] | None:
        """Ends of the 95 % interval of a score, or of a class of that number; None = none."""
        found = self.report["network"].get("intervals", {}).get(name)
        if found is not None and number is not None:
            found = found[number]
        return None if found is None or None in found else (float(found[0]), float(found[1]))


def training(workdir: Path) -> tuple[Training, list[str]]:
    """The history of a training, and what is not known of it."""
    notes = []
    lines, torn = logbook.json_lines(workdir / "metrics.jsonl")
    if torn:
        notes.append(f"{torn} line(s) of metrics.jsonl cannot be read and are left out.")
    if not lines:
        notes.append("No training curves: metrics.jsonl holds no line.")
    starts, torn = environment.stored(workdir)
    if torn:
        notes.append(f"{torn} line(s) of {environment.NAME} cannot be read and are left out.")
    if not starts:
        notes.append(
            "Where it was trained is not known: trainings of earlier versions did not keep it."
        )
    return Training(sorted(lines, key=lambda line: line["step"]), starts), notes


def last_evaluation(
    workdir: Path, step: int, classes: tuple[str, ...], folder: Path | None = None
) -> tuple[Evaluated | None, list[str]]:
    """The evaluation of a checkpoint that was written last, and what is not known of it.

    Args:
        workdir: The run's folder.
        step: Of the checkpoint.
        classes: Of the run.
        folder: That of the evaluation to show; None = the last one.

    Raises:
        UserError: The folder that was given holds no evaluation of this checkpoint.
    """
    notes: list[str] = []
    if folder is not None and not (folder / "scores.json").is_file():
        raise UserError(
            f"{folder} is not the folder of an evaluation: it has no scores.json. Give one such as "
            f"{workdir}/evaluation/test, or leave --evaluation out."
        )
    pattern = "evaluation/**/scores.json"
    files = [folder / "scores.json"] if folder is not None else list(workdir.glob(pattern))
    for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
        try:
            report = json.loads(file.read_text(encoding="utf-8"))
            if report["step"] != step and folder is None:
                continue
            if report["step"] != step:
                raise UserError(
                    f"{folder} holds the evaluation of step {report['step']}; the page is about "
                    f"step {step}. Give --step {report['step']}, or evaluate this step."
                )
            return _opened(file.parent, report, classes, notes), notes
        except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
            if isinstance(error, UserError):
                raise
            notes.append(f"{file} is damaged and was left out ({_said(error)}).")
    return None, notes


def _opened(folder: Path, report: Record, classes: tuple[str, ...], notes: list[str]) -> Evaluated:
    """What a folder holds.

    Raises:
        ValueError: scores.json is not that of an evaluation of these classes.
    """
    confusion = np.asarray(report["network"]["confusion"])
    if confusion.dtype.kind != "i" or list(report["network"]["per_class"]) != list(classes):
        raise ValueError("it is not that of an evaluation of the classes of this run")
    scores = scores_of(confusion.astype(np.int64), classes)
    tables: dict[str, Table] = {}
    for file in sorted(folder.glob("*.csv")):
        with file.open(newline="", encoding="utf-8", errors="replace") as content:
            rows = list(csv.reader(content))
        if any(len(row) != len(rows[0]) for row in rows):
            notes.append(f"{file} is damaged and was left out.")
        elif rows:
            tables[file.stem] = rows
    tiles: dict[str, list[Tile]] = {}
    try:
        tiles = kept_tiles(folder)
        if not tiles:
            notes.append(
                "No windows: the evaluation is of an earlier version. Evaluate the run again."
            )
    except UserError as error:
        notes.append(str(error))
    notes += [str(note) for note in report.get("notes", ())]
    split, step = str(report["split"]), int(report["step"])
    found = Evaluated(folder, split, step, confusion, scores, report, tables, tiles)
    for number in range(len(classes)):
        found.interval("iou", number)  # raises here, not where the page shows it
    return found


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
