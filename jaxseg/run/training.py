"""Training a network: `train(config, workdir)`, the whole loop from top to bottom.

A run is a pure function of its config: killed at any time and started again, it ends with the same
parameters.
"""

import functools
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from jax.tree_util import keystr

from jaxseg import config as configs
from jaxseg import config_text, sharding
from jaxseg.config import Config
from jaxseg.config_text import Code
from jaxseg.datasets.leakage import check_splits, copies
from jaxseg.datasets.paired import Paired
from jaxseg.datasets.wrapped import refuse_other_sensor, walk
from jaxseg.errors import UserError
from jaxseg.losses.distillation import Teacher, distillation_of
from jaxseg.metrics.scores import scores_of
from jaxseg.pipeline import band_statistics, survey
from jaxseg.pipeline import windows as pipeline
from jaxseg.run import (
    checkpoint,
    completion,
    data_files,
    environment,
    normalisations,
    profiling,
    single_values,
    soundness,
)
from jaxseg.run import evaluator as evaluation
from jaxseg.run.checkpoint import Checkpoints
from jaxseg.run.logbook import Logbook
from jaxseg.run.processes import check_alike
from jaxseg.run.soundness import UnsoundError
from jaxseg.run.step import (
    TrainState,
    Tree,
    abstract_state,
    count_parameters,
    inference_variables,
    init_state,
    jit_train_step,
)
from jaxseg.run.stopping import stop_requests
from jaxseg.run.trackers.watched import Kind, check_installed
from jaxseg.run.workdir import check_room, training_in
from jaxseg.scenes.scene import Sample, in_files
from jaxseg.transforms.transform import preprocess

AHEAD = 2
"""Steps by which the host may be ahead of the devices; more would only use memory."""


class Interrupted(Exception):  # noqa: N818  not an error: the state is saved
    """The run was asked to stop; its state is saved and the same command continues it."""


def train(
    config: Config, workdir: Path, code: Code = (), profile: int = 0, track: Kind = ""
) -> TrainState:
    """Trains to the end of `config`, continuing the run in `workdir` if there is one.

    Args:
        config: Everything that decides the run.
        workdir: Folder of checkpoints, metrics and events.
        code: Where classes of other runs from outside jaxseg may be taken from; those in the
            config itself are known.
        profile: Number of steps, after the first, that are recorded in `workdir`/profile.
        track: A tracker that gets what the logbook gets; its failures do not stop the run.

    Returns:
        The final state.

    Raises:
        UserError: Config, data or workdir are inconsistent, processes of one job differ in them,
            another training runs in the workdir, it cannot be written to, or a loss or the state
            became non-finite.
        Interrupted: SIGTERM or Ctrl-C came to a process during the loop; the state is saved.
    """
    suspect: dict[int, str] = {}
    while True:
        try:
            return _attempt(config, workdir, code, profile, track, suspect)
        except UnsoundError as error:
            if error.resumed is None or not checkpoint.has_older(workdir, error.resumed):
                raise
            suspect[error.resumed] = str(error)


