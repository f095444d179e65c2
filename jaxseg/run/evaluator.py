"""How good a state is: an `Evaluator` counts every pixel and every map of a split once.

Training uses it for validation, `jaxseg.evaluation` for everything it measures.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jax.experimental import multihost_utils
from jax.sharding import Mesh
from numpy.typing import NDArray
from rich.console import Console

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.errors import UserError
from jaxseg.metrics.calibration import CalibrationTotal
from jaxseg.metrics.intervals import Intervals, blocks, bootstrap
from jaxseg.metrics.measure import Measure, Setting
from jaxseg.metrics.scene_shapes import SceneShapes
from jaxseg.metrics.scores import ConfusionTotal, Scores, scores_of
from jaxseg.metrics.thresholds import Thresholds, fit
from jaxseg.models.structure import output_stride
from jaxseg.pictures import tiles as pictures
from jaxseg.pipeline import windows as pipeline
from jaxseg.run.contract import Check, check_split
from jaxseg.run.reconstruction import refuse_reconstruction
from jaxseg.run.step import TrainState, inference_variables, make_eval_step
from jaxseg.run.whole_scenes import WholeScenes
from jaxseg.scenes.scene import Batch, OfFiles, Sample, Scenes, Window, gsd_of
from jaxseg.system.console import track

Results = dict[str, jax.Array]
"""What the step says of one batch."""

EvaluationStep = Callable[..., Results]
"""`(variables, batch, ...) -> results`, jitted."""

CALIBRATION_WINDOWS = 256
"""Evenly spaced windows to which the temperature is fitted; enough for a single number."""


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """The outcome of one pass over a split.

    Attributes:
        confusion: (K, K) int64 pixels, rows = reference, columns = prediction.
        scores: The scores of the confusion matrix.
        margins: (N, 3, K) of each window's confusion matrix: diagonal, row sums, column sums.
    """

    confusion: NDArray[np.int64]
    scores: Scores
    margins: NDArray[np.int32]

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """(N,) share of correct pixels in each window; NaN if no pixel is counted."""
        right, counted = self.margins[:, 0].sum(-1), self.margins[:, 1].sum(-1)
        with np.errstate(invalid="ignore"):
            return np.asarray(right / counted)

    def ranked(self) -> list[int]:
        """Windows from the worst to the best, without those where no pixel is counted."""
        accuracy = self.accuracy
        order = np.argsort(accuracy, kind="stable")
        return [int(index) for index in order if not np.isnan(accuracy[index])]


class Whole(NamedTuple):
    """What is found out about whole scenes.

    Attributes:
        result: The scores.
        calibration: Sums of confidences.
        measures: Measures of whole scenes.
        scenes: The worst scenes.
    """

    result: Evaluation
    calibration: CalibrationTotal
    measures: tuple[Measure, ...]
    scenes: WholeScenes


class Evaluator:
    """Evaluates states of one config on one split repeatedly, with one compiled step."""

    TABLE: ClassVar = "validation/classes"

    def __init__(
        self,
        config: Config,
        mesh: Mesh,
        split: str,
        *,
        confidence: bool = False,
        console: Console | None = None,
        check: Check = "own",
        overlap: float = 0.0,
        at_most: int = 0,
    ) -> None:
        """Indexes the split; reads little and compiles nothing yet.

        Args:
            config: The run.
            mesh: Where to compute.
            split: `train`, `validation` or `test`.
            confidence: Whether the step measures confidences, too; not needed during training.
            console: Where to show how many windows are done; None = nowhere.
            check: Whether the scenes are of the run's own source.
            overlap: Share of a window's side, 0 <= overlap < 1, that two neighbours have in common
                at least. Each pixel counts once, from the window in whose middle it lies.
            at_most: Number of evenly spaced windows that are evaluated; 0 = all.

        Raises:
            UserError: The split is missing, empty or has no labelled, valid pixel, its windows do
                not fit the mesh, the overlap is not a share, or the run is pre-training.
            SensorError: Its images do not match what the run was trained on.
        """
        refuse_reconstruction(config)
        # The result does not depend on the batch size, so it is raised until the mesh divides it.
        parts = mesh.shape["data"] * mesh.shape["fsdp"]
        size = -(-config.data.batch_size // parts) * parts
        self._data = dataclasses.replace(config.data, batch_size=size)
        self._mesh = mesh
        self._source = config.data.source
        self._scenes = self._source.scenes(split)
        stride = output_stride(config.model) if overlap else 1
        self.cover = pipeline.cover_of(self._data, overlap, stride)
        self._windows: Sequence[tuple[int, Window]] = pipeline.windows_of(self.cover, self._scenes)
        if not self._windows:
            raise UserError(
                f"The split {split} holds no scene. Check the source's paths and split."
            )
        if at_most:
            self._windows = [self._windows[index] for index in _spread(len(self._windows), at_most)]
        if config.sensor.bands:
            crop = config.data.crop
            check_split(config.sensor, self._source, self._scenes, split, crop, check)
        height = config.data.evaluation_crop or config.data.crop
        pipeline.check_memory(-(-size // jax.process_count()), height)
        pipeline.refuse_blank(self._scenes, self._data, split)
        sharding.check_batch(mesh, size, height)
        self._positions = sharding.local_positions(mesh, size)
        self._step = jax.jit(make_eval_step(config, mesh))
        self._confidence = confidence
        self._console = console or Console(quiet=True)

    def __call__(self, state: TrainState) -> Evaluation:
        """Counts every labelled, valid pixel of the split once."""
        return self._counted(self._results(state, self._windows))

    def unless(
        self, stop: Callable[[], bool], state: TrainState, *, anyway: bool = False
    ) -> Evaluation | None:
        """The same, or None if `stop` became true after one of its batches.

        Args:
            stop: Asked after each batch; gives the same answers in all processes.
            state: The state to evaluate.
            anyway: Whether to evaluate to the end, whatever it answers.
        """
        try:
            return self._counted(_until(stop, self._results(state, self._windows), anyway))
        except _StoppedError:
            return None

    def changed(self, state: TrainState, change: Callable[[int, Batch], Batch]) -> Evaluation:
        """The same for batches that are changed before the network sees them.

        Args:
            state: The state to evaluate.
            change: Takes the number of a batch and the batch, on the devices.
        """
        return self._counted(self._results(state, self._windows, change=change))

    def with_shapes(
        self, state: TrainState, temperature: float, measures: Iterable[Measure]
    ) -> Whole:
        """The same pass with measures of whole scenes and calibration; requires `confidence`.

        Args:
            state: The state to evaluate.
            temperature: Divides the logits for the second half of the calibration.
            measures: What to measure; the returned measures hold the sums.

        Raises:
            UserError: A measure's parameters are invalid here, such as metres if the ground sample
                distance is not known.
        """
        setting = Setting(len(self._source.classes), self.cover.side, self._source.sensor.gsd)
        calibration = CalibrationTotal()
        started = [measure.start(setting) for measure in measures]
        shapes = SceneShapes(
            self._scenes,
            self._windows,
            self.cover,
            started,
            lambda scene: gsd_of(self._scenes, scene, self._source),
        )
        scenes = WholeScenes(self._scenes, self._windows, self.cover)

        def watched() -> Iterator[dict[str, jax.Array]]:
            every = self._results(state, self._windows, temperature)
            for results in self._shown(every, len(self._windows), "evaluation"):
                calibration.add(results)
                predictions = _whole(results["prediction"])
                shapes.add(predictions)
                scenes.add(predictions, np.asarray(results["margins"]))
                yield results

        found = self._counted(watched())
        return Whole(found, calibration, shapes.totals(), scenes)

    def decisions(self, state: TrainState) -> tuple[float, Thresholds]:
        """The best temperature, and the thresholds of the probabilities at this temperature.

        Raises:
            UserError: No pixel was counted.
        """
        sampled: list[tuple[NDArray[Any], NDArray[Any]]] = []
        temperature = self.calibration(state, sampled).best_temperature()
        logits, label = (np.concatenate(parts) for parts in zip(*sampled, strict=True))
        chances = scipy.special.softmax(logits / temperature, axis=-1)
        return temperature, fit(chances, label)

    def calibration(
        self,
        state: TrainState,
        sampled: list[tuple[NDArray[Any], NDArray[Any]]] | None = None,
    ) -> CalibrationTotal:
        """The sums for fitting the temperature, on up to `CALIBRATION_WINDOWS` of the windows.

        Args:
            state: The state to evaluate.
            sampled: Where logits (N, K) and labels (N,) of some pixels are put; None = nowhere.
        """
        total = CalibrationTotal()
        chosen = _spread(len(self._windows), CALIBRATION_WINDOWS)
        every = self._results(state, [self._windows[index] for index in chosen], math.nan)
        for results in self._shown(every, len(chosen), "calibration"):
            total.add(results)
            if sampled is not None:
                logits, label = (np.asarray(results[f"sample_{n}"]) for n in ("logits", "label"))
                sampled.append((logits.reshape(-1, logits.shape[-1]), label.reshape(-1)))
        return total

    def each(
        self, state: TrainState, step: EvaluationStep, *arguments: jax.Array, what: str
    ) -> Iterator[Results]:
        """What another step says of each batch, in the order of `windows`.

        Args:
            state: The state to evaluate.
            step: Jitted, `(variables, batch, *arguments) -> results`.
            arguments: Its further arguments.
            what: What the console calls it.
        """
        every = self._results(state, self._windows, step=step, arguments=arguments)
        return self._shown(every, len(self._windows), what)

    def intervals(self, result: Evaluation) -> Intervals:
        """Confidence intervals of the scores of this split."""
        return bootstrap(*blocks(result.margins, self._windows, self._scenes, self.cover))

    @property
    def scenes(self) -> Scenes:
        """The split."""
        return self._scenes

    @property
    def windows(self) -> Sequence[tuple[int, Window]]:
        """Scene and window of each that is evaluated, those of one scene in succession."""
        return self._windows

    @property
    def one_window(self) -> bool:
        """Whether each scene lies in one window."""
        return len(self._windows) == len(self._scenes)

    def scene(self, number: int) -> str:
        """The name of a window's scene."""
        return self._scenes.name(self._windows[number][0])

    def tiles(self, state: TrainState, numbers: list[int]) -> list[pictures.Tile]:
        """Image, label and prediction of some windows, for display."""
        chosen = [self._windows[number] for number in numbers]
        tiles: list[pictures.Tile] = []
        for results in self._results(state, chosen):
            prediction = _whole(results["prediction"])
            for row in prediction[: len(chosen) - len(tiles)]:
                scene, window = chosen[len(tiles)]
                sample = pipeline.read_window(self._scenes, scene, window, self._data)
                tiles.append(self._tile(scene, window, sample, row))
        return tiles

    def snapshots(self, state: TrainState, count: int = 3) -> dict[str, NDArray[np.uint8]]:
        """Pictures of the same few windows every time: name -> (H, W, 3) uint8."""
        tiles = self.tiles(state, _spread(len(self._windows), count))
        colors = self._source.colors
        return {f"validation/{tile.name}": pictures.panel_array(tile, colors) for tile in tiles}

    def _tile(
        self, scene: int, window: Window, sample: Sample, prediction: NDArray[np.uint8]
    ) -> pictures.Tile:
        """What counts from a window."""
        own = self.cover.own(self._scenes.size(scene), window)
        y, x = own.y - window.y, own.x - window.x
        inside = (slice(y, y + own.height), slice(x, x + own.width))
        valid = sample["valid"][inside].astype(bool)
        row, column = own.y, own.x
        if isinstance(self._scenes, OfFiles):  # a scene may be a block of its file
            area = self._scenes.extent(scene).area
            row, column = row + area.y, column + area.x
        return pictures.Tile(
            name=f"{self._scenes.name(scene)}, row {row}, column {column}",
            rgb=pictures.stretch(self._source.rgb(sample["image"][inside]), valid),
            label=sample["label"][inside].astype(np.uint8),
            prediction=prediction[inside],
            valid=valid,
        )

    def _counted(self, every: Iterable[dict[str, jax.Array]]) -> Evaluation:
        total = ConfusionTotal(len(self._source.classes))
        margins = []
        for results in every:
            total.add(results["confusion"])
            margins.append(results["margins"])
        confusion = total.value()
        each = np.concatenate([np.asarray(part) for part in margins])[: len(self._windows)]
        return Evaluation(confusion, scores_of(confusion, self._source.classes), each)

    def _shown(self, every: Iterable[Results], windows: int, what: str) -> Iterator[Results]:
        """The results, while the console shows how many batches are done."""
        batches = -(-windows // self._data.batch_size)
        return track(every, what, total=batches, console=self._console)

    def _results(
        self,
        state: TrainState,
        windows: Sequence[tuple[int, Window]],
        temperature: float = 1.0,
        *,
        step: EvaluationStep | None = None,
        arguments: tuple[jax.Array, ...] = (),
        change: Callable[[int, Batch], Batch] = lambda number, batch: batch,
    ) -> Iterator[dict[str, jax.Array]]:
        """The step's results for each batch, yielded one batch late, so the device never waits."""
        variables = inference_variables(state)
        batches = pipeline.evaluation_batches(
            self._scenes,
            windows,
            self._data,
            positions=self._positions,
            cover=self.cover if self.cover.shared else None,
        )
        extra = (jnp.float32(temperature),) if self._confidence and step is None else arguments
        step = step or self._step
        before = None
        for number, batch in enumerate(batches):
            placed = change(number, sharding.place_batch(self._mesh, batch))
            results = step(variables, placed, *extra)
            if before is not None:
                yield before
            before = results
        if before is not None:
            yield before


class _StoppedError(Exception):
    """An evaluation is not wanted any more."""


def _spread(count: int, wanted: int) -> list[int]:
    """At most `wanted` numbers from 0 to `count` - 1, evenly spaced."""
    return [int(n) for n in np.unique(np.linspace(0, count - 1, wanted).astype(int))]


def _until(stop: Callable[[], bool], every: Iterator[Results], anyway: bool) -> Iterator[Results]:
    for results in every:
        if stop() and not anyway:
            raise _StoppedError
        yield results


def _whole(array: jax.Array) -> NDArray[Any]:
    """The global array on the host of every process."""
    if jax.process_count() > 1:
        return np.asarray(multihost_utils.process_allgather(array, tiled=True))
    return np.asarray(array)
