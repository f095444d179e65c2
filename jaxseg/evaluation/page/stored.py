"""What a run has stored that a page shows; what is missing or damaged is said, not left out.

RUN/metrics.jsonl, environment.jsonl      the training
RUN/evaluation/.../scores.json, *.csv     the last evaluation of the checkpoint
/tiles.npz              its best and worst windows
"""

import csv
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxseg.errors import UserError
from jaxseg.evaluation.kept_tiles import kept_tiles
from jaxseg.metrics.intervals import FEWEST
from jaxseg.metrics.scores import Scores, scores_of
from jaxseg.pictures.tiles import Tile
from jaxseg.run import environment
from jaxseg.run.adapted import SAID
from jaxseg.run.json_lines import json_lines
from jaxseg.system.disk import ASIDE

Record = dict[str, Any]
Table = list[list[str]]
Ends = tuple[float, float] | None

SUMMARIES = ("miou", "overall_accuracy", "mean_f1", "kappa")
"""Scores of all classes together that the page shows."""

PARTS = ("before", "after")

OWN_TABLES = ("classes", "confusion")
"""Tables that the page shows in a form of its own."""


class Training(NamedTuple):
    """How a run was trained.

    Attributes:
        lines: Of metrics.jsonl, in order of their steps.
        starts: Of environment.jsonl.
    """

    lines: list[Record]
    starts: list[Record]


class Bin(NamedTuple):
    """Pixels of one bin of confidence.

    Attributes:
        pixels: How many.
        right: Those whose most probable class is right.
        confidence: Mean probability of this class, 0..1; NaN without pixels.
    """

    pixels: int
    right: int
    confidence: float


class Evaluated(NamedTuple):
    """What an evaluation has written.

    Attributes:
        folder: Where.
        step: Of the checkpoint.
        confusion: (K, K) pixels, rows = reference.
        scores: Of this matrix.
        intervals: Name of a summary such as `miou` -> 95 % interval; None = not known.
        class_intervals: The same for the IoU of each class.
        told: How they came about, as sentences.
        errors: Calibration error 0..1 `before` and `after` division by the temperature.
        single_pixels: mIoU of the classifier of single pixels, 0..1; None = not evaluated.
        reliability: Temperature -> bins of confidence.
        tables: Name of a CSV file -> rows, the headings first.
        tiles: `worst`, `best` -> windows.
    """

    folder: Path
    step: int
    confusion: NDArray[np.int64]
    scores: Scores
    intervals: dict[str, Ends]
    class_intervals: list[Ends]
    told: list[str]
    errors: dict[str, float]
    single_pixels: float | None
    reliability: dict[float, list[Bin]]
    tables: dict[str, Table]
    tiles: dict[str, list[Tile]]


