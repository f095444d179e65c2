"""How good a run is: `evaluate(workdir, split)` counts every pixel once, writes tables, draws."""

import csv
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from numpy.typing import NDArray

from jaxseg import checkpoint, pictures, sharding, transforms
from jaxseg import data as pipeline
from jaxseg.batch import IGNORE, Sample, Window
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.gaussian_baseline import GaussianClassifier
from jaxseg.metrics import ConfusionTotal, Scores, scores
from jaxseg.sharding import MeshShape
from jaxseg.step import TrainState, inference_variables, make_eval_step

BASELINE_WINDOWS = 256
"""Training windows that the per-pixel baseline is fitted on, evenly spaced over the split."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The outcome of one pass over a split.

    Attributes:
        confusion: (K, K) int64 pixels, rows = reference, columns = prediction.
        scores: What the confusion matrix says.
        accuracy: (N,) share of right pixels in each window; NaN where a window has no counted
            pixel.
    """

    confusion: NDArray[np.int64]
    scores: Scores
    accuracy: NDArray[np.float64]

    def ranked(self) -> list[int]:
        """Windows from the worst to the best, without those that have no counted pixel."""
        order = np.argsort(self.accuracy, kind="stable")
        return [int(index) for index in order if not np.isnan(self.accuracy[index])]