def _attempt(
    config: Config,
    workdir: Path,
    code: Code,
    profile: int,
    track: Kind,
    suspect: Mapping[int, str],
) -> TrainState:
    """Trains from the newest checkpoint that is not suspect; see `train`.

    Raises:
        UnsoundError: A loss, the gradient or the state became non-finite or too large.
    """
    profiling.check(profile)
    check_installed(track)
    config_text.check_storable(config, code)
    config = config_text.absolute(config)  # a stored run is opened from any folder
    code = (*code, *config_text.classes_in(config))
    check_alike(config, workdir)
    # 1 mesh
    mesh = sharding.make_mesh(config.mesh)
    sharding.check_batch(mesh, config.data.batch_size, config.data.crop)
    positions = sharding.local_positions(mesh, config.data.batch_size)

    with (
        training_in(workdir),
        Checkpoints(workdir, keep=config.keep, repair=True, code=code) as checkpoints,
    ):
        # 2 sources, and what the config leaves open
        stored = checkpoints.stored_config()
        check_splits(config.data.source, config.data.shared_ground)
        config = normalisations.with_group_size(completion.completed(config, stored), mesh, stored)
        configs.check(config)
        source = config.data.source

        # 3 abstract state; 4 resume: this workdir, else other weights, else scratch
        abstract = abstract_state(config, len(source.sensor.bands), mesh)
        check_room(workdir, abstract)
        _refuse_changes(stored, config, workdir)
        state, skipped = checkpoints.restore_newest(abstract, suspect)
        resumed = None if state is None else int(state.step)
        origin = "continued from the newest checkpoint"
        if state is None:
            state, origin = _initialised(config, mesh, code)
        first = int(state.step)
        chief = jax.process_index() == 0
        with Logbook(
            workdir,
            total_steps=config.num_steps,
            start_step=first,
            active=chief,
            track=track,
            config=config_text.to_json(config),
        ) as log:
            for line in skipped:
                log.say(f"Skipped: {line}.")
            if first >= config.num_steps:
                log.say(
                    f"{workdir} is complete: {first} of {config.num_steps} steps. Evaluate it with "
                    f"`jaxseg evaluate {workdir}`, or raise --config.num-steps."
                )
                return state

            # 5 report what is about to happen
            for line in config_text.pretty(config, short=True):
                log.say(line)
            log.say("and the defaults of everything else")
            changes = data_files.changed(workdir, source) if first else ()
            for line in (*changes, *looked_at(config), *normalisations.notes(config, state.params)):
                log.say(f"Note: {line}")
            if chief:
                data_files.keep(workdir, source)
                environment.keep(workdir, first)
            log.summary(_summary(config, state, mesh, workdir, origin))

            # 6 compile
            log.doing("compiling")
            started = time.perf_counter()
            batches = on_devices(
                pipeline.training_batches(
                    config.data,
                    seed=config.seed,
                    positions=positions,
                    first=first,
                    last=config.num_steps,
                    inputs=completion.inputs_of(config),
                ),
                mesh,
            )
            batch = next(batches)
            train_step = compiled(config, mesh, abstract, state, batch, code, log.say)
            validate = evaluation.Evaluator(config, mesh, "validation")
            log.say(f"Compiled the training step in {time.perf_counter() - started:.0f} s.")

            # 7 the loop
            steps = _Steps(
                config,
                source.classes,
                soundness.leaves(abstract),
                lambda number: soundness.extreme(config, positions, number),
                resumed,
            )
            with (
                stop_requests(mesh) as stop_requested,
                profiling.recording(workdir, first, profile, log) as recording,
            ):
                for number in range(first + 1, config.num_steps + 1):
                    with recording.step(number):
                        state, metrics = train_step(state, batch)
                    # Metrics of earlier steps are fetched while this step runs: nothing waits.
                    if (number - 1) % config.log_every == 0:
                        steps.write(log)
                    steps.add(number, metrics)
                    recording.after(number, metrics)
                    log.advance(number)
                    last = number == config.num_steps
                    if not last:
                        batch = steps.next_batch(batches)
                    stop = stop_requested()
                    result = None
                    if last or (number % config.eval_every == 0 and not stop):
                        steps.check()
                        log.doing("validating")
                        # A long validation does not delay the save of a run that has to stop.
                        result = validate.unless(stop_requested, state, anyway=last)
                        stop = result is None
                        if result is not None:
                            log.validation(number, result.scores.summary())
                            log.table(number, "validation/classes", result.scores.csv_rows())
                            for name, picture in validate.snapshots(state).items():
                                log.image(number, name, picture)
                        steps.skip_clock()
                    if number % config.save_every == 0 or last or stop:
                        steps.check()
                        miou = None if result is None else result.scores.miou
                        checkpoints.save(state, config, miou)
                        log.checkpoint(number, (workdir / "checkpoints" / str(number)).absolute())
                        steps.skip_clock()
                    if last or stop:
                        steps.write(log)
                    if stop and not last:
                        checkpoints.wait()  # while a second SIGTERM is still only noted
                        raise Interrupted(
                            f"Stopped at step {number}; the state is saved in {workdir}. The same "
                            "command continues it."
                        )
    # 8 leaving the `with` block of the checkpoints waited for the last save
    log.say(f"Trained and saved. Next: jaxseg evaluate {workdir}")
    return state


