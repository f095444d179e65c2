"""Training a network: `train(config, workdir)`, the whole loop from top to bottom.

A run is a pure function of its config: killed at any time and started again, it ends with the same
parameters.
"""

import time
from collections.abc import Mapping
from pathlib import Path

import jax

from jaxseg import config as configs
from jaxseg import config_text, sharding
from jaxseg.config import Config
from jaxseg.config_text import Code
from jaxseg.datasets.leakage import check_splits
from jaxseg.pipeline import windows as pipeline
from jaxseg.run import (
    beginning,
    checkpoint,
    completion,
    data_files,
    environment,
    new_classes,
    normalisations,
    profiling,
    soundness,
)
from jaxseg.run import evaluator as evaluation
from jaxseg.run.checkpoint import Checkpoints
from jaxseg.run.logbook import Logbook
from jaxseg.run.processes import check_alike
from jaxseg.run.program import compiled, on_devices
from jaxseg.run.recent_steps import RecentSteps
from jaxseg.run.reconstruction import Reconstructed, Reconstruction
from jaxseg.run.soundness import UnsoundError
from jaxseg.run.step import TrainState, abstract_state
from jaxseg.run.stopping import Asked, stop_requests
from jaxseg.run.trackers.watched import Kind, check_installed
from jaxseg.run.workdir import check_room, everywhere, training_in


class Interrupted(Exception):  # noqa: N818  not an error: the state is saved
    """The run was asked to stop; its state is saved and the same command continues it."""


def train(
    config: Config,
    workdir: Path,
    code: Code = (),
    profile: int = 0,
    track: Kind = "",
    changed_files: bool = False,
    *,
    take_over: bool = False,
) -> TrainState:
    """Trains to the end of `config`, continuing the run in `workdir` if there is one.

    Args:
        config: Everything that decides the run.
        workdir: Folder of checkpoints, metrics and events.
        code: Where classes of other runs from outside jaxseg may be taken from; those in the
            config itself are known.
        profile: Number of steps, after the first, that are recorded in `workdir`/profile.
        track: A tracker that gets what the logbook gets; its failures do not stop the run.
        changed_files: Whether to continue although files of the data are not those of the start.
        take_over: Whether a person knows that the training that has left its name there has ended.

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
            return _attempt(
                config, workdir, code, profile, track, changed_files, suspect, take_over=take_over
            )
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
    changed_files: bool,
    suspect: Mapping[int, str],
    *,
    take_over: bool,
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
    config = new_classes.with_old_radiometry(config, code)
    check_alike(config, workdir)
    # 1 mesh
    mesh = sharding.make_mesh(config.mesh)
    sharding.check_batch(mesh, config.data.batch_size, config.data.crop)
    positions = sharding.local_positions(mesh, config.data.batch_size)

    with (
        training_in(workdir, take_over=take_over) as failed,
        Checkpoints(
            workdir, keep=config.keep, repair=True, code=code, failed=failed
        ) as checkpoints,
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
        beginning.refuse_changes(stored, config, workdir)
        state, skipped = checkpoints.restore_newest(abstract, suspect)
        resumed = None if state is None else int(state.step)
        origin = "continued from the newest checkpoint"
        if state is None:
            state, origin = beginning.initialised(config, mesh, code)
        first = int(state.step)
        known = 0 < first < config.num_steps
        changes = (
            beginning.changes_of_files(workdir, source, allowed=changed_files) if known else []
        )
        chief = jax.process_index() == 0
        with Logbook(
            workdir,
            total_steps=config.num_steps,
            start_step=first,
            active=chief,
            track=track,
            config=config_text.to_json(config),
            failed=failed,
        ) as log:
            for line in skipped:
                log.say(f"Skipped: {line}.")
            if first >= config.num_steps:
                log.say(
                    f"{workdir} is complete: {first} of {config.num_steps} steps. Next: "
                    f"{_next(config, workdir)}, or raise --config.num-steps."
                )
                return state

            # 5 report what is about to happen
            for line in config_text.pretty(config, short=True):
                log.say(line)
            log.say("and the defaults of everything else")
            odd = beginning.looked_at(config)
            for line in (*changes, *odd, *normalisations.notes(config, state.params)):
                log.say(f"Note: {line}")
            if chief:
                data_files.keep(workdir, source, again=not first)
                if said := environment.keep(workdir, first):
                    log.say(f"Note: {said}")
            log.summary(beginning.summary(config, state, mesh, workdir, origin))

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
            validate: evaluation.Evaluator | Reconstruction = (
                Reconstruction(config, mesh, "validation")
                if config.reconstructs
                else evaluation.Evaluator(config, mesh, "validation")
            )
            log.say(f"Compiled the training step in {time.perf_counter() - started:.0f} s.")

            # 7 the loop
            steps = RecentSteps(
                config,
                source.classes,
                soundness.leaves(abstract),
                lambda number: soundness.extreme(config, positions, number),
                resumed,
            )
            with (
                stop_requests(mesh, checkpoints.failed) as stop_requested,
                profiling.recording(workdir, first, profile, log) as recording,
            ):
                if (
                    resumed
                    and first % config.eval_every == 0
                    and everywhere(log.lacks("validation", first))
                ):  # the run was stopped at this step, before it was validated
                    if (
                        _validated(validate, state, first, log, stop_requested, anyway=False)
                        is None
                    ):
                        checkpoints.wait()  # raises what a save would, where the folder is gone
                        raise Interrupted(_stopped(first, workdir))
                    steps.skip_clock()
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
                        result = _validated(
                            validate, state, number, log, stop_requested, anyway=last
                        )
                        stop = result is None
                        steps.skip_clock()
                    if number % config.save_every == 0 or last or stop:
                        steps.check()
                        score = None if result is None else result.scores.best_by
                        checkpoints.save(state, config, score)
                        log.checkpoint(number, (workdir / "checkpoints" / str(number)).absolute())
                        steps.skip_clock()
                    if last or stop:
                        steps.write(log)
                        checkpoints.wait()  # while a signal is still only noted
                    if stop and not last:
                        raise Interrupted(_stopped(number, workdir))
    # 8 the last save is written
    log.say(f"Trained and saved. Next: {_next(config, workdir)}")
    return state


def _validated(
    validate: evaluation.Evaluator | Reconstruction,
    state: TrainState,
    number: int,
    log: Logbook,
    stop: Asked,
    *,
    anyway: bool = False,
) -> evaluation.Evaluation | Reconstructed | None:
    """Validates and logs it; None if the run has to stop first, because its save may not wait."""
    log.doing("validating")
    result = validate.unless(stop, state, anyway=anyway)
    if result is not None:
        log.validation(number, result.scores.summary())
        log.table(number, validate.TABLE, result.scores.csv_rows())
        for name, picture in validate.snapshots(state).items():
            log.image(number, name, picture)
    return result


def _next(config: Config, workdir: Path) -> str:
    """What a finished run is for."""
    if config.reconstructs:
        return f"jaxseg export {workdir} {workdir.name}.safetensors"
    return f"jaxseg evaluate {workdir}"


def _stopped(number: int, workdir: Path) -> str:
    return (
        f"Stopped at step {number}; the state is saved in {workdir}. The same command continues it."
    )