class Evaluator:
    """Evaluates states of one config on one split, again and again, with one compiled step."""

    def __init__(self, config: Config, mesh: Mesh, split: str) -> None:
        """Indexes the split; nothing is read or compiled yet.

        Raises:
            UserError: The split is missing or empty, or its windows do not fit the mesh.
        """
        # The result does not depend on the size of a batch, so it grows to what the mesh can cut.
        parts = mesh.shape["data"] * mesh.shape["fsdp"]
        size = -(-config.data.batch_size // parts) * parts
        self._data = dataclasses.replace(config.data, batch_size=size, separation=False)
        self._mesh = mesh
        self._source = config.data.source
        self._scenes = self._source.scenes(split)
        self._windows = pipeline.evaluation_windows(self._scenes, self._data)
        if not self._windows:
            raise UserError(
                f"The split {split} holds no scene. Check the source's paths and split."
            )
        height = config.data.evaluation_crop or config.data.crop
        sharding.check_batch(mesh, size, height)
        self._positions = sharding.local_positions(mesh, size)
        self._step = jax.jit(make_eval_step(config, mesh))

    def __call__(self, state: TrainState) -> Evaluation:
        """Counts every labelled, valid pixel of the split once."""
        total = ConfusionTotal(len(self._source.classes))
        correct, counted = [], []
        for _, results in self._results(state, self._windows):
            total.add(results["confusion"])
            correct.append(results["correct"])
            counted.append(results["counted"])
        right = np.concatenate([_whole(array) for array in correct])[: len(self._windows)]
        seen = np.concatenate([_whole(array) for array in counted])[: len(self._windows)]
        confusion = total.value()
        with np.errstate(invalid="ignore"):
            accuracy = right / seen
        return Evaluation(confusion, scores(confusion, self._source.classes), accuracy)

    def tiles(self, state: TrainState, numbers: list[int]) -> list[pictures.Tile]:
        """Image, label and prediction of some windows, for people to look at."""
        chosen = [self._windows[number] for number in numbers]
        tiles: list[pictures.Tile] = []
        for _, results in self._results(state, chosen):
            prediction = _whole(results["prediction"])
            for row in prediction[: len(chosen) - len(tiles)]:
                scene, window = chosen[len(tiles)]
                sample = pipeline.read_window(self._scenes, scene, window, self._data)
                tiles.append(self._tile(scene, window, sample, row))
        return tiles

    def snapshots(self, state: TrainState, count: int = 3) -> dict[str, NDArray[np.uint8]]:
        """The same few windows every time, to see them change: name -> (H, W, 3) uint8."""
        numbers = np.unique(np.linspace(0, len(self._windows) - 1, count).astype(int))
        tiles = self.tiles(state, [int(number) for number in numbers])
        colors = self._source.colors
        return {f"validation/{tile.name}": pictures.panel_array(tile, colors) for tile in tiles}

    def _tile(
        self, scene: int, window: Window, sample: Sample, prediction: NDArray[np.uint8]
    ) -> pictures.Tile:
        height, width = self._scenes.size(scene)
        inside = (slice(0, height - window.y), slice(0, width - window.x))
        valid = sample["valid"][inside].astype(bool)
        return pictures.Tile(
            name=f"{self._scenes.name(scene)}, row {window.y}, column {window.x}",
            rgb=pictures.stretch(self._source.rgb(sample["image"][inside]), valid),
            label=sample["label"][inside].astype(np.uint8),
            prediction=prediction[inside],
            valid=valid,
        )

    def _results(
        self, state: TrainState, windows: list[tuple[int, Window]]
    ) -> Iterator[tuple[Sample, dict[str, jax.Array]]]:
        variables = inference_variables(state)
        batches = pipeline.evaluation_batches(
            self._scenes, windows, self._data, positions=self._positions
        )
        for batch in batches:
            yield batch, self._step(variables, sharding.place_batch(self._mesh, batch))


def evaluate(
    workdir: Path,
    split: str = "test",
    *,
    which: str = "best",
    mesh_shape: MeshShape = MeshShape(),
    baseline: bool = True,
) -> tuple[Evaluation, Evaluation | None, Path]:
    """Evaluates a checkpoint of a run and writes what it finds to WORKDIR/evaluation/SPLIT.

    Written are `scores.json`, `classes.csv`, `confusion.csv`, `confusion.png`, `worst.png` and
    `median.png`.

    Args:
        workdir: The run.
        split: `train`, `validation` or `test`.
        which: `best`, `latest` or a step.
        mesh_shape: Devices to use; need not be those of the training.
        baseline: Whether to fit and count the per-pixel baseline too.

    Returns:
        The network's evaluation, the baseline's if asked for, and the folder.

    Raises:
        UserError: There is no such run, checkpoint or split.
    """
    config, state = checkpoint.reopen(workdir, mesh_shape, which)
    evaluator = Evaluator(config, sharding.make_mesh(mesh_shape), split)
    result = evaluator(state)
    per_pixel = baseline_evaluation(config, split) if baseline else None
    folder = workdir / "evaluation" / split
    ranked = result.ranked()
    middle = len(ranked) // 2
    worst = evaluator.tiles(state, ranked[:4])
    median = evaluator.tiles(state, ranked[max(0, middle - 2) : middle + 2])
    if jax.process_index() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        _write_tables(folder, result, per_pixel, int(state.step), split)
        source = config.data.source
        figure = pictures.confusion_figure(result.confusion, source.classes)
        figure.savefig(folder / "confusion.png", dpi=120)
        for name, tiles in (("worst", worst), ("median", median)):
            figure = pictures.tiles_figure(tiles, source.colors, source.classes)
            figure.savefig(folder / f"{name}.png", dpi=120)
    return result, per_pixel, folder


def baseline_evaluation(config: Config, split: str) -> Evaluation:
    """What one Gaussian per class, fitted to single preprocessed pixels, reaches."""
    source = config.data.source
    classifier = GaussianClassifier(len(source.classes))
    train = source.scenes("train")
    for index in np.unique(np.linspace(0, len(train) - 1, BASELINE_WINDOWS).astype(int)):
        height, width = train.size(int(index))
        window = Window(0, 0, min(height, 1024), min(width, 1024))
        pixels, label = _pixels(config, train.read(int(index), window))
        classifier.fit(pixels, label)
    scenes = source.scenes(split)
    total = np.zeros((len(source.classes),) * 2, np.int64)
    windows = pipeline.evaluation_windows(scenes, config.data)
    accuracy = np.full(len(windows), np.nan)
    data = dataclasses.replace(config.data, separation=False)
    for number, (scene, window) in enumerate(windows):
        pixels, label = _pixels(config, pipeline.read_window(scenes, scene, window, data))
        if len(label):
            prediction = classifier.predict(pixels)
            size = len(source.classes)
            joint = label.astype(np.int64) * size + prediction
            total += np.bincount(joint, minlength=size * size).reshape(size, size)
            accuracy[number] = float((prediction == label).mean())
    return Evaluation(total, scores(total, source.classes), accuracy)


def _pixels(config: Config, sample: Sample) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The preprocessed pixels (N, C) and labels (N,) that count."""
    image, valid = jnp.asarray(sample["image"]), jnp.asarray(sample["valid"])
    preprocessed = np.asarray(transforms.preprocess(image[None], valid[None], config.preprocess))[0]
    counted = sample["valid"].astype(bool) & (sample["label"] != IGNORE)
    return preprocessed[counted], sample["label"][counted].astype(np.uint8)


def _whole(array: jax.Array) -> NDArray[Any]:
    """The global array on the host of every process."""
    if jax.process_count() > 1:
        return np.asarray(multihost_utils.process_allgather(array, tiled=True))
    return np.asarray(array)


def _write_tables(
    folder: Path, result: Evaluation, baseline: Evaluation | None, step: int, split: str
) -> None:
    report: dict[str, Any] = {"split": split, "step": step, "network": result.scores.as_json()}
    report["network"] |= {"confusion": result.confusion.tolist()}
    if baseline is not None:
        report["per_pixel_baseline"] = baseline.scores.as_json()
    (folder / "scores.json").write_text(json.dumps(report, indent=2) + "\n")
    classes = result.scores.classes
    tables = {
        "classes": result.scores.csv_rows(),
        "confusion": [
            ["reference", *classes],
            *([name, *row] for name, row in zip(classes, result.confusion.tolist(), strict=True)),
        ],
    }
    for name, rows in tables.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)