class _Steps:
    """The steps since the last line of the log: their metrics and the time they took."""

    def __init__(
        self,
        config: Config,
        classes: tuple[str, ...],
        leaves: tuple[str, ...] = (),
        extreme: Callable[[int], str] = lambda number: "",
        resumed: int | None = None,
    ) -> None:
        self._batch_size = config.data.batch_size
        self._classes = classes
        self._leaves = leaves
        self._extreme = extreme
        self._resumed = resumed
        self._steps: list[tuple[int, dict[str, jax.Array]]] = []
        self._waited = 0.0
        self._worked = 0.0
        self._since = time.perf_counter()

    def add(self, number: int, metrics: dict[str, jax.Array]) -> None:
        self._steps.append((number, metrics))

    def next_batch(self, batches: Iterator[dict[str, jax.Array]]) -> dict[str, jax.Array]:
        if len(self._steps) >= AHEAD:
            jax.block_until_ready(self._steps[-AHEAD][1])
        started = time.perf_counter()
        batch = next(batches)
        self._waited += time.perf_counter() - started
        return batch

    def check(self) -> None:
        """Waits for the steps so far.

        Raises:
            UnsoundError: A loss, the gradient's norm or the state is not finite, or too large.
        """
        for number, metrics in self._steps:
            if found := soundness.fault(metrics, self._leaves):
                soon = self._resumed is not None and number <= self._resumed + soundness.SOON
                raise UnsoundError(
                    f"{found} at step {number}; this state was not saved. {self._extreme(number)} "
                    "Lower --config.optimizer.learning-rate, clip with --config.optimizer.clip "
                    "1.0, or look for values in the images that should be marked as nodata.",
                    self._resumed if soon else None,
                )
        self._clock()

    def write(self, log: Logbook) -> None:
        """Checks, averages and logs the steps since the last line, if there are any."""
        if not self._steps:
            return
        self.check()
        fetched = [jax.device_get(metrics) for _, metrics in self._steps]
        confusion = sum(metrics.pop("confusion").astype(np.int64) for metrics in fetched)
        logged = [name for name in fetched[0] if name not in (soundness.LARGEST, soundness.LEAF)]
        row = {name: float(np.mean([m[name] for m in fetched])) for name in logged}
        row["miou"] = scores_of(np.asarray(confusion), self._classes).miou
        row["images_per_second"] = len(fetched) * self._batch_size / max(self._worked, 1e-9)
        row["waiting"] = self._waited / max(self._worked, 1e-9)
        log.training(self._steps[-1][0], row)
        self._steps, self._waited, self._worked = [], 0.0, 0.0

    def skip_clock(self) -> None:
        """Excludes the time since the last check (a validation or a save) from the rates."""
        self._since = time.perf_counter()

    def _clock(self) -> None:
        now = time.perf_counter()
        self._worked += now - self._since
        self._since = now


Step = Callable[[TrainState, dict[str, jax.Array]], tuple[TrainState, dict[str, jax.Array]]]
"""State and batch -> next state and metrics."""


def compiled(
    config: Config,
    mesh: Mesh,
    abstract: TrainState,
    state: TrainState,
    batch: dict[str, jax.Array],
    code: Code,
    say: Callable[[str], None],
) -> Step:
    """The training step as one executable: another shape is an error, not a recompilation.

    Args:
        config: The run, completed.
        mesh: Where state and batches are placed.
        abstract: The result of `abstract_state`.
        state: A state, for its shapes.
        batch: A batch, likewise.
        code: Where classes of other runs may be taken from.
        say: Shows what is odd about the network.

    Raises:
        UserError: A teacher cannot be opened, or a layer would learn nothing.
    """
    teacher = teacher_of(config, code)
    more = () if teacher is None else (teacher.variables,)
    step = jit_train_step(config, mesh, abstract, teacher)
    with single_values.watched(config.norm) as found:
        lowered = step.lower(state, batch, *more)
    if found:
        group = config.norm.size if config.norm.kind == "ghost" else 0
        say(single_values.report(found, config.data.batch_size, config.accumulate, group=group))
    program = lowered.compile()
    return lambda state, batch: program(state, batch, *more)


def teacher_of(config: Config, code: Code) -> Teacher | None:
    """The finished network that the config learns from.

    Raises:
        UserError: Its run cannot be read, or has other classes.
        SensorError: The side images do not match what it was trained on.
    """
    distilled = distillation_of(config.loss.values())
    if distilled is None:
        return None
    finished, state = checkpoint.reopen(Path(distilled.run), config.mesh, code=code)
    theirs, ours = finished.data.source.classes, config.data.source.classes
    if theirs != ours:
        raise UserError(
            f"The teacher {distilled.run} has the classes {', '.join(theirs)}; this "
            f"run has {', '.join(ours)}. They must be the same, in the same order."
        )
    for prefix, source in walk(config.data.source):
        if isinstance(source, Paired):
            found = band_statistics.typical(source.side.scenes("train"), config.data.crop)
            where = f"The side source for the teacher {distilled.run}"
            refuse_other_sensor(finished.sensor, source.side, found, where, f"{prefix}.side")
    see = functools.partial(preprocess, steps=finished.preprocess)
    variables = inference_variables(state)
    return Teacher(distilled.layers, finished.model, see, variables, finished.norm)


