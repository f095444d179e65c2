"""Windows per second of reading alone, of the training step alone, and of both together.

Reading is the pipeline of a training up to batches on the devices; the step is its compiled step;
both together is its loop. The slower one of the two bounds a training, and a loop that overlaps
them reaches it.
"""

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jaxseg import config as configs
from jaxseg import config_text, sharding
from jaxseg.config import Config
from jaxseg.config_text import Code
from jaxseg.datasets.packed.source import Packed
from jaxseg.datasets.wrapped import leaves
from jaxseg.pipeline import windows as pipeline
from jaxseg.run import completion, normalisations
from jaxseg.run.program import Step, compiled, on_devices
from jaxseg.run.recent_steps import AHEAD
from jaxseg.run.step import TrainState, abstract_state, init_state
from jaxseg.scenes.scene import Batch, Sample

ROUNDS = 5
"""Rounds of the three kinds in turn: what else runs on the machine slows all of them."""

KINDS = ("reading alone", "step alone", "both")

LEAST = 3
"""Batches of a round at least."""

OVERLAPPED = 0.95
"""Share of the slower one that both together reach if one does not wait for the other."""

Batches = Callable[[int], Generator[Batch, None, None]]
"""Batches from a step on, placed on the devices."""


@dataclasses.dataclass(frozen=True)
class Rates:
    """Windows per second of each round, over all devices and processes.

    Attributes:
        reading: Of the pipeline alone.
        step: Of the step alone.
        both: Of the loop of a training.
    """

    reading: tuple[float, ...]
    step: tuple[float, ...]
    both: tuple[float, ...]

    @property
    def medians(self) -> tuple[float, float, float]:
        """Of reading, step and both."""
        reading, step, both = (float(np.median(of)) for of in dataclasses.astuple(self))
        return reading, step, both

    @property
    def spreads(self) -> tuple[float, float, float]:
        """Fastest less slowest round of each, as a share of its median."""
        every = zip(dataclasses.astuple(self), self.medians, strict=True)
        reading, step, both = ((max(of) - min(of)) / median for of, median in every)
        return reading, step, both

    @property
    def share(self) -> float:
        """Rate of both together as a share of the slower one."""
        reading, step, both = self.medians
        return both / min(reading, step)

    @property
    def in_turn(self) -> float:
        """The rate at which one waits for the other, as a share of the slower one."""
        reading, step, _ = self.medians
        return 1 / (1 / reading + 1 / step) / min(reading, step)


def bench(
    config: Config,
    seconds: float,
    code: Code,
    say: Callable[[str], None],
    tracked: Callable[[Iterable[str], int], Iterable[str]],
) -> Rates:
    """Measures a config on all devices.

    Args:
        config: The run that is measured; nothing of it is stored.
        seconds: How long is measured, about, after compiling.
        code: Where classes of other runs may be taken from.
        say: Shows what is going on.
        tracked: Shows progress over the rounds.

    Raises:
        UserError: Config or data are inconsistent.
    """
    config = config_text.absolute(config)
    mesh = sharding.make_mesh(config.mesh)
    sharding.check_batch(mesh, config.data.batch_size, config.data.crop)
    say("Looking at the data ...")
    config = normalisations.with_group_size(completion.completed(config), mesh)
    configs.check(config)
    abstract = abstract_state(config, len(config.data.source.sensor.bands), mesh)
    state = init_state(config, len(config.data.source.sensor.bands), mesh)

    def batches(first: int) -> Generator[Batch, None, None]:
        host: Any = _read(config, mesh, first)
        with contextlib.closing(host):  # nothing is read for a round that is over
            yield from on_devices(host, mesh)

    say("Compiling the training step ...")
    step = compiled(config, mesh, abstract, state, next(batches(0)), code, say)
    return measured(batches, step, state, config.data.batch_size, seconds, tracked)


def _read(config: Config, mesh: Mesh, first: int) -> Iterator[Sample]:
    return pipeline.training_batches(
        config.data,
        seed=config.seed,
        positions=sharding.local_positions(mesh, config.data.batch_size),
        first=first,
        last=first + 10**6,
        inputs=completion.inputs_of(config),
    )


def measured(
    batches: Batches,
    step: Step,
    state: TrainState,
    batch_size: int,
    seconds: float,
    tracked: Callable[[Iterable[str], int], Iterable[str]] = lambda names, _: names,
) -> Rates:
    """Rates of reading, of the step and of both, in alternating rounds.

    Args:
        batches: Batches from a step on; each round reads others.
        step: The step.
        state: Its first state, which is given away.
        batch_size: Windows of a batch.
        seconds: How long is measured, about.
        tracked: Shows progress over the rounds.
    """
    rounds = [f"{kind}, round {n + 1}" for n in range(ROUNDS) for kind in KINDS]
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    span, first = seconds / len(rounds), 0
    for name in tracked(rounds, len(rounds)):
        kind = name.partition(",")[0]
        source = batches(first)
        batch = next(source)  # threads and files are there when the clock starts
        state, metrics = step(state, batch)
        jax.block_until_ready((batch, metrics))
        earlier = [metrics]
        if kind == "step alone":
            source.close()
        start = time.perf_counter()
        for count in itertools.count(1):
            if kind != "reading alone":
                state, metrics = step(state, batch)
                earlier = [*earlier[1 - AHEAD :], metrics]
                if len(earlier) == AHEAD:  # as in a training, the host is ahead by this at most
                    jax.block_until_ready(earlier[0])
            if kind != "step alone":
                batch = next(source)
            if kind == "reading alone":
                jax.block_until_ready(batch)
            if count >= LEAST and time.perf_counter() - start >= span:
                break
        jax.block_until_ready(metrics)
        found[kind].append(count * batch_size / (time.perf_counter() - start))
        first += count + 1
        source.close()
    return Rates(*(tuple(found[kind]) for kind in KINDS))


def lines(rates: Rates, config: Config) -> list[str]:
    """The result within 80 columns, with what bounds a training and what to change."""
    table = [f"{'windows/s':15}{'median':>10}{'spread':>10}"]
    for kind, median, spread in zip(KINDS, rates.medians, rates.spreads, strict=True):
        table.append(f"{kind:15}{median:>10.4g}{100 * spread:>8.0f} %")
    reading, step, _ = rates.medians
    slower, faster = ("Reading", "the step") if reading < step else ("The step", "reading")
    ratio = max(reading, step) / min(reading, step)
    told = [
        f"Both reach {100 * rates.share:.0f} % of the slower one.",
        f"{slower} is the slower one: {faster} alone is {ratio:.3g} times as fast.",
    ]
    if jax.default_backend() == "cpu":
        told += [
            "On a CPU both compute on the same cores, so both together cannot reach the",
            f"slower one. In turn, each with all cores, they reach {100 * rates.in_turn:.0f} %.",
        ]
    elif rates.share < OVERLAPPED:
        told.append(
            f"Less than {100 * OVERLAPPED:.0f} %: one waits for the other, or for the host's cores."
        )
    told += _faster_reading(config) if reading < step else ["Faster reading would change nothing."]
    if max(rates.spreads) > 0.2:
        told.append("Rounds differ by more than 20 %: give more --seconds, or stop other work.")
    return [*table, "", *told]


def _faster_reading(config: Config) -> list[str]:
    """What makes reading faster."""
    threads = f"--config.data.threads {2 * config.data.threads}"
    if all(isinstance(leaf, Packed) for leaf in leaves(config.data.source)):
        return [f"To read faster: {threads}, or a faster disk."]
    return [f"To read faster: {threads}, or `jaxseg pack` once", "(compressed GeoTIFFs cost most)."]
