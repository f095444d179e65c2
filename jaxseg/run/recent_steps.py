"""The steps since the last line of the log: their metrics, their soundness and their time."""

import time
from collections.abc import Callable, Iterator

import jax
import numpy as np

from jaxseg.config import Config
from jaxseg.metrics.scores import scores_of
from jaxseg.run import soundness
from jaxseg.run.logbook import Logbook
from jaxseg.run.soundness import UnsoundError

AHEAD = 2
"""Steps by which the host may be ahead of the devices; more would only use memory."""


class RecentSteps:
    """The steps since the last line of the log: their metrics and the time they took."""

    def __init__(
        self,
        config: Config,
        classes: tuple[str, ...],
        leaves: tuple[str, ...] = (),
        extreme: Callable[[int], str] = lambda number: "",
        resumed: int | None = None,
    ) -> None:
        """Starts the clock.

        Args:
            config: The run.
            classes: Names of the classes.
            leaves: Names of the state's leaves, as the step numbers them.
            extreme: Number of a step -> which scene of its batch has the largest number.
            resumed: Step of the checkpoint that the run began with, if any.
        """
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
        """Notes what a step has returned, without waiting for it."""
        self._steps.append((number, metrics))

    def next_batch(self, batches: Iterator[dict[str, jax.Array]]) -> dict[str, jax.Array]:
        """The next batch; waits while the host is `AHEAD` steps ahead."""
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
        if np.size(confusion):  # there is none in pre-training
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
