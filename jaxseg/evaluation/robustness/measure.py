"""Scores of a run against the strength of what is done to its images: `measure(run, ...)`.

    raw windows -> a corruption -> radiometry -> an attack -> the network, counted as ever

Every arrow is a compiled program of its own with the strength as an argument, so that the network
is compiled once for all kinds and strengths. All strengths see the same random numbers.

Nothing is written here; `write` does that.
"""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from rich.console import Console

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.config_text import Code
from jaxseg.console import track
from jaxseg.errors import UserError
from jaxseg.evaluation import own_data
from jaxseg.evaluation.robustness.attack import UNTARGETED, make_attack
from jaxseg.evaluation.robustness.curves import Curve, Robustness
from jaxseg.evaluation.robustness.subject import Change, Subject, epsilon_meaning, epsilon_unit
from jaxseg.run import checkpoint
from jaxseg.run.step import TrainState
from jaxseg.scenes.scene import Batch
from jaxseg.sharding import MeshShape
from jaxseg.transforms.corruptions import CORRUPTIONS, Corruption, corrupted

EPSILONS = (0.01, 0.03, 0.1, 0.3)
"""Radii of the ball of an attack that are measured."""


@dataclasses.dataclass(frozen=True)
class Attacks:
    """Which attacks are measured.

    Attributes:
        epsilons: Radii of the ball, from small to large; () = no attack.
        steps: Steps of the ascent.
        targets: Names of classes that targeted attacks want, one attack for each.
        by_pixel: Whether the attack without a target has the form of SegPGD.
    """

    epsilons: tuple[float, ...] = EPSILONS
    steps: int = 10
    targets: tuple[str, ...] = ()
    by_pixel: bool = False

    def __post_init__(self) -> None:
        """Rejects numbers outside their ranges."""
        if self.steps < 1 or any(not 0 < epsilon < math.inf for epsilon in self.epsilons):
            raise UserError(
                f"An attack of {self.steps} steps with radii {self.epsilons}: give 1 step or more, "
                "and radii above 0."
            )


class Pass(NamedTuple):
    """One pass over the split.

    Attributes:
        strength: In the unit of its curve.
        meaning: The same in words.
        change: What is done to a batch.
    """

    strength: float
    meaning: str
    change: Change


class Planned(NamedTuple):
    """A curve whose passes are to be made; see `Curve`."""

    kind: str
    unit: str
    target: int
    passes: tuple[Pass, ...]


def measure(
    workdir: Path,
    split: str = "test",
    *,
    which: str = "best",
    corruptions: Iterable[Corruption] = CORRUPTIONS,
    attacks: Attacks = Attacks(),
    windows: int = 0,
    seed: int = 0,
    mesh_shape: MeshShape = MeshShape(),
    code: Code = (),
    make: bool = False,
    console: Console | None = None,
) -> Robustness:
    """Measures a checkpoint of a run; `show` and `write` say what was found.

    Args:
        workdir: The run's folder.
        split: `train`, `validation` or `test`.
        which: `best`, `latest` or a step.
        corruptions: Kinds; those that do not exist for the run's sensor are named with the reason.
        attacks: Which attacks are measured.
        windows: Number of evenly spaced windows of the split; 0 = all.
        seed: Seed of all random numbers.
        mesh_shape: Devices to use.
        code: Where the run's classes from outside jaxseg may be taken from.
        make: Whether data that the run's config names may be fetched, drawn or downloaded.
        console: Where to show how far it is; None = nowhere.

    Raises:
        UserError: There is no such run, checkpoint, split or class.
    """
    config, state = checkpoint.reopen(workdir, mesh_shape, which, code)
    console = console or Console(quiet=True)
    with own_data.opened(workdir, config.data.source, make=make, console=console):
        return measured(
            config,
            state,
            workdir.resolve().name,
            split,
            corruptions=corruptions,
            attacks=attacks,
            windows=windows,
            seed=seed,
            mesh_shape=mesh_shape,
            console=console,
        )