def training(workdir: Path) -> tuple[Training, list[str]]:
    """The history of a training, and what is not known of it."""
    notes = []
    lines, torn = json_lines(workdir / "metrics.jsonl")
    if torn:
        notes.append(f"{torn} line(s) of metrics.jsonl cannot be read and are left out.")
    if not lines:
        notes.append("No training curves: metrics.jsonl holds no line.")
    starts, torn = environment.stored(workdir)
    if torn:
        notes.append(f"{torn} line(s) of {environment.NAME} cannot be read and are left out.")
    elif not starts:
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
    found = (file for file in workdir.glob(pattern) if file.parent.suffix not in ASIDE)
    files = list(found) if folder is None else [folder / "scores.json"]
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
        ValueError, LookupError, TypeError, AttributeError: scores.json is not that of an evaluation
            of these classes.
    """
    network = report["network"]
    confusion = np.asarray(network["confusion"])
    if confusion.dtype.kind != "i" or list(network["per_class"]) != list(classes):
        raise ValueError("it is not that of an evaluation of the classes of this run")
    intervals, calibration = network.get("intervals", {}), network.get("calibration", {})
    baseline = report.get("per_pixel_baseline")
    told = [str(note) for note in report.get("notes", ())]
    tables, damaged = _tables(folder, str(report["step"]))
    found = Evaluated(
        folder=folder,
        step=int(report["step"]),
        confusion=confusion.astype(np.int64),
        scores=scores_of(confusion.astype(np.int64), classes),
        intervals={name: _ends(intervals.get(name)) for name in SUMMARIES},
        class_intervals=[_ends(ends) for ends in intervals.get("iou", [None] * len(classes))],
        told=_told(report),
        errors={part: _number(of["ece"]) for part, of in calibration.items() if part in PARTS},
        single_pixels=None if baseline is None else _number(baseline["miou"]),
        reliability=_bins(tables.pop("reliability", [])),
        tables=tables,
        tiles={},
    )
    notes += [*told, *damaged]
    file = folder / "reliability.csv"
    if not found.reliability and not any(str(file) in note for note in damaged):
        notes.append(f"No reliability diagram: {file} is not there, or another table.")
    try:
        tiles = kept_tiles(folder)
    except UserError as error:
        notes.append(str(error))
        return found
    if not tiles:
        notes.append("No windows: the evaluation is of an earlier version. Evaluate the run again.")
    return found._replace(tiles=tiles)


def _told(report: Record) -> list[str]:
    """What intervals were drawn from, how windows lay, what the training may have shown."""
    lines = []
    intervals, windows = report["network"].get("intervals"), report.get("windows")
    if intervals is None:
        lines.append("There are no intervals: the evaluation is of an earlier version.")
    elif _ends(intervals["miou"]) is None:
        of = f"{int(intervals['blocks'])} {intervals['unit']}"
        lines.append(f"There are no intervals: they need at least {FEWEST} scenes, not {of}.")
    else:
        of = f"{int(intervals['draws'])} draws of {int(intervals['blocks'])} {intervals['unit']}"
        lines.append(f"Intervals: 95 % of {of} with replacement.")
    if windows is not None:
        side, shared = int(windows["side"]), int(windows["shared"])
        apart = f"neighbours share {shared}" if shared else "without overlap"
        lines.append(f"Windows of {side} x {side} pixels, {apart}.")
    if adapted := SAID.get(report.get("adapted", "none")):
        lines.append(f"The network was adapted without labels: {adapted}.")
    if share := float(report.get("shared_ground", 0.0)):
        lines.append(f"{100 * share:.2g} % of the ground is shown in the training split, too.")
    return lines


def _tables(folder: Path, step: str) -> tuple[dict[str, Table], list[str]]:
    """The tables of a folder that are whole and of its step, and what is said of the others."""
    tables: dict[str, Table] = {}
    notes = []
    for file in sorted(folder.glob("*.csv")):
        try:
            with file.open(newline="", encoding="utf-8") as content:
                rows = list(csv.reader(content))
        except (OSError, UnicodeDecodeError, csv.Error):
            rows = [[""], []]
        if any(len(row) != len(rows[0]) for row in rows):
            notes.append(f"{file} is damaged and was left out.")
        elif rows and rows[0][-1:] == ["step"]:  # those of earlier versions do not say it
            if any(row[-1] != step for row in rows[1:]):
                notes.append(f"{file} is of another step and was left out.")
            else:
                tables[file.stem] = [row[:-1] for row in rows]
        elif rows:
            tables[file.stem] = rows
    return tables, notes


def _bins(rows: Table) -> dict[float, list[Bin]]:
    """The bins of the most probable class; empty if the table is another one."""
    found: dict[float, list[Bin]] = {}
    try:
        for row in rows[1:]:
            of = dict(zip(rows[0], row, strict=True))
            if of["class"] == "most probable":
                mean = float(of["mean_confidence"] or "nan")
                one = Bin(int(of["pixels"]), int(of["right"]), mean)
                found.setdefault(float(of["temperature"]), []).append(one)
    except (ValueError, KeyError):
        return {}
    return found


def _ends(found: Any) -> Ends:  # noqa: ANN401  (what JSON holds)
    return None if found is None or None in found else (float(found[0]), float(found[1]))


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
