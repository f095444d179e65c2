"""What a save costs a training: how long it blocks, and how much it slows the steps beside it.

    python benchmarks/saving.py             a U-Net of 100 million parameters, some minutes
    python benchmarks/saving.py --tiny      the same program in seconds, on a small network

Rounds alternate: a few steps alone, one save with the steps that run until it is written, one save
with nothing beside it. Each step is waited for, so that what blocks (`Checkpoints.save` until it
returns) and what only shares the machine (the steps beside the writing) are seen apart. CPU seconds
depend less on other programs. State, step and save are those of a training; images are random. On a
CPU nothing is copied from a device, and writing takes its cores from the steps. Beside an
accelerator it is the other way round: arrays travel through its link first, which blocks.
"""

import argparse
import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import absl.logging
import jax
import numpy as np

from jaxseg import config as configs
from jaxseg import sharding
from jaxseg.cli.memory import keep_freed_memory
from jaxseg.config import Config
from jaxseg.models import UNet
from jaxseg.optimizer import Optimizer
from jaxseg.run import digests
from jaxseg.run.checkpoint import Checkpoints
from jaxseg.run.program import Step, compiled
from jaxseg.run.step import TrainState, abstract_state, count_parameters, init_state

SHIPPED = (100, 500)
"""Shortest interval of saves in the shipped configs, and the default."""

Batch = dict[str, jax.Array]
Result = TypeVar("Result")


class Took(NamedTuple):
    """Seconds, and CPU seconds of all threads of this process."""

    wall: float
    cores: float


@dataclasses.dataclass(frozen=True)
class Times:
    """What took how long.

    Attributes:
        alone: Each step while nothing is written.
        blocked: Each save until it returned.
        written: The same saves until they were on the disk, in seconds.
        beside: For each of these saves, the seconds of the steps that ran until then.
        undisturbed: Each save until it was on the disk, while no step ran.
        digests: The digests of a state, computed for themselves.
    """

    alone: list[Took]
    blocked: list[Took]
    written: list[float]
    beside: list[list[float]]
    undisturbed: list[Took]
    digests: list[Took]

    @property
    def step(self) -> float:
        """The median step alone, in seconds."""
        return statistics.median(took.wall for took in self.alone)

    def lost(self) -> list[float]:
        """What each save took from the training, all in all, as seconds."""
        slower = [sum(steps) - len(steps) * self.step for steps in self.beside]
        return [took.wall + more for took, more in zip(self.blocked, slower, strict=True)]


def built(features: int, side: int, batch_size: int) -> tuple[Config, Step, TrainState, Batch]:
    """A training without data: its config, compiled step, first state and a random batch."""
    config = configs.load_config(configs.found("unet"))
    config = dataclasses.replace(
        config,
        model=UNet(num_classes=10, features=features),
        data=dataclasses.replace(config.data, crop=side, batch_size=batch_size),
        preprocess=(),
        optimizer=Optimizer(schedule="constant", ema=0.99),
    )
    mesh = sharding.make_mesh(config.mesh)
    bands = len(config.data.source.sensor.bands)
    state = init_state(config, bands, mesh)
    random, shape = np.random.default_rng(0), (batch_size, side, side)
    batch = sharding.place_batch(
        mesh,
        {
            "image": random.random((*shape, bands), np.float32),
            "label": random.integers(0, 10, shape, np.int32),
            "valid": np.ones(shape, bool),
        },
    )
    abstract = abstract_state(config, bands, mesh)
    return config, compiled(config, mesh, abstract, state, batch, (), print), state, batch