def measured(
    config: Config,
    state: TrainState,
    name: str,
    split: str = "test",
    *,
    corruptions: Iterable[Corruption] = CORRUPTIONS,
    attacks: Attacks = Attacks(),
    windows: int = 0,
    seed: int = 0,
    mesh_shape: MeshShape = MeshShape(),
    console: Console | None = None,
) -> Robustness:
    """`measure` of a state in memory, called `name`.

    Raises:
        UserError: There is no such split or class.
    """
    console, kinds = console or Console(quiet=True), tuple(corruptions)
    classes = tuple(config.data.source.classes)
    targets = [class_id(target, classes) for target in attacks.targets]
    mesh = sharding.make_mesh(mesh_shape)
    subject = Subject(config, state, mesh, split, windows=windows, seed=seed)
    planned = [*_corruptions(subject, kinds), *_attacks(subject, attacks, targets)]
    every = [one for plan in planned for one in plan.passes]
    clean = subject.clean()
    shown = track(every, "strengths", total=len(every), console=console)
    points = iter([subject.counted(*one) for one in shown])
    curves = tuple(
        Curve(plan.kind, plan.unit, tuple(next(points) for _ in plan.passes), plan.target, name)
        for plan in planned
    )
    return Robustness(
        split=split,
        step=int(state.step),
        classes=classes,
        colors=tuple(config.data.source.colors),
        windows=subject.windows,
        network=name,
        clean={name: clean},
        curves=curves,
        refused={kind.name: why for kind in kinds if (why := kind.refused(config.sensor))},
        epsilon=epsilon_unit(config),
    )


def class_id(name: str, classes: Sequence[str]) -> int:
    """The id of a class.

    Raises:
        UserError: There is no such class.
    """
    if name not in classes:
        raise UserError(f"Class {name!r}: this run has {', '.join(classes)}.")
    return list(classes).index(name)


def _corruptions(subject: Subject, kinds: Iterable[Corruption]) -> Iterator[Planned]:
    """A curve for each kind that exists for the sensor."""
    sensor = subject.config.sensor
    for kind in kinds:
        if not kind.refused(sensor):
            strengths = kind.strengths(sensor)
            program = _program(subject, kind)
            passes = tuple(
                Pass(strength, kind.meaning(strength, sensor), _at(program, strength))
                for strength in strengths
            )
            yield Planned(kind.name, kind.unit, UNTARGETED, passes)


def _program(subject: Subject, kind: Corruption) -> jax.stages.Wrapped:
    """The compiled program of a kind, and the radiometry after it."""

    def corrupt(key: jax.Array, batch: Batch, strength: jax.Array) -> Batch:
        given = (batch["image"], batch["valid"], strength, subject.config.sensor)
        return subject.prepared(batch | {"image": corrupted(kind, key, *given)})

    program: jax.stages.Wrapped = jax.jit(corrupt)
    return program


def _at(program: jax.stages.Wrapped, strength: float) -> Change:
    return lambda key, batch: program(key, batch, jnp.float32(strength))


def _attacks(subject: Subject, attacks: Attacks, targets: list[int]) -> Iterator[Planned]:
    """A curve without a target, and one for each target."""
    if not attacks.epsilons:
        return
    attack = jax.jit(make_attack(subject.config, subject.mesh))

    def at(epsilon: float, target: int, by_pixel: bool) -> Change:
        numbers = (
            *(jnp.float32(epsilon), jnp.int32(attacks.steps)),
            *(jnp.int32(target), jnp.bool(by_pixel)),
        )
        return lambda key, batch: attack(subject.variables, subject.prepare(batch), key, *numbers)

    for target in (UNTARGETED, *targets):
        by_pixel = attacks.by_pixel and target == UNTARGETED
        passes = tuple(
            Pass(epsilon, epsilon_meaning(subject.config, epsilon), at(epsilon, target, by_pixel))
            for epsilon in attacks.epsilons
        )
        yield Planned("segpgd" if by_pixel else "pgd", "epsilon", target, passes)
