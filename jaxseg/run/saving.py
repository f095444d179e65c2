"""Saving the states of a run and restoring them; the only file to use Orbax.

    WORKDIR/checkpoints/STEP/state     the arrays of a TrainState
    WORKDIR/checkpoints/STEP/config    the run's Config as JSON
    WORKDIR/checkpoints/STEP/digests   what both are compared with when they are read

A save is asynchronous and atomic: a process killed during it leaves a directory that is ignored.
Checkpoints damaged on disk later are reported and skipped.
"""

import contextlib
import dataclasses
import errno
import math
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import (
    AnyPreservationPolicy,
    BestN,
    LatestN,
)

from jaxseg import config_text
from jaxseg.config import Config
from jaxseg.config_text import Code
from jaxseg.errors import UserError
from jaxseg.run import digests, failed_reads, step
from jaxseg.run.damaged import ASIDE, METRIC, first_line, put_aside, score
from jaxseg.run.failed_saves import FailedSaveError, FailedSaves
from jaxseg.run.processes import exchanged
from jaxseg.run.workdir import check_room, everywhere, fault_of, is_gone
from jaxseg.system.console import make_console, say

LOOK = 1.0
"""Seconds between two looks whether the folder of a run that is being trained is there."""

PAUSE = 0.1
"""Seconds between two questions to the other processes whether they have saved."""


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
        self,
        workdir: Path,
        *,
        keep: int = 1,
        repair: bool = False,
        code: Code = (),
        failed: FailedSaves | None = None,
    ) -> None:
        """Opens (and creates) `workdir`/checkpoints, keeping the newest `keep` and the best.

        Args:
            workdir: The run's folder.
            keep: Number of newest checkpoints that are kept.
            repair: Whether checkpoints with damaged metrics are renamed, an error otherwise, and
                what killed saves have left is removed.
            code: Where classes from outside jaxseg may be taken from.
            failed: Where failed saves are noted, in a training.

        Raises:
            UserError: A checkpoint has damaged metrics, and `repair` is False.
        """
        self._training, self._looked = failed is not None, 0.0
        self._failed_somewhere = False
        self._failed = failed or FailedSaves()
        self._workdir = workdir
        self._aside = put_aside(workdir / "checkpoints", repair=repair)
        self._unreadable: set[int] = set()
        self._code = code
        self._manager = ocp.CheckpointManager(
            (workdir / "checkpoints").absolute(),
            options=ocp.CheckpointManagerOptions(
                # A folder that cannot be made is an error at once, not one that threads wait for;
                # of several processes, the others would wait.
                async_options=ocp.AsyncOptions(
                    create_directories_asynchronously=jax.process_count() > 1
                ),
                # What a killed save has left: this training alone writes here.
                cleanup_tmp_directories=repair,
                best_fn=score,
                preservation_policy=AnyPreservationPolicy(
                    [
                        LatestN(max(1, keep)),
                        BestN(get_metric_fn=score, n=1, keep_checkpoints_without_metrics=False),
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
        """Waits for the last save; for one that has failed only in a process that is alone."""
        try:
            if error is None:
                self.wait()
        finally:
            if not self._failed_somewhere:
                self._manager.close()
            elif jax.process_count() == 1:  # else its threads wait for other processes
                with contextlib.suppress(Exception):  # the first error is being raised
                    self._manager.close()

    def save(self, state: step.TrainState, config: Config, score: float | None) -> None:
        """Starts to save `state` under its own step; returns while the arrays are being written.

        Args:
            state: The state; its arrays may be donated as soon as this returns.
            config: The run.
            score: Validation mIoU of this very state, in pre-training the explained share of the
                variance, or None if it was not validated.

        Raises:
            UserError: There is no room for it, or the folder is gone.
            FailedSaveError: The save before it has failed on another process.
        """
        self.failed()  # looks at the folder
        self.wait()
        number = int(state.step)
        if number in self._manager.all_steps():
            if number not in self._unreadable:
                return
            self._manager.delete(number)  # a run that reaches this step again saves it again
            self._unreadable.remove(number)
        check_room(self._workdir, state)
        text = config_text.to_json(config)
        metrics = None if score is None or not math.isfinite(score) else {METRIC: float(score)}
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
        """Waits until the last save is written; all processes call it together.

        Raises:
            FailedSaveError: It has failed on one of several processes.
        """
        if jax.process_count() > 1:
            self._meet()
        elif self._failed.first is not None:
            self._failed_somewhere = True
            raise self._failed.first
        self._manager.wait_until_finished()

    def _meet(self) -> None:
        """Waits until the last save is written on all processes, or has failed on one."""
        while True:
            error = self._failed.first
            fault = "" if error is None else fault_of(self._workdir, error) or first_line(error)
            everyone = exchanged({"fault": fault, "saving": "saving" if self.saving() else ""})
            faults = {number: of["fault"] for number, of in enumerate(everyone) if of["fault"]}
            for number, found in faults.items():
                self._failed_somewhere = True
                raise FailedSaveError(f"Process {number} of {len(everyone)} cannot save. {found}")
            if not any(of["saving"] for of in everyone):
                return
            time.sleep(PAUSE)

    def failed(self) -> bool:
        """Whether a save of this process has failed, or would; `save` and `wait` raise why."""
        now = time.monotonic()
        if self._training and self._failed.first is None and now >= self._looked + LOOK:
            self._looked = now
            if is_gone(self._workdir):
                self._failed.first = FileNotFoundError(errno.ENOENT, "gone", str(self._workdir))
        return self._failed.first is not None

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
            UserError: There are checkpoints, or were before they were put aside, but none of them
                can be read.
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
                stored = digests.read(self.folder(number))
                state = self.restore(number, abstract_state)
            except Exception as error:
                fault = first_line(error)
            if everywhere(state is not None) and state is not None:
                try:
                    self.verify(number, state, stored)
                except digests.DamagedError as error:
                    fault = first_line(error)
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
        folder = Path(self._manager.directory)
        if damaged := sorted(path.name for path in folder.glob(f"*.{ASIDE}")):
            raise UserError(
                f"All checkpoints in {folder} are damaged and put aside: "
                f"{'; '.join(skipped) or ', '.join(damaged)}. Nothing is left to continue from. "
                "Remove the folder to start again, or give another --workdir."
            )
        return None, skipped

    def stored_config(self) -> Config | None:
        """The config of the newest checkpoint with a readable config; None if there is none."""
        for number in sorted(self._manager.all_steps(), reverse=True):
            try:
                return self.config(number)
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

    def folder(self, number: int) -> Path:
        """That of a checkpoint."""
        return self._workdir / "checkpoints" / str(number)

    def config(self, number: int) -> Config:
        """That of a checkpoint.

        Raises:
            UserError: It holds none.
            DamagedError: A text of the checkpoint is not as it was saved.
        """
        digests.read(self.folder(number))
        stored = self._manager.restore(
            number, args=ocp.args.Composite(config=ocp.args.JsonRestore())
        )
        config = config_text.from_json(stored["config"], self._code)
        if not isinstance(config, Config):
            raise UserError(f"Checkpoint {number} in {self._manager.directory} holds no Config.")
        return config

    def restore(self, number: int, abstract_state: step.TrainState) -> step.TrainState:
        """The state of a checkpoint, not compared with its digests yet.

        Args:
            number: Its step.
            abstract_state: Shapes, dtypes and placements to restore to.
        """
        failed_reads.leave_out()
        how = ocp.checkpoint_utils.construct_restore_args(abstract_state)
        args = ocp.args.Composite(state=ocp.args.PyTreeRestore(abstract_state, restore_args=how))
        state = self._manager.restore(number, args=args)["state"]
        jax.block_until_ready(state)
        return state  # type: ignore[no-any-return]

    def verify(self, number: int, state: step.TrainState, stored: digests.Digests | None) -> None:
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