def measured(
    folder: Path, config: Config, step: Step, state: TrainState, batch: Batch, rounds: int, few: int
) -> Times:
    """Rounds of `few` steps alone, and of a save with the steps until it is written.

    Args:
        folder: Workdir of the checkpoints.
        config: The run.
        step: Its compiled step.
        state: Its state, which is given away.
        batch: What every step computes.
        rounds: Saves that are measured, after one that is not.
        few: Steps alone before each save.
    """
    times = Times([], [], [], [], [], [])
    with Checkpoints(folder) as checkpoints:
        for number in range(rounds + 1):
            alone = []
            for _ in range(few):
                (state, _), took = _timed(step, state, batch)
                alone.append(took)
            began = time.perf_counter()
            _, blocked = _timed(checkpoints.save, state, config, None)
            beside = []
            while checkpoints.saving():
                (state, _), took = _timed(step, state, batch)
                beside.append(took.wall)
            written = time.perf_counter() - began
            state, _ = step(state, batch)  # a checkpoint of another number
            jax.block_until_ready(state)
            _, undisturbed = _timed(_written, checkpoints, state, config)
            _, hashed = _timed(digests.digests_of, state, number, None, None)
            if number:  # the first save and the first steps pay for what later ones find ready
                times.alone.extend(alone)
                times.blocked.append(blocked)
                times.written.append(written)
                times.beside.append(beside)
                times.undisturbed.append(undisturbed)
                times.digests.append(hashed)
    return times


def _written(checkpoints: Checkpoints, state: TrainState, config: Config) -> None:
    checkpoints.save(state, config, None)
    while checkpoints.saving():
        time.sleep(0.005)


def _timed(work: Callable[..., Result], *given: Any) -> tuple[Result, Took]:
    wall, cores = time.perf_counter(), time.process_time()
    result: Result = jax.block_until_ready(work(*given))
    return result, Took(time.perf_counter() - wall, time.process_time() - cores)


def lines(times: Times, state_bytes: float) -> list[str]:
    """The result within 80 columns."""
    middle, step = statistics.median, times.step
    lost, every = middle(times.lost()), [one for steps in times.beside for one in steps]
    of_step, of_save, of_block, of_digests = (
        middle(took.cores for took in every)
        for every in (times.alone, times.undisturbed, times.blocked, times.digests)
    )
    blocked = [took.wall for took in times.blocked]
    told = [
        f"state                    {state_bytes / 1e9:.3g} GB",
        f"step alone               {step:.3f} s (median of {len(times.alone)})",
        f"a save blocks            {middle(blocked):.3f} s, {_share(middle(blocked), step)} of a "
        f"step; at most {_share(max(blocked), step)}",
        f"written after            {middle(times.written):.2f} s beside steps, "
        f"{middle(took.wall for took in times.undisturbed):.2f} s without",
        f"CPU seconds              {of_step:.2f} of a step; {of_save:.2f} of a save, "
        f"{_share(of_save, of_step)}; of these",
        f"  while it blocks        {of_block:.2f}, {_share(of_block, of_step)}",
    ]
    if every:
        told.append(
            f"steps beside a writing   {middle(every):.3f} s (median of {len(every)}), "
            f"{100 * (middle(every) / step - 1):+.0f} %; slowest {max(every):.3f} s"
        )
    told.append(f"a save costs in all      {lost:.2f} s, {lost / step:.2f} steps: of a training,")
    told += [f"  if every {n:<5}         {_share(lost, n * step, 2)}" for n in SHIPPED]
    told.append(
        f"digests of the state     {middle(took.wall for took in times.digests):.3f} s, "
        f"{of_digests:.2f} CPU seconds: of a training,"
    )
    return told + [
        f"  if every {n:<5}         {_share(of_digests, n * of_step, 2)}" for n in SHIPPED
    ]


def _share(part: float, whole: float, digits: int = 1) -> str:
    return f"{100 * part / whole:.{digits}f} %"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="a small network, in seconds")
    parser.add_argument("--features", type=int, default=115, help="of the finest level")
    parser.add_argument("--side", type=int, default=128, help="rows and columns of an image")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5, help="saves that are measured")
    parser.add_argument("--steps", type=int, default=5, help="steps alone before each save")
    parser.add_argument("--folder", type=Path, default=None, help="where to write; a temporary one")
    given = parser.parse_args()
    if given.tiny:
        given.features, given.side, given.rounds, given.steps = 4, 32, 1, 2
    absl.logging.set_verbosity(absl.logging.ERROR)
    keep_freed_memory()
    config, step, state, batch = built(given.features, given.side, given.batch)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    device = jax.devices()[0].device_kind
    print(f"{count_parameters(state.params):,} parameters, {jax.device_count()} x {device}")
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        times = measured(Path(folder), config, step, state, batch, given.rounds, given.steps)
    print("\n".join(lines(times, size)))


if __name__ == "__main__":
    main()
