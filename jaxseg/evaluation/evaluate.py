"""Everything measured about a run: `evaluate(workdir, split)`.

Nothing is written here; `report` does that.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import jax
from rich.console import Console

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.config_text import Code
from jaxseg.datasets.leakage import refuse_trained_pixels
from jaxseg.datasets.paired import without_side
from jaxseg.errors import UserError
from jaxseg.evaluation import baseline as baselines
from jaxseg.evaluation import own_data, pictured
from jaxseg.evaluation.baseline import Baselines
from jaxseg.metrics.calibration import Reliability
from jaxseg.metrics.intervals import Intervals
from jaxseg.metrics.measure import Measure, with_library
from jaxseg.pictures import tiles as pictures
from jaxseg.run import checkpoint, data_files
from jaxseg.run.adapted import WINDOWS, Adapt, adapted, batches_of, refuse_unadaptable
from jaxseg.run.contract import Check
from jaxseg.run.evaluator import Evaluation, Evaluator
from jaxseg.run.kept import PIXELS, Calibration, kept_calibration, kept_pixels
from jaxseg.run.step import TrainState, inference_variables
from jaxseg.scenes.cover import Cover
from jaxseg.scenes.scene import Source
from jaxseg.sharding import MeshShape
from jaxseg.system import side_files

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, eq=False)
class Assessment:
    """Everything that `evaluate` finds out about a run.

    Attributes:
        split: The evaluated split.
        step: Step of the checkpoint.
        source: The data.
        network: The results of the network.
        intervals: Confidence intervals of these scores.
        shared_ground: Share of the ground of the split, 0..1, that the training has shown, as far
            as files state it.
        measures: Measures of whole scenes: borders, objects and others.
        calibration: Temperature and thresholds, fitted to the run's validation split; None = its
            data are gone, and they were not fitted before.
        reliability: Calibration before and after division by the temperature, twice the same
            without one; None of a map, which has no probabilities.
        classifiers: The classifiers of single pixels, if requested and known.
        baseline: Results of one Gaussian per class on single pixels, if requested.
        wishart: Results of the Wishart distance of single pixels, if requested and polarimetric.
        worst: The windows with the lowest accuracy.
        median: The windows with medium accuracy.
        scenes: The scenes with the lowest accuracy, reduced.
        cover: How windows lay.
        one_window: Whether each scene lay in one window.
        variant: What tells the results from those of the run as it is, on windows as it has them,
            such as -overlap-0.25; empty if there is nothing.
        notes: What is not known, and why.
        halves: `worst` windows of the worse half of all, and `best` ones of the better half.
        of_map: The maps that were counted; empty if the network was evaluated.
        adapted: How the network was adapted to the evaluated images.
    """

    split: str
    step: int
    source: Source
    network: Evaluation
    intervals: Intervals
    shared_ground: float
    measures: tuple[Measure, ...]
    calibration: Calibration | None
    reliability: tuple[Reliability, Reliability] | None
    classifiers: Baselines | None
    baseline: Evaluation | None
    wishart: Evaluation | None
    worst: list[pictures.Tile]
    median: list[pictures.Tile]
    scenes: list[pictures.Tile]
    cover: Cover
    one_window: bool
    variant: str = ""
    notes: tuple[str, ...] = ()
    halves: Mapping[str, list[pictures.Tile]] = dataclasses.field(default_factory=dict)
    of_map: str = ""
    adapted: Adapt = "none"


def evaluate(
    workdir: Path,
    split: str = "test",
    *,
    source: Source | None = None,
    which: str = "best",
    mesh_shape: MeshShape = MeshShape(),
    baseline: bool = True,
    measures: Iterable[Measure] = (),
    shared_ground: float = 0.0,
    code: Code = (),
    check: bool = True,
    tile: int = 0,
    overlap: float = 0.0,
    adapt: Adapt = "none",
    make: bool = False,
    console: Console | None = None,
) -> Assessment:
    """Evaluates a checkpoint of a run; `report` shows and writes the result.

    Args:
        workdir: The run's folder.
        split: `train`, `validation` or `test`.
        source: Other data to evaluate the run on; None = its own.
        which: `best`, `latest` or a step.
        mesh_shape: Devices to use; they may differ from those of the training.
        baseline: Whether to fit and evaluate the per-pixel baselines, too.
        measures: Your own measures, or the library's with other parameters, such as
            BoundaryTotal(tolerance=...). All other measures of the library use their defaults.
        shared_ground: Share of the ground of the split, 0..1, that the training may have shown.
        code: Where the run's classes from outside jaxseg may be taken from.
        check: Whether other data are compared with the images of the training.
        tile: Rows and columns of the windows; 0 = the evaluation crop of the run. The temperature
            is fitted with windows of the run, without overlap, whatever is given here.
        overlap: Share of a window's side, 0 <= overlap < 1, that two neighbours have in common at
            least. Each pixel counts once, from the window in whose middle it lies.
        adapt: How the network is adapted to the images of the split, without their labels; see
            `jaxseg.run.adapted`. The temperature is fitted without it.
        make: Whether data that the run's config names may be fetched from other machines, drawn or
            downloaded.
        console: Where to show how far it is; None = nowhere.

    Raises:
        UserError: There is no such run, checkpoint or split, the split has no labelled pixel or
            contains pixels that the run was trained on, measures share a name, the size or
            overlap of windows is invalid, or the run cannot be adapted.
        SensorError: The images do not match what the run was trained on.
    """
    measures = with_library(measures)
    console = console or Console(quiet=True)
    config, state = checkpoint.reopen(workdir, mesh_shape, which, code)
    if source is not None and not own_data.shared_paths(config.data.source, source):
        source.scenes(split)  # a person's own data are made on first use
    with own_data.opened(workdir, config.data.source, make=make, console=console):
        return _evaluated(
            workdir,
            config,
            state,
            split,
            source=source,
            mesh_shape=mesh_shape,
            baseline=baseline,
            measures=measures,
            shared_ground=shared_ground,
            check=check,
            tile=tile,
            overlap=overlap,
            adapt=adapt,
            console=console,
        )


def _evaluated(
    workdir: Path,
    config: Config,
    state: TrainState,
    split: str,
    *,
    source: Source | None,
    mesh_shape: MeshShape,
    baseline: bool,
    measures: Iterable[Measure],
    shared_ground: float,
    check: bool,
    tile: int,
    overlap: float,
    adapt: Adapt,
    console: Console,
) -> Assessment:
    """What `evaluate` finds out, once the run is opened."""
    own = config = of_source(config, config.data.source)
    trained = config.data.source
    mesh = sharding.make_mesh(mesh_shape)
    if source is not None:
        check_classes(trained, source)
        config = of_source(config, source)
    allowed = max(shared_ground, config.data.shared_ground)
    shared = refuse_trained_pixels(trained, config.data.source, split, allowed)
    is_own = source is None or without_side(source) == trained
    kind: Check = "none" if not check else "own" if is_own else "other"
    as_trained = state
    if adapt != "none":
        config, state = _adapted(config, state, split, adapt)
    evaluator = Evaluator(
        of_tiles(config, tile),
        mesh,
        split,
        confidence=True,
        console=console,
        check=kind,
        overlap=overlap,
    )
    notes: list[str] = data_files.changed(workdir, trained)

    # What belongs to the run is measured on its own data, which may be gone on another machine.
    def calibrated() -> Calibration:
        validation = Evaluator(own, mesh, "validation", confidence=True, console=console)
        return Calibration(*validation.decisions(as_trained))

    step, elsewhere = int(state.step), source is not None
    calibration = _of_run(
        calibrated, lambda: kept_calibration(workdir, step), "temperature", elsewhere, notes
    )
    temperature = 1.0 if calibration is None else calibration.temperature
    result, confidence, totals, maps = evaluator.with_shapes(state, temperature, measures)
    classifiers = None
    if baseline:
        classifiers = _of_run(
            lambda: baselines.fitted(own, console),
            lambda: _kept_classifiers(workdir),
            "classifier of single pixels",
            elsewhere,
            notes,
        )
    gaussian, wishart = (
        (None, None)
        if classifiers is None
        else baselines.evaluated(config, split, classifiers, console)
    )
    return Assessment(
        split=split,
        step=step,
        source=config.data.source,
        network=result,
        intervals=evaluator.intervals(result),
        shared_ground=shared,
        measures=totals,
        calibration=calibration,
        reliability=confidence.reliability(),
        classifiers=classifiers,
        baseline=gaussian,
        wishart=wishart,
        worst=evaluator.tiles(state, pictured.worst(result, evaluator.scene)),
        median=evaluator.tiles(state, pictured.median(result, evaluator.scene)),
        scenes=list(maps.tiles(config.data.source, console)),
        cover=evaluator.cover,
        one_window=evaluator.one_window,
        variant=_variant(config, evaluator.cover, adapt),
        notes=tuple(notes),
        halves={
            kind: evaluator.tiles(state, numbers)
            for kind, numbers in pictured.halves(result, evaluator.scene).items()
        },
        adapted=adapt,
    )


def _adapted(
    config: Config, state: TrainState, split: str, how: Adapt
) -> tuple[Config, TrainState]:
    """The run for the images of a split, of which evenly spaced windows are looked at."""
    variables, scenes = inference_variables(state), config.data.source.scenes(split)
    refuse_unadaptable(config, variables, how)
    config, found = adapted(config, variables, how, lambda: batches_of(config, scenes, WINDOWS))
    if how == "histograms":
        return config, state
    placed = jax.tree.map(
        lambda new, old: jax.device_put(new, old.sharding), found["batch_stats"], state.batch_stats
    )
    return config, state.replace(batch_stats=placed)


def _of_run(
    measure: Callable[[], T],
    kept: Callable[[], T | None],
    what: str,
    elsewhere: bool,
    notes: list[str],
) -> T | None:
    """What belongs to the run: measured on its own data, or as kept from an earlier evaluation.

    Args:
        measure: Measures it, which opens the run's own data.
        kept: Looks it up.
        what: Its name.
        elsewhere: Whether other data are evaluated, so that a kept one is preferred.
        notes: Where is said that it is not known, and why.

    Raises:
        UserError: It is not known, and the run's own data are evaluated.
    """
    if elsewhere:
        try:
            if (found := kept()) is not None:
                return found
        except UserError as error:
            notes.append(f"The {what} is measured again, because {error}")
    try:
        return measure()
    except UserError as error:
        found = kept()
        if found is None and not elsewhere:
            raise
        if found is None:
            notes.append(
                f"No {what}: no evaluation has kept it, and the run's own data cannot be read "
                f"({error})"
            )
        return found


def _kept_classifiers(workdir: Path) -> Baselines | None:
    arrays = kept_pixels(workdir)
    try:
        return None if arrays is None else Baselines.of(arrays)
    except (LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"The {PIXELS} of {workdir} holds no classifiers ({side_files.reason(error)}): "
            "evaluate the run again, or remove the file."
        ) from error


def of_source(config: Config, source: Source) -> Config:
    """The config with this source, without the side images that only training uses."""
    data = dataclasses.replace(config.data, source=without_side(source))
    return dataclasses.replace(config, data=data)


def of_tiles(config: Config, tile: int) -> Config:
    """The config with windows of this size; 0 = as it is."""
    if tile < 0:
        raise UserError(f"--tile {tile}: give rows and columns of the windows, or 0 for the run's.")
    if not tile:
        return config
    return dataclasses.replace(config, data=dataclasses.replace(config.data, evaluation_crop=tile))


def _variant(config: Config, cover: Cover, adapt: Adapt) -> str:
    """How windows lay, if not as the config says, and how the network was adapted."""
    other = cover.side != (config.data.evaluation_crop or config.data.crop)
    overlap = f"-overlap-{cover.overlap:.3g}" if cover.shared else ""
    changed = "" if adapt == "none" else f"-adapted-{adapt}"
    return (f"-tile-{cover.side}" if other else "") + overlap + changed


def check_classes(trained: Source, given: Source) -> None:
    """Rejects data of other classes.

    Raises:
        UserError: The classes, or their order, differ.
    """
    if trained.classes != given.classes:
        raise UserError(
            f"The data have the classes {', '.join(given.classes)}; the network was trained on "
            f"{', '.join(trained.classes)}. They must be the same, in the same order."
        )
