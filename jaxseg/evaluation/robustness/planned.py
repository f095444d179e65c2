"""The passes over a split that are to be made: kinds of changes and their strengths."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxseg.errors import UserError
from jaxseg.evaluation.robustness import generator as generators
from jaxseg.evaluation.robustness.attack import UNTARGETED, make_attack
from jaxseg.evaluation.robustness.generator import Conditions, Generation, Generator
from jaxseg.evaluation.robustness.subject import Change, Subject, epsilon_meaning
from jaxseg.scenes.scene import Batch
from jaxseg.transforms.corruptions import Corruption, corrupted

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
    """A curve whose passes are to be made; see `Curve`.

    Attributes:
        kind: See `Curve`.
        unit: See `Curve`.
        target: See `Curve`.
        passes: From weak to strong.
        travels: Whether other networks see the same inputs: of attacks, not of corruptions.
    """

    kind: str
    unit: str
    target: int
    passes: tuple[Pass, ...]
    travels: bool = True


def class_id(name: str, classes: Sequence[str]) -> int:
    """The id of a class.

    Raises:
        UserError: There is no such class.
    """
    if name not in classes:
        raise UserError(f"Class {name!r}: this run has {', '.join(classes)}.")
    return list(classes).index(name)


def corruptions_planned(subject: Subject, kinds: Iterable[Corruption]) -> Iterator[Planned]:
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
            yield Planned(kind.name, kind.unit, UNTARGETED, passes, travels=False)


def _program(subject: Subject, kind: Corruption) -> jax.stages.Wrapped:
    """The compiled program of a kind, and the radiometry after it."""

    def corrupt(key: jax.Array, batch: Batch, strength: jax.Array) -> Batch:
        given = (batch["image"], batch["valid"], strength, subject.config.sensor)
        return subject.prepared(batch | {"image": corrupted(kind, key, *given)})

    program: jax.stages.Wrapped = jax.jit(corrupt)
    return program


def _at(program: jax.stages.Wrapped, strength: float) -> Change:
    return lambda key, batch: program(key, batch, jnp.float32(strength))


def attacks_planned(subject: Subject, attacks: Attacks, targets: list[int]) -> Iterator[Planned]:
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


def generator_planned(
    subject: Subject,
    how: Generation,
    conditions: Conditions,
    attacks: Attacks,
    targets: Sequence[int],
    seed: int,
) -> Iterator[Planned]:
    """A curve for each target of a generator, which is trained here."""
    config = subject.config
    params = generators.trained(config, subject.variables, subject.mesh, conditions, how, seed)
    model = Generator(generators.bands_of(config), how.features)

    @jax.jit
    def alter(batch: Batch, epsilon: jax.Array, target: jax.Array) -> Batch:
        wanted = jnp.broadcast_to(jnp.asarray(conditions)[target], (len(batch["label"]), size))
        return generators.altered(model, params, subject.prepared(batch), wanted, epsilon)

    size = conditions.shape[1]

    def at(epsilon: float, target: int) -> Change:
        numbers = jnp.float32(epsilon), jnp.int32(target)
        return lambda key, batch: alter(batch, *numbers)

    for target in targets:
        passes = tuple(
            Pass(epsilon, epsilon_meaning(config, epsilon), at(epsilon, target))
            for epsilon in attacks.epsilons
        )
        yield Planned("generator", "epsilon", target, passes)
