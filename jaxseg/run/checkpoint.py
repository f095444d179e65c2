"""Saving a run, finding the newest readable state, opening a finished run; only file to use Orbax.

    WORKDIR/checkpoints/STEP/state     the arrays of a TrainState
    WORKDIR/checkpoints/STEP/config    the run's Config as JSON
    WORKDIR/checkpoints/STEP/digests   what both are compared with when they are read

A save is asynchronous and atomic: a process killed during it leaves a directory that is ignored.
Checkpoints damaged on disk later are reported and skipped; Orbax reads the metrics of all
checkpoints before any state, so one with damaged metrics is renamed to STEP.damaged.
"""

import dataclasses
import json
import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint.checkpoint_managers import (
    AnyPreservationPolicy,
    BestN,
    LatestN,
)

from jaxseg import config_text, sharding
from jaxseg.config import Config
from jaxseg.config_text import Code
from jaxseg.console import make_console, say
from jaxseg.errors import UserError
from jaxseg.run import digests, failed_reads, step
from jaxseg.run.workdir import check_room, everywhere
from jaxseg.scenes.scene import Source

PATIENCE = 1.0
"""Seconds that a training has to finish removing a checkpoint that looks damaged."""

METRIC = "miou"
"""The validation metric that determines the best checkpoint."""


class _DigestsHandler(ocp.JsonCheckpointHandler):  # type: ignore[misc]
    """Waits for digests in the thread that writes: the devices go on with the next steps."""

    async def _save_fn(self, x: digests.Digests, directory: Path) -> None:
        await super()._save_fn(digests.fetched(x), directory)


@ocp.args.register_with_handler(_DigestsHandler, for_save=True, for_restore=True)
@dataclasses.dataclass
class _DigestsSave(ocp.args.JsonSave):  # type: ignore[misc]
    """The result of `digests.begun`."""


