"""Scores of a run against the strength of what is done to its images: `measure(run, ...)`.

    raw windows -> a corruption -> radiometry -> an attack -> the network, counted as ever

Every arrow is a compiled program of its own with the strength as an argument, so that the network
is compiled once for all kinds and strengths. All strengths see the same random numbers.

Nothing is written here; `write` does that.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from rich.console import Console

from jaxseg import sharding
from jaxseg.config import Config
from jaxseg.config_text import Code
from jaxseg.errors import UserError
from jaxseg.evaluation import own_data
from jaxseg.evaluation.robustness.curves import Curve, Robustness
from jaxseg.evaluation.robustness.generator import Conditions, Generation, embedded
from jaxseg.evaluation.robustness.planned import (
    Attacks,
    attacks_planned,
    class_id,
    corruptions_planned,
    generator_planned,
)
from jaxseg.evaluation.robustness.subject import Subject, epsilon_unit
from jaxseg.run import checkpoint
from jaxseg.run.step import TrainState
from jaxseg.sharding import MeshShape
from jaxseg.system.console import say, track
from jaxseg.transforms.corruptions import CORRUPTIONS, Corruption

Opened = tuple[Config, TrainState]


def measure(
    workdir: Path,
    split: str = "test",
    *,
    which: str = "best",
    corruptions: Iterable[Corruption] = CORRUPTIONS,
    attacks: Attacks = Attacks(),
    generation: Generation = Generation(),
    conditions: Conditions | None = None,
    others: Iterable[Path] = (),
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
        generation: How a generator of attacks is trained on the run, if at all.
        conditions: A row for each class, which the generator reads; None = an embedding.
        others: Folders of further runs, of the same classes and radiometry, that are shown the
            inputs which attacks on this run have made.
        windows: Number of evenly spaced windows of the split; 0 = all.
        seed: Seed of all random numbers.
        mesh_shape: Devices to use.
        code: Where the run's classes from outside jaxseg may be taken from.
        make: Whether data that the run's config names may be fetched, drawn or downloaded.
        console: Where to show how far it is; None = nowhere.

    Raises:
        UserError: There is no such run, checkpoint, split or class, or another run has other
            classes or another radiometry.
    """
    config, state = checkpoint.reopen(workdir, mesh_shape, which, code)
    console, name = console or Console(quiet=True), workdir.resolve().name
    opened: dict[str, Opened] = {}
    for other in others:
        called = other.resolve().name
        called = str(other) if called in (name, *opened) else called
        opened[called] = checkpoint.reopen(other, mesh_shape, which, code)
    with own_data.opened(workdir, config.data.source, make=make, console=console):
        return measured(
            config,
            state,
            name,
            split,
            corruptions=corruptions,
            attacks=attacks,
            generation=generation,
            conditions=conditions,
            others=opened,
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
    generation: Generation = Generation(),
    conditions: Conditions | None = None,
    others: Mapping[str, Opened] = MappingProxyType({}),
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
    subjects = {name: subject}
    for other, (its, trained) in others.items():
        own = _on_data_of(config, its, other)
        subjects[other] = Subject(own, trained, mesh, split, windows=windows, seed=seed)
    planned = [
        *corruptions_planned(subject, kinds),
        *attacks_planned(subject, attacks, targets),
    ]
    if generation.steps:
        say(console, f"training a generator for {generation.steps} steps ...")
        given = embedded(classes) if conditions is None else conditions
        wanted = targets or range(len(classes))
        planned += generator_planned(subject, generation, given, attacks, wanted, seed)
    pairs = [(net, plan) for plan in planned for net in (subjects if plan.travels else [name])]
    every = [(net, one) for net, plan in pairs for one in plan.passes]
    clean = {net: each.clean() for net, each in subjects.items()}
    shown = track(every, "strengths", total=len(every), console=console)
    points = iter([subjects[net].counted(*one) for net, one in shown])
    curves = tuple(
        Curve(plan.kind, plan.unit, tuple(next(points) for _ in plan.passes), plan.target, net)
        for net, plan in pairs
    )
    return Robustness(
        split=split,
        step=int(state.step),
        classes=classes,
        colors=tuple(config.data.source.colors),
        windows=subject.windows,
        network=name,
        clean=clean,
        curves=curves,
        refused={kind.name: why for kind in kinds if (why := kind.refused(config.sensor))},
        epsilon=epsilon_unit(config),
    )


def _on_data_of(config: Config, other: Config, name: str) -> Config:
    """Another run on the data of this one.

    Raises:
        UserError: It has other classes or another radiometry.
    """
    if tuple(other.data.source.classes) != tuple(config.data.source.classes):
        raise UserError(f"{name} has other classes than the run that is attacked.")
    if other.preprocess != config.preprocess:
        raise UserError(
            f"{name} has another radiometry than the run that is attacked, so that the same change "
            "is not the same input: train it with the same --config.preprocess."
        )
    return dataclasses.replace(other, data=config.data, sensor=config.sensor)