def on_devices(batches: Iterator[Sample], mesh: Mesh) -> Iterator[dict[str, jax.Array]]:
    """Places batches on the devices, one batch ahead of the one that is returned."""
    placed = None
    for batch in batches:
        upcoming = sharding.place_batch(mesh, batch)
        if placed is not None:
            yield placed
        placed = upcoming
    if placed is not None:
        yield placed


def _refuse_changes(stored: Config | None, given: Config, workdir: Path) -> None:
    # Earlier versions stored paths as they were given.
    before = config_text.absolute(stored)
    if stored is not None and (changed := config_text.differences(before, given)):
        warmup, hint = stored.optimizer.warmup, ""
        if warmup != given.optimizer.warmup:  # it follows the length of a run that flags shorten
            hint = f"\n--config.optimizer.warmup {warmup} keeps the warm-up as it was."
        raise UserError(
            f"{workdir} holds a run of another config. It differs in (stored -> given):\n  "
            + "\n  ".join(changed)
            + "\nGive the same config to continue the run, or another --workdir to start a new one."
            + hint
        )


def _initialised(config: Config, mesh: Mesh, code: Code) -> tuple[TrainState, str]:
    """A new state, with the parameters of another run or framework if the config names one."""
    state = init_state(config, len(config.data.source.sensor.bands), mesh)
    if config.init_from is not None:
        other_config, other = checkpoint.reopen(Path(config.init_from), config.mesh, code=code)
        weights = (other.params if other.ema is None else other.ema, other.batch_stats)
        origin = f"from the run {config.init_from}"
        there = f"{config_text.shown_briefly(other_config.model)} there, "
    elif config.pretrained.path is not None:
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        bands = config.data.source.sensor.bands
        variables = config.pretrained.into(config.model, jax.device_get(variables), bands)
        weights = (variables["params"], variables["batch_stats"])
        origin, there = f"from {config.pretrained.path} ({config.pretrained.part})", ""
    else:
        return state, f"from scratch, seed {config.seed}"
    ours = (state.params, state.batch_stats)
    if jax.tree.map(np.shape, weights) != jax.tree.map(np.shape, ours):
        here = f"{config_text.shown_briefly(config.model)} here{_unlike(weights[0], ours[0])}"
        raise UserError(
            f"{origin}: its network is not this config's network: {there}{here}. Use the same "
            f"model, or train from scratch.{normalisations.unlike(weights[1], config)}"
        )
    params, batch_stats = jax.tree.map(
        lambda new, old: jax.device_put(np.asarray(new, old.dtype), old.sharding), weights, ours
    )
    ema = None if state.ema is None else jax.tree.map(lambda leaf: leaf.copy(), params)
    return state.replace(params=params, batch_stats=batch_stats, ema=ema), origin


def _unlike(theirs: Tree, ours: Tree) -> str:
    """What a message adds about the first parameter that two networks do not have in common."""
    there, here = (
        {keystr(path, simple=True, separator="/"): np.shape(leaf) for path, leaf in leaves}
        for leaves in map(jax.tree.leaves_with_path, (theirs, ours))
    )
    for name in (*here, *there):
        if there.get(name) != here.get(name):
            one, other = (of.get(name, "absent") for of in (there, here))
            return f"; {name} is {one} there, {other} here"
    return ""


def looked_at(config: Config) -> list[str]:
    """What is odd about the training and validation data, by a sample of them."""
    source = config.data.source
    found = [survey.survey(source, split) for split in ("train", "validation")]
    known = [part for part in found if part is not None]
    lacking = found[0] is not None and not found[0].classes.all()
    if lacking and (test := survey.survey(source, "test")) is not None:
        known.append(test)  # does it have what the training lacks?
    return [*survey.findings(known, source), *copies(source)]


def _summary(
    config: Config, state: TrainState, mesh: Mesh, workdir: Path, origin: str
) -> dict[str, str]:
    data, source = config.data, config.data.source
    device = jax.devices()[0]
    scenes = source.scenes("train")
    count, files = len(scenes), in_files(scenes)
    shown = f"{count} training scenes" if files == count else f"{count} blocks of {files} scenes"
    return {
        "devices": f"{jax.device_count()} x {device.device_kind}",
        "processes": str(jax.process_count()),
        "mesh": ", ".join(f"{name} {size}" for name, size in mesh.shape.items()),
        "network": f"{type(config.model).__name__}, {count_parameters(state.params):,} parameters",
        "weights": origin,
        "data": f"{type(source).__name__}, {shown}, "
        f"{len(source.sensor.bands)} bands, {len(source.classes)} classes",
        "batch": f"{data.batch_size} windows of {data.crop} x {data.crop} pixels",
        "steps": f"{int(state.step)} to {config.num_steps}",
        "workdir": str(workdir),
    }