class Checkpoints:
    """The checkpoints of one run; a context manager, so that the last save is completed."""

    def __init__(
        self, workdir: Path, *, keep: int = 1, repair: bool = False, code: Code = ()
    ) -> None:
        """Opens (and creates) `workdir`/checkpoints, keeping the newest `keep` and the best.

        Args:
            workdir: The run's folder.
            keep: Number of newest checkpoints that are kept.
            repair: Whether checkpoints with damaged metrics are renamed; an error otherwise.
            code: Where classes from outside jaxseg may be taken from.

        Raises:
            UserError: A checkpoint has damaged metrics, and `repair` is False.
        """
        self._workdir = workdir
        self._aside = _put_aside(workdir / "checkpoints", repair=repair)
        self._unreadable: set[int] = set()
        self._code = code
        self._manager = ocp.CheckpointManager(
            (workdir / "checkpoints").absolute(),
            options=ocp.CheckpointManagerOptions(
                best_fn=_score,
                preservation_policy=AnyPreservationPolicy(
                    [
                        LatestN(max(1, keep)),
                        BestN(get_metric_fn=_score, n=1, keep_checkpoints_without_metrics=False),
                    ]
                ),
            ),
            # Compressed, a state takes eleven times the CPU time to write and 0.92 of the bytes.
            item_handlers={"state": ocp.PyTreeCheckpointHandler(use_compression=False)},
            item_names=("state", "config", digests.ITEM),
        )

    def __enter__(self) -> Self:
        """Returns the object itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Waits for the last save."""
        self._manager.close()

    def save(self, state: step.TrainState, config: Config, miou: float | None) -> None:
        """Starts to save `state` under its own step; returns while the arrays are being written.

        Args:
            state: The state; its arrays may be donated as soon as this returns.
            config: The run.
            miou: Validation mIoU of this very state, or None if it was not validated.

        Raises:
            UserError: There is no room for it.
        """
        number = int(state.step)
        if number in self._manager.all_steps():
            if number not in self._unreadable:
                return
            self._manager.delete(number)  # a run that reaches this step again saves it again
            self._unreadable.remove(number)
        check_room(self._workdir, state)
        text = config_text.to_json(config)
        metrics = None if miou is None or not math.isfinite(miou) else {METRIC: float(miou)}
        saved = self._manager.save(
            number,
            args=ocp.args.Composite(
                state=ocp.args.PyTreeSave(state),
                config=ocp.args.JsonSave(text),
                digests=_DigestsSave(digests.begun(state, number, text, metrics)),
            ),
            metrics=metrics,
            force=True,
        )
        if not saved:
            raise RuntimeError(f"Orbax did not save step {number}.")

    def wait(self) -> None:
        """Waits until the last save is written."""
        self._manager.wait_until_finished()

    def saving(self) -> bool:
        """Whether a save is still being written."""
        return bool(self._manager.is_saving_in_progress())

    def restore_newest(
        self, abstract_state: step.TrainState, suspect: Mapping[int, str] = MappingProxyType({})
    ) -> tuple[step.TrainState | None, list[str]]:
        """The newest readable state, or None without checkpoints, and the checkpoints skipped.

        A damaged checkpoint is not touched but listed in the second result, and the one before it
        is tried. All processes choose the same one.

        Args:
            abstract_state: Shapes, dtypes and placements to restore to.
            suspect: Checkpoints that are not tried -> why.

        Raises:
            UserError: There are checkpoints, but none of them can be read.
        """
        skipped = list(self._aside)
        steps = sorted(self._manager.all_steps(), reverse=True)
        for number in steps:
            if number in suspect:
                self._unreadable.add(number)
                skipped.append(
                    f"checkpoint {number}, because the training that continued from it ended with: "
                    f"{suspect[number]}"
                )
                continue
            state, fault = None, ""
            try:
                stored = digests.read(self._folder(number))
                state = self._restore(number, abstract_state)
            except Exception as error:
                fault = _first_line(error)
            if everywhere(state is not None) and state is not None:
                try:
                    self._verify(number, state, stored)
                except digests.DamagedError as error:
                    fault = _first_line(error)
                if everywhere(not fault):
                    return state, skipped
            self._unreadable.add(number)
            skipped.append(f"checkpoint {number} cannot be read ({fault or 'on another process'})")
        if steps:
            raise UserError(
                f"None of the checkpoints {steps} in {self._manager.directory} can be read: "
                + "; ".join(skipped)
                + ". Remove the folder to start again, or give another --workdir."
            )
        return None, skipped

    def stored_config(self) -> Config | None:
        """The config of the newest checkpoint with a readable config; None if there is none."""
        for number in sorted(self._manager.all_steps(), reverse=True):
            try:
                return self._config(number)
            except UserError:
                raise
            except Exception:  # noqa: S112  an older one will do
                continue
        return None

    def choose(self, which: str) -> int:
        """The step of the checkpoint given as `best`, `latest` or a number.

        Raises:
            UserError: There is no such checkpoint.
        """
        steps = sorted(self._manager.all_steps())
        if not steps:
            raise UserError(
                f"No checkpoint in {self._manager.directory}. Train first, or give another run."
            )
        best = self._manager.best_step()
        if which == "best":
            return steps[-1] if best is None else int(best)
        if which == "latest":
            return int(steps[-1])
        if which.isdigit() and int(which) in steps:
            return int(which)
        raise UserError(
            f"No checkpoint {which!r} in {self._manager.directory}: give best, latest or one of "
            f"{steps}."
        )

    def _folder(self, number: int) -> Path:
        return self._workdir / "checkpoints" / str(number)

    def _config(self, number: int) -> Config:
        digests.read(self._folder(number))
        stored = self._manager.restore(
            number, args=ocp.args.Composite(config=ocp.args.JsonRestore())
        )
        config = config_text.from_json(stored["config"], self._code)
        if not isinstance(config, Config):
            raise UserError(f"Checkpoint {number} in {self._manager.directory} holds no Config.")
        return config

    def _restore(self, number: int, abstract_state: step.TrainState) -> step.TrainState:
        failed_reads.leave_out()
        how = ocp.checkpoint_utils.construct_restore_args(abstract_state)
        args = ocp.args.Composite(state=ocp.args.PyTreeRestore(abstract_state, restore_args=how))
        state = self._manager.restore(number, args=args)["state"]
        jax.block_until_ready(state)
        return state  # type: ignore[no-any-return]

    def _verify(self, number: int, state: step.TrainState, stored: digests.Digests | None) -> None:
        """Compares a state with its digests; all processes call it together.

        Raises:
            DamagedError: A leaf is not as it was saved.
        """
        if stored is not None:
            digests.check(state, stored)
        elif jax.process_index() == 0:
            say(
                make_console(),
                f"Note: checkpoint {number} in {self._workdir} is of an earlier version, without "
                "digests: whether its numbers are still as they were saved cannot be checked.",
            )


def has_older(workdir: Path, number: int) -> bool:
    """Whether a run has a checkpoint of an earlier step than `number`."""
    names = [folder.name for folder in (workdir / "checkpoints").iterdir()]
    return any(name.isdigit() and int(name) < number for name in names)


