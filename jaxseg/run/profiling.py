"""A profile of a few training steps: what the host and the devices do, when, and for how long.

WORKDIR/profile/plugins/profile/TIME/HOST.xplane.pb            for TensorBoard and XProf
WORKDIR/profile/plugins/profile/TIME/perfetto_trace.json.gz    for ui.perfetto.dev
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from jaxseg.errors import UserError
from jaxseg.run.logbook import Logbook

SKIPPED = 1
"""Steps before the first one that is recorded: it also fills caches."""


class Recording:
    """Records some steps; does nothing if their number is 0."""

    def __init__(self, workdir: Path, start: int, steps: int, log: Logbook) -> None:
        """Begins nothing yet.

        Args:
            workdir: The run's folder.
            start: Number of the last step that was made before.
            steps: Number of steps to record.
            log: Where it is said.
        """
        self._folder, self._log = workdir / "profile", log
        self._from, self._to = start + SKIPPED + 1, start + SKIPPED + steps
        self._running = False

    @contextmanager
    def step(self, number: int) -> Iterator[None]:
        """Around the step of this number, counted from 1."""
        if number == self._from <= self._to:
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
            self._running = True
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
            yield

    def after(self, number: int, results: Any) -> None:  # noqa: ANN401  (a tree of arrays)
        """Ends the recording if this was its last step, whose results are waited for."""
        if self._running and number == self._to:
            jax.block_until_ready(results)
            self.end()

    def end(self) -> None:
        """Writes what is recorded, if anything is."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
            self._log.say(f"Recorded from step {self._from} on: {self._folder}")


@contextmanager
def recording(workdir: Path, start: int, steps: int, log: Logbook) -> Iterator[Recording]:
    """A `Recording` that is ended however the training ends."""
    recorded = Recording(workdir, start, steps, log)
    try:
        yield recorded
    finally:
        recorded.end()


def check(steps: int) -> None:
    """Rejects a negative number of steps.

    Raises:
        UserError: It is below 0.
    """
    if steps < 0:
        raise UserError(f"--profile {steps}: give the number of steps to record, or 0 for none.")