def config_of(workdir: Path, code: Code = ()) -> Config:
    """The config of a run.

    Args:
        workdir: The run's folder.
        code: Where classes from outside jaxseg may be taken from.

    Raises:
        UserError: There is no run, or it has no checkpoint yet.
    """
    config = None
    if (workdir / "checkpoints").is_dir():
        with Checkpoints(workdir, code=code) as checkpoints:
            config = checkpoints.stored_config()
    if config is None:
        raise UserError(
            f"{workdir} is not a run with a checkpoint. Give the --workdir of a training run."
        )
    return config


def chosen(workdir: Path, which: str = "best", code: Code = ()) -> tuple[Config, int]:
    """The config and the step of a checkpoint; its arrays are not read.

    Args:
        workdir: The run's folder.
        which: `best`, `latest` or a step.
        code: Where classes from outside jaxseg may be taken from.

    Raises:
        UserError: There is no such run or checkpoint, or its config cannot be read.
    """
    _refuse_no_run(workdir)
    with Checkpoints(workdir, code=code) as checkpoints:
        number = checkpoints.choose(which)
        try:
            return checkpoints._config(number), number
        except UserError:
            raise
        except Exception as error:
            raise _unreadable(number, workdir, error) from error


def reopen(
    workdir: Path, mesh_shape: sharding.MeshShape, which: str = "best", code: Code = ()
) -> tuple[Config, step.TrainState]:
    """The config and the state of a run, placed on the available devices.

    Args:
        workdir: The run's folder.
        mesh_shape: Mesh to place the state on; it may differ from that of the training.
        which: `best`, `latest` or a step.
        code: Where classes from outside jaxseg may be taken from.

    Raises:
        UserError: There is no such run or checkpoint, or it cannot be read.
    """
    _refuse_no_run(workdir)
    with Checkpoints(workdir, code=code) as checkpoints:
        number = checkpoints.choose(which)
        try:
            config = checkpoints._config(number)
            bands = len(config.sensor.bands or _bands(config.data.source, number, workdir))
            abstract = step.abstract_state(config, bands, sharding.make_mesh(mesh_shape))
            state = checkpoints._restore(number, abstract)
            checkpoints._verify(number, state, digests.read(checkpoints._folder(number)))
            return config, state
        except UserError:
            raise
        except Exception as error:
            raise _unreadable(number, workdir, error) from error


def _bands(source: Source, number: int, workdir: Path) -> tuple[str, ...]:
    """The bands of a source that has no files: to open a run reads none that its config names."""
    if paths := config_text.paths_in(source):
        raise UserError(
            f"Checkpoint {number} in {workdir} does not say which bands its network reads; only "
            f"the data would ({', '.join(paths)}), and to open a run reads none. Train it again."
        )
    return source.sensor.bands


def _refuse_no_run(workdir: Path) -> None:
    if not (workdir / "checkpoints").is_dir():
        raise UserError(
            f"{workdir} is not a run: it has no folder checkpoints. Give the --workdir of a "
            "training run."
        )


def _unreadable(number: int, workdir: Path, error: Exception) -> UserError:
    return UserError(
        f"Checkpoint {number} in {workdir} cannot be read: {_first_line(error)}. Choose another "
        "with --step."
    )


def _put_aside(folder: Path, *, repair: bool) -> list[str]:
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
                    _score(json.loads(metrics.read_bytes()))
                digests.check_metrics(step_folder)
            except (ValueError, KeyError, TypeError, OSError, digests.DamagedError) as error:
                if not repair:
                    time.sleep(PATIENCE)
                    if not step_folder.exists():
                        continue  # a training that goes on has removed it meanwhile
                    raise UserError(
                        f"{metrics} cannot be read ({_first_line(error)}). Start the training "
                        f"again: it puts checkpoint {step_folder.name} aside and continues from "
                        "the one before."
                    ) from error
                aside = step_folder.with_name(f"{step_folder.name}.damaged")
                if aside.exists():
                    shutil.rmtree(aside)
                step_folder.rename(aside)
                lines.append(
                    f"checkpoint {step_folder.name} is put aside as {aside}, because its metrics "
                    f"cannot be read ({_first_line(error)})"
                )
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("damaged checkpoints are put aside")
    return lines


def _score(metrics: dict[str, float]) -> float:
    return float(metrics[METRIC])


def _first_line(error: Exception) -> str:
    if isinstance(error, digests.DamagedError):
        return str(error)
    text = str(error).partition(". See full TensorStore details")[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:160] if lines else ''}"
